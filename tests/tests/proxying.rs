//! What goes in one side comes out of the other: HTTP/1, bodies, streams, upgrades.

use fourmi_tests::wire::{Kind, Wire};
use fourmi_tests::{Client, Setup, Worker, until};
use std::time::{Duration, Instant};

/// Bytes that show where they were cut or doubled.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n.wrapping_mul(31) ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}

#[test]
fn methods_targets_and_headers_arrive_as_sent() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let head = format!("{method} /a/b?x=1&y=%20z HTTP/1.1\r\nHost: shop.example\r\nX-One: 1\r\nX-One: 2\r\n");
        let answer = fourmi.client().send(format!("{head}Content-Length: 4\r\n\r\nbody")).answer();
        assert_eq!(answer.status(), 200, "{method}");
        let seen = worker.last();
        assert_eq!(seen.method(), method);
        assert_eq!(seen.target(), "/a/b?x=1&y=%20z");
        assert_eq!(seen.all("x-one"), ["1", "2"]);
        assert_eq!(seen.header("host"), Some("shop.example"));
        assert_eq!(seen.text(), "body");
    }
}

#[test]
fn answers_without_a_body_stay_without_one_and_the_connection_goes_on() {
    let worker = Worker::replying(|request| {
        match request.target() {
            "/204" => "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 7\r\n\r\n",
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        }
        .into()
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    assert_eq!(client.get("/204").status(), 204);
    let not_modified = client.get("/304");
    assert_eq!((not_modified.status(), not_modified.header("etag")), (304, Some("\"1\"")));
    let head = client.send("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n").answer_to("HEAD");
    assert_eq!((head.status(), head.header("content-length")), (200, Some("1234")));
    assert_eq!(client.get("/empty").body, b"");
}

#[test]
fn connections_are_kept_on_both_sides() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(worker.connections(), 1);
    // Two requests in one piece are answered in order.
    client.send("GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().json()["target"], "/one");
    assert_eq!(client.answer().json()["target"], "/two");
    // Who says close gets it.
    let answer = client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").answer();
    assert!(answer.says("connection", "close"));
    assert_eq!(client.rest(), "");
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop() {
    let worker = Worker::answering(
        "HTTP/1.1 200 OK\r\nConnection: x-private\r\nX-Private: 1\r\nX-Public: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n",
    );
    let fourmi = Setup::beside(worker.address()).start();
    let answer = fourmi.get_with(
        "/",
        "Connection: x-secret, keep-alive\r\nX-Secret: 1\r\nProxy-Connection: keep-alive\r\nX-Kept: 1\r\n",
    );
    let seen = worker.last();
    assert_eq!(seen.header("x-kept"), Some("1"));
    for gone in ["x-secret", "proxy-connection", "keep-alive"] {
        assert_eq!(seen.header(gone), None, "{gone} reached the worker");
    }
    assert_eq!(answer.header("x-public"), Some("1"));
    assert_eq!((answer.header("x-private"), answer.header("keep-alive")), (None, None));
}

#[test]
fn chunked_bodies_and_trailers_pass_both_ways() {
    let worker = Worker::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let fourmi = Setup::beside(worker.address()).start();
    let answer = fourmi
        .client()
        .send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nX-Check: ok\r\n\r\n")
        .answer();
    assert_eq!(answer.text(), "abcdefg");
    assert!(answer.trailers.iter().any(|(n, v)| n.eq_ignore_ascii_case("x-sum") && v == "7"), "{answer:?}");
    let seen = worker.last();
    assert_eq!(seen.text(), "hello!");
    assert!(seen.trailers.iter().any(|(n, v)| n.eq_ignore_ascii_case("x-check") && v == "ok"), "{seen:?}");
}

#[test]
fn an_old_caller_gets_what_it_understands() {
    let worker = Worker::replying(|request| match request.target() {
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(),
    });
    let fourmi = Setup::beside(worker.address()).start();
    // Chunks are unknown to HTTP/1.0: the end of the connection is the end of the body.
    let all = fourmi.client().send("GET /chunked HTTP/1.0\r\n\r\n").rest();
    assert!(all.ends_with("\r\n\r\nhello"), "{all}");
    assert!(!all.to_ascii_lowercase().contains("transfer-encoding"), "{all}");
}

#[test]
fn big_bodies_pass_intact_while_they_come() {
    let worker = Worker::mirror();
    let fourmi = Setup::beside(worker.address()).start();
    let before = fourmi.memory();
    let body = pattern(48 << 20);
    for chunked in [false, true] {
        let mut client = fourmi.client();
        let mut sender = Wire::new(client.wire.stream.twin());
        let body = &body;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if chunked {
                    sender.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
                    for piece in body.chunks(70_001) {
                        sender.send(format!("{:x}\r\n", piece.len())).unwrap();
                        sender.send(piece).unwrap();
                        sender.send("\r\n").unwrap();
                    }
                    sender.send("0\r\n\r\n").unwrap();
                } else {
                    sender
                        .send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()))
                        .unwrap();
                    sender.send(body).unwrap();
                }
            });
            let answer = client.answer();
            assert_eq!(answer.body.len(), body.len());
            assert!(answer.body == *body, "the body changed on the way");
        });
    }
    let grown = fourmi.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "48 MiB through Fourmi grew it by {grown} bytes: a body was collected");
}

#[test]
fn events_pass_at_once_and_an_early_answer_is_not_held_back() {
    // The answer begins before the request's body has ended.
    let worker = Worker::mirror();
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for word in ["one", "two", "three"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len()));
        if word == "one" {
            assert_eq!(client.answer_head().status(), 200);
        }
        assert_eq!(client.wire.chunk().unwrap().unwrap(), word.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert!(client.wire.chunk().unwrap().is_err(), "the last chunk");
}

#[test]
fn a_worker_may_answer_without_reading_the_body() {
    let worker = Worker::scripted(|mut conn| {
        if conn.head().is_some() {
            conn.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            conn.wire.stream.shutdown(std::net::Shutdown::Write);
            conn.until_closed();
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n");
    client.try_send(vec![b'x'; 100_000]);
    let answer = client.answer();
    assert_eq!((answer.status(), answer.text()), (403, "no".into()));
}

#[test]
fn half_closing_callers_get_their_answer() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    client.send("GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\n").half_close();
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn upgraded_connections_carry_bytes_both_ways() {
    for protocol in ["websocket", "foo/2"] {
        let worker = Worker::scripted(move |mut conn| {
            let Some(request) = conn.head() else { return };
            assert!(request.says("connection", "upgrade"));
            assert_eq!(request.header("upgrade"), Some(protocol));
            // The first bytes come in one piece with the answer.
            conn.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\nwelcome "
            ));
            while let Ok(bytes) = conn.wire.some() {
                if bytes.is_empty() {
                    break;
                }
                conn.send(bytes.to_ascii_uppercase());
            }
            conn.send("bye");
            conn.wire.stream.shutdown(std::net::Shutdown::Write);
        });
        let fourmi = Setup::beside(worker.address()).start();
        let mut client = fourmi.client();
        client.send(format!("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Key: dGVzdA==\r\n\r\n"));
        let answer = client.answer_head();
        assert_eq!(answer.status(), 101);
        assert_eq!(answer.header("upgrade"), Some(protocol));
        assert_eq!(client.wire.exactly(8).unwrap(), b"welcome ");
        for word in ["hello", "\u{0}\u{1}binary"] {
            client.send(word);
            assert_eq!(client.wire.exactly(word.len()).unwrap(), word.to_ascii_uppercase().as_bytes());
        }
        // An end in one direction is an end in that direction only.
        client.half_close();
        assert_eq!(client.rest(), "bye");
    }
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer() {
    let worker = Worker::answering("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.answer().status(), 426);
}

#[test]
fn a_worker_behind_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::echo_at(&folder.path().join("w.sock"));
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    for path in ["/a", "/b"] {
        assert_eq!(client.get(path).json()["target"], path);
    }
    assert_eq!(worker.connections(), 1);
}

#[test]
fn several_workers_share_the_work_and_a_dead_one_costs_nothing() {
    let workers: Vec<Worker> = (0..3).map(|_| Worker::echo()).collect();
    let dead = fourmi_tests::free_port();
    let dead = format!("http://127.0.0.1:{dead}");
    let addresses = workers.iter().map(|w| w.address()).chain([dead.as_str()]);
    let fourmi = Setup::beside_all(addresses).start();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = fourmi.client();
                for _ in 0..10 {
                    assert_eq!(client.get("/slow/5").status(), 200);
                }
            });
        }
    });
    let shares: Vec<usize> = workers.iter().map(|w| w.requests().len()).collect();
    assert_eq!(shares.iter().sum::<usize>(), 60);
    assert!(shares.iter().all(|n| *n >= 10), "least in flight shares evenly: {shares:?}");
}

#[test]
fn timeouts_say_whose_fault_it_was() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("timeouts: {head: 300ms, idle: 400ms, answer: 300ms}").start();
    // The worker does not answer.
    let answer = fourmi.get("/slow/2000");
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], 504);
    assert!(problem["type"].as_str().is_some_and(|t| t.ends_with("timeout")), "{problem}");
    assert!(problem.to_string().contains("upstream"), "the problem names the side: {problem}");
    // The caller does not finish its head.
    let started = Instant::now();
    let mut slow = fourmi.client();
    slow.send("GET / HTTP/1.1\r\nHost:");
    let rest = slow.rest();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    assert!(started.elapsed() < Duration::from_secs(5));
    // The caller keeps its connection for nothing.
    let mut idle = fourmi.client();
    assert_eq!(idle.get("/").status(), 200);
    assert_eq!(idle.rest(), "");
}

#[test]
fn the_whole_deadline_cuts_what_drips() {
    let worker = Worker::scripted(|mut conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            while conn.send("x") {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let fourmi = Setup::beside(worker.address()).more("timeouts: {whole: 400ms}").start();
    let started = Instant::now();
    let all = fourmi.client().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").rest();
    assert!(all.starts_with("HTTP/1.1 200"), "{all}");
    assert!(started.elapsed() < Duration::from_secs(5));
    fourmi.counts("fourmi_commands_total", &[("outcome", "timeout")], 1.0);
}

#[test]
fn forwarded_addresses_are_told_and_believed_from_trusted_networks_only() {
    let worker = Worker::echo();
    let trusting = Setup::beside(worker.address()).start();
    let answer = trusting.get_with("/", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n");
    assert_eq!(answer.seen("x-forwarded-for").as_deref(), Some("203.0.113.9, 127.0.0.1"));
    assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("https"));
    let wary = Setup::beside(worker.address()).more("trusted: [10.0.0.0/8]").start();
    let answer = wary.get_with("/", "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n");
    assert_eq!(answer.seen("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(answer.seen("x-forwarded-proto").as_deref(), Some("http"));
}

#[test]
fn proxy_protocol_of_trusted_peers_is_read() {
    let worker = Worker::echo();
    let v1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([203, 0, 113, 9, 192, 0, 2, 1, 0x12, 0x67, 0, 80]);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".to_vec();
    let fourmi = Setup::beside(worker.address()).inbound("proxy_protocol: true").start();
    let ask = |prefix: &[u8]| {
        let mut client = fourmi.client();
        client.send(prefix).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().seen("x-forwarded-for")
    };
    assert_eq!(ask(&v1).as_deref(), Some("203.0.113.9"));
    assert_eq!(ask(&v2).as_deref(), Some("203.0.113.9"));
    assert_eq!(ask(&local).as_deref(), Some("127.0.0.1"));
    // A broken header is no request.
    let rest = fourmi.client().send("PROXY TCP4 nonsense\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").rest();
    assert!(!rest.starts_with("HTTP/1.1 200"), "{rest}");
}

#[test]
fn connections_over_the_limit_are_told_so() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("limits: {connections: 4}").start();
    let held: Vec<Client> = (0..4)
        .map(|_| {
            let mut client = fourmi.client();
            assert_eq!(client.get("/").status(), 200);
            client
        })
        .collect();
    let mut fifth = fourmi.client();
    let rest = fifth.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").rest();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 503"), "{rest}");
    drop(held);
    until("a place is free again", || {
        let mut client = fourmi.client();
        client.try_send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.wire.message(Kind::AnswerTo("GET")).is_ok_and(|a| a.status() == 200)
    });
}
