//! One worker's voice: counts and records what ends, without lock, channel or allocation.

use super::drain::Outlet;
use super::metric::{Connection, WorkerCells, WorkerSeries};
use super::record::RecordEncoder;
use super::ring::{self, Writer};
use super::text::TextEncoder;
use crate::exchange::Exchange;
use crate::names::metric;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A worker's scratch buffer that grew beyond this is let go.
const SCRATCH_MAX: usize = 64 << 10;

/// How a sink's records are encoded.
#[derive(Clone)]
pub(super) enum Encoder {
    /// A GELF message.
    Gelf(Arc<RecordEncoder>),
    /// A JSON object and a line feed.
    Json(Arc<RecordEncoder>),
    /// A line for people.
    Text(TextEncoder),
}

impl Encoder {
    fn encode(&self, out: &mut Vec<u8>, x: &Exchange) {
        match self {
            Encoder::Gelf(record) => record.encode(out, x),
            Encoder::Json(record) => {
                record.encode(out, x);
                out.push(b'\n');
            }
            Encoder::Text(text) => text.encode(out, x),
        }
    }
}

/// One sink as one worker sees it.
pub(super) struct Log {
    pub(super) encoder: Encoder,
    pub(super) ring: Writer,
    pub(super) outlet: Arc<Outlet>,
}

/// What one worker thread tells its exchanges to. It may be moved to the worker's thread and stays there; after a
/// reload the worker takes a new one, and what is still counted by the old one is not lost.
pub struct Teller {
    cells: Arc<WorkerCells>,
    inner: RefCell<Inner>,
}

struct Inner {
    series: WorkerSeries,
    logs: Vec<Log>,
    scratch: Vec<u8>,
    registry: Arc<super::metric::Registry>,
    reasons: Vec<(&'static str, &'static str, Arc<AtomicU64>)>,
}

impl Teller {
    pub(super) fn new(registry: Arc<super::metric::Registry>, series: WorkerSeries, logs: Vec<Log>) -> Teller {
        Teller {
            cells: registry.worker(),
            inner: RefCell::new(Inner { series, logs, scratch: Vec::new(), registry, reasons: Vec::new() }),
        }
    }

    /// A command has begun: it is in flight until it is [told](Teller::told).
    pub fn begun(&self, x: &Exchange) {
        self.cells.in_flight(x.direction, 1);
    }

    /// A command has ended: it is counted and written to every log sink. To be called once, when its end is set.
    pub fn told(&self, x: &Exchange) {
        self.cells.in_flight(x.direction, -1);
        let mut inner = self.inner.borrow_mut();
        inner.series.record(x);
        let Inner { logs, scratch, .. } = &mut *inner;
        for log in logs {
            ring::begin(scratch);
            log.encoder.encode(scratch, x);
            if log.ring.push(scratch) {
                log.outlet.ring();
            } else {
                log.outlet.counts.full();
            }
        }
        if scratch.capacity() > SCRATCH_MAX {
            *scratch = Vec::new();
        }
    }

    /// A command was refused before an instance saw it.
    pub fn rejected(&self, reason: &'static str) {
        self.event(metric::REJECTED, reason);
    }

    /// A command is sent again.
    pub fn retried(&self, reason: &'static str) {
        self.event(metric::RETRIES, reason);
    }

    /// A connection stands: of a `client`, or to an instance (`upstream`).
    pub fn connection_opened(&self, side: &'static str) {
        self.cells.connections(side_of(side), 1);
    }

    /// A connection is gone.
    pub fn connection_closed(&self, side: &'static str) {
        self.cells.connections(side_of(side), -1);
    }

    fn event(&self, name: &'static str, reason: &'static str) {
        let mut inner = self.inner.borrow_mut();
        if let Some((.., count)) = inner.reasons.iter().find(|(n, r, _)| *n == name && *r == reason) {
            count.fetch_add(1, Relaxed);
            return;
        }
        let count = inner.registry.reason(name, reason);
        count.fetch_add(1, Relaxed);
        inner.reasons.push((name, reason, count));
    }
}

fn side_of(side: &str) -> Connection {
    if side == "upstream" { Connection::Upstream } else { Connection::Client }
}
