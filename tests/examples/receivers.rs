//! What sick receivers cost, measured: not a test, because it measures time.
//!
//! ```text
//! cargo run --release -p fourmi-tests --example receivers -- cut [commands/s]
//! cargo run --release -p fourmi-tests --example receivers -- sinks [commands/s]
//! ```
//!
//! `cut`: records go to receivers over UDP, TCP, TLS, HTTP and a unix stream. In nine pairs of windows all receivers are
//! up, then away; then they are away for 30 s. Latencies are compared, and every receiver's count with what Fourmi says.
//!
//! `sinks`: nine pairs of windows, GELF alone and every sink on; the CPU time of the data thread is compared.

use fourmi_tests::peers::certificates::Certificates;
use fourmi_tests::peers::datadog::DatadogLogs;
use fourmi_tests::peers::frames::{FrameSink, Framing};
use fourmi_tests::peers::gelf_http::GelfHttp;
use fourmi_tests::peers::http_sink::HttpSink;
use fourmi_tests::peers::loggly::Loggly;
use fourmi_tests::peers::splunk::Splunk;
use fourmi_tests::{Fourmi, GelfServer, Setup, free_port};
use serde_json::Value;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const CALLERS: u64 = 16;
const WINDOW: Duration = Duration::from_secs(5);
const WINDOWS: usize = 9;
const CUT: Duration = Duration::from_secs(30);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rate = arguments.get(1).and_then(|r| r.parse().ok()).unwrap_or(2000);
    match arguments.first().map(String::as_str) {
        Some("cut") => cut(rate),
        Some("sinks") => sinks(rate),
        _ => eprintln!("say `cut` or `sinks`"),
    }
}

/// A worker that answers everything with four bytes.
fn worker() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = [0; 4096];
    let mut have = 0;
    while let Ok(n) = stream.read(&mut buffer[have..]) {
        have += n;
        if n == 0 {
            return;
        }
        if buffer[..have].ends_with(b"\r\n\r\n") {
            have = 0;
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine").is_err() {
                return;
            }
        }
    }
}

/// Commands at a steady rate, whatever becomes of them; latency counts from when a command was due.
struct Pace {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<u32>>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Pace {
    fn on(port: u16, rate: u64) -> Pace {
        let (stop, sent, seen) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<Mutex<_>>::default());
        let threads = (0..CALLERS)
            .map(|n| {
                let (stop, sent, seen) = (stop.clone(), sent.clone(), seen.clone());
                thread::spawn(move || call(port, rate, n, &stop, &sent, &seen))
            })
            .collect();
        Pace { stop, sent, seen, threads }
    }

    /// The 99th percentile since the last asking, in microseconds.
    fn p99(&self) -> u32 {
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.sort_unstable();
        seen.get(seen.len() * 99 / 100).copied().unwrap_or(0)
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().for_each(|t| t.join().unwrap());
        self.sent.load(Relaxed)
    }
}

fn call(port: u16, rate: u64, caller: u64, stop: &AtomicBool, sent: &AtomicU64, seen: &Mutex<Vec<u32>>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let every = Duration::from_micros(1_000_000 * CALLERS / rate);
    let start = Instant::now() + every.mul_f64(caller as f64 / CALLERS as f64);
    let mut buffer = [0; 4096];
    for n in 0.. {
        if stop.load(Relaxed) {
            return;
        }
        let due = start + every * n;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let request = format!(
            "GET /buy HTTP/1.1\r\nHost: payment\r\nFourmi-Command: Buy\r\nFourmi-Id: {caller}-{n}\r\nFourmi-Tags: shop=7,lang=de\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut have = 0;
        while !buffer[..have].ends_with(b"fine") {
            let got = stream.read(&mut buffer[have..]).unwrap();
            assert!(got > 0, "the connection was closed");
            have += got;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..have]));
        sent.fetch_add(1, Relaxed);
        seen.lock().unwrap().push(due.elapsed().as_micros() as u32);
    }
}

/// Datagrams for which nobody listened, and those that found a full buffer, since the start of the machine.
fn kernel_drops() -> [u64; 2] {
    let text = std::fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut lines = text.lines().filter(|l| l.starts_with("Udp:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return [0; 2] };
    ["NoPorts", "RcvbufErrors"].map(|wanted| {
        let pair = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == wanted);
        pair.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    })
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Every way that records can go, each with a receiver that can be cut.
struct Receivers {
    udp_port: u16,
    udp: Option<GelfServer>,
    udp_past: Vec<String>,
    tcp: FrameSink,
    tls: FrameSink,
    http: GelfHttp,
    splunk: Splunk,
    unix: FrameSink,
    _certificates: Certificates,
    ca: String,
}

impl Receivers {
    fn start() -> Receivers {
        let certificates = Certificates::new();
        let udp_port = free_port();
        Receivers {
            udp_port,
            udp: Some(GelfServer::start_on(udp_port)),
            udp_past: Vec::new(),
            tcp: FrameSink::tcp(Framing::Nul),
            tls: FrameSink::tls(certificates.server(certificates.good()), Framing::Nul),
            http: GelfHttp::start(),
            splunk: Splunk::start(),
            unix: FrameSink::unix(Framing::LengthPrefixed),
            ca: certificates.ca_file().display().to_string(),
            _certificates: certificates,
        }
    }

    fn logs(&self) -> String {
        format!(
            "[{{graylog: {{to: \"udp://127.0.0.1:{}\"}}}}, {{graylog: {{to: \"tcp://127.0.0.1:{}\"}}}}, \
             {{graylog: {{to: \"tls://localhost:{}\", tls: {{ca: \"{}\"}}}}}}, {{graylog: {{to: \"http://127.0.0.1:{}/gelf\"}}}}, \
             {{splunk: {{url: \"http://127.0.0.1:{}\", token: \"{}\"}}}}]",
            self.udp_port,
            self.tcp.port(),
            self.tls.port(),
            self.ca,
            self.http.sink.port(),
            self.splunk.sink.port(),
            self.splunk.token(),
        )
    }

    fn cut(&mut self) {
        for frames in [&self.tcp, &self.tls, &self.unix] {
            frames.close_listener();
            frames.hang_up();
        }
        for http in [&self.http.sink, &self.splunk.sink] {
            http.close_listener();
            http.kill_connections();
        }
        if let Some(udp) = self.udp.take() {
            self.udp_past.extend(udp.records().iter().map(id));
        }
    }

    fn back(&mut self) {
        for frames in [&self.tcp, &self.tls, &self.unix] {
            frames.reopen();
        }
        self.http.sink.reopen();
        self.splunk.sink.reopen();
        self.udp = Some(GelfServer::start_on(self.udp_port));
    }
}

fn id(record: &Value) -> String {
    record["_command_id"].as_str().unwrap_or("?").to_owned()
}

fn cut(rate: u64) {
    let mut receivers = Receivers::start();
    let drops = kernel_drops();
    let statsd =
        format!("{{statsd: {{to: \"unix:{}\", dialect: datadog, interval: 1s}}}}", receivers.unix.path().display());
    let mut fourmi =
        Setup::beside(&format!("http://127.0.0.1:{}", worker())).logs(receivers.logs()).metric_sink(statsd).start();
    let pace = Pace::on(fourmi.port(), rate);
    thread::sleep(WINDOW);
    pace.p99();
    let (mut up, mut away) = (Vec::new(), Vec::new());
    for _ in 0..WINDOWS {
        thread::sleep(WINDOW);
        up.push(f64::from(pace.p99()));
        receivers.cut();
        thread::sleep(WINDOW);
        away.push(f64::from(pace.p99()));
        receivers.back();
        // What gathered leaves before the next window begins.
        thread::sleep(Duration::from_secs(1));
        pace.p99();
    }
    println!("p99 of commands in us, receivers up:   {up:?}\np99 of commands in us, receivers away: {away:?}");
    let (up, away) = (median(up), median(away));
    println!("median {up} up, {away} away: {:+.1} %", (away / up - 1.0) * 100.0);
    let before = fourmi.memory();
    receivers.cut();
    thread::sleep(CUT);
    let during = fourmi.memory();
    receivers.back();
    thread::sleep(Duration::from_secs(20));
    let sent = pace.stop();
    thread::sleep(Duration::from_secs(5));
    let sinks: Value = serde_json::from_str(&fourmi.admin("GET", "/api/v1/sinks").text()).unwrap();
    println!(
        "resident KiB before the cut of 30 s {}, at its end {}, afterwards {}",
        before / 1024,
        during / 1024,
        fourmi.memory() / 1024
    );
    println!("commands {sent}");
    fourmi.signal(nix::sys::signal::Signal::SIGTERM);
    fourmi.ends();
    let udp = receivers.udp.as_ref().map(GelfServer::records).unwrap_or_default();
    let mut udp: Vec<String> = udp.iter().map(id).collect();
    udp.append(&mut receivers.udp_past);
    let ids = |records: Vec<Value>| records.iter().map(id).collect::<Vec<_>>();
    let splunk = receivers.splunk.events();
    let splunk: Vec<String> =
        splunk.iter().map(|e| e["event"]["command_id"].as_str().unwrap_or("?").to_owned()).collect();
    let received = [
        ("udp", udp),
        ("tcp", ids(receivers.tcp.records())),
        ("tls", ids(receivers.tls.records())),
        ("http", ids(receivers.http.records())),
        ("splunk", splunk),
    ];
    println!(
        "sink     received (twice)  sent  dropped_full dropped_error oversize   received + counted losses - commands"
    );
    for ((way, ids), stat) in received.iter().zip(sinks.as_array().unwrap()) {
        let distinct = ids.iter().collect::<HashSet<_>>().len() as i64;
        let n = |key: &str| stat[key].as_i64().unwrap_or(0);
        let lost = n("dropped_full") + n("dropped_error") + n("oversize");
        println!(
            "{way:7} {distinct:9} {:>7} {:7} {:11} {:11} {:9} {:12}",
            ids.len() as i64 - distinct,
            n("sent"),
            n("dropped_full"),
            n("dropped_error"),
            n("oversize"),
            distinct + lost - sent as i64
        );
    }
    let [nobody, full] = kernel_drops();
    println!(
        "udp, by the kernel: nobody listened {}, the receiver's buffer was full {}",
        nobody - drops[0],
        full - drops[1]
    );
    let counted: f64 = receivers
        .unix
        .texts()
        .iter()
        .flat_map(|t| t.lines())
        .filter_map(|l| l.strip_prefix("fourmi.commands:")?.split('|').next()?.parse::<f64>().ok())
        .sum();
    println!(
        "statsd over a unix stream: fourmi.commands adds up to {counted}, {} beside the commands",
        counted - sent as f64
    );
}

/// CPU time of the thread `fourmi-0`, in ticks of 10 ms.
fn data_thread(fourmi: &Fourmi) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", fourmi.pid())).unwrap();
    for task in tasks.flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        if stat.contains("(fourmi-0)") {
            let schedule = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            return schedule.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        }
    }
    0
}

fn sinks(rate: u64) {
    let receivers = Receivers::start();
    let unix =
        format!("{{statsd: {{to: \"unix:{}\", dialect: datadog, interval: 1s}}}}", receivers.unix.path().display());
    let worker = worker();
    let alone = GelfServer::start();
    let one = Setup::beside(&format!("http://127.0.0.1:{worker}"))
        .logs(format!("[{{graylog: {{to: \"udp://127.0.0.1:{}\"}}}}]", alone.port()))
        .start();
    let (loggly, datadog) = (Loggly::start(), DatadogLogs::start());
    let (http, otlp, syslog) =
        (HttpSink::answering(200), HttpSink::answering(200), FrameSink::tcp(Framing::OctetCounted));
    let folder = tempfile::tempdir().unwrap();
    let logs = format!(
        "{}, {{loggly: {{url: \"http://127.0.0.1:{}\", token: {}}}}}, {{datadog: {{url: \"http://127.0.0.1:{}\", api_key: {}}}}}, \
         {{http: {{url: \"http://127.0.0.1:{}\"}}}}, {{otlp: {{endpoint: \"http://127.0.0.1:{}\"}}}}, \
         {{syslog: {{to: \"tcp://127.0.0.1:{}\"}}}}, {{file: {{path: \"{}/records\"}}}}, {{stdout: {{format: json}}}}]",
        receivers.logs().trim_end_matches(']'),
        loggly.port(),
        loggly.token(),
        datadog.port(),
        datadog.key(),
        http.port(),
        otlp.port(),
        syslog.port(),
        folder.path().display(),
    );
    let all = Setup::beside(&format!("http://127.0.0.1:{worker}"))
        .logs(logs)
        .metric_sink(unix)
        .metric_sink(format!("{{otlp: {{endpoint: \"http://127.0.0.1:{}\", interval: 1s}}}}", otlp.port()))
        .more(&format!("traces: {{otlp: {{endpoint: \"http://127.0.0.1:{}\"}}}}", otlp.port()))
        .start();
    let (mut ones, mut alls) = (Vec::new(), Vec::new());
    let window = |fourmi: &Fourmi| {
        let pace = Pace::on(fourmi.port(), rate);
        thread::sleep(Duration::from_secs(1));
        let (cpu, sent) = (data_thread(fourmi), pace.sent.load(Relaxed));
        thread::sleep(WINDOW);
        let (cpu, sent) = (data_thread(fourmi) - cpu, pace.sent.load(Relaxed) - sent);
        pace.stop();
        cpu as f64 / sent as f64 / 1000.0
    };
    for _ in 0..WINDOWS {
        ones.push(window(&one));
        alls.push(window(&all));
    }
    println!("data thread, us a command, GELF alone: {ones:.1?}\ndata thread, us a command, all sinks:  {alls:.1?}");
    let (one_, all_) = (median(ones), median(alls));
    println!("median {one_:.2} alone, {all_:.2} all: {:+.1} %", (all_ / one_ - 1.0) * 100.0);
    thread::sleep(Duration::from_secs(3));
    let stats: Value = serde_json::from_str(&all.admin("GET", "/api/v1/sinks").text()).unwrap();
    for s in stats.as_array().unwrap() {
        let lost = ["dropped_full", "dropped_error", "oversize"].iter().filter_map(|k| s[*k].as_u64()).sum::<u64>();
        println!(
            "{:<14} {:<50} sent {:>7} lost {lost}",
            s["sink"].as_str().unwrap(),
            s["target"].as_str().unwrap(),
            s["sent"]
        );
    }
    drop(one);
}
