//! A registry in the making, and instances that can be in it.

use crate::net::free_port;
use crate::sidecar::Fourmi;
use crate::worker::{Conn, Worker};
use nix::sys::signal::Signal;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The section `discovery:` of the node `n1`, as YAML flow text.
#[derive(Debug, Clone)]
pub struct Section {
    /// Where names are answered.
    pub at: SocketAddr,
    node: String,
    dns: String,
    services: Vec<String>,
    records: Vec<String>,
}

impl Section {
    /// Names are answered on a free port.
    pub fn new() -> Self {
        Self::at(([127, 0, 0, 1], free_port()).into())
    }

    /// Names are answered there.
    pub fn at(at: SocketAddr) -> Self {
        let node = "node: n1, address: 127.0.0.1".into();
        Section { at, node, dns: String::new(), services: Vec::new(), records: Vec::new() }
    }

    /// More keys of the section itself, e.g. `meta: {rack: r1}`.
    pub fn node(mut self, yaml: &str) -> Self {
        self.node = format!("{}, {yaml}", self.node);
        self
    }
    /// More keys of `dns`, e.g. `ttl: 5s`.
    pub fn dns(mut self, yaml: &str) -> Self {
        self.dns = format!("{}, {yaml}", self.dns);
        self
    }
    /// One more of `services`, e.g. `{name: stock, port: 80}`.
    pub fn service(mut self, yaml: impl Into<String>) -> Self {
        self.services.push(yaml.into());
        self
    }
    /// These instances of the service `stock`, with this check.
    pub fn stock<'a>(self, instances: impl IntoIterator<Item = &'a Instance>, check: &str) -> Self {
        instances.into_iter().fold(self, |section, i| section.service(i.registered("stock", check)))
    }
    /// One more of `records`, by its name.
    pub fn record(mut self, name: &str, yaml: &str) -> Self {
        self.records.push(format!("{name}: {yaml}"));
        self
    }

    /// As a line of the configuration.
    pub fn yaml(&self) -> String {
        let (node, at, dns) = (&self.node, self.at, &self.dns);
        let (services, records) = (self.services.join(", "), self.records.join(", "));
        format!("discovery: {{{node}, dns: {{listen: \"{at}\"{dns}}}, services: [{services}], records: {{{records}}}}}")
    }

    /// Puts another section into the place of this one, with which Fourmi was started, and tells it.
    pub fn becomes(&self, fourmi: &Fourmi, other: &Section) {
        let old = fourmi.yaml();
        assert!(old.contains(&self.yaml()), "it was started with another section");
        fourmi.rewrite(&old.replace(&self.yaml(), &other.yaml()));
        fourmi.signal(Signal::SIGHUP);
    }
}

impl Default for Section {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug, Default)]
struct Inner {
    begun: AtomicU64,
    done: AtomicU64,
    health: AtomicU64,
}

/// An instance of a service: it answers with its id, `/healthz` with the status that it is told to have, and knows how
/// many requests are in its hands. Dropping it kills it.
pub struct Instance {
    /// Its id, such as `s1`.
    pub id: String,
    /// Where it is.
    pub at: SocketAddr,
    worker: Worker,
    inner: Arc<Inner>,
}

impl Instance {
    /// One that takes so many milliseconds for an answer, on this address of this machine and port.
    #[track_caller]
    pub fn start(id: &str, at: SocketAddr, millis: u64) -> Self {
        let inner = Arc::new(Inner::default());
        inner.health.store(200, Ordering::Release);
        let (of_worker, body) = (inner.clone(), id.to_owned());
        let worker = Worker::scripted_bound(at, move |conn| serve(conn, &of_worker, &body, millis));
        Instance { id: id.into(), at, worker, inner }
    }

    /// So many of them, `s1` at 127.0.0.2 and so on, on one port.
    #[track_caller]
    pub fn several<const N: usize>(millis: u64) -> [Instance; N] {
        let port = free_port();
        let at = |i: usize| SocketAddr::new(IpAddr::from([127, 0, 0, 2 + u8::try_from(i).unwrap()]), port);
        std::array::from_fn(|i| Self::start(&format!("s{}", i + 1), at(i), millis))
    }

    /// Its entry in `discovery.services`, with this check (none when empty) such as `{http: /healthz}`.
    pub fn registered(&self, service: &str, check: &str) -> String {
        self.registered_with(service, check, "")
    }

    /// The same with more keys, e.g. `, tags: [v1]`.
    pub fn registered_with(&self, service: &str, check: &str, more: &str) -> String {
        let check = if check.is_empty() { String::new() } else { format!(", check: {check}") };
        let (id, ip, port) = (&self.id, self.at.ip(), self.at.port());
        format!("{{name: {service}, id: {id}, address: {ip}, port: {port}{check}{more}}}")
    }

    /// From now on its checks are answered with this status.
    pub fn feels(&self, status: u16) {
        self.inner.health.store(status.into(), Ordering::Release);
    }
    /// Its address as an answer.
    pub fn a(&self) -> String {
        format!("A {}", self.at.ip())
    }
    /// Commands that it has answered.
    pub fn done(&self) -> u64 {
        self.inner.done.load(Ordering::Acquire)
    }
    /// The last request that it saw.
    #[track_caller]
    pub fn last(&self) -> crate::wire::Message {
        self.worker.last()
    }

    /// Kills it: what is in its hands is lost. Says how many commands those were.
    pub fn dies(self) -> u64 {
        let inner = self.inner.clone();
        drop(self);
        let done = inner.done.load(Ordering::Acquire);
        inner.begun.load(Ordering::Acquire).saturating_sub(done)
    }
}

fn serve(mut conn: Conn, inner: &Inner, id: &str, millis: u64) {
    while let Some(request) = conn.request() {
        let check = request.target() == "/healthz";
        if !check {
            inner.begun.fetch_add(1, Ordering::AcqRel);
            std::thread::sleep(Duration::from_millis(millis));
        }
        let status = if check { inner.health.load(Ordering::Acquire) } else { 200 };
        if !conn.send(format!("HTTP/1.1 {status} Told\r\nContent-Length: {}\r\n\r\n{id}", id.len())) {
            return;
        }
        if !check {
            inner.done.fetch_add(1, Ordering::AcqRel);
        }
        if request.says("connection", "close") {
            return;
        }
    }
}
