//! OTLP over HTTP with protobuf: logs, metrics and traces.
//!
//! The messages are those of the OpenTelemetry project's own crates. Queueing and sending are ours, because every
//! record must end in exactly one counter (docs/decisions/009).

mod attributes;
mod frame;
mod metrics;
mod points;
mod post;
mod record;
mod resource;
mod settings;
mod since;
mod span;
mod wait;

pub use metrics::OtlpMetrics;
pub(crate) use metrics::{Border, KEYS as METRIC_KEYS, Sender, Sinks, Sums};
pub(crate) use record::LogEncoder;
pub(crate) use settings::{COMPRESS, ENDPOINT, HEADERS, Remote, TIMEOUT, TLS};
pub(crate) use span::{KEYS as TRACE_KEYS, NAME as TRACES, build as traces};

use super::batch;
use super::drain::{Inbox, Outlet};
pub(crate) use frame::Senders;
pub(crate) use span::SpanEncoder;
use std::sync::Arc;

/// Bytes of one request before it is packed: a Collector's gRPC limit, which some apply to HTTP too, is 4 MiB.
const REQUEST_MAX: usize = 3 << 20;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Log records.
    Logs,
    /// Data points.
    Metrics,
    /// Spans.
    Traces,
}

impl Signal {
    /// Where it goes when the endpoint has no path.
    fn path(self) -> &'static str {
        match self {
            Signal::Logs => "/v1/logs",
            Signal::Metrics => "/v1/metrics",
            Signal::Traces => "/v1/traces",
        }
    }

    /// How many of what was sent the receiver refused, and its reason. None when the answer is not OTLP.
    fn refused(self, answer: &[u8]) -> Option<(u64, String)> {
        use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
        use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
        use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
        use prost::Message;
        let (n, why) = match self {
            Signal::Logs => {
                let partial = ExportLogsServiceResponse::decode(answer).ok()?.partial_success.unwrap_or_default();
                (partial.rejected_log_records, partial.error_message)
            }
            Signal::Metrics => {
                let partial = ExportMetricsServiceResponse::decode(answer).ok()?.partial_success.unwrap_or_default();
                (partial.rejected_data_points, partial.error_message)
            }
            Signal::Traces => {
                let partial = ExportTraceServiceResponse::decode(answer).ok()?.partial_success.unwrap_or_default();
                (partial.rejected_spans, partial.error_message)
            }
        };
        Some((u64::try_from(n).unwrap_or(0), why))
    }
}

/// Sends what an encoder of this module wrote until the outlet ends.
pub(crate) async fn send(outlet: Arc<Outlet>, inbox: Inbox, remote: Remote, signal: Signal, senders: Arc<Senders>) {
    batch::run(outlet, inbox, frame::Framed::new(remote.post(signal), senders)).await;
}
