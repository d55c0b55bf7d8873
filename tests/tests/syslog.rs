//! Syslog over every way, read back by rsyslog.

use fourmi_tests::peers::{Rsyslog, UnixgramSink};
use fourmi_tests::{Setup, Worker, eventually, until};
use serde_json::Value;

/// Fields of our structured data.
fn data<'a>(record: &'a Value, field: &str) -> &'a str {
    record["data"]["fourmi@32473"][field].as_str().unwrap_or_else(|| panic!("no {field} in {record}"))
}

#[test]
fn rsyslog_reads_the_same_over_udp_tcp_and_tls() {
    let (worker, rsyslog) = (Worker::echo(), Rsyslog::start());
    let ca = rsyslog.certificates().ca_file();
    let logs = format!(
        "[{{syslog: {{to: \"udp://127.0.0.1:{}\"}}}}, {{syslog: {{to: \"tcp://127.0.0.1:{}\"}}}}, \
         {{syslog: {{to: \"tls://localhost:{}\", tls: {{ca: \"{}\"}}}}}}, \
         {{syslog: {{to: \"tcp://localhost:{}\", framing: newline, facility: daemon, app_name: lines}}}}]",
        rsyslog.udp(),
        rsyslog.tcp(),
        rsyslog.tls(),
        ca.display(),
        rsyslog.tcp(),
    );
    let fourmi = Setup::beside(worker.address()).logs(logs).start();
    let headers = "Fourmi-Command: CreateOrder\r\nFourmi-Id: 42\r\nFourmi-Tags: shop=\u{e9}\r\n";
    fourmi.post("/status/404", headers, "x");
    let records = eventually("four messages", || {
        let records = rsyslog.records();
        (records.len() == 4).then_some(records)
    });
    let inputs = |name: &str| records.iter().filter(|r| r["input"] == name).count();
    assert_eq!((inputs("udp"), inputs("tcp"), inputs("tls")), (1, 2, 1), "{records:?}");
    for record in &records {
        let lines = record["app"] == "lines";
        // local0 or daemon, and a warning.
        let pri = if lines { "28" } else { "132" };
        let app = if lines { "lines" } else { "payment" };
        for (field, expected) in [
            ("pri", pri),
            ("version", "1"),
            ("host", "box"),
            ("app", app),
            ("procid", &fourmi.pid().to_string()),
            ("msgid", "CreateOrder"),
        ] {
            assert_eq!(
                record[field].as_str().map(str::to_owned).unwrap_or(record[field].to_string()),
                expected,
                "{field}: {record}"
            );
        }
        let time = record["timestamp"].as_str().unwrap();
        assert!(time.len() == "2026-01-01T00:00:00.000000Z".len() && time.starts_with("20"), "{time}");
        for (field, expected) in [
            ("command_id", "42"),
            ("tag_shop", "\u{e9}"),
            ("status", "404"),
            ("outcome", "client_error"),
            ("env", "test"),
        ] {
            assert_eq!(data(record, field), expected, "{record}");
        }
        let said = record["msg"].as_str().unwrap().trim_start_matches('\u{feff}').trim_start();
        assert!(said.starts_with("CreateOrder 404 ") && said.ends_with(" ms"), "{said}");
    }
    until("all are counted", || {
        fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "syslog"), ("result", "sent")]) == 4.0
    });
}

#[test]
fn row_60_61_62_what_is_odd_comes_back_from_rsyslog() {
    let (worker, rsyslog) = (Worker::echo(), Rsyslog::start());
    let logs = format!("[{{syslog: {{to: \"tcp://127.0.0.1:{}\"}}}}]", rsyslog.tcp());
    let identify = "commands: {identify: {name: /name, tags: {odd: /odd}}}";
    let fourmi = Setup::beside(worker.address()).logs(logs).more(identify).start();
    let mut client = fourmi.client();
    let odd = "a\"b]c\\d é";
    for n in 0..20 {
        let body = serde_json::json!({"name": "Place.Order.of.a.very.long.name.indeed", "odd": odd}).to_string();
        let headers = format!("Fourmi-Id: n{n}\r\nContent-Type: application/json\r\n");
        client.post("/", &headers, body);
    }
    let records = eventually("twenty messages", || {
        let records = rsyslog.records();
        (records.len() >= 20).then_some(records)
    });
    // Counted in characters, the second one would already begin in the wrong place.
    let ids: Vec<&str> = records.iter().map(|r| data(r, "command_id")).collect();
    assert_eq!(ids, (0..20).map(|n| format!("n{n}")).collect::<Vec<_>>());
    for record in &records {
        assert_eq!(data(record, "tag_odd"), odd);
        assert_eq!(record["msgid"], "Place.Order.of.a.very.long.name.");
    }
}

#[test]
fn a_local_socket_takes_messages_and_may_come_later() {
    let (worker, sink) = (Worker::echo(), UnixgramSink::absent());
    let logs = format!("[{{syslog: {{to: \"unixgram:{}\", max: 1024}}}}]", sink.path().display());
    let fourmi = Setup::beside(worker.address()).logs(logs).start();
    fourmi.post("/", "Fourmi-Command: Early\r\n", "x");
    until("the error names the socket", || fourmi.admin("GET", "/api/v1/sinks").text().contains("ENOENT"));
    sink.reopen();
    let message = sink.line(" Early ");
    assert!(
        message.starts_with("<134>1 2") && message.contains(" [fourmi@32473 ") && message.len() <= 1024,
        "{message}"
    );
}
