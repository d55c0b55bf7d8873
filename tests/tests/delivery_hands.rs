//! What operators do to stored commands by hand, with `fourmi spool` and the admin API.

use fourmi_tests::{Cases, Fourmi, Setup, Worker, run_fourmi, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

/// A worker that answers 422, or 200 once it is well.
fn moody() -> (Worker, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let state = well.clone();
    let worker = Worker::replying(move |_| match state.load(Ordering::Acquire) {
        true => OK.into(),
        false => b"HTTP/1.1 422 No\r\nContent-Length: 4\r\n\r\nsick".to_vec(),
    });
    (worker, well)
}

fn beside(worker: &Worker) -> Setup {
    Setup::beside(worker.address()).more("spool: {path: ./spool}")
}

fn named(fourmi: &Fourmi, id: &str, name: &str, headers: &str) {
    fourmi.later("/orders", &format!("Fourmi-Id: {id}\r\nFourmi-Command: {name}\r\n{headers}"), id);
}

fn ids(listed: &str) -> Vec<String> {
    let all: Value = serde_json::from_str(listed).unwrap_or_else(|e| panic!("{e}: {listed}"));
    let mut ids: Vec<String> = all.as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn the_dead_are_sent_again_and_forgotten_by_hand() {
    let mut cases = Cases::default();
    let (worker, well) = moody();
    let fourmi = beside(&worker).start();
    for nth in 0..500 {
        named(&fourmi, &format!("create-{nth}"), "CreateOrder", "");
    }
    for nth in 0..3 {
        named(&fourmi, &format!("mail-{nth}"), "SendMail", "Fourmi-Tags: shop=berlin\r\n");
    }
    fourmi.has_states(&[("dead", 503)]);
    cases.case("32", "500 dead ones again: how many first, then all once; ids and histories are kept", || {
        well.store(true, Ordering::Release);
        let would = fourmi.spools(&["retry", "--name", "CreateOrder", "--dry-run"]);
        assert_eq!(would, "500 commands\n");
        assert_eq!(fourmi.states()["dead"], 503, "nothing was done");
        let refused = fourmi.spool(&["retry", "--name", "CreateOrder"]);
        assert_eq!(refused.code, 2, "nobody can be asked");
        assert!(
            refused.stderr.contains("retry 500 commands") && refused.stderr.contains("--yes"),
            "{}",
            refused.stderr
        );
        assert_eq!(fourmi.spools(&["retry", "--name", "CreateOrder", "--yes"]), "500 retried\n");
        fourmi.has_states(&[("dead", 3), ("succeeded", 500)]);
        let times: Vec<usize> = (0..500).map(|nth| worker.had(&format!("create-{nth}"))).collect();
        assert!(times.iter().all(|n| *n == 2), "{times:?}");
        let one = fourmi.stored("create-7");
        let history: Vec<&str> =
            one["history"].as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap()).collect();
        assert_eq!(history, ["ready", "running", "dead", "ready", "running", "succeeded"]);
        assert_eq!((&one["id"], &one["attempt"], &one["status"]), (&json!("create-7"), &json!(2), &json!(200)));
        assert_eq!(fourmi.spools(&["retry", "mail-0", "--reset"]), "1 retried\n");
        assert_eq!(fourmi.becomes("mail-0", "succeeded")["attempt"], 1);
    });
    cases.case("33", "discard: never without a filter; with one the number is said and they are gone", || {
        for arguments in [&["discard"][..], &["retry"], &["cancel"]] {
            let refused = fourmi.spool(arguments);
            assert_eq!(refused.code, 2, "{arguments:?}");
            assert!(refused.stderr.contains("--all"), "{}", refused.stderr);
        }
        for (method, path) in [("DELETE", ""), ("POST", "/retry"), ("POST", "/cancel")] {
            let answer = fourmi.admin(method, &format!("/api/v1/commands{path}"));
            assert_eq!(answer.status(), 400, "{}", answer.text());
            assert!(answer.text().contains("all=true"), "{}", answer.text());
        }
        let wrong = fourmi.admin("DELETE", "/api/v1/commands?colour=red");
        assert!(wrong.status() == 400 && wrong.text().contains("older_than"), "{}", wrong.text());
        assert_eq!(fourmi.states()["dead"], 2, "nothing has gone");
        assert_eq!(fourmi.spools(&["discard", "--name", "Send*", "--state", "dead", "--dry-run"]), "2 commands\n");
        assert_eq!(fourmi.spools(&["discard", "--name", "Send*", "--state", "dead", "--yes"]), "2 discarded\n");
        assert_eq!(fourmi.spools(&["discard", "--name", "Send*", "--state", "dead", "--yes"]), "0 discarded\n");
        assert_eq!(fourmi.stored("mail-1"), Value::Null);
        assert_eq!(fourmi.spools(&["discard", "mail-0"]), "1 discarded\n");
        fourmi.has_states(&[("succeeded", 500)]);
        for arguments in [&["discard", "mail-0"], &["show", "mail-0"], &["retry", "mail-0"]] {
            let gone = fourmi.spool(arguments);
            let why = "error: Not Found: no command has the id mail-0; `fourmi spool list` shows";
            assert!(gone.code == 1 && gone.stderr.starts_with(why), "{}", gone.stderr);
            assert!(!gone.stderr.contains(['{', '?']), "people read it: {}", gone.stderr);
        }
        let wrong = fourmi.spool(&["list", "--state", "lost"]);
        assert!(wrong.stderr.contains("`lost` is none of scheduled, ready"), "{}", wrong.stderr);
        let json = fourmi.spool(&["show", "mail-0", "--json"]);
        assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["status"], 404, "programs read it");
    });
    cases.case("who", "who did it stands in the log", || {
        let answer = fourmi.admin("POST", "/api/v1/commands/retry?state=dead&by=night%20watch");
        assert_eq!(answer.json()["count"], 0);
        fourmi.says("spool: retried state=dead");
        let log = fourmi.stderr();
        for word in [
            "night watch",
            "spool: retried name=CreateOrder",
            "spool: discarded state=dead&name=Send",
            "spool: discarded mail-0",
        ] {
            assert!(log.contains(word), "{word}: {log}");
        }
        let line = log.lines().find(|l| l.contains("night watch")).unwrap();
        assert!(line.contains("127.0.0.1") && line.contains("\"count\":0"), "{line}");
        // Whose process it was, whatever the environment says.
        let me = Command::new("id").arg("-un").output().unwrap().stdout;
        let me = String::from_utf8(me).unwrap();
        let line = log.lines().find(|l| l.contains("spool: discarded mail-0")).unwrap();
        assert!(line.contains(&format!("\"{}\"", me.trim())), "{line}");
    });
    cases.end();
}

#[test]
fn they_are_listed_shown_cancelled_and_paused() {
    let mut cases = Cases::default();
    let (worker, well) = moody();
    well.store(true, Ordering::Release);
    let mut fourmi = beside(&worker).start();
    let json = |arguments: &[&str]| {
        let all: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        fourmi.spools(&all)
    };
    cases.case("pause", "nothing leaves while everything is paused, also what comes anew; that is shown", || {
        assert_eq!(fourmi.spools(&["pause"]), "everything is paused\n");
        named(&fourmi, "a-1", "Alpha", "Fourmi-Tags: shop=berlin\r\n");
        named(&fourmi, "a-2", "Alpha.Two", "Fourmi-Key: k\r\n");
        named(&fourmi, "b-1", "Beta", "Fourmi-Delay: 1h\r\n");
        assert_eq!(fourmi.post("/now", "", "").status(), 200, "who waits for its answer gets it");
        fourmi.has_states(&[("ready", 2), ("scheduled", 1)]);
        let shown = fourmi.spools(&[]);
        assert!(shown.contains("paused: *, inbound payment"), "{shown}");
    });
    cases.case("list", "by each filter", || {
        let rows: [(&[&str], &[&str]); 9] = [
            (&["--state", "ready"], &["a-1", "a-2"]),
            (&["--state", "ready", "--state", "scheduled"], &["a-1", "a-2", "b-1"]),
            (&["--name", "Alpha"], &["a-1"]),
            (&["--name", "Alpha*"], &["a-1", "a-2"]),
            (&["--key", "k"], &["a-2"]),
            (&["--tag", "shop=berlin"], &["a-1"]),
            (&["--service", "payment", "-n", "2"], &["a-1", "a-2"]),
            (&["--service", "nobody"], &[]),
            (&["--older-than", "1h"], &[]),
        ];
        for (filter, expected) in rows {
            let all: Vec<&str> = ["list"].into_iter().chain(filter.iter().copied()).collect();
            assert_eq!(ids(&json(&all)), expected, "{filter:?}");
        }
        let text = fourmi.spools(&["list"]);
        let line = text.lines().find(|l| l.starts_with("b-1")).unwrap();
        assert!(line.contains("Beta") && line.contains("scheduled"), "{text}");
        let wrong = fourmi.spool(&["list", "--state", "sleepy"]);
        assert!(wrong.code != 0 && wrong.stderr.contains("scheduled, ready"), "{}", wrong.stderr);
        // Page by page, by the API.
        let page = fourmi.admin("GET", "/api/v1/commands?limit=2").json();
        let next = page["next"].as_i64().unwrap();
        let rest = fourmi.admin("GET", &format!("/api/v1/commands?limit=2&cursor={next}")).json();
        assert_eq!((rest["commands"][0]["id"].as_str(), &rest["next"]), (Some("b-1"), &Value::Null));
    });
    cases.case("show", "what became of it; what is sent only when it is asked for", || {
        let shown = fourmi.spools(&["show", "a-1"]);
        for word in ["Alpha", "ready", "shop=berlin", "inbound"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        assert!(!shown.contains("POST /orders"), "{shown}");
        let whole = fourmi.spools(&["show", "a-1", "--body"]);
        assert!(whole.contains("POST /orders") && whole.contains("\na-1\n"), "{whole}");
        let missing = fourmi.spool(&["show", "nobody"]);
        assert!(missing.code == 1 && missing.stderr.contains("nobody"), "{missing:?}");
    });
    cases.case("cancel", "what waits is taken back, and may run later; what has ended cannot be cancelled", || {
        assert_eq!(fourmi.spools(&["cancel", "b-1"]), "1 cancelled\n");
        assert_eq!(fourmi.stored("b-1")["state"], "cancelled");
        let again = fourmi.spool(&["cancel", "b-1"]);
        assert!(again.code == 1 && again.stderr.contains("only what waits"), "{again:?}");
        assert_eq!(fourmi.admin("POST", "/api/v1/commands/b-1/cancel").status(), 409);
        assert_eq!(fourmi.spools(&["retry", "b-1"]), "1 retried\n");
        assert_eq!(fourmi.stored("b-1")["state"], "ready");
    });
    cases.case("resume", "a pause holds over a death; then all of it leaves", || {
        fourmi.start_again();
        named(&fourmi, "c-1", "Gamma", "");
        fourmi.has_states(&[("ready", 4)]);
        assert!(worker.ids().iter().all(|id| !["a-1", "a-2", "b-1", "c-1"].contains(&id.as_str())));
        fourmi.spools(&["resume", "payment"]);
        fourmi.has_states(&[("succeeded", 4)]);
        fourmi.spools(&["pause", "payment"]);
        named(&fourmi, "c-2", "Gamma", "");
        assert_eq!(fourmi.stored("c-2")["state"], "ready");
        assert_eq!(fourmi.spools(&["resume"]), "everything is resumed\n");
        fourmi.becomes("c-2", "succeeded");
        assert!(!fourmi.spools(&[]).contains("paused"));
    });
    let said = |arguments: &[&str]| run_fourmi(&[&["spool"], arguments].concat());
    cases.case("nobody", "without a running Fourmi, or one without a spool, it says so", || {
        let ended = said(&["--admin", "http://127.0.0.1:9", "list"]);
        assert!(ended.code != 0 && ended.stderr.contains("127.0.0.1:9"), "{ended:?}");
        let plain = Setup::beside(worker.address()).start();
        let ended = plain.spool(&["list"]);
        assert!(ended.code != 0 && ended.stderr.contains("spool:"), "{ended:?}");
        let read_only = beside(&worker).admin_keys("read_only: true").start();
        assert_eq!(read_only.spool(&["list"]).code, 0);
        assert_ne!(read_only.spool(&["pause"]).code, 0);
        assert_eq!(read_only.admin("DELETE", "/api/v1/commands?all=true").status(), 403);
    });
    cases.end();
}

#[test]
fn a_spool_moves_to_another_machine() {
    let (first, second) = (moody().0, moody());
    second.1.store(true, Ordering::Release);
    let from = beside(&first).start();
    for nth in 0..20 {
        named(
            &from,
            &format!("dead-{nth}"),
            "CreateOrder",
            "Content-Type: application/json\r\nFourmi-Tags: shop=berlin\r\n",
        );
    }
    from.has_states(&[("dead", 20)]);
    from.spools(&["pause"]);
    for nth in 0..700 {
        named(&from, &format!("waits-{nth}"), "CreateOrder", "Fourmi-Key: all\r\n");
    }
    from.post("/orders", "Fourmi-Id: scheduled\r\nFourmi-Delay: 1h\r\n", "later");
    let file = from.folder().join("moved");
    let path = file.to_str().unwrap();
    let ended = from.spool(&["export", "--file", path]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("721 commands"), "{ended:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 721);
    assert!(text.lines().all(|l| serde_json::from_str::<Value>(l).is_ok_and(|c| c["id"].is_string())));

    let to = beside(&second.0).start();
    assert_eq!(to.spools(&["import", path]), "721 imported\n");
    until("those that waited are done", || to.states().get("succeeded") == Some(&700));
    assert_eq!(to.states(), BTreeMap::from([("dead".into(), 20), ("scheduled".into(), 1), ("succeeded".into(), 700)]));
    let order: Vec<String> = second.0.ids();
    let expected: Vec<String> = (0..700).map(|nth| format!("waits-{nth}")).collect();
    assert_eq!(order, expected, "in the order of their key");
    assert_eq!(to.spools(&["retry", "--state", "dead", "--yes"]), "20 retried\n");
    to.has_states(&[("scheduled", 1), ("succeeded", 720)]);
    let seen = second.0.requests().into_iter().find(|r| r.header("fourmi-id") == Some("dead-7")).unwrap();
    assert_eq!((seen.method(), seen.target(), &*seen.text()), ("POST", "/orders", "dead-7"));
    assert_eq!((seen.header("content-type"), seen.header("fourmi-attempt")), (Some("application/json"), Some("2")));
    let one = to.stored("dead-7");
    assert_eq!((&one["name"], &one["tags"]["shop"]), (&json!("CreateOrder"), &json!("berlin")));
    assert_eq!(one["history"].as_array().unwrap().len(), 6, "what it was before, too: {one}");

    // Twice is once.
    assert_eq!(to.spools(&["import", path]), "0 imported, 721 left out: they are there already, or there is no room\n");
    let caller = to.post(
        "/orders",
        "Prefer: respond-async\r\nFourmi-Id: waits-3\r\nFourmi-Key: all\r\n\
                         Fourmi-Command: CreateOrder\r\n",
        "waits-3",
    );
    assert_eq!((caller.status(), caller.header("idempotency-replayed")), (202, Some("true")), "callers find theirs");
    std::fs::write(&file, "{\"id\": 7}\n").unwrap();
    let wrong = to.spool(&["import", path]);
    assert!(wrong.code != 0 && wrong.stderr.contains("line 1"), "{wrong:?}");
    assert_eq!(to.spool(&["import", "/nowhere"]).code, 66);
}
