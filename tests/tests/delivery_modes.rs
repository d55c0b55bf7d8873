//! How a command is delivered: what the configuration says, what its caller may ask for, what is never stored.

use fourmi_tests::{Cases, Fourmi, Setup, Worker, free_port, run_fourmi, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
const ASYNC: &str = "Fourmi-Mode: async\r\n";

/// With this `commands:` and a spool with these keys.
fn with(worker: &str, commands: &str, spool: &str) -> Fourmi {
    let comma = if spool.is_empty() { "" } else { ", " };
    Setup::beside(worker)
        .more(&format!("commands: {{{commands}}}"))
        .more(&format!("spool: {{path: ./spool{comma}{spool}}}"))
        .start()
}

/// The status of a POST with these header lines.
fn post(fourmi: &Fourmi, path: &str, headers: &str) -> u16 {
    fourmi.post(path, headers, "body").status()
}

#[test]
fn what_the_file_says_and_what_callers_ask_for() {
    let mut cases = Cases::default();
    let (worker, latch) = Worker::held(OK);
    let at = worker.address();
    cases.case("mode: async", "what changes something is stored, what only reads is not; a caller may insist", || {
        let fourmi = with(at, "mode: async", "");
        let answer = fourmi.post("/orders", "Fourmi-Id: async\r\n", "body");
        assert_eq!((answer.status(), answer.header("preference-applied")), (202, None));
        fourmi.becomes("async", "succeeded");
        assert_eq!(fourmi.get("/orders").status(), 200);
        for (mode, status) in [("sync", 200), ("sync-or-fail", 200), ("async", 202)] {
            assert_eq!(post(&fourmi, "/orders", &format!("Fourmi-Mode: {mode}\r\n")), status, "{mode}");
        }
        assert_eq!(fourmi.get_with("/orders", ASYNC).status(), 202, "whoever says so reads later");
    });
    cases.case("mode: auto", "the answer if it is quick, else 202; done once", || {
        let fourmi = with(at, "mode: auto, wait: 200ms", "");
        latch.open();
        assert_eq!(fourmi.post("/held", "Fourmi-Id: quick\r\n", "").text(), "done");
        latch.shut();
        assert_eq!(post(&fourmi, "/held", "Fourmi-Id: slow\r\n"), 202);
        assert_eq!(post(&fourmi, "/held", "Fourmi-Id: slow\r\n"), 202, "the same again is the same");
        latch.open();
        fourmi.becomes("slow", "succeeded");
        assert_eq!((worker.had("slow"), worker.had("quick")), (1, 1));
        latch.shut();
        std::thread::scope(|scope| {
            let sync = scope.spawn(|| post(&fourmi, "/held", "Fourmi-Id: waits\r\nFourmi-Mode: sync\r\n"));
            until("it is there", || worker.had("waits") == 1);
            assert_eq!(post(&fourmi, "/held", "Fourmi-Id: after\r\n"), 202, "later than `wait`, the first still waits");
            latch.open();
            assert_eq!(sync.join().unwrap(), 200);
        });
        assert_eq!(fourmi.stored("waits"), serde_json::Value::Null, "that was never stored");
    });
    cases.case("sync", "with a spool, nothing is stored unless somebody asks", || {
        let fourmi = with(at, "wait: 200ms", "");
        latch.open();
        for (mode, status) in [("sync", 200), ("auto", 200), ("sync-or-fail", 200), ("async", 202)] {
            assert_eq!(post(&fourmi, "/held", &format!("Fourmi-Mode: {mode}\r\n")), status, "{mode}");
        }
        assert_eq!(post(&fourmi, "/orders", ""), 200);
        fourmi.has_states(&[("succeeded", 1)]);
        latch.shut();
        assert_eq!(post(&fourmi, "/held", "Fourmi-Mode: auto\r\n"), 202);
        latch.open();
        fourmi.has_states(&[("succeeded", 2)]);
    });
    cases.case("allow", "what is not allowed is refused; a preference is passed over", || {
        let fourmi = with(at, "allow: []", "");
        for line in [ASYNC, "Fourmi-Delay: 1s\r\n", "Fourmi-Expires: 1h\r\n", "Fourmi-Mode: sync\r\n"] {
            let answer = fourmi.post("/orders", line, "");
            assert_eq!(answer.status(), 403, "{line}");
            assert!(answer.text().contains("commands.allow"), "{}", answer.text());
        }
        let answer = fourmi.post("/orders", "Prefer: respond-async\r\n", "");
        assert_eq!((answer.status(), answer.header("preference-applied")), (200, None));
        let fourmi = with(at, "allow: [async]", "");
        assert_eq!((post(&fourmi, "/", ASYNC), post(&fourmi, "/", "Fourmi-Delay: 1s\r\n")), (202, 403));
        let fourmi = with(at, "allow: [schedule]", "");
        assert_eq!((post(&fourmi, "/", ASYNC), post(&fourmi, "/", "Fourmi-Delay: 1s\r\n")), (403, 202));
    });
    cases.case("no spool", "a preference is passed over, an order is 501; a file that needs one says so", || {
        let fourmi = Setup::beside(at).start();
        let answer = fourmi.post("/orders", "Prefer: respond-async\r\n", "");
        assert_eq!((answer.status(), answer.header("preference-applied")), (200, None));
        for line in [ASYNC, "Fourmi-Delay: 1s\r\n"] {
            let answer = fourmi.post("/orders", line, "");
            assert_eq!(answer.status(), 501, "{line}");
            assert!(answer.text().contains("no-spool"), "{}", answer.text());
        }
        assert_eq!(fourmi.get("/.fourmi/commands/x?token=1-1").status(), 404);
        for keys in ["mode: async", "mode: auto", "save_on_fail: true", "idempotency: true"] {
            let setup = Setup::beside(at).more(&format!("commands: {{{keys}}}"));
            let file = setup.folder().join("c.yaml");
            std::fs::write(&file, setup.yaml()).unwrap();
            let ended = run_fourmi(&["validate", "-c", file.to_str().unwrap()]);
            let said = ended.stdout + &ended.stderr;
            assert!(ended.code == 78 && said.contains("spool: {path"), "{keys}: {} {said}", ended.code);
        }
    });
    cases.case("max_body", "413 for what would be stored; what is not stored may be larger", || {
        let fourmi = with(at, "", "max_body: 1KiB");
        let large = "x".repeat(2000);
        let chunked = |headers: &str| {
            let text = format!("POST /orders HTTP/1.1\r\nHost: test\r\n{headers}Transfer-Encoding: chunked\r\n\r\n");
            fourmi.client().send(text).send(format!("7d0\r\n{large}\r\n0\r\n\r\n")).answer()
        };
        for answer in [fourmi.post("/orders", ASYNC, &large), chunked(ASYNC)] {
            assert_eq!(answer.status(), 413);
            assert!(answer.text().contains("spool.max_body"), "{}", answer.text());
        }
        assert_eq!((fourmi.post("/orders", "", &large).status(), chunked("").status()), (200, 200));
        assert_eq!(fourmi.post("/orders", "Fourmi-Mode: auto\r\n", &large).status(), 200);
        assert_eq!(worker.last().body.len(), 2000);
        assert_eq!(fourmi.post("/orders", ASYNC, "x".repeat(1024)).status(), 202);
    });
    cases.case("secrets", "credentials are not stored, unless they are listed", || {
        let secrets = "Authorization: Bearer s3cr3t-a\r\nCookie: s3cr3t-b\r\nX-Api-Key: s3cr3t-c\r\nX-Shop: berlin\r\n";
        let fourmi = with(at, "", "");
        fourmi.later_as("bare", secrets);
        fourmi.becomes("bare", "succeeded");
        let seen = worker.requests().into_iter().find(|r| r.header("fourmi-id") == Some("bare")).unwrap();
        let lines = ["authorization", "cookie", "x-api-key", "x-shop"].map(|name| seen.header(name));
        assert_eq!(lines, [None, None, None, Some("berlin")]);
        fourmi.spools(&["pause"]);
        fourmi.later_as("waits", secrets);
        for file in ["spool.db", "spool.db-wal"] {
            let bytes = std::fs::read(fourmi.folder().join("spool").join(file)).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains("s3cr3t"), "{file}");
        }
        assert_eq!(post(&fourmi, "/orders", secrets), 200);
        assert_eq!(worker.last().header("authorization"), Some("Bearer s3cr3t-a"), "what is not stored keeps its own");
        let key = fourmi.folder().join("key");
        std::fs::write(&key, "07".repeat(32)).unwrap();
        let sealed = with(at, "", &format!("headers: [Authorization], key_file: \"{}\"", key.display()));
        sealed.spools(&["pause"]);
        sealed.later("/orders?q=hidden-query", &format!("Fourmi-Id: listed\r\n{secrets}"), "hidden-body");
        for file in ["spool.db", "spool.db-wal"] {
            let bytes = std::fs::read(sealed.folder().join("spool").join(file)).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("s3cr3t") && !text.contains("hidden-"), "{file}: it is encrypted");
        }
        sealed.spools(&["resume"]);
        sealed.becomes("listed", "succeeded");
        let seen = worker.requests().into_iter().find(|r| r.header("fourmi-id") == Some("listed")).unwrap();
        assert_eq!((seen.header("authorization"), seen.header("cookie")), (Some("Bearer s3cr3t-a"), None));
        assert_eq!(seen.text(), "hidden-body");
    });
    cases.end();
}

#[test]
fn what_fails_is_saved_and_what_must_not_run_twice_does_not() {
    let mut cases = Cases::default();
    cases.case("save_on_fail", "a worker that is away or fails: 202, and it is done later", || {
        let port = free_port();
        let setup = Setup::beside(&format!("http://127.0.0.1:{port}"))
            .more("commands: {save_on_fail: true, retry: {delays: [100ms]}}\nspool: {path: ./spool}")
            .more("timeouts: {hold: 100ms}");
        let fourmi = setup.spawn();
        fourmi.wait_live();
        let answer = fourmi.post("/orders", "Fourmi-Id: away\r\n", "body");
        assert_eq!(answer.status(), 202, "{}", answer.text());
        assert_eq!(answer.header("fourmi-state"), Some("ready"), "no attempt has failed");
        fourmi.becomes("away", "ready");
        assert_eq!(post(&fourmi, "/orders", "Fourmi-Mode: sync-or-fail\r\nFourmi-Id: or-fail\r\n"), 503);
        assert_eq!(fourmi.get("/orders").status(), 503, "what only reads is not kept");
        assert_eq!(fourmi.states().values().sum::<i64>(), 1);
        let well = Arc::new(AtomicBool::new(false));
        let state = well.clone();
        let worker = Worker::replying_on(port, move |request| match request.target() {
            "/fails" if !state.load(Ordering::Acquire) => b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "/missing" => b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => OK.into(),
        });
        fourmi.becomes("away", "succeeded");
        assert_eq!((worker.had("away"), worker.had("or-fail")), (1, 0));
        assert_eq!(post(&fourmi, "/missing", ""), 404, "that is an answer");
        assert_eq!(post(&fourmi, "/fails", "Fourmi-Mode: sync-or-fail\r\n"), 500);
        let answer = fourmi.post("/fails", "Fourmi-Id: fails\r\n", "");
        assert_eq!((answer.status(), answer.header("fourmi-state")), (202, Some("retrying")));
        until("it is tried again", || worker.had("fails") >= 3);
        well.store(true, Ordering::Release);
        let done = fourmi.becomes("fails", "succeeded");
        assert_eq!(done["attempt"].as_u64(), Some(worker.had("fails") as u64));
    });
    cases.case("at_most_once", "killed in the middle: unknown, and only a person sends it again", || {
        let (worker, latch) = Worker::held(OK);
        let mut twice = with(worker.address(), "", "");
        let mut once = with(worker.address(), "at_most_once: true", "");
        for (fourmi, id) in [(&mut once, "once"), (&mut twice, "twice")] {
            fourmi.later("/held", &format!("Fourmi-Id: {id}\r\n"), "");
            until("it is in the worker's hands", || worker.had(id) == 1);
            fourmi.start_again();
        }
        latch.open();
        twice.becomes("twice", "succeeded");
        let unknown = once.becomes("once", "unknown");
        assert!(unknown["error"].as_str().unwrap().contains("fourmi ended"), "{unknown}");
        assert_eq!((worker.had("once"), worker.had("twice")), (1, 2));
        // The same again may be the second time.
        let again = once.post("/held", "Prefer: respond-async\r\nFourmi-Id: once\r\n", "");
        assert_eq!(again.status(), 409, "{}", again.text());
        assert_eq!(once.spools(&["retry", "once"]), "1 retried\n");
        once.becomes("once", "succeeded");
        assert_eq!(worker.had("once"), 2);
    });
    cases.case("silence", "a worker that goes away with it: unknown where it must not run twice, else again", || {
        let thief = Worker::scripted(|mut conn| _ = conn.request());
        let once = with(thief.address(), "at_most_once: true, retry: {delays: [50ms]}", "");
        once.later("/orders", "Fourmi-Id: stolen\r\n", "");
        once.becomes("stolen", "unknown");
        let again = with(thief.address(), "retry: {delays: [50ms], max_attempts: 3}", "");
        again.later("/orders", "Fourmi-Id: stolen-again\r\n", "");
        again.becomes("stolen-again", "dead");
        assert_eq!((thief.had("stolen"), thief.had("stolen-again")), (1, 3));
    });
    cases.case("outbound", "each service that the worker sends to has a delivery of its own", || {
        let (stock, mail) = (Worker::answering(OK), Worker::held(OK));
        let services = format!(
            "{{stock: {{address: \"{}\"}}, mail: {{address: \"{}\", delivery: {{mode: async}}}}, \
             slow: {{address: \"{}\", delivery: {{mode: auto, wait: 100ms}}}}}}",
            stock.address(),
            mail.0.address(),
            mail.0.address()
        );
        let fourmi = Setup::alone().outbound(services).more("spool: {path: ./spool}").start();
        let send = |host: &str, path: &str, id: &str| {
            let text = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nFourmi-Id: {id}\r\nContent-Length: 1\r\n\r\nx");
            fourmi.outbound().send(text).answer()
        };
        assert_eq!(send("stock", "/", "one").status(), 200);
        let answer = send("mail", "/held", "two");
        assert_eq!(answer.status(), 202);
        assert_eq!(send("slow", "/held", "three").status(), 202);
        mail.1.open();
        for (id, service) in [("two", "mail"), ("three", "slow")] {
            let done = fourmi.becomes(id, "succeeded");
            assert_eq!((done["service"].as_str(), done["direction"].as_str()), (Some(service), Some("outbound")));
            assert_eq!(mail.0.had(id), 1);
        }
        let location = answer.header("location").unwrap();
        assert_eq!(fourmi.outbound().get(location).json()["state"], "succeeded", "where it was sent from");
        // A pause of one leaves the other one alone.
        fourmi.spools(&["pause", "mail", "--outbound"]);
        assert_eq!(send("mail", "/", "four").status(), 202);
        assert_eq!(send("slow", "/", "five").status(), 200);
        assert_eq!(fourmi.stored("four")["state"], "ready");
        fourmi.spools(&["resume", "mail", "--outbound"]);
        fourmi.becomes("four", "succeeded");
    });
    cases.end();
}
