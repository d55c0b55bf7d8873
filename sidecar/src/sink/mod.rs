//! Where finished exchanges are told.
//!
//! A worker thread has a [`Teller`]. It writes an entry once, in no sink's format, puts the bytes into a bounded lossy
//! ring, and counts in cells that only it writes. On the control thread the entry becomes each sink's own record
//! (`generation`), filtered and renamed, in a bounded ring of that sink, whose sender sends at its own pace. The
//! [`Hub`] holds all that, and sums the cells up: for `/metrics` when asked, for StatsD by the clock. A full ring
//! drops the record and counts it; neither a command nor another sink ever waits for a sink.

mod batch;
mod counts;
mod drain;
mod entry;
mod event;
mod eyes;
mod fields;
mod filter;
mod generation;
mod hub;
mod json;
pub mod kong;
mod logs;
mod metric;
mod otlp;
mod packets;
mod probe;
mod process;
mod prometheus;
mod record;
mod redact;
mod ring;
mod scope;
pub(crate) mod scrape;
mod show;
mod statsd;
mod stream;
mod teller;
mod text;
mod transport;
mod watch;

pub use event::{Event, EventKind};
pub use eyes::{Batch, Crowded, Eyes, Tail, Unclear, Wanted, Which};
pub use hub::{Hub, SinkStat};
pub(crate) use logs::KEYS as LOG_KEYS;
pub use logs::LogSettings;
pub use metric::{Absence, Numbers, Queries, Spooled};
pub use otlp::OtlpMetrics;
pub(crate) use otlp::{METRIC_KEYS as OTLP_METRIC_KEYS, TRACE_KEYS, TRACES};
pub(crate) use probe::{Probe, probes};
pub use redact::{REDACTED, Redactor};
pub(crate) use redact::{is_secret, secrets_of};
pub(crate) use scope::names_command;
pub use show::Show;
pub use teller::Teller;
pub(crate) use watch::{Line, OUTPUT_READ_MAX, Output, Place};

use std::path::PathBuf;
use std::time::Duration;

/// The section `metrics:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSettings {
    /// Tag keys that become labels (and are counted by value).
    pub labels: Vec<String>,
    /// Where StatsD lines go.
    pub statsd: Vec<StatsdSettings>,
    /// Where data points go by OTLP.
    pub otlp: Vec<OtlpMetrics>,
    /// Whether `/metrics` answers.
    pub prometheus: bool,
}

/// One `statsd` sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsdSettings {
    /// Where the receiver is.
    pub place: StatsdPlace,
    /// How tags are written.
    pub dialect: Dialect,
    /// How often sums leave.
    pub interval: Duration,
    /// Bytes of the largest packet.
    pub packet: usize,
    /// Single durations that are sent at most of each series, worker and interval; the rest is in their rate.
    pub samples: usize,
}

/// Where a StatsD receiver is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsdPlace {
    /// `udp://HOST:PORT`: one packet a datagram.
    Udp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `tcp://HOST:PORT`: a line feed ends every line.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unixgram:/PATH`: one packet a datagram.
    UnixDatagram(PathBuf),
    /// `unix:/PATH`: a length of four bytes before every packet, as DogStatsD has it.
    UnixStream(PathBuf),
}

impl StatsdPlace {
    /// Bytes of a packet when nobody says: what an Ethernet carries, or what DogStatsD reads at once from a socket.
    pub fn packet(&self) -> usize {
        match self {
            StatsdPlace::Udp { .. } | StatsdPlace::Tcp { .. } => 1432,
            StatsdPlace::UnixDatagram(_) | StatsdPlace::UnixStream(_) => 8192,
        }
    }
}

impl std::fmt::Display for StatsdPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StatsdPlace::Udp { host, port } => write!(f, "udp://{}:{port}", bracketed(host)),
            StatsdPlace::Tcp { host, port } => write!(f, "tcp://{}:{port}", bracketed(host)),
            StatsdPlace::UnixDatagram(path) => write!(f, "unixgram:{}", path.display()),
            StatsdPlace::UnixStream(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An IPv6 address as it stands before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// How tags are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// None: they are parts of the name.
    Plain,
    /// `name:1|c|#key:value`.
    Datadog,
    /// `name,key=value:1|c`, as InfluxDB's Telegraf reads it.
    Influx,
    /// `name;key=value:1|c`.
    Graphite,
}
