//! What an operator may say about the API.

use super::access::Access;
use ipnet::IpNet;
use rustls::ServerConfig;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// How much is taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; more wait until one ends.
    pub connections: usize,
    /// Open connections of one client, this machine apart; more are closed at once.
    pub of_one_client: usize,
    /// Reads that wait for a change; more are answered with 503.
    pub blocked: usize,
    /// Streams of changes, each of them for one that follows us; more are answered with 503.
    pub followers: usize,
    /// Other requests that are handled at once; more are answered with 503.
    pub at_once: usize,
    /// Bytes of a body; more are answered with 413.
    pub body: usize,
    /// Bytes of a request's head; at least 8 KiB.
    pub head: usize,
    /// How long a head may take to come, and how long a connection may rest.
    pub head_time: Duration,
    /// How long an answer may stand still because the client does not read it.
    pub write_time: Duration,
    /// How long a request may take that does not wait for a change.
    pub request_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // All blocked reads, and room for those who register.
            connections: 12_288,
            of_one_client: 200,
            blocked: 10_240,
            followers: 1024,
            at_once: 256,
            // 512 KiB is the most that a value may have in Consul; a bit more for what is around it.
            body: 576 * 1024,
            head: 64 * 1024,
            head_time: Duration::from_secs(60),
            write_time: Duration::from_secs(30),
            request_time: Duration::from_secs(30),
        }
    }
}

/// What an operator may say about the API.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our node: whoever registers with the agent lives there. It is registered if it is not known.
    pub node: String,
    /// Where our node is, when it has to be registered.
    pub address: IpAddr,
    /// Our datacenter.
    pub datacenter: String,
    /// What `agent/self` says.
    pub version: String,
    /// The names we may be called by, and names under them: a `Host` that is none of these is refused.
    pub domains: Vec<String>,
    /// Whether `Host` is looked at. None is on listeners of this machine only, where a page in a browser could reach us
    /// under a name of its own.
    pub check_host: Option<bool>,
    /// The networks that may change anything, besides this machine.
    pub allow_write: Vec<IpNet>,
    /// Who may do what, by tokens.
    pub access: Access,
    /// Paths that begin like this are refused.
    pub blocked_paths: Vec<String>,
    /// How listeners encrypt; none speak plainly.
    pub tls: Option<Tls>,
    /// How much is taken on.
    pub limits: Limits,
}

/// What listeners shake hands with, asked for at every handshake, since files change.
#[derive(Clone)]
pub struct Tls(Arc<dyn Fn() -> io::Result<Arc<ServerConfig>> + Send + Sync>);

impl Tls {
    /// Asks that.
    pub fn new(config: impl Fn() -> io::Result<Arc<ServerConfig>> + Send + Sync + 'static) -> Self {
        Tls(Arc::new(config))
    }

    pub(super) fn config(&self) -> io::Result<Arc<ServerConfig>> {
        (self.0)()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            node: "localhost".into(),
            address: Ipv4Addr::LOCALHOST.into(),
            datacenter: "dc1".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            domains: vec!["fourmi".into(), "consul".into()],
            check_host: None,
            allow_write: Vec::new(),
            access: Access::default(),
            blocked_paths: Vec::new(),
            tls: None,
            limits: Limits::default(),
        }
    }
}
