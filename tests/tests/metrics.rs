//! Numbers: the Prometheus text and StatsD say the same as the caller knows.

use fourmi_tests::{Fourmi, Setup, StatsdServer, Worker};

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
fn plain_statsd_adds_up() {
    let (worker, statsd) = (Worker::echo(), StatsdServer::start());
    let fourmi = Setup::beside(worker.address()).labels("shop").statsd(&statsd, "plain").start();
    send_some(&fourmi);
    statsd.counts("fourmi.test.payment.Pay.success", &[], 12.0);
    statsd.counts("fourmi.test.payment.Pay.client_error", &[], 3.0);
    statsd.counts("fourmi.test.payment.Refund.server_error", &[], 2.0);
    statsd.counts("fourmi.test.payment.tag.shop.0", &[], 6.0);
    statsd.counts("fourmi.test.payment.tag.shop.1", &[], 6.0);
    let lines = statsd.lines();
    assert!(lines.iter().all(|l| l.tags.is_empty()), "plain has no tags");
    let durations: Vec<_> = lines.iter().filter(|l| l.name == "fourmi.test.payment.Pay.duration").collect();
    assert!(!durations.is_empty() && durations.iter().all(|l| l.kind == "ms" && l.value >= 0.0), "{lines:?}");
    let count: f64 = durations.iter().map(|l| 1.0 / l.rate).sum();
    assert!((count - 15.0).abs() <= 15.0, "{count} durations of 15");
}

#[test]
fn datadog_statsd_adds_up_and_fits_its_datagrams() {
    let (worker, statsd) = (Worker::echo(), StatsdServer::start());
    let fourmi = Setup::beside(worker.address()).labels("shop").statsd(&statsd, "datadog").start();
    send_some(&fourmi);
    statsd.counts("fourmi.commands", &[("command", "Pay"), ("outcome", "success"), ("service", "payment")], 12.0);
    statsd.counts("fourmi.commands", &[("command", "Refund"), ("outcome", "server_error")], 2.0);
    statsd.counts("fourmi.tag", &[("tag", "shop"), ("value", "1")], 6.0);
    for n in 0..150 {
        fourmi.post("/", &format!("Fourmi-Command: Many{n}\r\n"), "");
    }
    statsd.counts("fourmi.commands", &[], 167.0);
    let datagrams = statsd.datagrams();
    assert!(datagrams.iter().all(|d| d.len() <= 1432), "{:?}", datagrams.iter().map(String::len).max());
    assert!(statsd.lines().iter().any(|l| l.name == "fourmi.command.duration"), "{datagrams:?}");
    // Sums, not a line an increment.
    let mut client = fourmi.client();
    let before = statsd.lines().len();
    for _ in 0..500 {
        client.post("/", "Fourmi-Command: Often\r\n", "");
    }
    statsd.counts("fourmi.commands", &[("command", "Often")], 500.0);
    let lines = statsd.lines().len() - before;
    let counters = statsd.lines().iter().filter(|l| l.kind == "c" && l.has(&[("command", "Often")])).count();
    assert!(counters < 100, "{counters} counter lines for 500 increments ({lines} lines in all)");
}

#[test]
fn the_last_sums_leave_before_the_end() {
    let (worker, statsd) = (Worker::echo(), StatsdServer::start());
    let setup = Setup::beside(worker.address()).statsd(&statsd, "plain");
    let yaml = setup.yaml().replace("interval: 100ms", "interval: 60s");
    let mut fourmi = setup.start();
    fourmi.rewrite(&yaml);
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    let before = statsd.sum("fourmi.test.payment.Last.success", &[]);
    fourmi.post("/", "Fourmi-Command: Last\r\n", "");
    fourmi.signal(nix::sys::signal::SIGTERM);
    assert_eq!(fourmi.ends(), 0);
    statsd.counts("fourmi.test.payment.Last.success", &[], before + 1.0);
}
