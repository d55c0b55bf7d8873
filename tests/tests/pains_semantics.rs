//! Field pains B: HTTP semantics. Each name begins with the row it proves.

use fourmi_tests::h2::{self, H2Client, H2Worker, Pieces, RawFrame, RawH2};
use fourmi_tests::wire::Wire;
use fourmi_tests::{Fourmi, Setup, Worker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn beside_echo() -> (Worker, Fourmi) {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    (worker, fourmi)
}

#[test]
fn b1_no_100_before_a_refusal() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("limits: {body: 1000}").start();
    let mut client = fourmi.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n");
    assert_eq!(client.answer_head().status(), 413, "the first thing said is the refusal");
    assert_eq!(worker.requests().len(), 0);
}

#[test]
fn b2_100_continue_comes_promptly() {
    let worker = Worker::mirror();
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    let started = Instant::now();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n");
    assert_eq!(client.answer_head().status(), 100);
    let answer = client.send(vec![b'x'; 60_000]).answer();
    assert_eq!(answer.body.len(), 60_000);
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[test]
fn b3_a_body_over_the_limit_is_never_cut_silently() {
    let ended_clean = Arc::new(AtomicBool::new(false));
    let flag = ended_clean.clone();
    let worker = Worker::scripted(move |mut conn| {
        if conn.request().is_some() {
            flag.store(true, Ordering::Release);
            conn.ok("whole");
        }
    });
    let fourmi = Setup::beside(worker.address()).more("limits: {body: 1048576}").start();
    let mut client = fourmi.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..16 {
        client.try_send("10000\r\n").try_send(vec![b'x'; 0x10000]).try_send("\r\n");
    }
    client.try_send("1\r\nx\r\n0\r\n\r\n");
    assert_eq!(client.answer().status(), 413);
    assert!(!ended_clean.load(Ordering::Acquire), "the worker took a part for the whole");
    fourmi.counts("fourmi_commands_total", &[("outcome", "rejected")], 1.0);
}

#[test]
fn b4_oversize_is_answered_readably() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("limits: {body: 10485760}").start();
    let mut client = fourmi.client();
    let mut sender = Wire::new(client.wire.stream.twin());
    // A caller that only reads once it has sent everything.
    let sending = std::thread::spawn(move || {
        let body = vec![b'x'; 11 << 20];
        let _ = sender.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
        body.chunks(64 << 10).all(|piece| sender.send(piece).is_ok());
    });
    sending.join().unwrap();
    let answer = client.answer();
    assert_eq!(answer.status(), 413);
    assert!(answer.text().contains("10485760"), "the limit is named: {}", answer.text());
}

#[test]
fn b5_http_1_0_is_not_1_1() {
    let worker = Worker::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let fourmi = Setup::beside(worker.address()).start();
    assert!(fourmi.client().send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").rest().ends_with("\r\n\r\nhello"));
    let mut client = fourmi.client();
    for _ in 0..2 {
        let answer = client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").answer();
        assert!(answer.says("connection", "keep-alive"), "who keeps it must say so: {answer:?}");
    }
}

#[test]
fn b9_headers_may_be_large_and_too_large_is_told() {
    let (worker, fourmi) = beside_echo();
    let cookie = "c".repeat(12 << 10);
    assert_eq!(fourmi.get_with("/", &format!("Cookie: a={cookie}\r\n")).status(), 200);
    assert_eq!(worker.last().header("cookie").map(str::len), Some(cookie.len() + 2));
    let mut client = fourmi.client();
    client.try_send("GET / HTTP/1.1\r\nHost: a\r\n");
    for n in 0..64 {
        client.try_send(format!("X-{n}: {}\r\n", "y".repeat(4 << 10)));
    }
    client.try_send("\r\n");
    assert_eq!(client.answer().status(), 431);
    client.rest();
    fourmi.counts("fourmi_rejected_total", &[("reason", "head-too-large")], 1.0);
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(fourmi.get_with("/", &many).status(), 431, "more lines than limits.headers");
}

#[test]
fn b10_close_of_the_caller_is_not_passed_on() {
    let (worker, fourmi) = beside_echo();
    for _ in 0..100 {
        assert_eq!(fourmi.get_with("/", "Connection: close\r\n").status(), 200);
    }
    assert_eq!(worker.connections(), 1);
}

#[test]
fn b6_a_caller_that_leaves_stops_the_worker_and_costs_nothing() {
    // The second caller leaves with nothing unread: only what the worker says next can show that nobody listens.
    for pause in [20, 400] {
        let gone = Arc::new(AtomicBool::new(false));
        let flag = gone.clone();
        let worker = Worker::scripted(move |mut conn| {
            if conn.request().is_some() {
                conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                while conn.send("4\r\ntick\r\n") {
                    std::thread::sleep(Duration::from_millis(pause));
                }
                flag.store(true, Ordering::Release);
            }
        });
        let fourmi = Setup::beside(worker.address()).start();
        let mut client = fourmi.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer_head().status(), 200);
        client.wire.chunk().unwrap().unwrap();
        drop(client);
        fourmi_tests::until("the worker's stream is cancelled", || gone.load(Ordering::Acquire));
        let before = fourmi.cpu();
        std::thread::sleep(Duration::from_millis(500));
        let spent = fourmi.cpu() - before;
        assert!(spent < Duration::from_millis(150), "idle, yet {spent:?} of processor time in 500 ms");
        fourmi.counts("fourmi_commands_total", &[("outcome", "cancelled")], 1.0);
    }
}

#[test]
fn b6_half_closing_alone_aborts_nothing_and_costs_nothing() {
    let worker = Worker::scripted(|mut conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntick\r\n");
            std::thread::sleep(Duration::from_millis(1500));
            conn.send("4\r\ntock\r\n0\r\n\r\n");
            conn.until_closed();
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").half_close();
    assert_eq!(client.answer_head().status(), 200);
    assert_eq!(client.wire.chunk().unwrap().unwrap(), b"tick");
    // The end of what the caller sends stays readable for ever: whoever asks again and again spins here.
    let before = fourmi.cpu();
    std::thread::sleep(Duration::from_millis(1000));
    let spent = fourmi.cpu() - before;
    assert!(spent < Duration::from_millis(200), "idle, yet {spent:?} of processor time in a second");
    assert_eq!(client.wire.chunk().unwrap().unwrap(), b"tock");
    assert!(client.wire.chunk().unwrap().is_err());
    fourmi.counts("fourmi_commands_total", &[("outcome", "success")], 1.0);
}

fn sum_of(lines: &[(String, String)]) -> Option<&str> {
    lines.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-sum")).map(|(_, value)| value.as_str())
}

#[test]
fn b7_trailers_between_versions() {
    let reply = |announced: bool| {
        move |_: &fourmi_tests::h2::Whole| {
            let body = Pieces::of("data").with_trailers(&[("x-sum", "4"), ("grpc-status", "0")]);
            let reply = http::Response::builder();
            if announced { reply.header("trailer", "x-sum") } else { reply }.body(body).unwrap()
        }
    };
    let (announced, silent) = (H2Worker::replying(reply(true)), H2Worker::replying(reply(false)));
    let plain =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\nX-Sum: 4\r\nContent-Length: 9\r\n\r\n";
    let plain = Worker::answering(plain);
    for address in [announced.address(), silent.address(), plain.address().to_owned()] {
        let fourmi = Setup::beside(&address).start();
        for te in ["TE: trailers\r\n", "TE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n"] {
            let answer = fourmi.get_with("/", te);
            assert_eq!((answer.text(), sum_of(&answer.trailers)), ("data".into(), Some("4")), "{address} {te}");
            assert_eq!(sum_of(&answer.headers), None, "trailers are not headers");
            let frames = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-length");
            assert!(!answer.trailers.iter().any(frames), "{answer:?}");
        }
        for te in ["", "TE: gzip\r\n"] {
            let answer = fourmi.get_with("/", te);
            assert_eq!((answer.text(), answer.trailers.as_slice()), ("data".into(), &[][..]), "{address}: {te:?}");
            assert_eq!(sum_of(&answer.headers), None);
        }
        let old = fourmi.client().send("GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n").rest();
        assert!(old.ends_with("\r\n\r\ndata"), "chunks and trailers are unknown to HTTP/1.0: {old}");
        h2::run(async {
            let answer = H2Client::connect(fourmi.port()).await.get("/").await;
            assert_eq!((&answer.body[..], answer.trailer("x-sum")), (&b"data"[..], Some("4")), "{address}");
        });
    }
}

#[test]
fn b7_trailers_of_requests_between_versions() {
    let (worker, modern) = (Worker::echo(), H2Worker::replying(|_| http::Response::new(Pieces::of("ok"))));
    let fourmi = Setup::beside(worker.address()).start();
    h2::run(async {
        let body = Pieces::of("data").with_trailers(&[("x-sum", "4")]);
        let answer = H2Client::connect(fourmi.port()).await.send("POST", "/", &[], body).await.unwrap();
        assert_eq!(answer.status, 200);
    });
    let seen = worker.last();
    assert_eq!((seen.text(), sum_of(&seen.trailers), sum_of(&seen.headers)), ("data".into(), Some("4"), None));
    let fourmi = Setup::beside(&modern.address()).start();
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\nX-Sum: 4\r\n\r\n";
    assert_eq!(fourmi.client().send(request).answer().text(), "ok");
    let seen = modern.requests().pop().unwrap();
    assert_eq!((&seen.body[..], seen.trailer("x-sum"), seen.header("x-sum")), (&b"data"[..], Some("4"), None));
}

#[test]
fn b8_informational_answers_are_not_final() {
    let five = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(5);
    let mixed =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 Odd\r\nX: y\r\n\r\n".to_owned();
    for early in [five, mixed] {
        let worker = Worker::answering(format!("{early}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        let fourmi = Setup::beside(worker.address()).start();
        let mut client = fourmi.client();
        for _ in 0..2 {
            let answer = client.get("/");
            assert_eq!((answer.status(), answer.text()), (200, "ok".into()));
            let answer = client.post("/", "", "hello");
            assert_eq!((answer.status(), answer.text()), (200, "ok".into()));
        }
        assert_eq!((worker.connections(), worker.requests().len()), (1, 4));
    }
}

/// The heads that answer the first stream of an HTTP/2 caller, up to one that says 200.
fn heads(fourmi: &Fourmi) -> Vec<RawFrame> {
    let mut raw = RawH2::connect(fourmi.port());
    raw.headers(1, &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")], true);
    let mut heads = Vec::new();
    loop {
        let frame = raw.verdict(1).expect("the connection ended");
        assert_eq!(frame.kind, 1, "{frame:?} after {heads:?}");
        heads.push(frame);
        // The eighth static entry is `:status: 200` (RFC 7541 A).
        if heads.last().is_some_and(|f| f.payload.first() == Some(&0x88)) {
            return heads;
        }
    }
}

#[test]
fn b8_informational_answers_are_not_final_for_http_2() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(5);
    let worker = Worker::answering(format!("{early}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let fourmi = Setup::beside(worker.address()).start();
    let heads = heads(&fourmi);
    assert!(heads.iter().all(|f| f.flags & 1 == 0), "none of them ends the stream: {heads:?}");
    h2::run(async {
        let answer = H2Client::connect(fourmi.port()).await.get("/").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
    });
}

#[test]
fn b8_informational_answers_reach_http_2_callers() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(5);
    let worker = Worker::answering(format!("{early}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let fourmi = Setup::beside(worker.address()).start();
    assert_eq!(heads(&fourmi).len(), 6, "five hints and the answer");
}

#[test]
fn b8_an_endless_stream_of_informational_answers_ends_and_stalls_nobody() {
    let worker = Worker::scripted(|mut conn| {
        while let Some(request) = conn.request() {
            let pause = match request.target() {
                "/flood" => 0,
                "/drip" => 20,
                _ => {
                    conn.ok("ok");
                    continue;
                }
            };
            while conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") {
                std::thread::sleep(Duration::from_millis(pause));
            }
            return;
        }
    });
    let fourmi = Setup::beside(worker.address()).more("timeouts: {answer: 5s}").start();
    for (target, statuses) in [("/flood", &[502][..]), ("/drip", &[502, 504])] {
        let mut endless = fourmi.client();
        endless.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        fourmi_tests::until("the worker has it", || worker.requests().iter().any(|r| r.target() == target));
        for _ in 0..20 {
            assert_eq!(fourmi.get("/other").status(), 200, "while {target} goes on");
        }
        let answer = endless.answer();
        assert!(statuses.contains(&answer.status()), "{target}: {}", answer.first);
    }
    assert_eq!(fourmi.get("/after").text(), "ok");
}
