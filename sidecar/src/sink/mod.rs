//! Where finished exchanges are told.
//!
//! A worker thread has a [`Teller`]. It writes an entry once, in no sink's format, puts the bytes into a bounded lossy
//! ring, and counts in cells that only it writes. On the control thread the entry becomes each sink's own record
//! (`generation`), filtered and renamed, in a bounded ring of that sink, whose sender sends at its own pace. The
//! [`Hub`] holds all that, and sums the cells up: for `/metrics` when asked, for StatsD by the clock. A full ring
//! drops the record and counts it; neither a command nor another sink ever waits for a sink.

mod counts;
mod drain;
mod entry;
mod fields;
mod filter;
mod generation;
mod hub;
mod json;
mod logs;
mod metric;
mod process;
mod prometheus;
mod record;
mod redact;
mod ring;
pub(crate) mod scrape;
mod show;
mod statsd;
mod teller;
mod text;
mod transport;

pub use hub::{Hub, SinkStat};
pub(crate) use logs::KEYS as LOG_KEYS;
pub use logs::LogSettings;
pub use redact::{REDACTED, Redactor};
pub use show::Show;
pub use teller::Teller;

use std::time::Duration;

/// The section `metrics:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSettings {
    /// Tag keys that become labels (and are counted by value).
    pub labels: Vec<String>,
    /// Where StatsD lines go.
    pub statsd: Vec<StatsdSettings>,
    /// Whether `/metrics` answers.
    pub prometheus: bool,
}

/// One `statsd` sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsdSettings {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How tags are written.
    pub dialect: Dialect,
    /// How often sums leave.
    pub interval: Duration,
    /// Largest datagram.
    pub packet: usize,
}

/// How tags are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// None: they are parts of the name.
    Plain,
    /// `|#key:value`.
    Datadog,
}
