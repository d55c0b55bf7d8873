//! What a log or metric plugin of a Kong file says, as plain values with every default filled in.

use super::choice::Choice;
use super::known::{Known, Number};
use crate::exchange::{Direction, Wants};
use crate::sink::StatsdPlace;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One plugin.
#[derive(Clone, PartialEq)]
pub struct Plugin {
    /// Its name, under which the sink is counted.
    pub name: &'static str,
    /// Its id.
    pub id: Number,
    /// Of which commands it is told.
    pub direction: Direction,
    /// Where it and its like hold.
    pub choice: Arc<Choice>,
    /// Whom the file knows.
    pub known: Arc<Known>,
    /// Bytes that may wait.
    pub buffer: usize,
    /// What it does.
    pub to: To,
}

/// What a plugin does with a command.
#[derive(Clone, PartialEq)]
pub enum To {
    /// `http-log`.
    Http(Http),
    /// `tcp-log`.
    Tcp(Tcp),
    /// `udp-log`.
    Udp(Place),
    /// `file-log`.
    File(PathBuf),
    /// `syslog`.
    Syslog(Syslog),
    /// `loggly`.
    Loggly(Loggly),
    /// `statsd` and `datadog`.
    Statsd(Statsd),
    /// `prometheus`.
    Prometheus(Switches),
    /// `opentelemetry`, its traces.
    Spans(Otlp, Recorded),
    /// `opentelemetry`, its logs.
    Records(Otlp),
    /// `zipkin`.
    Zipkin(Zipkin),
}

impl To {
    /// How much of a command it wants.
    pub(crate) fn wants(&self) -> Wants {
        match self {
            To::Statsd(_) | To::Prometheus(_) | To::Spans(..) | To::Records(_) => Wants::Numbers,
            _ => Wants::All,
        }
    }
}

/// A receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// How requests to a receiver are made.
#[derive(Clone, PartialEq)]
pub struct Http {
    /// Without user and password.
    pub url: String,
    /// `POST`, `PUT` or `PATCH`.
    pub method: &'static str,
    /// Of the body.
    pub content_type: &'static str,
    /// Beside our own.
    pub headers: Vec<(String, String)>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Objects of one request; one goes without a list around it.
    pub batch: usize,
    /// How long one waits for others.
    pub linger: Duration,
}

/// `tcp-log`.
#[derive(Clone, PartialEq)]
pub struct Tcp {
    /// Where to.
    pub place: Place,
    /// Whether it is encrypted.
    pub tls: bool,
    /// The name that is asked for then.
    pub sni: Option<String>,
}

/// How grave a command is by its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severities {
    /// The least grave that is sent.
    pub least: u8,
    /// Below 400.
    pub successful: u8,
    /// 4xx.
    pub client: u8,
    /// 5xx.
    pub server: u8,
}

impl Severities {
    /// The severity for a status; none when it is not told.
    pub(crate) fn of(&self, status: u16) -> Option<u8> {
        let severity = match status {
            500.. => self.server,
            400.. => self.client,
            _ => self.successful,
        };
        (severity <= self.least).then_some(severity)
    }
}

/// `syslog`.
#[derive(Clone, PartialEq)]
pub struct Syslog {
    /// How grave.
    pub severities: Severities,
    /// Syslog's number.
    pub facility: u8,
}

/// `loggly`.
#[derive(Clone, PartialEq)]
pub struct Loggly {
    /// Where to.
    pub place: Place,
    /// The customer's token.
    pub key: String,
    /// Loggly's tags.
    pub tags: Vec<String>,
    /// How grave.
    pub severities: Severities,
}

/// `statsd` and `datadog`.
#[derive(Clone, PartialEq)]
pub struct Statsd {
    /// Where to.
    pub place: StatsdPlace,
    /// Bytes of a packet; 0: every line in a packet of its own.
    pub packet: usize,
    /// How often sums leave.
    pub interval: Duration,
    /// In front of every name.
    pub prefix: String,
    /// Whether the host's name follows it.
    pub hostname: bool,
    /// Which numbers.
    pub metrics: Vec<Metric>,
    /// How tags are written.
    pub tags: TagStyle,
    /// Statuses that are counted, from and to; none: all.
    pub allow: Option<Vec<(u16, u16)>>,
}

/// How tags are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagStyle {
    /// They are parts of the name.
    None,
    /// `name:1|c|#tag:value`.
    Dogstatsd,
    /// `name,tag=value:1|c`.
    Influxdb,
    /// `name#tag=value:1|c`.
    Librato,
    /// `name[tag=value]:1|c`.
    Signalfx,
    /// The plugin `datadog`: as `Dogstatsd`, with tags under these names.
    Datadog {
        /// Of the service.
        service: String,
        /// Of the status.
        status: String,
        /// Of the consumer.
        consumer: String,
    },
}

/// One number of `statsd` or `datadog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Which.
    pub of: Of,
    /// How it is counted.
    pub kind: StatKind,
    /// What stands for a consumer; none: nothing does.
    pub consumer: Option<ConsumerName>,
    /// What stands for a service.
    pub service: ServiceName,
    /// Whether the workspace's name stands for it, and not its id.
    pub workspace_name: bool,
    /// Further tags.
    pub tags: Vec<String>,
}

/// Kong's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kong's words")]
pub enum Of {
    RequestCount,
    RequestSize,
    ResponseSize,
    Latency,
    UpstreamLatency,
    KongLatency,
    StatusCount,
    UniqueUsers,
    RequestPerUser,
    StatusCountPerUser,
    StatusCountPerWorkspace,
    StatusCountPerUserPerRoute,
    ShdictUsage,
}

/// StatsD's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "StatsD's words")]
pub enum StatKind {
    Counter,
    Gauge,
    Timer,
    Histogram,
    Meter,
    Set,
    Distribution,
}

/// What stands for a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kong's words")]
pub enum ConsumerName {
    Id,
    CustomId,
    Username,
}

/// What stands for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kong's words")]
pub enum ServiceName {
    Id,
    Name,
    Host,
    NameOrHost,
}

/// What `prometheus` shows of commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switches {
    /// By consumer.
    pub per_consumer: bool,
    /// Statuses.
    pub status: bool,
    /// Durations.
    pub latency: bool,
    /// Bytes.
    pub bandwidth: bool,
    /// How the targets of upstreams are.
    pub health: bool,
}

/// A receiver of OTLP.
#[derive(Clone, PartialEq)]
pub struct Otlp {
    /// Its URL.
    pub url: String,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// What is said of who sends.
    pub resource: Vec<(String, String)>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// Which traces are told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recorded {
    /// The share of those that begin here.
    pub ratio: f64,
}

/// `zipkin`.
#[derive(Clone, PartialEq)]
pub struct Zipkin {
    /// Where to.
    pub http: Http,
    /// Which traces.
    pub recorded: Recorded,
    /// What we are called.
    pub local: String,
    /// What the other side is called when no service is known.
    pub other: Option<String>,
    /// The header whose value has further tags, in lower case.
    pub tags_header: String,
    /// Whether the credential's id is told.
    pub credential: bool,
    /// Whether a span is called by method and path, not by the method alone.
    pub path: bool,
    /// Tags of every span.
    pub tags: Vec<(String, String)>,
    /// Whether trace ids are cut to 64 bits.
    pub short: bool,
}
