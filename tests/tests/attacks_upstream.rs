//! Hostile callers and hostile instances against the road to the instances: what runs twice, what is taken down, what
//! is never given back.

use fourmi_tests::h2::{H2Worker, Pieces, RawH2};
use fourmi_tests::peers::Resolver;
use fourmi_tests::{Fourmi, Setup, Worker, until};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn service(workers: &[&str], keys: &str) -> Fourmi {
    let all: Vec<String> = workers.iter().map(|w| format!("\"{w}\"")).collect();
    Setup::alone().outbound(format!("{{stock: {{address: [{}], {keys}}}}}", all.join(", "))).start()
}

fn get(fourmi: &Fourmi, path: &str, headers: &str) -> u16 {
    fourmi.outbound().send(format!("GET {path} HTTP/1.1\r\nHost: stock\r\n{headers}\r\n")).answer().status()
}

/// What the service says of itself.
fn stock(fourmi: &Fourmi) -> Value {
    fourmi.admin("GET", "/api/v1/upstreams").json()[0].clone()
}

fn targets(worker: &Worker, target: &str) -> usize {
    worker.requests().iter().filter(|r| r.target() == target).count()
}

/// Every kept connection dies under the command, which has run by then. That is forgiven once, whatever is kept.
#[test]
fn a_command_that_kills_connections_does_not_go_through_all_that_are_kept() {
    const KEPT: usize = 6;
    let barrier = Arc::new(Barrier::new(KEPT));
    let worker = Worker::scripted(move |mut conn| {
        while let Some(request) = conn.request() {
            match request.target() {
                "/poison" => return,
                _ => {
                    barrier.wait();
                    conn.send(OK);
                }
            }
        }
    });
    let fourmi = service(&[worker.address()], "retries: 0");
    let mut callers: Vec<_> = (0..KEPT).map(|_| fourmi.outbound()).collect();
    for caller in &mut callers {
        caller.send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n");
    }
    callers.iter_mut().for_each(|caller| assert_eq!(caller.answer().status(), 200));
    until("they are kept", || stock(&fourmi)["instances"][0]["idle_connections"] == KEPT);
    assert_eq!(get(&fourmi, "/poison", ""), 502);
    assert_eq!(targets(&worker, "/poison"), 2, "once over a kept connection, once over a new one");
}

/// The same over HTTP/2, where each attempt's connection ends.
#[test]
fn neither_does_one_that_kills_an_http2_connection() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let worker = Worker::scripted(move |mut conn| {
        // The preface, settings and a request come; whatever it is, it dies of it.
        if !conn.wire.some().unwrap_or_default().is_empty() {
            count.fetch_add(1, Ordering::AcqRel);
            conn.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
            let _ = conn.wire.some();
        }
    });
    let fourmi = service(&[&worker.address().replace("http://", "h2c://")], "retries: 0");
    assert_eq!(get(&fourmi, "/", ""), 502);
    assert!(seen.load(Ordering::Acquire) <= 2, "{seen:?}");
}

#[test]
fn a_read_with_a_body_keeps_it_when_reads_are_hedged() {
    let worker = Worker::echo();
    let fourmi = service(&[worker.address()], "hedge: 10s");
    let request = "GET /x HTTP/1.1\r\nHost: stock\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(fourmi.outbound().send(request).answer().status(), 200);
    assert_eq!(worker.last().text(), "body");
}

#[test]
fn a_body_kept_for_another_try_keeps_its_trailers() {
    let worker = H2Worker::replying(|_| http::Response::new(Pieces::default()));
    let fourmi = service(&[&worker.address().replace("http://", "h2c://")], "retries: 2");
    let mut raw = RawH2::connect(fourmi.outbound_port());
    let lines =
        [(":method", "PUT"), (":scheme", "http"), (":authority", "stock"), (":path", "/x"), ("content-length", "4")];
    raw.headers(1, &lines, false);
    raw.frame(0, 0, 1, b"body");
    raw.headers(1, &[("x-sum", "7")], true);
    raw.verdict(1);
    let request = worker.requests().pop().unwrap();
    assert_eq!((&request.body[..], request.trailer("x-sum")), (&b"body"[..], Some("7")));
}

/// Callers without patience and callers that never finish are no reason to leave a service alone.
#[test]
fn callers_cannot_open_the_circuit_breaker() {
    let worker = Worker::scripted(|mut conn| {
        while let Some(request) = conn.request() {
            match request.target() {
                "/slow" => drop(conn.until_closed()),
                _ => drop(conn.send(OK)),
            }
        }
    });
    let keys = "circuit_breaker: {failures: 0.5, least: 4, window: 60s, open: 60s}";
    let fourmi = service(&[worker.address()], keys);
    for _ in 0..6 {
        assert_eq!(get(&fourmi, "/slow", "Fourmi-Deadline: 20\r\n"), 504);
    }
    for method in ["PUT", "POST"] {
        for _ in 0..6 {
            let head =
                format!("{method} / HTTP/1.1\r\nHost: stock\r\nFourmi-Deadline: 1200\r\nContent-Length: 9\r\n\r\n");
            let mut caller = fourmi.outbound();
            caller.send(head);
            assert_eq!(caller.answer().status(), 408, "{method}");
        }
    }
    assert_eq!(get(&fourmi, "/", ""), 200);
    let stock = stock(&fourmi);
    assert_eq!((&stock["open_breakers"], &stock["instances"][0]["ejections"]), (&0.into(), &0.into()));
}

/// Two finders-out come back one after the other; the service is closed once, and a breaker taken away is not open.
#[test]
fn an_open_breaker_is_counted_once_and_not_for_ever() {
    let worker = Worker::answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let keys = "circuit_breaker: {failures: 0.5, least: 2, window: 60s, open: 60s}";
    let fourmi = service(&[worker.address()], keys);
    for _ in 0..2 {
        assert_eq!(get(&fourmi, "/", ""), 500);
    }
    assert_eq!((get(&fourmi, "/", ""), stock(&fourmi)["open_breakers"].clone()), (503, 1.into()));
    fourmi.rewrite(&fourmi.yaml().replace(keys, ""));
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    assert_eq!((get(&fourmi, "/", ""), stock(&fourmi)["open_breakers"].clone()), (500, 0.into()));
}

/// A bad answer that is kept while another instance is asked holds a place: it must not be the one that is waited for.
#[test]
fn an_answer_in_hand_does_not_wait_for_its_own_place() {
    let worker = Worker::answering("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    let keys = "retries: {attempts: 2, statuses: [503]}, concurrency: {max: 1, queue: 9, wait: 1h}";
    let fourmi = service(&[worker.address()], keys);
    assert_eq!(get(&fourmi, "/", ""), 503);
    until("nothing is held", || stock(&fourmi)["instances"][0]["in_flight"] == 0);
}

/// A service whose name turns out to be our own listener.
#[test]
fn commands_do_not_go_round() {
    let dns = Resolver::start();
    dns.has("me.test", 60, &["A 127.0.0.1"]);
    let more = format!("dns: {{nameservers: [\"{}\"]}}\nlimits: {{connections: 50}}\n", dns.address());
    let setup = Setup::alone().outbound("{stock: {address: \"http://me.test:1\"}}").more(&more);
    let fourmi = setup.start();
    fourmi.rewrite(&fourmi.yaml().replace("me.test:1\"", &format!("me.test:{}\"", fourmi.outbound_port())));
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    until("it is refused for what it is", || {
        let answer = fourmi.outbound().send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n").answer();
        answer.text().contains("this Fourmi itself")
    });
    assert!(fourmi.metrics().sum("fourmi_rejected_total", &[("reason", "overloaded")]) == 0.0);
}

/// Callers that leave at every phase; what they held comes back.
#[test]
fn whoever_leaves_gives_back_what_it_held() {
    let worker = Worker::scripted(|mut conn| {
        while let Some(head) = conn.head() {
            match head.target() {
                "/answer" => {
                    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome");
                    drop(conn.until_closed());
                }
                "/upgrade" => {
                    conn.send("HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
                    drop(conn.until_closed());
                }
                "/fine" => drop(conn.send(OK)),
                _ => drop(conn.until_closed()),
            }
        }
    });
    // Nobody takes the connection: a port whose queue is full is hard to have, one that drops packets is not ours.
    let nowhere = "http://10.255.255.1:9";
    let keys = "concurrency: {max: 8, queue: 50, wait: 1h}, retries: 0, healthchecks: {passive: {max_ejected: 0}}";
    let fourmi = service(&[worker.address()], keys);
    let lost = service(&[nowhere], keys);
    for _ in 0..3 {
        let mut callers = Vec::new();
        for request in [
            "GET /silent HTTP/1.1\r\nHost: stock\r\n\r\n",
            "POST /upload HTTP/1.1\r\nHost: stock\r\nContent-Length: 100\r\n\r\nsome",
            "PUT /upload HTTP/1.1\r\nHost: stock\r\nContent-Length: 100\r\n\r\nsome",
            "POST /chunked HTTP/1.1\r\nHost: stock\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
            "GET /answer HTTP/1.1\r\nHost: stock\r\n\r\n",
            "GET /upgrade HTTP/1.1\r\nHost: stock\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "CONNECT stock:80 HTTP/1.1\r\nHost: stock:80\r\n\r\n",
        ] {
            for _ in 0..4 {
                let mut caller = fourmi.outbound();
                caller.send(request);
                callers.push(caller);
            }
        }
        let mut there: Vec<_> = (0..3).map(|_| lost.outbound()).collect();
        for caller in &mut there {
            caller.send("GET /connecting HTTP/1.1\r\nHost: stock\r\n\r\n");
        }
        until("places are taken and commands wait", || {
            let now = stock(&fourmi);
            now["instances"][0]["in_flight"].as_u64() >= Some(8) && now["waiting"].as_u64() >= Some(4)
        });
        // Who only closes may still read, and keeps its place.
        callers.into_iter().chain(there).for_each(fourmi_tests::Client::reset);
        for fourmi in [&fourmi, &lost] {
            until("all is given back", || {
                let now = stock(fourmi);
                now["instances"][0]["in_flight"] == 0
                    && now["waiting"] == 0
                    && fourmi.metrics().sum("fourmi_commands_in_flight", &[]) == 0.0
            });
        }
    }
    assert_eq!(get(&fourmi, "/fine", ""), 200, "and there is room");
}

/// Uploads that break off, over both protocols, are not held against the instance.
#[test]
fn broken_uploads_eject_nobody() {
    let one = Worker::scripted(|mut conn| while conn.request().is_some() {});
    let two = H2Worker::replying(|_| http::Response::new(Pieces::default()));
    let keys = "retries: 0, healthchecks: {passive: {unhealthy: {tcp_failures: 1, timeouts: 1}}}, \
                circuit_breaker: {failures: 0.1, least: 1, open: 1h}";
    for address in [one.address().to_owned(), two.address().replace("http://", "h2c://")] {
        let fourmi = service(&[&address, &address.replace("127.0.0.1", "localhost")], keys);
        for n in 0..6 {
            let mut caller = fourmi.outbound();
            caller.send("POST / HTTP/1.1\r\nHost: stock\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n");
            until("it is on its way", || fourmi.metrics().sum("fourmi_commands_in_flight", &[]) == 1.0);
            match n % 3 {
                0 => drop(caller.send("zz\r\n")),
                1 => caller.half_close(),
                _ => caller.reset(),
            }
            until("it is over", || fourmi.metrics().sum("fourmi_commands_in_flight", &[]) == 0.0);
        }
        let now = stock(&fourmi);
        assert_eq!(now["open_breakers"], 0, "{now}");
        for instance in now["instances"].as_array().unwrap() {
            assert_eq!((&instance["ejections"], &instance["failures"]["tcp"]), (&0.into(), &0.into()), "{now}");
        }
    }
}

#[test]
fn an_instance_that_is_named_by_nothing_is_not_all_of_them() {
    let worker = Worker::answering(OK);
    let fourmi = service(&[worker.address()], "retries: 0");
    for bad in ["", "%ff", "%"] {
        let path = format!("/api/v1/upstreams/health?service=stock&state=down&instance={bad}");
        assert!(fourmi.admin("POST", &path).status() >= 400, "{bad}");
    }
    assert_eq!(get(&fourmi, "/", ""), 200);
}

/// The same as above where both sides share connections.
#[test]
fn streams_that_are_left_give_back_what_they_held() {
    let worker = H2Worker::replying(|_| http::Response::new(Pieces::of("ok")));
    let fourmi = service(&[&worker.address()], "concurrency: {max: 4, queue: 50, wait: 1h}, retries: 0");
    let running = || fourmi.metrics().sum("fourmi_commands_in_flight", &[]);
    for round in 0..4 {
        let mut raw = RawH2::connect(fourmi.outbound_port());
        let lines = |method| {
            [(":method", method), (":scheme", "http"), (":authority", "stock"), (":path", "/"), ("delay-ms", "60000")]
        };
        for n in 0..12 {
            raw.headers(2 * n + 1, &lines(if n % 2 == 0 { "GET" } else { "PUT" }), n % 3 != 0);
        }
        until("they are on their way", || running() == 12.0);
        match round % 2 {
            0 => (0..12).for_each(|n| raw.frame(3, 0, 2 * n + 1, &8_u32.to_be_bytes())),
            _ => drop(raw),
        }
        until("all is given back", || {
            let now = stock(&fourmi);
            now["instances"][0]["in_flight"] == 0 && now["waiting"] == 0 && running() == 0.0
        });
    }
    assert_eq!(get(&fourmi, "/", ""), 200, "and there is room");
}

/// Whoever asks for what takes long and gives it little time, many times at once, takes no instance from the others.
#[test]
fn deadlines_eject_nobody_who_answers() {
    let worker = || {
        Worker::scripted(|mut conn| {
            while let Some(request) = conn.request() {
                match request.target() {
                    "/slow" => drop(conn.until_closed()),
                    _ => drop(conn.send(OK)),
                }
            }
        })
    };
    let (one, two) = (worker(), worker());
    let keys = "algorithm: round-robin, circuit_breaker: {failures: 0.3, least: 4, window: 60s, open: 60s}";
    let fourmi = service(&[one.address(), two.address()], keys);
    let mut hostile: Vec<_> = (0..16).map(|_| fourmi.outbound()).collect();
    for caller in &mut hostile {
        caller.send("GET /slow HTTP/1.1\r\nHost: stock\r\nFourmi-Deadline: 1500\r\n\r\n");
    }
    until("they are there", || targets(&one, "/slow") + targets(&two, "/slow") == 16);
    for _ in 0..8 {
        assert_eq!(get(&fourmi, "/", ""), 200);
    }
    hostile.iter_mut().for_each(|caller| assert_eq!(caller.answer().status(), 504));
    for _ in 0..8 {
        assert_eq!(get(&fourmi, "/", ""), 200);
    }
    let now = stock(&fourmi);
    assert!(now["instances"].as_array().unwrap().iter().all(|i| i["ejections"] == 0), "{now}");
    // One that answers nobody is another matter.
    let silent = Worker::scripted(|mut conn| while conn.request().is_some() {});
    let fourmi = service(&[silent.address(), one.address()], "algorithm: round-robin, retries: 0");
    until("it is ejected", || {
        get(&fourmi, "/", "Fourmi-Deadline: 1100\r\n");
        stock(&fourmi)["instances"][0]["ejections"] == 1
    });
}

/// The next hop has less of a short deadline, and says first that it was over.
#[test]
fn neither_do_deadlines_that_the_next_hop_tells_of() {
    let worker = || {
        Worker::replying(|request| match request.target() {
            "/slow" => b"HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => OK.into(),
        })
    };
    let (one, two) = (worker(), worker());
    let keys = "circuit_breaker: {failures: 0.9, least: 6, window: 60s, open: 60s}";
    let fourmi = service(&[one.address(), two.address()], keys);
    for _ in 0..12 {
        assert_eq!(get(&fourmi, "/slow", "Fourmi-Deadline: 500\r\n"), 504);
    }
    assert_eq!(get(&fourmi, "/", ""), 200);
    let ejections = || {
        let now = stock(&fourmi);
        now["instances"].as_array().unwrap().iter().map(|i| i["ejections"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(ejections(), 0);
    until("without a deadline it is their own", || {
        get(&fourmi, "/slow", "");
        ejections() > 0
    });
}
