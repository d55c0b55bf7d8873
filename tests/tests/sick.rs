//! The battery: every kind of log sink, all at once, through the same faults. A kind that is not in here fails it.

use fourmi_tests::patience::{patience, within};
use fourmi_tests::peers::certificates::Certificates;
use fourmi_tests::peers::datadog::DatadogLogs;
use fourmi_tests::peers::frames::{FrameSink, Framing};
use fourmi_tests::peers::gelf_http::GelfHttp;
use fourmi_tests::peers::http_sink::HttpSink;
use fourmi_tests::peers::loggly::Loggly;
use fourmi_tests::peers::splunk::Splunk;
use fourmi_tests::{Fourmi, GelfServer, Load, Setup, Worker, eventually, free_port, run_fourmi};
use serde_json::Value;
use std::collections::BTreeSet;

/// How a receiver is taken away and brought back.
trait Away {
    fn away(&mut self);
    fn back(&mut self);
}

impl Away for &FrameSink {
    fn away(&mut self) {
        self.close_listener();
        self.hang_up();
    }
    fn back(&mut self) {
        self.reopen();
    }
}

impl Away for &HttpSink {
    fn away(&mut self) {
        self.close_listener();
        self.kill_connections();
    }
    fn back(&mut self) {
        self.reopen();
    }
}

struct Udp(u16, Option<GelfServer>);

impl Away for Udp {
    fn away(&mut self) {
        self.1 = None;
    }
    fn back(&mut self) {
        self.1 = Some(GelfServer::start_on(self.0));
    }
}

fn sinks(fourmi: &Fourmi) -> Vec<Value> {
    serde_json::from_str::<Value>(&fourmi.admin("GET", "/api/v1/sinks").text()).unwrap().as_array().unwrap().clone()
}

fn n(sink: &Value, key: &str) -> u64 {
    sink[key].as_u64().unwrap()
}

/// Waits until every sink accounts for all commands and sends again.
fn settled(fourmi: &Fourmi, commands: u64) -> Vec<Value> {
    let accounted = |s: &Value| n(s, "sent") + n(s, "dropped_full") + n(s, "dropped_error") + n(s, "oversize");
    let settled =
        || Some(sinks(fourmi)).filter(|all| all.iter().all(|s| accounted(s) == commands && s["state"] == "ok"));
    // Some of them wait long before they try again.
    let settled = within(4 * patience(), settled);
    settled.unwrap_or_else(|| panic!("{commands} commands are not accounted for: {:#?}", sinks(fourmi)))
}

#[test]
fn row_80_every_sink_outlives_its_receiver_and_every_sum_is_exact() {
    let (worker, certificates, folder) = (Worker::echo(), Certificates::new(), tempfile::tempdir().unwrap());
    let (tcp, tls) =
        (FrameSink::tcp(Framing::Nul), FrameSink::tls(certificates.server(certificates.good()), Framing::Nul));
    let syslog = FrameSink::tcp(Framing::OctetCounted);
    let (gelf, loggly, splunk, datadog) = (GelfHttp::start(), Loggly::start(), Splunk::start(), DatadogLogs::start());
    let (http, otlp) = (HttpSink::answering(200), HttpSink::answering(200));
    let mut udp = Udp(free_port(), None);
    udp.back();
    let file = folder.path().join("records.log");
    let small = "buffer: 64KiB";
    let entries = [
        format!("{{graylog: {{to: \"udp://127.0.0.1:{}\", {small}}}}}", udp.0),
        format!("{{graylog: {{to: \"tcp://127.0.0.1:{}\", {small}}}}}", tcp.port()),
        format!(
            "{{graylog: {{to: \"tls://localhost:{}\", tls: {{ca: \"{}\"}}, {small}}}}}",
            tls.port(),
            certificates.ca_file().display()
        ),
        format!("{{graylog: {{to: \"http://127.0.0.1:{}/gelf\", {small}}}}}", gelf.sink.port()),
        format!("{{syslog: {{to: \"tcp://127.0.0.1:{}\", {small}}}}}", syslog.port()),
        format!("{{loggly: {{url: \"http://127.0.0.1:{}\", token: {}, {small}}}}}", loggly.port(), loggly.token()),
        format!("{{splunk: {{url: \"http://127.0.0.1:{}\", token: {}, {small}}}}}", splunk.port(), splunk.token()),
        format!("{{datadog: {{url: \"http://127.0.0.1:{}\", api_key: {}, {small}}}}}", datadog.port(), datadog.key()),
        format!("{{http: {{url: \"http://127.0.0.1:{}\", format: ndjson, compress: none, {small}}}}}", http.port()),
        format!("{{otlp: {{endpoint: \"http://127.0.0.1:{}\", {small}}}}}", otlp.port()),
        format!("{{file: {{path: \"{}\"}}}}", file.display()),
        "{stdout: {format: json}}".to_owned(),
    ];
    // Every kind that the schema knows is in the list.
    let schema: Value = serde_json::from_str(&run_fourmi(&["schema"]).stdout).unwrap();
    let known: BTreeSet<String> = schema["properties"]["logs"]["items"]["anyOf"][0]["enum"]
        .as_array()
        .unwrap_or_else(|| panic!("where are the kinds of sinks? {}", schema["properties"]["logs"]))
        .iter()
        .map(|k| k.as_str().unwrap().to_owned())
        .collect();
    let tried: BTreeSet<String> = entries.iter().map(|e| e[1..e.find(':').unwrap()].to_owned()).collect();
    assert_eq!(tried, known, "a sink that is not in the battery");

    let mut fourmi =
        Setup::beside(worker.address()).logs(format!("[{}]", entries.join(", "))).more("timeouts: {drain: 5s}").start();
    let request = "GET /buy HTTP/1.1\r\nHost: t\r\nFourmi-Command: Buy\r\nFourmi-Tags: shop=7\r\n\r\n";
    for _ in 0..50 {
        fourmi.get("/buy");
    }
    let well = settled(&fourmi, 50);
    assert!(well.iter().all(|s| n(s, "sent") == 50), "{well:#?}");

    // All away at once, under load: more than the buffers hold.
    let mut all: Vec<Box<dyn Away + '_>> = vec![
        Box::new(udp),
        Box::new(&tcp),
        Box::new(&tls),
        Box::new(&gelf.sink),
        Box::new(&syslog),
        Box::new(&loggly.sink),
        Box::new(&splunk.sink),
        Box::new(&datadog.sink),
        Box::new(&http),
        Box::new(&otlp),
    ];
    all.iter_mut().for_each(|r| r.away());
    std::fs::rename(&file, folder.path().join("records.log.1")).unwrap();
    let memory = fourmi.memory();
    let load = Load::on(fourmi.port(), 4, request);
    eventually("four thousand commands pass with every receiver away", || (load.answered() > 4000).then_some(()));
    let tally = load.stop();
    assert_eq!((tally.with(200), tally.lost), (tally.sent(), 0), "no command feels it: {tally:?}");
    let total = 50 + tally.sent();
    let sick = eventually("every sink that cannot send says so", || {
        let now = sinks(&fourmi);
        now.iter()
            .all(|s| ["file", "stdout"].contains(&s["sink"].as_str().unwrap()) || s["state"] == "failing")
            .then_some(now)
    });
    for sink in sick.iter().filter(|s| !["file", "stdout"].contains(&s["sink"].as_str().unwrap())) {
        let why = sink["last_error"].as_str().unwrap_or("");
        assert!(
            why.to_ascii_lowercase().contains("refused") || why.contains("clos") || why.contains("reset"),
            "{sink}"
        );
        assert!(n(sink, "dropped_full") + n(sink, "dropped_error") > 0, "a buffer of 64 KiB cannot hold them: {sink}");
    }
    let grown = fourmi.memory().saturating_sub(memory);
    assert!(grown < 32 << 20, "bounded buffers, {grown} bytes more");

    // And back.
    all.iter_mut().for_each(|r| r.back());
    for _ in 0..50 {
        fourmi.get("/buy");
    }
    let healed = settled(&fourmi, total + 50);
    drop(all);
    let frames = |sink: &FrameSink| sink.count() as u64;
    let lines = |sink: &HttpSink| {
        let taken = sink.heard();
        taken.iter().filter(|h| h.status == 200).map(|h| h.text().lines().count() as u64).sum::<u64>()
    };
    let received = [
        None,
        Some(frames(&tcp)),
        Some(frames(&tls)),
        Some(gelf.records().len() as u64),
        Some(frames(&syslog)),
        Some(loggly.events().len() as u64),
        Some(splunk.events().len() as u64),
        Some(datadog.logs().len() as u64),
        Some(lines(&http)),
        None,
        Some(
            [file.clone(), folder.path().join("records.log.1")]
                .iter()
                .map(|f| std::fs::read_to_string(f).unwrap().lines().count() as u64)
                .sum(),
        ),
        Some(fourmi.stdout().lines().filter(|l| l.contains("\"command_id\"")).count() as u64),
    ];
    for (sink, received) in healed.iter().zip(received) {
        println!(
            "{:<8} {:<40} sent {:>5} received {:>5} lost {:>5}",
            sink["sink"].as_str().unwrap(),
            sink["target"].as_str().unwrap(),
            n(sink, "sent"),
            received.map_or("-".to_owned(), |r| r.to_string()),
            n(sink, "dropped_full") + n(sink, "dropped_error") + n(sink, "oversize"),
        );
        if let Some(received) = received {
            assert_eq!(received, n(sink, "sent"), "{sink}");
        }
    }
    assert!([&tcp, &tls, &syslog].iter().all(|s| s.torn().is_empty()), "no torn frame");
    fourmi.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(fourmi.ends(), 0);
}
