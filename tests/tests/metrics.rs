//! Numbers: the Prometheus text says what the caller knows. StatsD is in `statsd.rs`.

use fourmi_tests::{Fourmi, Setup, Worker};

/// Sends commands with known outcomes: 12 times success, 3 client errors, 2 server errors, tags of two shops.
fn send_some(fourmi: &Fourmi) {
    let mut client = fourmi.client();
    for n in 0..12 {
        let headers = format!("Fourmi-Command: Pay\r\nFourmi-Tags: shop={}\r\n", n % 2);
        assert_eq!(client.post("/", &headers, "x").status(), 200);
    }
    for _ in 0..3 {
        assert_eq!(client.post("/status/404", "Fourmi-Command: Pay\r\n", "").status(), 404);
    }
    for _ in 0..2 {
        assert_eq!(client.post("/status/500", "Fourmi-Command: Refund\r\n", "").status(), 500);
    }
}

#[test]
fn prometheus_text_adds_up() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).labels("shop").start();
    send_some(&fourmi);
    fourmi.counts("fourmi_commands_total", &[], 17.0);
    fourmi.counts("fourmi_commands_total", &[("command", "Pay"), ("outcome", "success"), ("service", "payment")], 12.0);
    fourmi.counts("fourmi_commands_total", &[("command", "Pay"), ("outcome", "success"), ("shop", "1")], 6.0);
    fourmi.counts("fourmi_commands_total", &[("command", "Pay"), ("outcome", "client_error")], 3.0);
    fourmi.counts("fourmi_commands_total", &[("command", "Refund"), ("outcome", "server_error")], 2.0);
    fourmi.counts("fourmi_tag_total", &[("tag", "shop"), ("value", "0")], 6.0);
    let scrape = fourmi.metrics();
    for metric in ["fourmi_command_duration_seconds", "fourmi_upstream_duration_seconds", "fourmi_overhead_seconds"] {
        assert_eq!(scrape.sum(&format!("{metric}_count"), &[]), 17.0, "{metric}");
        assert_eq!(scrape.sum(&format!("{metric}_bucket"), &[("le", "+Inf")]), 17.0, "{metric}");
        assert!(scrape.sum(&format!("{metric}_sum"), &[]) > 0.0, "{metric}");
    }
    assert_eq!(scrape.sum("fourmi_commands_in_flight", &[]), 0.0);
    assert!(scrape.sum("fourmi_connections", &[]) >= 1.0);
    assert!(scrape.sum("process_resident_memory_bytes", &[]) > 0.0);
    // What is not listed as a label is none.
    assert!(scrape.values("fourmi_commands_total", "consumer").iter().all(String::is_empty));
    let text = scrape.text();
    for name in ["fourmi_commands_total", "fourmi_command_duration_seconds"] {
        assert!(text.contains(&format!("# TYPE {name} ")) && text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[test]
fn commands_in_flight_are_seen_while_they_are() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    client.send("GET /slow/1500 HTTP/1.1\r\nHost: a\r\n\r\n");
    fourmi.counts("fourmi_commands_in_flight", &[], 1.0);
    client.answer();
    fourmi.counts("fourmi_commands_in_flight", &[], 0.0);
}

#[test]
fn names_are_bounded_and_nothing_is_lost_by_it() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).labels("who").start();
    let mut client = fourmi.client();
    for n in 0..2600 {
        client.post("/", &format!("Fourmi-Command: C{}\r\nFourmi-Tags: who=w{n}\r\n", n % 300), "");
    }
    fourmi.counts("fourmi_commands_total", &[], 2600.0);
    let scrape = fourmi.metrics();
    let names = scrape.values("fourmi_commands_total", "command");
    assert!(names.len() <= 201 && names.iter().any(|n| n == "_other"), "{} names", names.len());
    let series = scrape.find("fourmi_commands_total", &[]).count();
    assert!(series <= 2001, "{series} series");
    assert_eq!(scrape.sum("fourmi_tag_total", &[]), 2600.0);
}

#[test]
fn row_78_the_exposition_keeps_to_its_format() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).labels("shop").start();
    let mut client = fourmi.client();
    for _ in 0..3 {
        client.post("/", "Fourmi-Command: A\r\nFourmi-Tags: shop=a\"b\\c\r\n", "");
    }
    fourmi.counts("fourmi_commands_total", &[], 3.0);
    let text = fourmi.metrics().text();
    assert!(text.contains(r#"shop="a\"b\\c""#), "{text}");
    let kinds = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' '));
    for (name, kind) in kinds.clone() {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    }
    let histograms: Vec<&str> = kinds.filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name).collect();
    assert_eq!(histograms.len(), 3);
    for name in histograms {
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        let buckets: Vec<f64> =
            text.lines().filter(|l| l.starts_with(&format!("{name}_bucket{{"))).map(value).collect();
        let count = text.lines().find(|l| l.starts_with(&format!("{name}_count{{"))).map(value).unwrap();
        assert!(buckets.len() == 14 && buckets.is_sorted(), "{name}: {buckets:?}");
        assert_eq!((buckets[13], count), (3.0, 3.0), "{name}: the last bucket is +Inf and holds all");
    }
}
