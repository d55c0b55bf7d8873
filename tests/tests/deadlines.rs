//! Deadlines that shrink hop by hop.

use fourmi_tests::h2::{self, H2Client, H2Worker, Pieces, Whole};
use fourmi_tests::wire::Client;
use fourmi_tests::{Fourmi, GelfServer, Setup, Worker, free_port, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

/// Ten minutes, in milliseconds: longer than any test.
const LONG: u64 = 600_000;

/// A worker that takes commands and never answers; the flag says that it was let go.
fn silent() -> (Worker, Arc<AtomicBool>) {
    let left = Arc::new(AtomicBool::new(false));
    let flag = left.clone();
    let worker = Worker::scripted(move |mut conn| {
        if conn.request().is_some() {
            conn.until_closed();
            flag.store(true, Ordering::Release);
        }
    });
    (worker, left)
}

/// Two sidecars: commands leave the first for `direct`, which is the worker, or for `far`, which is the second.
fn chain(worker: &Worker, more: impl Fn(Setup) -> Setup) -> (Fourmi, Fourmi) {
    let second = more(Setup::beside(worker.address())).start();
    let services = format!(
        "{{direct: {{address: \"{}\"}}, far: {{address: \"http://127.0.0.1:{}\"}}}}",
        worker.address(),
        second.port()
    );
    (more(Setup::alone().outbound(services)).start(), second)
}

fn left(line: Option<&str>) -> u64 {
    line.unwrap_or_else(|| panic!("no deadline")).parse().unwrap()
}

#[test]
fn each_hop_has_less_time_than_the_one_before() {
    let worker = Worker::echo();
    let (first, _second) = chain(&worker, |setup| setup);
    let mut client = first.outbound();
    for line in ["600000", "600000ms", "600s", "10m"] {
        for (host, hops) in [("direct", 1), ("far", 2)] {
            client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nFourmi-Deadline: {line}\r\n\r\n"));
            assert_eq!(client.answer().status(), 200);
            let last = worker.last();
            let left = left(last.header("fourmi-deadline"));
            assert!((1..=LONG - hops * 5).contains(&left), "{line}, {host}: {left}");
            assert_eq!(last.all("fourmi-deadline").len(), 1);
        }
    }
    for line in ["", "Fourmi-Deadline: soon\r\n", "grpc-timeout: 1H\r\n"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: far\r\n{line}\r\n"));
        assert_eq!(client.answer().status(), 200);
        assert_eq!(worker.last().header("fourmi-deadline"), None, "{line}");
    }
}

#[test]
fn a_slow_worker_is_given_up_at_the_deadline() {
    let (worker, gelf) = (silent(), GelfServer::start());
    let (first, second) = chain(&worker.0, |setup| setup.gelf(&gelf));
    let mut client = first.outbound();
    client.send("GET / HTTP/1.1\r\nHost: far\r\nFourmi-Id: late\r\nFourmi-Deadline: 1000\r\n\r\n");
    let answer = client.answer();
    let problem = answer.json();
    assert_eq!((answer.status(), &problem["type"]), (504, &"urn:fourmi:error:timeout".into()));
    assert!(problem["detail"].as_str().is_some_and(|d| d.ends_with("(the command's deadline)")), "{problem}");
    // Either of them may have been first to tell the caller.
    for record in gelf.wait_for(2) {
        assert_eq!((&record["_command_id"], &record["_status"]), (&"late".into(), &504.into()));
        if record["_direction"] == "inbound" {
            assert_eq!(record["_outcome"], "timeout");
            assert!(record["_error"].as_str().is_some_and(|e| e.contains("the command's deadline")), "{record}");
        }
    }
    until("the worker is let go", || worker.1.load(Ordering::Acquire));
    second.counts("fourmi_commands_total", &[("outcome", "timeout")], 1.0);
    // The shorter one counts, whichever it is.
    let fourmi = Setup::beside(worker.0.address()).more("timeouts: {answer: 200ms}").start();
    let problem = fourmi.get_with("/", "Fourmi-Deadline: 1h\r\n").json();
    assert_eq!(problem["detail"], "no answer within 200ms (timeouts.answer)");
}

#[test]
fn what_comes_too_late_is_not_sent() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    for (number, line) in ["0", "-20"].into_iter().enumerate() {
        let body = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nFourmi-Deadline: {line}\r\n{body}"));
        let answer = client.answer();
        let problem = answer.json();
        assert_eq!((answer.status(), &problem["type"]), (504, &"urn:fourmi:error:deadline".into()), "{line}");
        let count = (number + 1) as f64;
        fourmi.counts("fourmi_rejected_total", &[("reason", "deadline")], count);
        fourmi.counts("fourmi_commands_total", &[("outcome", "timeout")], count);
    }
    assert_eq!(worker.requests().len(), 0);
    // The connection is as good as before.
    assert_eq!(client.get("/").status(), 200);
}

#[test]
fn strangers_may_not_set_one() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("trusted: [10.0.0.0/8]").start();
    for line in ["0", "10m"] {
        assert_eq!(fourmi.get_with("/", &format!("Fourmi-Deadline: {line}\r\n")).status(), 200);
        assert_eq!(worker.last().header("fourmi-deadline"), None);
    }
}

#[test]
fn a_late_answer_is_nobody_elses() {
    let gate = Arc::new(AtomicBool::new(false));
    let open = gate.clone();
    let worker = Worker::scripted(move |mut conn| {
        while let Some(request) = conn.request() {
            if request.target() == "/slow" {
                until("the caller was told", || open.load(Ordering::Acquire));
            }
            conn.ok(request.target());
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\nFourmi-Deadline: 100\r\n\r\n");
    assert_eq!(client.answer().status(), 504);
    gate.store(true, Ordering::Release);
    for n in 0..20 {
        let path = format!("/quick/{n}");
        let answer = client.get(&path);
        assert_eq!((answer.status(), answer.text()), (200, path));
    }
}

#[test]
fn the_whole_answer_has_to_be_there_in_time() {
    let worker = Worker::scripted(|mut conn| {
        if conn.request().is_some() {
            let grpc = "Content-Type: application/grpc\r\nTrailer: grpc-status";
            conn.send(format!("HTTP/1.1 200 OK\r\n{grpc}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\0\0\0\0\0\r\n"));
            conn.until_closed();
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let rest = fourmi.client().send("GET / HTTP/1.1\r\nHost: a\r\nFourmi-Deadline: 1500\r\n\r\n").rest();
    assert!(rest.starts_with("HTTP/1.1 200") && !rest.contains("0\r\n\r\n"), "{rest}");
    fourmi.counts("fourmi_commands_total", &[("outcome", "timeout")], 1.0);
    // Who calls with gRPC is told why.
    let answer = h2::run(call(fourmi.port(), &[("grpc-timeout", "1500m")]));
    assert_eq!((answer.status, answer.trailer("grpc-status"), answer.body.len()), (200, Some("4"), 5));
    fourmi.counts("fourmi_commands_total", &[("outcome", "timeout"), ("protocol", "grpc")], 1.0);
}

async fn call(port: u16, headers: &[(&str, &str)]) -> Whole {
    let mut client = H2Client::connect(port).await;
    let all = [&[("content-type", "application/grpc"), ("te", "trailers")], headers].concat();
    client.send("POST", "/shop.Orders/Create", &all, Pieces::of("\0\0\0\0\0")).await.unwrap()
}

/// A `grpc-timeout` in microseconds, as Fourmi writes those of less than 100 s.
fn micros(whole: &Whole) -> u64 {
    let line = whole.header("grpc-timeout").unwrap();
    line.strip_suffix('u').unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

#[test]
fn the_timeout_of_a_grpc_call_is_anybodys_to_set() {
    let worker = H2Worker::replying(|_| {
        let body = Pieces::of("\0\0\0\0\0").with_trailers(&[("grpc-status", "0")]);
        http::Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    });
    let second = Setup::beside(&worker.address()).more("trusted: [10.0.0.0/8]").start();
    let first = Setup::beside(&format!("h2c://127.0.0.1:{}", second.port())).more("trusted: [10.0.0.0/8]").start();
    h2::run(async {
        // One hop, then two. What a stranger says in our own header is passed over all the way.
        for (port, hops) in [(second.port(), 1), (first.port(), 2)] {
            let answer = call(port, &[("grpc-timeout", "90S"), ("fourmi-deadline", "1")]).await;
            assert_eq!((answer.status, answer.trailer("grpc-status")), (200, Some("0")), "{answer:?}");
            let last = worker.requests().pop().unwrap();
            assert!((1..=90_000_000 - hops * 5_000).contains(&micros(&last)), "{last:?}");
            let ours = left(last.header("fourmi-deadline"));
            assert!((1..=90_000 - hops * 5).contains(&ours), "{ours}");
        }
        let answer = call(first.port(), &[("grpc-timeout", "300m"), ("delay-ms", "600000")]).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("4")), "{answer:?}");
        let sent = worker.requests().len();
        let answer = call(first.port(), &[("grpc-timeout", "0m")]).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("4")), "{answer:?}");
        assert_eq!(worker.requests().len(), sent);
        // What is no timeout is the worker's to judge.
        let answer = call(second.port(), &[("grpc-timeout", "soon")]).await;
        assert_eq!(answer.trailer("grpc-status"), Some("0"));
        let last = worker.requests().pop().unwrap();
        assert_eq!((last.header("grpc-timeout"), last.header("fourmi-deadline")), (Some("soon"), None));
    });
    first.counts("fourmi_commands_total", &[("outcome", "timeout")], 2.0);
}

#[test]
fn what_a_worker_sends_meanwhile_has_the_time_of_what_it_handles() {
    let stock = Worker::echo();
    let outbound = Arc::new(AtomicU16::new(0));
    let to = outbound.clone();
    let worker = Worker::replying_on(free_port(), move |request| {
        let context = match request.target() {
            "/stranger" => String::new(),
            _ => format!("traceparent: {}\r\n", request.header("traceparent").unwrap()),
        };
        let own = if request.target() == "/own" { "Fourmi-Deadline: 5000\r\n" } else { "" };
        let mut client = Client::connect(to.load(Ordering::Acquire));
        client.send(format!("GET / HTTP/1.1\r\nHost: stock\r\n{context}{own}\r\n")).answer();
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let services = format!("{{stock: {{address: \"{}\"}}}}", stock.address());
    let fourmi = Setup::beside(worker.address()).outbound(services).start();
    outbound.store(fourmi.outbound_port(), Ordering::Release);
    for (path, most) in [("/", Some(LONG - 5)), ("/own", Some(4995)), ("/stranger", None)] {
        assert_eq!(fourmi.get_with(path, "Fourmi-Deadline: 10m\r\n").status(), 200);
        let last = stock.last();
        match most {
            Some(most) => assert!((1..=most).contains(&left(last.header("fourmi-deadline"))), "{path}"),
            None => assert_eq!(last.header("fourmi-deadline"), None, "whose it is can only be guessed"),
        }
    }
}

#[test]
fn the_events_of_a_batch_share_its_time() {
    let (worker, _) = silent();
    let fourmi = Setup::beside(worker.address()).start();
    let event = |n| format!("{{\"specversion\":\"1.0\",\"type\":\"T\",\"source\":\"/s\",\"id\":\"{n}\"}}");
    let headers = "Content-Type: application/cloudevents-batch+json\r\nFourmi-Deadline: 1000\r\n";
    let answer = fourmi.post("/", headers, format!("[{},{}]", event(1), event(2)));
    let results = answer.json();
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&504.into(), &504.into()), "{results}");
    assert_eq!(results[1]["body"]["type"], "urn:fourmi:error:deadline", "{results}");
    assert_eq!(worker.requests().len(), 1, "the second had no time left");
}
