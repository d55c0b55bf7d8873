//! Delivery where somebody leaves, stalls or pretends: nothing is stuck, done twice, or given to another.

use fourmi_tests::{Cases, Fourmi, Latch, Setup, Worker, eventually, free_port, until};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

fn with(worker: &Worker, more: &[&str]) -> Fourmi {
    let setup = Setup::beside(worker.address()).more("spool: {path: ./spool}");
    more.iter().fold(setup, |setup, yaml| setup.more(yaml)).start()
}

fn key(key: &str) -> String {
    format!("Idempotency-Key: \"{key}\"\r\n")
}

#[test]
fn whoever_leaves_leaves_nothing_behind() {
    let mut cases = Cases::default();
    cases.case("in the answer", "its caller leaves while the worker is still answering: it is remembered", || {
        let latch = Arc::new(Latch::default());
        let door = latch.clone();
        let worker = Worker::scripted(move |mut conn| {
            while conn.request().is_some() {
                conn.send("HTTP/1.1 201 Created\r\nContent-Length: 4\r\nLocation: /orders/7\r\n\r\ndo");
                door.wait();
                conn.send("ne");
            }
        });
        let fourmi = with(&worker, &["commands: {idempotency: true}"]);
        let mut caller = fourmi.client();
        caller.send(format!("POST /orders HTTP/1.1\r\nHost: t\r\n{}Content-Length: 1\r\n\r\nx", key("left")));
        until("the worker has it", || worker.requests().len() == 1);
        let again = fourmi.post("/orders", &key("left"), "x");
        assert_eq!((again.status(), again.text().contains("in-progress")), (409, true));
        caller.reset();
        latch.open();
        until("it is remembered", || fourmi.post("/orders", &key("left"), "x").status() == 201);
        let replayed = fourmi.post("/orders", &key("left"), "x");
        assert_eq!((replayed.text(), replayed.header("idempotency-replayed")), ("done".to_owned(), Some("true")));
        assert_eq!(replayed.header("location"), Some("/orders/7"));
        assert_eq!(worker.requests().len(), 1);
    });
    cases.case("many", "callers that leave at any moment: in the end nothing runs, each was done once", || {
        let worker = Worker::answering(OK);
        let fourmi = with(&worker, &["commands: {idempotency: true, save_on_fail: true}"]);
        for n in 0..60 {
            let mut caller = fourmi.client();
            let id = key(&format!("many-{n}"));
            let prefer = ["", "Prefer: respond-async\r\n", "Prefer: respond-async, wait=5\r\n"][n % 3];
            let request = format!("POST /orders HTTP/1.1\r\nHost: t\r\n{id}{prefer}Content-Length: 1\r\n\r\nx");
            // Some leave before their request is whole, some right after it.
            let cut = if n % 4 == 0 { request.len() - 1 } else { request.len() };
            caller.send(&request[..cut]);
            caller.reset();
        }
        until("nothing is left", || fourmi.states().keys().all(|state| state == "succeeded"));
        for n in 0..60 {
            assert!(worker.had(&format!("many-{n}")) <= 1, "many-{n}");
            let again = fourmi.post("/orders", &key(&format!("many-{n}")), "x");
            assert!(matches!(again.status(), 200 | 202), "{}: {}", again.status(), again.text());
            until("it was done", || worker.had(&format!("many-{n}")) == 1);
        }
    });
    cases.case("announced", "whoever says that much will come and sends nothing takes no room from others", || {
        let worker = Worker::answering(OK);
        let fourmi = with(&worker, &[]);
        let mut stalled: Vec<_> = (0..24).map(|_| fourmi.client()).collect();
        for caller in &mut stalled {
            // 16 MiB each, of the 256 that there are in all.
            caller
                .send("POST /orders HTTP/1.1\r\nHost: t\r\nPrefer: respond-async\r\nContent-Length: 16777216\r\n\r\nx");
        }
        until("they are at it", || fourmi.metrics().sum("fourmi_commands_in_flight", &[]) >= 24.0);
        fourmi.later_as("small", "");
        fourmi.becomes("small", "succeeded");
    });
    cases.case("for ever", "an answer that never ends is an attempt that failed; others of its service go on", || {
        let worker = Worker::scripted(|mut conn| {
            while let Some(request) = conn.request() {
                if request.target() == "/endless" {
                    conn.send(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
                    );
                    while conn.send("5\r\n: hi\n\r\n") {
                        std::thread::yield_now();
                    }
                    return;
                }
                conn.ok("done");
            }
        });
        let fourmi = with(&worker, &["timeouts: {whole: 300ms}", "commands: {retry: {max_attempts: 1}}"]);
        let answer = fourmi.later("/endless", "Fourmi-Id: endless\r\n", "");
        fourmi.becomes("endless", "dead");
        let error = fourmi.status_of(&answer)["error"].as_str().unwrap().to_owned();
        assert!(error.contains("did not end in time"), "{error}");
        fourmi.later_as("next", "");
        fourmi.becomes("next", "succeeded");
        // Nor do they wait for its end: they go on as soon as it has begun.
        let fourmi = with(&worker, &["timeouts: {whole: 10m, answer: 10m}"]);
        fourmi.later("/endless", "Fourmi-Id: endless\r\n", "");
        fourmi.later_as("next", "");
        fourmi.becomes("next", "succeeded");
        assert_eq!(fourmi.stored("endless")["state"], "running");
    });
    cases.end();
}

#[test]
fn what_must_not_run_twice_does_not() {
    let mut cases = Cases::default();
    /// Takes a request and goes away with it.
    fn thief() -> Worker {
        Worker::scripted(|mut conn| drop(conn.request()))
    }
    cases.case("while its caller waits", "written and unanswered: unknown, and 409 for the same again", || {
        let worker = thief();
        let keys = "commands: {save_on_fail: true, idempotency: true, at_most_once: true}";
        let fourmi = with(&worker, &[keys]);
        let first = fourmi.post("/orders", &key("once"), "x");
        assert!(first.status() >= 500, "{}", first.status());
        assert_eq!(fourmi.post("/orders", &key("once"), "x").status(), 409);
        assert_eq!(worker.requests().len(), 1);
        fourmi.has_states(&[("unknown", 1)]);
    });
    cases.case("half an answer", "broken off, never whole, or an error: unknown, seen, and left to somebody", || {
        let worker = Worker::scripted(|mut conn| {
            while let Some(request) = conn.request() {
                let path = request.target().to_owned();
                conn.send(match &*path {
                    "/error" => "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno",
                    "/busy" => "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno",
                    _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndo",
                });
                if path == "/broken" {
                    return;
                }
            }
        });
        let keys = "commands: {idempotency: true, at_most_once: true}";
        let fourmi = with(&worker, &[keys, "timeouts: {whole: 300ms}"]);
        for id in ["broken", "error", "stalls"] {
            let answers = [(); 2].map(|()| fourmi.post(&format!("/{id}"), &key(id), "x").status());
            assert!(answers[0] >= 500 && answers[1] == 409, "{id}: {answers:?}");
            assert_eq!(worker.had(id), 1, "{id}");
        }
        // A worker that says that it has not done it may be asked again.
        assert_eq!([(); 2].map(|()| fourmi.post("/busy", &key("busy"), "x").status()), [503, 503]);
        fourmi.has_states(&[("unknown", 3)]);
        let listed = fourmi.admin("GET", "/api/v1/commands?state=unknown").json();
        let commands = listed["commands"].as_array().unwrap();
        assert_eq!(commands.len(), 3, "{listed}");
        let seq = commands[0]["seq"].to_string();
        let refused = fourmi.spool(&["retry", "broken", "--seq", &seq]);
        assert!(refused.code == 1 && refused.stderr.contains("discard it"), "{refused:?}");
        assert_eq!(fourmi.spools(&["discard", "--state", "unknown", "--yes"]), "3 discarded\n");
        assert_eq!((fourmi.post("/error", &key("error"), "x").status(), worker.had("error")), (500, 2));
    });
    cases.case("nobody there", "nobody was sent it: it waits, whoever dies meanwhile", || {
        let port = free_port();
        let setup = Setup::beside(&format!("http://127.0.0.1:{port}")).more("spool: {path: ./spool}");
        let mut fourmi = setup.more("commands: {at_most_once: true}\ntimeouts: {hold: 60s}").spawn();
        fourmi.wait_live();
        fourmi.later_as("waits", "");
        let waits = eventually("it has been looked for", || {
            let waits = fourmi.stored("waits");
            (waits["state"] == "ready" && waits["error"].is_string()).then_some(waits)
        });
        assert_eq!(waits["attempt"], 0, "{waits}");
        let error = waits["error"].as_str().unwrap().to_ascii_lowercase();
        assert_eq!(error.matches("no instance").count(), 1, "{error}");
        fourmi.spawn_again();
        fourmi.wait_live();
        let worker = Worker::replying_on(port, |_| OK.into());
        let done = fourmi.becomes("waits", "succeeded");
        assert_eq!(worker.had("waits"), 1);
        // What nobody had is no part of its history.
        let states: Vec<&str> =
            done["history"].as_array().unwrap().iter().filter_map(|step| step["state"].as_str()).collect();
        assert_eq!(states.iter().filter(|state| **state == "running").count(), 1, "{done}");
    });
    cases.case("from the store", "no retry of any kind, although it has a key that a worker could know", || {
        let worker = thief();
        let fourmi = with(&worker, &["commands: {at_most_once: true}"]);
        fourmi.later("/orders", &format!("{}Fourmi-Id: stored\r\n", key("k")), "x");
        fourmi.becomes("stored", "unknown");
        assert_eq!(worker.requests().len(), 1);
    });
    cases.case("poison", "what kills its worker each time is an attempt each time", || {
        let worker = thief();
        let fourmi = with(&worker, &["commands: {retry: {delays: [1ms], max_attempts: 3}}", "timeouts: {hold: 20ms}"]);
        fourmi.later("/orders", &format!("{}Fourmi-Id: poison\r\n", key("p")), "x");
        let dead = fourmi.becomes("poison", "dead");
        assert_eq!(dead["attempt"], 3, "{dead}");
        assert_eq!(worker.requests().len(), 3);
    });
    cases.end();
}

#[test]
fn what_is_given_again_is_the_same_and_its_callers_own() {
    let mut cases = Cases::default();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let worker = Worker::replying(move |_| {
        let n = counted.fetch_add(1, Ordering::AcqRel);
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: x-own\r\nETag: \"7\"\r\nContent-Length: 1\r\n\r\n{}", n % 10).into()
    });
    cases.case("lines", "what says how to read the body and where to go is given again", || {
        let fourmi = with(&worker, &["commands: {idempotency: true}"]);
        let (first, second) = (fourmi.post("/a", &key("l"), "x"), fourmi.post("/a", &key("l"), "x"));
        assert_eq!(first.text(), second.text());
        for name in ["content-type", "content-encoding", "etag"] {
            assert_eq!(first.header(name), second.header(name), "{name}");
        }
    });
    cases.case("everybody's", "what is kept can be read by whoever asks, as much of it as the book says", || {
        let large = "x".repeat(100_000);
        let worker = Worker::replying(move |request| match (request.target(), request.header("accept-encoding")) {
            ("/large", _) => {
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n{large}").into()
            }
            ("/own", _) | (_, Some(_)) => {
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b".to_vec()
            }
            _ => OK.into(),
        });
        let fourmi = with(&worker, &["commands: {idempotency: true}"]);
        let gzip = "Accept-Encoding: gzip\r\n";
        for headers in [gzip, ""] {
            let answer = fourmi.post("/a", &format!("{headers}{}", key("plain")), "x");
            assert_eq!((answer.text().as_str(), answer.header("content-encoding")), ("done", None));
        }
        let wait = |id: &str| format!("Prefer: respond-async, wait=30\r\n{gzip}{}", key(id));
        for (id, path) in [("large", "/large"), ("own", "/own")] {
            assert_eq!(fourmi.post(path, &wait(id), "x").status(), 200);
        }
        // Too large to be given again as a whole, its beginning is where stored ones are.
        let again = fourmi.post("/large", &wait("large"), "x");
        assert_eq!((again.status(), again.header("idempotency-replayed")), (202, Some("true")));
        let result = fourmi.status_of(&again)["result"].clone();
        assert_eq!((&result["cut"], result["body"].as_str().map(str::len)), (&json!(65536), Some(65536)));
        let stored = fourmi.later("/own", &key("stored"), "x");
        fourmi.becomes("stored", "succeeded");
        let result = fourmi.status_of(&stored)["result"].clone();
        assert_eq!(result, json!({"status": 200, "content_encoding": "gzip", "body_base64": "H4s="}));
    });
    cases.case("callers", "an id belongs to whoever proved the same to the worker", || {
        let fourmi = with(&worker, &["commands: {idempotency: true}"]);
        let of = |who: &str| fourmi.post("/a", &format!("Authorization: Bearer {who}\r\n{}", key("1")), "x");
        let alice = of("alice");
        assert_eq!(of("alice").header("idempotency-replayed"), Some("true"));
        let bob = of("bob");
        assert_eq!(bob.header("idempotency-replayed"), None);
        assert_ne!(alice.text(), bob.text());
    });
    cases.case(
        "gateway",
        "a remembered answer has passed its route's middlewares; the plugin's schedule holds",
        || {
            let failing = Worker::replying(|request| {
                let status = if request.target() == "/fail" { 503 } else { 200 };
                format!("HTTP/1.1 {status} X\r\nX-Internal: secret\r\nContent-Length: 2\r\n\r\nok").into()
            });
            let setup = Setup::beside(failing.address()).more("spool: {path: ./spool}").more("gateway: kong.yaml");
            let setup = setup.logs("[{stdout: {format: json}}]");
            let kong = json!({"_format_version": "3.0", "services": [{"name": "s", "url": "http://worker",
            "routes": [{"name": "r", "paths": ["/"], "strip_path": false}], "plugins": [
                {"name": "response-transformer", "config": {"remove": {"headers": ["X-Internal"]}}},
                {"name": "delivery", "config": {"idempotency": true, "retry_delays": [1], "retry_max_attempts": 1}},
            ]}]});
            std::fs::write(setup.folder().join("kong.yaml"), kong.to_string()).unwrap();
            let fourmi = setup.start();
            for _ in 0..2 {
                let answer = fourmi.post("/good", &key("g"), "x");
                assert_eq!((answer.status(), answer.header("x-internal")), (200, None));
            }
            fourmi.later("/fail", "Fourmi-Id: plugin\r\n", "x");
            assert_eq!(fourmi.becomes("plugin", "dead")["attempt"], 1, "not the twelve of commands.retry");
            // What no other gateway has words for is told in full, and found by what its caller was shown.
            let wrong = fourmi.post("/good", "Fourmi-At: tomorrow\r\nFourmi-Id: wrong\r\n", "x");
            let message = wrong.json()["message"].as_str().unwrap().to_owned();
            assert!(
                wrong.status() == 400 && message.starts_with("Fourmi-At: `tomorrow` is not a time; write"),
                "{message}"
            );
            let shown = wrong.json()["request_id"].clone();
            assert_eq!(wrong.header("x-kong-request-id"), shown.as_str());
            let told = eventually("it is told", || {
                fourmi.stdout().lines().find(|line| line.contains(shown.as_str().unwrap())).map(str::to_owned)
            });
            let record: Value = serde_json::from_str(&told).unwrap();
            let found = (&record["trace_id"], &record["status"], &record["command_id"]);
            assert_eq!(found, (&shown, &json!(400), &json!("wrong")));
        },
    );
    cases.case("batch", "each event of a batch is stored by itself", || {
        let fourmi = with(&worker, &["commands: {mode: async}"]);
        let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "s", "type": "order.place"});
        let body = Value::from(vec![event("1"), event("2")]).to_string();
        let answer = fourmi.post("/events", "Content-Type: application/cloudevents-batch+json\r\n", body);
        let statuses: Vec<i64> =
            answer.json().as_array().unwrap().iter().filter_map(|r| r["status"].as_i64()).collect();
        assert_eq!(statuses, [202, 202]);
        fourmi.has_states(&[("succeeded", 2)]);
    });
    cases.case("two hops", "what the next hop has stored is asked for through one's own", || {
        let next = with(&worker, &[]);
        let own = Setup::alone()
            .outbound(format!("{{next: {{address: \"http://127.0.0.1:{}\"}}}}", next.port()))
            .more("spool: {path: ./spool}")
            .start();
        let request = "POST /a HTTP/1.1\r\nHost: next\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(own.outbound().send(request).answer().status(), 200);
        let stored = next.later("/a", "Fourmi-Id: hop\r\n", "");
        next.becomes("hop", "succeeded");
        let location = stored.header("location").unwrap();
        let asked = format!("GET {location} HTTP/1.1\r\nHost: next\r\n\r\n");
        let answer = own.outbound().send(asked).answer();
        assert_eq!((answer.status(), &answer.json()["state"]), (200, &json!("succeeded")));
    });
    cases.end();
}
