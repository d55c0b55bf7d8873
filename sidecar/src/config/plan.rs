//! The checked, immutable form of the configuration. After it exists nothing validates again.

use crate::command::Rules;
use crate::exchange::frames::Inlet;
use crate::exchange::{Delivery, Direction, Identity};
use crate::gateway::sinks::Sinks;
use crate::lines;
use crate::names::SUFFIX;
use crate::pipeline::gateway::{Gate, Gateway};
use crate::pipeline::{Limits, Sampling, Timeouts};
use crate::registry;
use crate::sink::{LogSettings, MetricSettings, Show};
use crate::spool;
use crate::tls::{ClientTls, ServerTls, Titled};
use crate::upstream::{Policy, Target, names};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The file it was read from; none for built-in defaults or standard input.
    pub origin: Option<PathBuf>,
    /// Who we are.
    pub identity: Arc<Identity>,
    /// The registry, when there is one here.
    pub discovery: Option<Arc<registry::Settings>>,
    /// Whom the names of services and workers are asked of.
    pub dns: names::Settings,
    /// The zone that we are in.
    pub zone: Option<Arc<str>>,
    /// Worker threads; `auto` is resolved already.
    pub threads: usize,
    /// Every data listener.
    pub listeners: Vec<Listener>,
    /// The local worker, if there is one.
    pub worker: Option<Worker>,
    /// Services that the worker's commands go to, by name.
    pub outbound: Vec<Service>,
    /// The gateway before the worker.
    pub gateway: Option<GatewayPlan>,
    /// Networks whose forwarded addresses, Fourmi headers and traces are believed.
    pub trusted: Arc<[IpNet]>,
    /// How commands are identified.
    pub identify: Rules,
    /// The store of accepted commands, when there is one.
    pub spool: Option<spool::Settings>,
    /// How commands to the worker are delivered.
    pub delivery: Arc<Delivery>,
    /// Commands that come again and again.
    pub schedule: Vec<Arc<spool::Entry>>,
    /// Durations.
    pub timeouts: Timeouts,
    /// Sizes and counts.
    pub limits: Limits,
    /// What records show of requests beside the standard fields.
    pub show: Show,
    /// Where records go.
    pub logs: Vec<LogSettings>,
    /// The worker's own lines.
    pub worker_logs: lines::Settings,
    /// Where numbers go.
    pub metrics: MetricSettings,
    /// Where spans go.
    pub spans: Option<LogSettings>,
    /// Which of the traces that begin here are recorded.
    pub sampling: Sampling,
    /// The admin listener; none when switched off.
    pub admin: Option<Admin>,
}

impl Plan {
    /// Adds the sinks of a gateway's file. When the share of `traces` has been said by itself, it holds.
    pub(super) fn tell(&mut self, sinks: Sinks, traces: bool) {
        self.logs.extend(sinks.logs);
        self.metrics.prometheus |= sinks.prometheus;
        if let Some(ratio) = sinks.sampling.filter(|_| !traces) {
            self.sampling = Sampling { ratio };
        }
    }

    /// The service's name in a host's, when that is one of ours.
    pub fn bare<'h>(&self, host: &'h str) -> Option<&'h str> {
        match &self.discovery {
            None => host.strip_suffix(SUFFIX),
            Some(discovery) => discovery.suffixes().iter().find_map(|suffix| host.strip_suffix(suffix.as_str())),
        }
    }

    /// Every sink that is told of each command: those of records and that of spans.
    pub fn told(&self) -> Vec<LogSettings> {
        self.logs.iter().chain(&self.spans).cloned().collect()
    }
}

/// One data listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Whose commands come in here.
    pub direction: Direction,
    /// Where it listens.
    pub bind: Bind,
    /// Whether trusted peers begin with a PROXY protocol header (v1 or v2).
    pub proxy_protocol: bool,
    /// How it encrypts; none for plain HTTP.
    pub tls: Option<ServerTls>,
    /// How it takes messages of ZeroMQ.
    pub inlet: Arc<Inlet>,
    /// Whether it takes nothing else.
    pub messages: bool,
}

impl Listener {
    /// Whether it is the same listener, whatever its certificates are now and however it takes messages: those can change
    /// without closing it.
    pub fn is_at(&self, other: &Listener) -> bool {
        let kind = |l: &Listener| (l.direction, l.proxy_protocol, l.tls.is_some(), l.messages);
        self.bind == other.bind && kind(self) == kind(other)
    }

    /// The scheme and address, for people.
    pub fn url(&self) -> String {
        match &self.bind {
            Bind::Tcp(address) if self.messages => format!("zmq+tcp://{address}"),
            Bind::Unix(path) if self.messages => format!("zmq+ipc://{}", path.display()),
            Bind::Tcp(address) if self.tls.is_some() => format!("https://{address}"),
            Bind::Tcp(address) => format!("http://{address}"),
            Bind::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bind {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket's path.
    Unix(PathBuf),
}

/// Where one or several instances are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The place as written.
    pub target: Target,
    /// Its share.
    pub weight: u32,
    /// Lower is preferred.
    pub priority: u16,
    /// The zone that it is in.
    pub zone: Option<Arc<str>>,
}

/// The local worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// One or several processes that do the same.
    pub addresses: Vec<Address>,
    /// How those of them are spoken to that want TLS.
    pub tls: ClientTls,
    /// How commands are sent to them.
    pub policy: Arc<Policy>,
    /// How its readiness is asked.
    pub ready: Ready,
}

/// How a worker's readiness is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// By nothing but its answering connections.
    Connect,
    /// By a GET that must answer 2xx.
    Http {
        /// The path.
        path: String,
        /// How often.
        interval: Duration,
    },
}

/// A service that the worker's commands go to, or that lies behind a gateway.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name: what callers put in `Host`, alone or followed by `.service.fourmi`.
    pub name: Arc<str>,
    /// Where its instances are; none when the registry knows.
    pub addresses: Vec<Address>,
    /// How those of them are spoken to that want TLS.
    pub tls: ClientTls,
    /// How commands are sent to them.
    pub policy: Arc<Policy>,
    /// The middlewares that its commands pass.
    pub gate: Option<Arc<Gate>>,
    /// How its commands are delivered, when it has its own way.
    pub delivery: Option<Arc<Delivery>>,
}

/// A gateway's file.
#[derive(Debug, Clone)]
pub struct GatewayPlan {
    /// Routes and middlewares, compiled.
    pub gateway: Arc<Gateway>,
    /// Its services, by their place in the file; none where it is the local worker.
    pub services: Vec<Option<Service>>,
    /// Certificates that inbound listeners show beside their own.
    pub titled: Arc<[Titled]>,
    /// The name of the upstream that each service leads to, by the same places.
    pub upstreams: Vec<Option<String>>,
    /// What its log and metric plugins are.
    pub sinks: Sinks,
}

/// The admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where the token is that everybody must have.
    pub token_file: Option<PathBuf>,
    /// Whether nothing can be changed through it.
    pub read_only: bool,
    /// Other Fourmis that its page looks at too.
    pub peers: Vec<Fellow>,
}

/// Another Fourmi's admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fellow {
    /// Host and port.
    pub authority: String,
    /// Where its token is.
    pub token_file: Option<PathBuf>,
}
