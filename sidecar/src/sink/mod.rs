//! Where finished exchanges are told.
//!
//! A worker thread has a [`Teller`]. It encodes a record once, puts the bytes into a bounded lossy ring per sink
//! and counts in cells that only it writes. The control thread's [`Hub`] empties the rings, sends, and sums the
//! cells up: for `/metrics` when asked, for StatsD by the clock. A full ring drops the record and counts it; a
//! command never waits for a sink.

mod counts;
mod drain;
mod gelf;
mod hub;
mod json;
mod metric;
mod process;
mod prometheus;
mod record;
mod ring;
pub(crate) mod scrape;
mod statsd;
mod stdout;
mod teller;
mod text;
mod transport;

pub use hub::{Hub, SinkStat};
pub use teller::Teller;

use std::time::Duration;

/// One entry of `logs:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSettings {
    /// Lines on standard output.
    Stdout {
        /// How they look.
        format: StdoutFormat,
    },
    /// GELF to Graylog.
    Graylog {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// How messages are packed.
        compress: Compress,
        /// Largest datagram, the chunk's 12 header bytes included (RFC-less; GELF 1.1).
        chunk: usize,
    },
}

/// How lines on standard output look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdoutFormat {
    /// Text on a terminal, JSON lines elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How a GELF message is packed before it is cut in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compress {
    /// As it is.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Zlib,
}

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
