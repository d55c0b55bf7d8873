//! What a sink is told, under which names, and what no sink is ever told.

use fourmi_tests::{GelfServer, Setup, Worker};
use serde_json::Value;

fn stdout_records(fourmi: &fourmi_tests::Fourmi) -> Vec<Value> {
    fourmi.stdout().lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
}

#[test]
fn level_share_and_names_are_each_sinks_own() {
    let (worker, all, bad, few) = (Worker::echo(), GelfServer::start(), GelfServer::start(), GelfServer::start());
    let sink =
        |server: &GelfServer, more: &str| format!("{{graylog: {{to: \"udp://127.0.0.1:{}\", {more}}}}}", server.port());
    let fourmi = Setup::beside(worker.address())
        .logs(format!(
            "[{}, {}, {}]",
            sink(&all, "compress: none"),
            sink(&bad, "level: warning, drop: [client, tag_shop], rename: {command: action, tag_team: squad}"),
            sink(&few, "sample: 0.2")
        ))
        .more("tags: {team: orders}")
        .start();
    for n in 0..200 {
        let status = if n % 10 == 0 { 500 } else { 200 };
        let headers = format!("Fourmi-Command: Buy\r\nFourmi-Id: n{n}\r\nFourmi-Tags: shop=7\r\n");
        fourmi.post(&format!("/status/{status}"), &headers, "");
    }
    assert_eq!(all.wait_for(200).len(), 200);
    let errors = bad.wait_for(20);
    assert_eq!(errors.len(), 20);
    for record in &errors {
        assert_eq!((record["_action"].as_str(), record["_squad"].as_str()), (Some("Buy"), Some("orders")));
        for gone in ["_client", "_tag_shop", "_command", "_tag_team"] {
            assert!(record.get(gone).is_none(), "{gone}: {record}");
        }
        assert_eq!(record["_status"], 500);
    }
    // The share goes by the id: which ones is certain, errors are always among them.
    let kept = few.wait_for(21);
    let errors = kept.iter().filter(|r| r["_status"] == 500).count();
    assert_eq!(errors, 20);
    let fine = kept.len() - errors;
    assert!((1..100).contains(&fine), "about 36 of 180, not {fine}");
    // What a filter keeps back is neither sent nor lost.
    let sinks = fourmi.admin("GET", "/api/v1/sinks").text();
    let sinks: Value = serde_json::from_str(&sinks).unwrap();
    let sent: Vec<u64> = sinks.as_array().unwrap().iter().filter_map(|s| s["sent"].as_u64()).collect();
    assert_eq!((sent[0], sent[1]), (200, 20), "{sinks}");
    assert!(sinks.as_array().unwrap().iter().all(|s| s["dropped_full"] == 0 && s["dropped_error"] == 0), "{sinks}");
}

#[test]
fn credentials_never_leave_whatever_is_asked_for() {
    let (worker, server) = (Worker::echo(), GelfServer::start());
    let fourmi = Setup::beside(worker.address())
        .logs(format!("[{{graylog: {{to: \"udp://127.0.0.1:{}\"}}}}, {{stdout: {{format: json}}}}]", server.port()))
        .more(
            "record: {headers: [User-Agent, Authorization, Cookie, X-Customer, Referer], path: true, query: true, \
             redact: {headers: [x-customer], query: [email]}}",
        )
        .start();
    let headers = "Fourmi-Id: c1\r\nFourmi-Tags: shop=7,access_token=hunter2-tag\r\nUser-Agent: php/8\r\n\
                   Authorization: Bearer hunter2-bearer\r\nCookie: sid=hunter2-cookie\r\nX-Customer: hunter2-customer\r\n\
                   Referer: http://u:hunter2-pass@h/?api_key=hunter2-key\r\n";
    fourmi.post("/orders?token=hunter2-query&email=hunter2-mail&page=3", headers, "hunter2-body");
    let record = server.record("_command_id", "c1");
    for (field, value) in [
        ("_header_user-agent", "php/8"),
        ("_header_authorization", "[redacted]"),
        ("_header_cookie", "[redacted]"),
        ("_header_x-customer", "[redacted]"),
        ("_header_referer", "http://u:[redacted]@h/?api_key=[redacted]"),
        ("_method", "POST"),
        ("_path", "/orders"),
        ("_query", "token=[redacted]&email=[redacted]&page=3"),
        ("_tag_access_token", "[redacted]"),
        ("_tag_shop", "7"),
    ] {
        assert_eq!(record[field], value, "{field}: {record}");
    }
    assert!(!record.to_string().contains("hunter2"), "{record}");
    fourmi_tests::eventually("the line on standard output", || (!stdout_records(&fourmi).is_empty()).then_some(()));
    assert!(!fourmi.stdout().contains("hunter2"), "{}", fourmi.stdout());
    // The worker got everything as it was.
    assert!(String::from_utf8_lossy(&worker.last().body).contains("hunter2-body"));
    assert!(!fourmi.metrics().text().contains("hunter2"));
    assert!(!fourmi.admin("GET", "/api/v1/config").text().contains("hunter2"));
}
