//! A StatsD receiver over UDP.

use crate::net::free_port;
use crate::patience::eventually_or;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One line as it came.
#[derive(Debug, Clone)]
pub struct Line {
    /// Name.
    pub name: String,
    /// Value.
    pub value: f64,
    /// Type: `c`, `g`, `ms`, `h`, `d`.
    pub kind: String,
    /// Sampling rate, 1 when the line names none.
    pub rate: f64,
    /// Tags of the DogStatsD dialect.
    pub tags: Vec<(String, String)>,
}

impl Line {
    /// Reads `name:value|type|@rate|#tags`; anything else is the sender's fault.
    fn parse(text: &str) -> Line {
        let (name, rest) = text.split_once(':').unwrap_or_else(|| panic!("not a StatsD line: {text:?}"));
        let mut parts = rest.split('|');
        let value = parts.next().unwrap_or("").parse().unwrap_or_else(|_| panic!("not a number: {text:?}"));
        let kind = parts.next().unwrap_or_else(|| panic!("no type: {text:?}")).to_owned();
        let (mut rate, mut tags) = (1.0, Vec::new());
        for part in parts {
            if let Some(r) = part.strip_prefix('@') {
                rate = r.parse().unwrap_or_else(|_| panic!("not a rate: {text:?}"));
            } else if let Some(list) = part.strip_prefix('#') {
                let pair =
                    |t: &str| t.split_once(':').map_or((t.to_owned(), String::new()), |(k, v)| (k.into(), v.into()));
                tags = list.split(',').map(pair).collect();
            }
        }
        Line { name: name.to_owned(), value, kind, rate, tags }
    }
    /// Whether it carries all these tags.
    pub fn has(&self, tags: &[(&str, &str)]) -> bool {
        tags.iter().all(|(k, v)| self.tags.iter().any(|(key, value)| key == k && value == v))
    }
}

#[derive(Default)]
struct Got {
    datagrams: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// The receiver; it closes its port when dropped.
pub struct StatsdServer {
    port: u16,
    got: Arc<Got>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl StatsdServer {
    /// On a free port.
    pub fn start() -> Self {
        let port = free_port();
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let got = Arc::new(Got::default());
        let shared = got.clone();
        let thread = std::thread::spawn(move || {
            let mut buf = vec![0; 65_536];
            while !shared.stop.load(Ordering::Acquire) {
                if let Ok(n) = socket.recv(&mut buf) {
                    shared.datagrams.lock().unwrap().push(String::from_utf8_lossy(&buf[..n]).into_owned());
                }
            }
        });
        StatsdServer { port, got, thread: Some(thread) }
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Every datagram so far.
    pub fn datagrams(&self) -> Vec<String> {
        self.got.datagrams.lock().unwrap().clone()
    }
    /// Every line so far that is no event.
    pub fn lines(&self) -> Vec<Line> {
        let datagrams = self.datagrams();
        let lines = datagrams.iter().flat_map(|d| d.lines()).filter(|l| !l.is_empty() && !l.starts_with("_e{"));
        lines.map(Line::parse).collect()
    }
    /// Every event of DogStatsD so far, as its line.
    pub fn events(&self) -> Vec<String> {
        self.datagrams().iter().flat_map(|d| d.lines()).filter(|l| l.starts_with("_e{")).map(str::to_owned).collect()
    }
    /// What a counter adds up to over the lines with these tags.
    pub fn sum(&self, name: &str, tags: &[(&str, &str)]) -> f64 {
        let lines = self.lines();
        let counted = lines.iter().filter(|l| l.kind == "c" && l.name == name && l.has(tags));
        counted.map(|l| l.value / l.rate).sum()
    }
    /// Waits until a counter adds up to this.
    #[track_caller]
    pub fn counts(&self, name: &str, tags: &[(&str, &str)], expected: f64) {
        let what = format!("{name}{tags:?} = {expected}");
        let reached = || (self.sum(name, tags) == expected).then_some(());
        eventually_or(&what, reached, || format!("{} of\n{}", self.sum(name, tags), self.datagrams().join("\n")));
    }
}

impl Drop for StatsdServer {
    fn drop(&mut self) {
        self.got.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
