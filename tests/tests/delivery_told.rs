//! What is told of stored commands: records, metrics and the numbers of the spool add up.

use fourmi_tests::{GelfServer, Setup, Worker, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const COMMANDS: usize = 60;
const LIVE: usize = 15;

/// How often each value of a field stands in the records.
fn by(records: &[&Value], field: &str) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for record in records {
        *out.entry(record[field].as_str().unwrap_or("-").to_owned()).or_default() += 1;
    }
    out
}

#[test]
fn records_and_metrics_of_stored_commands_add_up() {
    let gelf = GelfServer::start();
    let seen: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let worker = Worker::replying(move |request| {
        let id = request.header("fourmi-id").unwrap_or_default().to_owned();
        let mut seen = seen.lock().unwrap();
        let times = seen.entry(id).or_default();
        *times += 1;
        let status = match request.target() {
            "/twice" if *times == 1 => 500,
            "/dead" => 422,
            _ => 200,
        };
        format!("HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\ndone").into()
    });
    let fourmi = Setup::beside(worker.address())
        .gelf(&gelf)
        .labels("shop")
        .more("commands: {retry: {delays: [50ms]}}\nspool: {path: ./spool}")
        .start();
    let headers =
        |id: &str, name: &str| format!("Fourmi-Id: {id}\r\nFourmi-Command: {name}\r\nFourmi-Tags: shop=berlin\r\n");
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = fourmi.client();
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= COMMANDS {
                        return;
                    }
                    let lines = format!("Prefer: respond-async\r\n{}", headers(&format!("twice-{nth}"), "Twice"));
                    assert_eq!(client.post("/twice", &lines, "body").status(), 202);
                }
            });
        }
    });
    for nth in 0..LIVE {
        assert_eq!(fourmi.post("/live", &headers(&format!("live-{nth}"), "Live"), "").status(), 200);
    }
    // Before everything is held by hand.
    fourmi.has_states(&[("succeeded", COMMANDS as i64)]);
    fourmi.later("/dead", &headers("dead", "Dead"), "");
    fourmi.becomes("dead", "dead");
    fourmi.later("/x", &format!("Fourmi-Delay: 1h\r\n{}", headers("cancelled", "Cancelled")), "");
    fourmi.spools(&["cancel", "cancelled"]);
    fourmi.later("/x", &format!("Fourmi-Delay: 100ms\r\nFourmi-Expires: 1ms\r\n{}", headers("expired", "Expired")), "");
    fourmi.spools(&["pause"]);
    fourmi.becomes("expired", "expired");
    fourmi.has_states(&[("succeeded", COMMANDS as i64), ("dead", 1), ("cancelled", 1), ("expired", 1)]);
    // The same again is the same command.
    let again = fourmi.post("/twice", &format!("Prefer: respond-async\r\n{}", headers("twice-0", "Twice")), "body");
    assert_eq!((again.status(), again.header("idempotency-replayed")), (202, Some("true")));

    // Accepted, two attempts, the end; live ones once; one that is dead at once; two that nobody sent; one answer again.
    let expected = COMMANDS * 4 + LIVE + 3 + 2 * 2 + 1;
    let records = gelf.wait_for(expected);
    let sent =
        |result: &str| fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "graylog"), ("result", result)]);
    until("each is said to be sent", || sent("sent") == expected as f64);
    let records = {
        drop(records);
        gelf.records()
    };
    assert_eq!(records.len(), expected, "no more than was sent");
    println!("{expected} records sent, {} received", records.len());

    for nth in 0..COMMANDS {
        let id = format!("twice-{nth}");
        let of: Vec<&Value> = records.iter().filter(|r| r["_command_id"] == *id).collect();
        let accepted: Vec<&Value> = of.iter().copied().filter(|r| r["_outcome"] == "accepted").collect();
        assert_eq!(accepted.len(), if nth == 0 { 2 } else { 1 }, "{of:#?}");
        assert_eq!(accepted[0]["_status"], 202);
        let rest: Vec<&Value> = of.iter().copied().filter(|r| r["_outcome"] != "accepted").collect();
        let told: Vec<(i64, i64, &str)> = rest
            .iter()
            .map(|r| (r["_attempt"].as_i64().unwrap(), r["_status"].as_i64().unwrap(), r["_outcome"].as_str().unwrap()))
            .collect();
        assert_eq!(told, [(1, 500, "server_error"), (2, 200, "success"), (2, 200, "success")], "{of:#?}");
        let one = if nth == 0 { 2 } else { 1 };
        assert_eq!(by(&of, "_trace_id").len(), one, "one trace: {of:#?}");
        assert!(of.iter().all(|r| r["_command"] == "Twice" && r["_tag_shop"] == "berlin"), "{of:#?}");
        assert!(rest[2]["_duration_ms"].as_f64() > rest[1]["_duration_ms"].as_f64(), "all of it, with its waiting");
    }
    for (id, outcomes) in [
        ("dead", &[("accepted", 1), ("client_error", 1), ("dead", 1)][..]),
        ("cancelled", &[("accepted", 1), ("cancelled", 1)]),
        ("expired", &[("accepted", 1), ("expired", 1)]),
    ] {
        let of: Vec<&Value> = records.iter().filter(|r| r["_command_id"] == id).collect();
        let expected: BTreeMap<String, usize> = outcomes.iter().map(|(o, n)| ((*o).to_owned(), *n)).collect();
        assert_eq!(by(&of, "_outcome"), expected, "{id}: {of:#?}");
    }

    // Each command counts once, by how it ended.
    let metrics = fourmi.metrics();
    for (command, outcome, n) in [
        ("Twice", "success", COMMANDS),
        ("Live", "success", LIVE),
        ("Dead", "dead", 1),
        ("Cancelled", "cancelled", 1),
        ("Expired", "expired", 1),
    ] {
        let labels = [("command", command), ("outcome", outcome), ("shop", "berlin")];
        assert_eq!(metrics.sum("fourmi_commands_total", &labels), n as f64, "{command} {outcome}");
        let all = metrics.sum("fourmi_commands_total", &[("command", command)]);
        assert_eq!(all, n as f64, "{command} is counted once:\n{}", metrics.text());
    }
    let count = "fourmi_command_duration_seconds_count";
    assert_eq!(metrics.sum(count, &[("command", "Twice")]), COMMANDS as f64);
    // The numbers of the spool.
    for (state, now, entered) in [
        ("scheduled", 0, 2),
        ("ready", 0, COMMANDS + 1),
        ("running", 0, COMMANDS * 2 + 1),
        ("retrying", 0, COMMANDS),
        ("succeeded", COMMANDS, COMMANDS),
        ("dead", 1, 1),
        ("cancelled", 1, 1),
        ("expired", 1, 1),
        ("unknown", 0, 0),
    ] {
        let label = [("state", state)];
        assert_eq!(metrics.sum("fourmi_spool_commands", &label), now as f64, "{state}");
        assert_eq!(metrics.sum("fourmi_spool_transitions_total", &label), entered as f64, "into {state}");
    }
    assert_eq!(metrics.sum("fourmi_spool_refused_total", &[]), 0.0);
    assert_eq!(metrics.sum("fourmi_commands_in_flight", &[]), 0.0);
}
