//! Field pains D: connections, pools, retries, descriptors. Each name begins with the row it proves.

use fourmi_tests::patience::{eventually_or, patience};
use fourmi_tests::{Client, Setup, Worker, eventually, run_fourmi, until};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
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

#[test]
fn d5_after_a_burst_connections_and_memory_are_given_back() {
    const BURST: usize = 1000;
    // Nobody is answered before all are there.
    let gate = Arc::new((Mutex::new(0), Condvar::new()));
    let open = Arc::new(AtomicUsize::new(0));
    let (shared, count) = (gate.clone(), open.clone());
    let worker = Worker::scripted(move |mut conn| {
        let mut counted = false;
        while let Some(request) = conn.request() {
            if !std::mem::replace(&mut counted, true) {
                count.fetch_add(1, Ordering::AcqRel);
            }
            if request.target() == "/burst" {
                let (waiting, all_there) = &*shared;
                let mut waiting = waiting.lock().unwrap();
                *waiting += 1;
                all_there.notify_all();
                drop(all_there.wait_timeout_while(waiting, patience(), |n| *n < BURST).unwrap());
            }
            conn.ok("x".repeat(2000));
        }
        if counted {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    });
    let fourmi = Setup::beside(worker.address()).more("timeouts: {upstream_idle: 500ms, idle: 1s}").start();
    for _ in 0..50 {
        assert_eq!(fourmi.get("/").status(), 200);
    }
    let before = fourmi.memory();
    let mut callers: Vec<Client> = (0..BURST)
        .map(|_| {
            let mut client = fourmi.client();
            client.send("GET /burst HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    for caller in &mut callers {
        assert_eq!(caller.answer().status(), 200);
    }
    assert_eq!(*gate.0.lock().unwrap(), BURST, "all at once");
    let most = fourmi.memory();
    until("idle connections to the worker are closed", || open.load(Ordering::Acquire) == 0);
    // The callers stay: whoever is idle is shown the door, too.
    for caller in &mut callers {
        assert_eq!(caller.rest(), "");
    }
    let within = |now: u64| now as f64 <= before as f64 * 1.2;
    let show = || format!("resident: {before} before, {most} in the burst, {} when idle again", fourmi.memory());
    eventually_or("the memory is given back", || within(fourmi.memory()).then_some(()), show);
}

#[test]
fn d7_a_setting_of_retries_is_never_silently_ignored() {
    let worker = Worker::echo();
    let setup = Setup::beside(worker.address()).more("commands: {retry: {attempts: 3}}");
    let file = setup.folder().join("retry.yaml");
    std::fs::write(&file, setup.yaml()).unwrap();
    let ended = run_fourmi(&["check", "--config", &file.display().to_string()]);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.code == 78 && said.contains("`attempts`") && said.contains("max_attempts"), "{said}");
}
