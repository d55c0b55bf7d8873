//! Stored commands on the page, in a real browser: what was given up is seen, and sent again when the worker is well.

use fourmi_tests::peers::node_prints_with;
use fourmi_tests::{Fourmi, Message, Setup, Worker, until};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A worker that fails until somebody makes it well.
fn ill() -> Worker {
    let well = Arc::new(AtomicBool::new(false));
    let answer = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    Worker::replying(move |request: &Message| {
        if request.target() == "/well" {
            well.store(true, Ordering::Release);
        }
        match well.load(Ordering::Acquire) {
            true => answer("200 OK", "done").into(),
            false => answer("500 Internal Server Error", "out of order").into(),
        }
    })
}

fn order(worker: &Worker, admin: &str) -> Fourmi {
    Setup::beside(worker.address())
        .env("FOURMI_SERVICE", "order")
        .admin_keys(admin)
        .more("spool: {path: ./spool}")
        .more("commands: {retry: {delays: [100ms], max_attempts: 2}}")
        .start()
}

#[test]
fn what_was_given_up_is_seen_and_sent_again_when_the_worker_is_well() {
    let worker = ill();
    let (fourmi, fixed) = (order(&worker, "read_only: false"), order(&worker, "read_only: true"));
    let send = |name: &str, id: &str, more: &str, body: &str| {
        let lines = format!("Fourmi-Command: {name}\r\nFourmi-Id: {id}\r\n{more}");
        assert_eq!(fourmi.post("/pay", &lines, body).status(), 202, "{name}");
    };
    // Somebody looks, so that records are kept for journeys.
    assert_eq!(fourmi.admin("GET", "/api/v1/recent").status(), 200);
    send("Charge", "order-17", "Prefer: respond-async\r\nFourmi-Tags: shop=berlin\r\n", "{\"amount\":5}");
    for n in 1..=3 {
        let id = format!("refund-{n}");
        send("Refund", &id, "Prefer: respond-async\r\nFourmi-Tags: shop=oslo\r\n", "{}");
    }
    send("Remind", "later-1", "Fourmi-Delay: 1h\r\n", "{}");
    let asked =
        |path: &str| -> Value { serde_json::from_str(&fourmi.admin("GET", path).text()).unwrap_or(Value::Null) };
    until("four are given up", || asked("/api/v1/spool")["states"]["dead"]["count"] == 4);
    assert_eq!(asked("/api/v1/overview")["spool"]["dead"], 4);

    let pictures = std::env::var("FOURMI_TEST_PICTURES").unwrap_or_else(|_| "-".into());
    let page = |fourmi: &Fourmi| format!("http://127.0.0.1:{}/", fourmi.admin_port());
    let commands = format!("http://127.0.0.1:{}", fourmi.port());
    let told = node_prints_with("spool.js", &[&page(&fourmi), &commands, worker.address(), &page(&fixed), &pictures]);
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"));
    println!("{told}");
    assert_eq!(told["console"], serde_json::json!([]), "a policy that is broken is told here too");
    assert_eq!(told["elsewhere"], serde_json::json!([]), "nothing is loaded from elsewhere");
    assert_eq!(told["axe"], 13);

    // The page did what it said.
    let one = asked("/api/v1/commands/order-17");
    assert!(one["state"] == "succeeded" && one["attempt"] == 3 && one["status"] == 200, "{one}");
    let attempts = |id: &str| {
        let all = worker.requests();
        let of = all.iter().filter(|request| request.header("fourmi-id") == Some(id));
        // The first one does not say so.
        of.map(|request| request.header("fourmi-attempt").unwrap_or("1").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(attempts("order-17"), ["1", "2", "3"]);
    for id in ["refund-1", "refund-2", "refund-3"] {
        assert_eq!(attempts(id), ["1", "2", "3"], "{id}");
    }
    assert_eq!(attempts("late-1"), ["1"]);
    assert_eq!(attempts("later-1"), Vec::<String>::new());
    assert_eq!(fourmi.admin("GET", "/api/v1/commands/later-1").status(), 404);
}
