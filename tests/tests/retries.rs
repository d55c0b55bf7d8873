//! What is sent again, how often, and what stops it: retries, budget, hedging, circuit breaker, room at an instance.

use fourmi_tests::wire::Message;
use fourmi_tests::{Fourmi, Load, Setup, Worker, until};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Reads a request and goes away with it.
fn thief() -> Worker {
    Worker::scripted(|mut conn| {
        let _ = conn.request();
    })
}

/// Reads requests and never answers.
fn frozen() -> Worker {
    Worker::scripted(|mut conn| while conn.request().is_some() {})
}

fn good() -> Worker {
    Worker::answering(OK)
}

fn service(workers: &[&Worker], keys: &str) -> Fourmi {
    let all: Vec<String> = workers.iter().map(|w| format!("\"{}\"", w.address())).collect();
    Setup::alone().outbound(format!("{{stock: {{address: [{}], {keys}}}}}", all.join(", "))).start()
}

fn send(fourmi: &Fourmi, request: &str, headers: &str, body: &str) -> Message {
    let length = match body.is_empty() {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    fourmi.outbound().send(format!("{request} HTTP/1.1\r\nHost: stock\r\n{headers}{length}\r\n{body}")).answer()
}

fn retries(fourmi: &Fourmi, reason: &str) -> f64 {
    fourmi.metrics().sum("fourmi_retries_total", &[("reason", reason)])
}

fn skipped(fourmi: &Fourmi, reason: &str) -> f64 {
    fourmi.metrics().sum("fourmi_retries_skipped_total", &[("reason", reason)])
}

/// Requests that carried this body.
fn with_body<'a>(workers: impl IntoIterator<Item = &'a Worker>, body: &str) -> usize {
    workers.into_iter().flat_map(Worker::requests).filter(|r| r.text() == body).count()
}

#[test]
fn what_may_run_twice_is_sent_again_and_nothing_else() {
    let (bad, fine) = (thief(), good());
    // Nobody is ejected: the thief shall steal on.
    let keys = "algorithm: round-robin, healthchecks: {passive: {max_ejected: 0}}";
    let fourmi = service(&[&bad, &fine], keys);
    for _ in 0..6 {
        assert_eq!(send(&fourmi, "GET /", "", "").status(), 200);
    }
    let broken = retries(&fourmi, "broken");
    assert!(broken >= 2.0 && bad.requests().len() as f64 == broken, "{broken}");

    // By its method with its body; and a POST by the key that its service knows it by.
    for n in 0..4 {
        assert_eq!(send(&fourmi, "PUT /x", "", &format!("put {n}")).status(), 200);
        assert_eq!(send(&fourmi, "POST /x", "Idempotency-Key: \"k\"\r\n", &format!("key {n}")).status(), 200);
    }
    for n in 0..4 {
        assert_eq!(with_body([&fine], &format!("put {n}")), 1, "whole, and once where it was answered");
        assert_eq!(with_body([&fine], &format!("key {n}")), 1);
    }
    assert!(retries(&fourmi, "broken") > broken);

    // A POST may have run: it is told, not repeated.
    let mut lost = 0;
    for n in 0..4 {
        let answer = send(&fourmi, "POST /x", "", &format!("post {n}"));
        assert_eq!(with_body([&bad, &fine], &format!("post {n}")), 1, "never twice");
        lost += usize::from(answer.status() == 502);
    }
    assert!(lost > 0);
    assert_eq!(skipped(&fourmi, "not-idempotent"), lost as f64);

    // A body that was too large to keep cannot be sent again.
    let large = "x".repeat(100_000);
    let statuses: Vec<u16> = (0..4).map(|_| send(&fourmi, "PUT /x", "", &large).status()).collect();
    assert!(statuses.contains(&502) && statuses.contains(&200), "{statuses:?}");
    assert!(skipped(&fourmi, "body") > 0.0);

    // A service whose every command may run twice says so.
    let fourmi = service(&[&bad, &fine], &format!("{keys}, retries: {{idempotent: true}}"));
    for _ in 0..4 {
        assert_eq!(send(&fourmi, "POST /x", "", "again").status(), 200);
    }
    assert!(retries(&fourmi, "broken") > 0.0);
}

#[test]
fn an_answer_that_is_no_good_is_asked_elsewhere_and_is_better_than_none() {
    let busy = || Worker::answering("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    let (bad, fine) = (busy(), good());
    let keys = "algorithm: round-robin, retries: {attempts: 2, statuses: [503]}";
    let fourmi = service(&[&bad, &fine], keys);
    for _ in 0..4 {
        assert_eq!(send(&fourmi, "GET /", "", "").status(), 200);
    }
    assert!(retries(&fourmi, "status") >= 1.0);
    let told: Vec<Message> = (0..4).map(|_| send(&fourmi, "POST /", "", "x")).collect();
    let refused: Vec<&Message> = told.iter().filter(|m| m.status() == 503).collect();
    assert!(!refused.is_empty() && refused.iter().all(|m| m.text() == "busy"), "the worker's own answer passes");
    assert_eq!(skipped(&fourmi, "not-idempotent"), refused.len() as f64);
    // All say no: the last one's answer is the answer.
    let (one, two) = (busy(), busy());
    let fourmi = service(&[&one, &two], keys);
    let answer = send(&fourmi, "GET /", "", "");
    assert_eq!((answer.status(), answer.text().as_str()), (503, "busy"));
    // One says no and the other is gone: the first one's.
    let fourmi = service(&[&one, &two], keys);
    drop(two);
    let answer = send(&fourmi, "GET /", "", "");
    assert_eq!((answer.status(), answer.text().as_str()), (503, "busy"));
}

#[test]
fn silence_is_cut_short_or_overtaken() {
    let (silent, fine) = (frozen(), good());
    let fourmi = service(&[&silent, &fine], "algorithm: round-robin, retries: {per_try: 100ms}");
    for _ in 0..4 {
        assert_eq!(send(&fourmi, "GET /", "", "").status(), 200);
    }
    let cut = retries(&fourmi, "timeout");
    assert!(cut >= 1.0 && silent.requests().len() as f64 == cut, "{cut}");

    let (silent, fine) = (frozen(), good());
    let fourmi = service(&[&silent, &fine], "algorithm: round-robin, hedge: 50ms");
    for _ in 0..4 {
        assert_eq!(send(&fourmi, "GET /", "", "").status(), 200);
    }
    assert_eq!(retries(&fourmi, "hedge"), silent.requests().len() as f64);
    assert!(!silent.requests().is_empty());
    assert!(fine.requests().len() >= 4);
}

#[test]
fn a_storm_of_retries_stays_within_its_budget_and_the_breaker_ends_it() {
    let (one, two, three) = (thief(), thief(), thief());
    let keys = "retries: {attempts: 5, budget: {share: 0.2, least: 0}}, healthchecks: {passive: {max_ejected: 0}}";
    let fourmi = service(&[&one, &two, &three], keys);
    let load = Load::on(fourmi.outbound_port(), 8, "GET / HTTP/1.1\r\nHost: stock\r\n\r\n");
    until("commands have failed", || load.answered() >= 500);
    let tally = load.stop();
    let seen: usize = [&one, &two, &three].iter().map(|w| w.requests().len()).sum();
    let again = retries(&fourmi, "broken");
    let commands = tally.sent();
    println!("storm: {commands} commands, {seen} requests at the instances, {again} retries");
    assert_eq!(tally.with(502), commands, "{tally:?}");
    assert_eq!(seen as f64, commands as f64 + again, "every retry is counted");
    assert!(again > 0.0 && again <= commands as f64 * 0.2 + 1.0, "{again} of {commands}");
    assert!(skipped(&fourmi, "budget") > 0.0);

    // The breaker: it opens, refuses without asking, tries, and closes.
    let well = Arc::new(AtomicBool::new(false));
    let state = well.clone();
    let worker = Worker::replying(move |_| match state.load(Ordering::Acquire) {
        true => OK.into(),
        false => b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let fourmi = service(&[&worker], "circuit_breaker: {failures: 0.5, least: 10, window: 60s, open: 400ms}");
    for _ in 0..10 {
        assert_eq!(send(&fourmi, "GET /", "", "").status(), 500);
    }
    let asked = worker.requests().len();
    let answer = send(&fourmi, "GET /", "", "");
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("circuit-open"), "{}", answer.text());
    assert_eq!(worker.requests().len(), asked, "nobody was asked");
    assert!(fourmi.admin("GET", "/api/v1/upstreams").text().contains("\"open_breakers\": 1"));
    well.store(true, Ordering::Release);
    until("the breaker closes", || send(&fourmi, "GET /", "", "").status() == 200);
    assert!(fourmi.admin("GET", "/api/v1/upstreams").text().contains("\"open_breakers\": 0"));
    let refused = fourmi.metrics().sum("fourmi_rejected_total", &[("reason", "circuit-open")]);
    let told = fourmi.metrics().sum("fourmi_commands_total", &[("outcome", "rejected")]);
    println!("breaker: {asked} failures, {refused} refused while it was open");
    assert!(refused >= 1.0 && refused == told);
    fourmi.says("the circuit breaker opens");
    fourmi.says("the circuit breaker closes");
}

#[test]
fn commands_wait_in_order_for_room_at_an_instance() {
    let gate = Arc::new((Mutex::new(0_usize), Condvar::new()));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let worker = {
        let (gate, now, most) = (gate.clone(), now.clone(), most.clone());
        Worker::replying(move |_| {
            most.fetch_max(now.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
            let (tickets, opened) = &*gate;
            let mut tickets = opened.wait_while(tickets.lock().unwrap(), |n| *n == 0).unwrap();
            *tickets -= 1;
            now.fetch_sub(1, Ordering::AcqRel);
            OK.into()
        })
    };
    let fourmi = service(&[&worker], "concurrency: {max: 1, queue: 3, wait: 60s}");
    let mut callers: Vec<_> = Vec::new();
    let upstreams = || fourmi.admin("GET", "/api/v1/upstreams").text();
    for n in 0..4 {
        let mut caller = fourmi.outbound();
        caller.send(format!("GET /{n} HTTP/1.1\r\nHost: stock\r\n\r\n"));
        callers.push(caller);
        match n {
            0 => until("the first is at the worker", || worker.requests().len() == 1),
            _ => until("the next one waits", || upstreams().contains(&format!("\"waiting\": {n}"))),
        }
    }
    let answer = send(&fourmi, "GET /too-many", "", "");
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("concurrency.queue"), "{}", answer.text());
    // One that breaks off gives up its place. (One that only closes may still read: it keeps it.)
    callers.remove(2).reset();
    until("it is gone", || upstreams().contains("\"waiting\": 2"));
    let (tickets, opened) = &*gate;
    *tickets.lock().unwrap() = 100;
    opened.notify_all();
    for mut caller in callers {
        assert_eq!(caller.answer().status(), 200);
    }
    let order: Vec<String> = worker.requests().iter().map(|r| r.target().to_owned()).collect();
    assert_eq!(order, ["/0", "/1", "/3"]);
    assert_eq!(most.load(Ordering::Acquire), 1, "never two at once");

    // Who has waited long enough is told.
    *tickets.lock().unwrap() = 0;
    let fourmi = service(&[&worker], "concurrency: {max: 1, queue: 3, wait: 100ms}");
    let mut first = fourmi.outbound();
    first.send("GET /long HTTP/1.1\r\nHost: stock\r\n\r\n");
    until("it is there", || worker.last().target() == "/long");
    let answer = send(&fourmi, "GET /", "", "");
    assert!(answer.status() == 503 && answer.text().contains("concurrency.wait"), "{}", answer.text());
    *tickets.lock().unwrap() = 1;
    opened.notify_all();
    assert_eq!(first.answer().status(), 200);
}

#[test]
fn connections_end_before_the_instance_ends_them_and_none_lives_for_ever() {
    // The instance says how long it lets a connection rest, and closes it then.
    let hint = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n";
    let worker = Worker::answering(hint);
    let fourmi = Setup::beside(worker.address()).more("timeouts: {upstream_idle: 60s}").start();
    fourmi.get("/");
    until("it is closed by us", || fourmi.metrics().sum("fourmi_connections", &[("side", "upstream")]) == 0.0);

    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("timeouts: {upstream_age: 200ms, caller_age: 300ms}").start();
    let mut caller = fourmi.client();
    let mut answers = 0;
    // Both sides' connections are renewed under steady use, and no command is lost.
    until("the caller is asked to go", || {
        let answer = caller.get("/");
        assert_eq!(answer.status(), 200);
        answers += 1;
        answer.says("connection", "close")
    });
    until("more than one connection was used", || {
        assert_eq!(fourmi.get("/").status(), 200);
        worker.connections() > 1
    });
    assert!(answers > 0);
}
