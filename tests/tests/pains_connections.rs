//! Field pains D, E and F: connections, HTTP/2 and gRPC, streams. Each name begins with the row it proves.

use fourmi_tests::h2::{self, H2Client, H2Worker, Pieces};
use fourmi_tests::{Client, Setup, Worker, eventually, until};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[test]
fn d1_stale_keep_alive_race() {
    // The worker closes each connection 20 ms after its answer: about when the next request leaves.
    let worker = Worker::scripted(|mut conn| {
        while conn.request().is_some() {
            conn.ok("ok");
            conn.wire.stream.read_timeout(Some(Duration::from_millis(20)));
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    for n in 0..150 {
        assert_eq!(client.get("/").status(), 200, "request {n}");
        std::thread::sleep(Duration::from_millis(18 + n % 5));
    }
    assert!(worker.connections() > 1, "the race was not run");
}

#[test]
fn d2_a_post_that_may_have_run_is_not_sent_again() {
    let worker = Worker::scripted(|mut conn| {
        // Serves one, then takes the next and goes away with it.
        if conn.request().is_some() {
            conn.ok("ok");
            conn.request();
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    assert_eq!(client.get("/").status(), 200);
    let answer = client.post("/pay", "", "42");
    assert_eq!(answer.status(), 502);
    assert_eq!(worker.requests().iter().filter(|r| r.method() == "POST").count(), 1, "it ran at most once");
    fourmi.counts("fourmi_commands_total", &[("outcome", "unreachable")], 1.0);
}

#[test]
fn d2_a_post_that_cannot_have_run_is_sent_on_a_fresh_connection() {
    let worker = Worker::scripted(|mut conn| {
        if conn.request().is_some() {
            conn.ok("ok");
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    for n in 0..20 {
        assert_eq!(client.post("/pay", "", "42").status(), 200, "request {n}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(worker.requests().len(), 20);
}

#[test]
fn d3_idle_connections_to_workers_end_before_workers_end_them() {
    let closed = Arc::new(Mutex::new(None));
    let note = closed.clone();
    let worker = Worker::scripted(move |mut conn| {
        if conn.request().is_some() {
            conn.ok("ok");
            let since = Instant::now();
            conn.until_closed();
            *note.lock().unwrap() = Some(since.elapsed());
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    fourmi.get("/");
    let after = eventually("fourmi closes the idle connection", || *closed.lock().unwrap());
    assert!(after < Duration::from_secs(5), "Node and PHP close after 5 s, Fourmi after {after:?}");
    assert!(after > Duration::from_secs(1), "kept for use at all: {after:?}");
}

#[test]
fn d4_the_idle_time_begins_when_the_connection_stands() {
    // A full accept queue drops SYNs; they are sent again after a second.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        filling.push(stream);
        assert!(filling.len() < 10_000, "the queue is never full");
    }
    let config = "timeouts: {upstream_idle: 200ms, connect: 10s}";
    let fourmi = Setup::beside(&format!("http://{address}")).more(config).spawn();
    fourmi.wait_live();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(600));
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut wire = fourmi_tests::wire::Wire::new(fourmi_tests::net::Stream::Tcp(stream));
                while wire.head().is_ok() {
                    let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
            });
        }
    });
    assert_eq!(fourmi.get("/").status(), 200);
}

#[test]
fn d6_the_workers_own_answer_passes() {
    let workers: Vec<Worker> =
        (0..2).map(|_| Worker::answering("HTTP/1.1 503 Busy\r\nX-Mine: 1\r\nContent-Length: 4\r\n\r\nmine")).collect();
    let fourmi = Setup::beside_all(workers.iter().map(|w| w.address())).start();
    let answer = fourmi.post("/", "", "x");
    assert_eq!((answer.status(), answer.header("x-mine"), answer.text()), (503, Some("1"), "mine".into()));
    assert_eq!(workers.iter().map(|w| w.requests().len()).sum::<usize>(), 1);
}

#[test]
fn d8_few_descriptors_and_many_callers() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).under(&["prlimit", "--nofile=64:64"]).start();
    let callers: Vec<Option<Client>> = (0..200)
        .map(|_| TcpStream::connect_timeout(&([127, 0, 0, 1], fourmi.port()).into(), Duration::from_millis(200)).ok())
        .map(|s| s.map(|s| Client { wire: fourmi_tests::wire::Wire::new(fourmi_tests::net::Stream::Tcp(s)) }))
        .collect();
    assert_eq!(fourmi.admin("GET", "/livez").status(), 200, "admin lives");
    let before = fourmi.cpu();
    std::thread::sleep(Duration::from_millis(500));
    let spent = fourmi.cpu() - before;
    assert!(spent < Duration::from_millis(200), "accept spins: {spent:?} in 500 ms");
    drop(callers);
    until("callers are served again", || {
        let mut client = fourmi.client();
        client.try_send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.wire.message(fourmi_tests::wire::Kind::AnswerTo("GET")).is_ok_and(|a| a.status() == 200)
    });
}

#[test]
fn d9_a_late_answer_never_reaches_the_next_request() {
    let worker = Worker::scripted(|mut conn| {
        while let Some(request) = conn.request() {
            if request.target() == "/slow" {
                std::thread::sleep(Duration::from_millis(600));
            }
            conn.ok(request.target());
        }
    });
    let fourmi = Setup::beside(worker.address()).more("timeouts: {answer: 100ms}").start();
    let mut client = fourmi.client();
    assert_eq!(client.get("/slow").status(), 504);
    for _ in 0..10 {
        let answer = fourmi.client().get("/quick");
        assert_eq!((answer.status(), answer.text()), (200, "/quick".into()));
        std::thread::sleep(Duration::from_millis(80));
    }
}

fn hello_h2(streams: u32) -> H2Worker {
    H2Worker::with_streams(streams, |request| http::Response::new(Pieces::of(request.path.clone())))
}

#[test]
fn e4_more_at_once_than_the_peer_allows() {
    let worker = hello_h2(5);
    let fourmi = Setup::beside(&worker.address()).start();
    h2::run(async {
        let client = H2Client::connect(fourmi.port()).await;
        let calls: Vec<_> = (0..60)
            .map(|n| {
                let mut client = client.clone();
                tokio::spawn(async move {
                    let path = format!("/{n}");
                    let answer = client.send("GET", &path, &[("delay-ms", "10")], Pieces::default()).await.unwrap();
                    assert_eq!((answer.status, answer.body), (200, path.into()));
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    });
}

#[test]
fn e5_going_away_gracefully_loses_no_stream() {
    let worker = Worker::echo();
    let mut fourmi = Setup::beside(worker.address()).start();
    h2::run(async {
        let client = H2Client::connect(fourmi.port()).await;
        let calls: Vec<_> = (0..25)
            .map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move { client.get("/slow/500").await.status })
            })
            .collect();
        while worker.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fourmi.signal(nix::sys::signal::SIGTERM);
        for call in calls {
            assert_eq!(call.await.unwrap(), 200);
        }
    });
    assert_eq!(fourmi.ends(), 0);
}

#[test]
fn e6_after_goaway_new_calls_take_a_new_connection() {
    let worker = hello_h2(100);
    let fourmi = Setup::beside(&worker.address()).start();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        assert_eq!(client.get("/first").await.status, 200);
        let mut long = client.clone();
        let long =
            tokio::spawn(async move { long.send("GET", "/long", &[("delay-ms", "800")], Pieces::default()).await });
        while worker.requests().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        worker.go_away();
        for _ in 0..10 {
            assert_eq!(client.get("/next").await.status, 200);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(long.await.unwrap().unwrap().status, 200, "what was in flight is finished");
    });
    assert_eq!(worker.connections(), 2);
}

#[test]
fn e7_trailers_only_is_still_an_error() {
    let worker = H2Worker::replying(|request| {
        let reply = http::Response::builder().header("content-type", "application/grpc");
        match request.path.as_str() {
            "/shop.Stock/Only" => reply.header("grpc-status", "14").body(Pieces::default()).unwrap(),
            "/shop.Stock/Late" => reply.body(Pieces::of(vec![0; 5]).with_trailers(&[("grpc-status", "14")])).unwrap(),
            _ => reply.body(Pieces::of(vec![0; 5]).with_trailers(&[("grpc-status", "0")])).unwrap(),
        }
    });
    let fourmi = Setup::beside(&worker.address()).start();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        let mut call = async |path: &str| client.send("POST", path, &grpc, Pieces::of(vec![0; 5])).await.unwrap();
        let only = call("/shop.Stock/Only").await;
        assert_eq!((only.header("grpc-status"), only.ended_with_headers), (Some("14"), true));
        let late = call("/shop.Stock/Late").await;
        assert_eq!((late.header("grpc-status"), late.trailer("grpc-status")), (None, Some("14")));
        let fine = call("/shop.Stock/Fine").await;
        assert_eq!((fine.trailer("grpc-status"), fine.body.len()), (Some("0"), 5));
    });
    let grpc = ("protocol", "grpc");
    fourmi.counts("fourmi_commands_total", &[grpc, ("outcome", "server_error")], 2.0);
    fourmi.counts("fourmi_commands_total", &[grpc, ("outcome", "success")], 1.0);
}

#[test]
fn e7_our_own_errors_are_grpc_errors_to_grpc_callers() {
    let nobody = fourmi_tests::free_port();
    let fourmi = Setup::beside(&format!("h2c://127.0.0.1:{nobody}")).more("timeouts: {hold: 100ms}").spawn();
    fourmi.wait_live();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        let answer = client.send("POST", "/a.B/C", &grpc, Pieces::of(vec![0; 5])).await.unwrap();
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")));
        assert!(answer.header("grpc-message").is_some());
    });
}

#[test]
fn e8_te_trailers_reaches_the_worker_and_nothing_else_of_te() {
    let worker = hello_h2(10);
    let fourmi = Setup::beside(&worker.address()).start();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        client.send("POST", "/a.B/C", &grpc, Pieces::of(vec![0; 5])).await.unwrap();
    });
    assert_eq!(worker.requests().pop().unwrap().header("te"), Some("trailers"));
    fourmi.get_with("/", "TE: gzip, trailers;q=0.5\r\nConnection: TE\r\n");
    assert!([None, Some("trailers")].contains(&worker.requests().pop().unwrap().header("te")));
}

#[test]
fn e9_cookie_crumbs_are_one_line() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("limits: {headers: 50}").start();
    let crumbs: Vec<String> = (0..60).map(|n| format!("c{n}={n}")).collect();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let lines: Vec<(&str, &str)> = crumbs.iter().map(|c| ("cookie", c.as_str())).collect();
        assert_eq!(client.send("GET", "/", &lines, Pieces::default()).await.unwrap().status, 200);
    });
    assert_eq!(worker.last().all("cookie"), [crumbs.join("; ")]);
}

#[test]
fn http_2_and_http_1_share_a_port_and_keep_their_meaning() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let answer = client.send("POST", "/a?b=c", &[("x-one", "1")], Pieces::of("hello")).await.unwrap();
        let echo: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((echo["target"].as_str(), echo["body"].as_str()), (Some("/a?b=c"), Some("hello")));
        assert_eq!(client.get("/status/404").await.status, 404);
    });
    assert_eq!(worker.last().header("host"), Some(format!("127.0.0.1:{}", fourmi.port()).as_str()));
    assert_eq!(fourmi.get("/").status(), 200);
    fourmi.counts("fourmi_commands_total", &[("protocol", "http/2")], 2.0);
    fourmi.counts("fourmi_commands_total", &[("protocol", "http/1.1")], 1.0);
}

#[test]
fn f1_events_are_not_held() {
    let worker = Worker::scripted(|mut conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
            for event in ["data: a\r\r", "data: b\r\n\r\n", "data: c\n\n", "x"] {
                conn.send(format!("{:x}\r\n{event}\r\n", event.len()));
                // Silence: whatever is held back would stay held back.
                if conn.wire.some().is_ok_and(|b| b.is_empty()) {
                    return;
                }
            }
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    let started = Instant::now();
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().header("content-type"), Some("text/event-stream"));
    assert_eq!(client.wire.chunk().unwrap().unwrap(), b"data: a\r\r");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn f3_nothing_is_decoded_on_the_way() {
    let packed: &[u8] =
        &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 7, 0, 0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0];
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nETag: \"s\"\r\nContent-Length: {}\r\n\r\n", packed.len())
            .into_bytes();
    bytes.extend_from_slice(packed);
    let worker = Worker::answering(bytes);
    let fourmi = Setup::beside(worker.address()).start();
    let answer = fourmi.get_with("/", "Accept-Encoding: gzip\r\n");
    assert_eq!(answer.body, packed);
    assert_eq!((answer.header("content-encoding"), answer.header("etag")), (Some("gzip"), Some("\"s\"")));
    assert_eq!(answer.header("content-length"), Some(packed.len().to_string().as_str()));
    assert_eq!(worker.last().header("accept-encoding"), Some("gzip"));
}

#[test]
fn f5_reload_does_not_touch_open_tunnels() {
    let worker = Worker::scripted(|mut conn| {
        if conn.head().is_some() {
            conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            while conn.wire.some().is_ok_and(|bytes| !bytes.is_empty() && conn.wire.send(bytes).is_ok()) {}
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGVzdA==\r\n\r\n",
    );
    assert_eq!(client.answer_head().status(), 101);
    for n in 0..5 {
        fourmi.rewrite(&format!("{}tags: {{round: r{n}}}\n", fourmi.yaml()));
        assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
        client.send("ping");
        assert_eq!(client.wire.exactly(4).unwrap(), b"ping");
    }
}
