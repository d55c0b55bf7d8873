//! The order system of `examples/orders`, on free ports: a registry, five services with a Fourmi beside each, and the
//! workers of the demo. Beside it stands one more Fourmi, with everything that goes wrong elsewhere.

use fourmi_tests::net::Stream;
use fourmi_tests::peers::Certificates;
use fourmi_tests::sidecar::binary;
use fourmi_tests::wire::{Kind, Wire};
use fourmi_tests::{Fourmi, Setup, Worker, free_port};
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

pub(super) const SERVICES: [&str; 5] = ["order", "stock", "payment", "invoice", "mail"];

/// Ports of StatsD's receivers, by dialect.
#[derive(Clone, Copy)]
pub(super) struct Receivers {
    pub(super) plain: u16,
    pub(super) graphite: u16,
    pub(super) datadog: u16,
}

impl Receivers {
    /// Entries of `metrics.sinks` for those whose lines have tags.
    fn tagged(self) -> [String; 2] {
        [("datadog", self.datadog), ("graphite", self.graphite)].map(|(dialect, port)| {
            format!("{{statsd: {{to: \"udp://127.0.0.1:{port}\", dialect: {dialect}, interval: 1s}}}}")
        })
    }
}

/// The running system; it ends when dropped.
pub(super) struct Orders {
    processes: BTreeMap<String, Child>,
    ports: BTreeMap<u16, u16>,
    folder: TempDir,
    _graylog: UdpSocket,
}

impl Orders {
    /// Starts all of it.
    pub(super) fn start(receivers: Receivers) -> Self {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orders");
        let graylog = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut ports = BTreeMap::from([(12_201, graylog.local_addr().unwrap().port()), (8125, receivers.plain)]);
        let folder = TempDir::with_prefix("orders-").unwrap();
        let names = SERVICES.iter().chain(&["registry"]);
        for name in names.clone() {
            let yaml = std::fs::read_to_string(examples.join(name).with_extension("yaml")).unwrap();
            let mut yaml = moved(&yaml, &mut ports);
            let more = receivers.tagged().map(|sink| format!("    - {sink}\n")).concat();
            match yaml.contains("  sinks:\n") {
                true => yaml = yaml.replace("  sinks:\n", &format!("  sinks:\n{more}")),
                false => yaml += &format!("metrics:\n  sinks:\n{more}    - prometheus: {{}}\n"),
            }
            std::fs::write(folder.path().join(name).with_extension("yaml"), yaml).unwrap();
        }
        let mut orders = Orders { processes: BTreeMap::new(), ports, folder, _graylog: graylog };
        for name in names {
            let file = orders.file(name).display().to_string();
            orders.spawn(name, &["run", "-c", &file]);
        }
        for (name, port) in [("order", 8081), ("stock", 8082), ("payment", 8083), ("invoice", 8084), ("mail", 8085)] {
            orders.worker(name, port);
        }
        orders.worker("stock", 8092);
        orders
    }
    fn worker(&mut self, name: &str, port: u16) {
        let (at, proxy) = (self.port(port).to_string(), format!("http://127.0.0.1:{}", self.port(15_011)));
        let mut arguments = vec!["demo-part", "worker", name, "--port", &at];
        if name == "order" {
            arguments.extend(["--proxy", &proxy]);
        }
        self.spawn(&format!("{name}-worker-{port}"), &arguments);
    }
    fn spawn(&mut self, name: &str, arguments: &[&str]) {
        let log = std::fs::File::create(self.folder.path().join(name).with_extension("log")).unwrap();
        let mut command = Command::new(binary());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.processes.insert(name.to_owned(), command.spawn().unwrap());
    }
    /// Where what stands on this port in the examples stands here.
    pub(super) fn port(&self, example: u16) -> u16 {
        self.ports[&example]
    }
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("yaml")
    }
    /// The admin ports, the registry's too.
    pub(super) fn admins(&self) -> Vec<u16> {
        (9910..=9915).map(|port| self.port(port)).collect()
    }
    /// Kills one of the two workers of stock, as `kill -9` does.
    pub(super) fn kill_a_worker(&mut self) {
        let mut worker = self.processes.remove("stock-worker-8092").unwrap();
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    /// Customers, one of each kind: the web shop, a robot over its limit, a partner who may not, and nobody known.
    pub(super) fn customers(&self) -> Vec<Caller> {
        let keys =
            ["apikey: key-of-the-web-shop\r\n", "apikey: key-of-the-robot\r\n", "apikey: key-of-the-partner\r\n", ""];
        let order = |key: &str| {
            let body = r#"{"order": 1}"#;
            let headers = format!("{key}Fourmi-Command: PlaceOrder\r\nFourmi-Tags: shop=berlin\r\n");
            let request = format!(
                "POST /PlaceOrder HTTP/1.1\r\nHost: order\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            Caller::of(self.port(25_011), request)
        };
        keys.map(order).into()
    }
    /// What the processes said last.
    pub(super) fn log(&self) -> String {
        let mut all = String::new();
        for name in self.processes.keys() {
            let text = std::fs::read_to_string(self.folder.path().join(name).with_extension("log")).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            all += &format!("{name}: {}\n", lines[lines.len().saturating_sub(4)..].join("\n"));
        }
        all
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            let _ = process.kill();
        }
        for process in self.processes.values_mut() {
            let _ = process.wait();
        }
    }
}

/// The text with every port of the examples replaced by a free one, the same one everywhere.
fn moved(yaml: &str, ports: &mut BTreeMap<u16, u16>) -> String {
    let places = regex::Regex::new(r"(127\.0\.0\.1:|port: )(\d+)").unwrap();
    let replace = |found: &regex::Captures<'_>| {
        let port = found[2].parse().unwrap();
        format!("{}{}", &found[1], ports.entry(port).or_insert_with(free_port))
    };
    places.replace_all(yaml, replace).into_owned()
}

/// A Fourmi to which everything happens that the order system is spared: a receiver and a registry that are not there,
/// limits without their Redis, a service that goes away with what it was given, a certificate, and a spool with
/// commands that are done, that wait, and that are given up.
pub(super) struct Troubled {
    pub(super) fourmi: Fourmi,
    _worker: Worker,
    _thief: Worker,
    _certificates: Certificates,
}

impl Troubled {
    pub(super) fn start(receivers: Receivers) -> Self {
        let (worker, certificates) = (Worker::echo(), Certificates::new());
        let thief = Worker::scripted(|mut conn| {
            let _ = conn.request();
        });
        let (nowhere, tls) = (free_port(), free_port());
        let setup = Setup::alone()
            .outbound(format!(
                "{{thief: {{address: [\"{0}\"], healthchecks: {{passive: {{max_ejected: 0}}}}}}, gone: {{address: \"http://127.0.0.1:{nowhere}\", circuit_breaker: {{failures: 0.5, least: 10, window: 60s, open: 400ms}}}}}}",
                thief.address()
            ))
            .env("FOURMI_LOG_LEVEL", "error")
            .metric_sink("{statsd: {to: \"unixgram:/nowhere/statsd.sock\", dialect: datadog, interval: 200ms}}")
            .metric_sink(receivers.tagged().join(", "));
        let (certificate, key) = (setup.folder().join("c.pem"), setup.folder().join("k.pem"));
        std::fs::write(&certificate, &certificates.good().certificate).unwrap();
        std::fs::write(&key, &certificates.good().key).unwrap();
        let port = setup.inbound_port();
        let fourmi = setup
            .more(&format!("worker: {{address: \"{}\"}}", worker.address()))
            .more(&format!(
                "inbound: [{{listen: \"http://127.0.0.1:{port}\"}}, {{listen: \"https://127.0.0.1:{tls}\", tls: {{certificate: {}, key: {}}}}}]",
                certificate.display(),
                key.display()
            ))
            .more(&format!("discovery: {{join: \"http://127.0.0.1:{nowhere}\"}}"))
            .more("spool: {path: ./spool}")
            .more("commands: {retry: {delays: [500ms], max_attempts: 3, max_age: 5s}}")
            .more(&format!(
                "gateway: {{_format_version: \"3.0\", services: [{{name: edge, url: http://worker, routes: [{{name: edge, paths: [/]}}], \
                 plugins: [{{name: rate-limiting, config: {{minute: 100000, policy: redis, fault_tolerant: true, redis: {{host: 127.0.0.1, port: {nowhere}}}}}}}]}}]}}"
            ))
            .spawn();
        fourmi.wait_live();
        Troubled { fourmi, _worker: worker, _thief: thief, _certificates: certificates }
    }
    /// Commands that go well, that are lost, and that reach nobody.
    pub(super) fn callers(&self) -> Vec<Caller> {
        let ask = |port: u16, host: &str, path: &str, more: &str| {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nFourmi-Command: Try\r\n{more}Content-Length: 1\r\n\r\nx"
            );
            let pause = if more.is_empty() { PAUSE } else { 5 * PAUSE };
            Caller::every(pause, port, request)
        };
        let (inbound, out) = (self.fourmi.port(), self.fourmi.outbound_port());
        let stored = "Prefer: respond-async\r\n";
        vec![
            ask(inbound, "edge", "/x", ""),
            ask(out, "thief", "/x", ""),
            ask(out, "gone", "/x", ""),
            ask(inbound, "edge", "/x", stored),
            ask(inbound, "edge", "/status/500", stored),
            ask(inbound, "edge", "/x", "Fourmi-Delay: 1h\r\n"),
        ]
    }
}

/// Between two commands of a caller: some ten a second.
const PAUSE: Duration = Duration::from_millis(80);

/// Somebody who sends one command after the other until dropped.
pub(super) struct Caller {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Caller {
    fn of(port: u16, request: String) -> Self {
        Self::every(PAUSE, port, request)
    }
    fn every(pause: Duration, port: u16, request: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                // Some of these are meant to find nobody, or to be left alone: what comes back is looked at elsewhere.
                if let Ok(stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
                    let mut wire = Wire::new(Stream::Tcp(stream));
                    for _ in 0..20 {
                        if wire.send(&request).is_err() || wire.message(Kind::AnswerTo("POST")).is_err() {
                            break;
                        }
                        std::thread::sleep(pause);
                    }
                }
                std::thread::sleep(pause);
            }
        });
        Caller { stop, thread: Some(thread) }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
