//! One worker's voice: counts and records what ends, without lock, channel or allocation.

use super::drain::Outlet;
use super::entry::{Entry, What, Whole};
use super::eyes::Eyes;
use super::generation::Generation;
use super::metric::{WorkerCells, WorkerSeries};
use super::ring::{self, Writer};
use super::watch::Watch;
use crate::exchange::{ConnectionSide, Direction, Exchange};
use crate::names::metric;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A worker's scratch buffer that grew beyond this is let go.
const SCRATCH_MAX: usize = 64 << 10;

/// One worker's way to the log sinks.
pub(super) struct Voice {
    pub(super) ring: Writer,
    pub(super) outlet: Arc<Outlet>,
    pub(super) generation: Arc<Generation>,
    /// Whether somebody wants to know which commands the worker has in its hands.
    pub(super) watch: Arc<Watch>,
    /// Whether somebody looks, when there is no sink.
    pub(super) eyes: Eyes,
}

/// What one worker thread tells its exchanges to. It may be moved to the worker's thread and stays there; after a
/// reload the worker takes a new one, and what is still counted by the old one is not lost.
pub struct Teller {
    cells: Arc<WorkerCells>,
    inner: RefCell<Inner>,
}

struct Inner {
    series: WorkerSeries,
    /// None in tests of numbers alone.
    voice: Option<Voice>,
    scratch: Vec<u8>,
    registry: Arc<super::metric::Registry>,
    reasons: Vec<(&'static str, &'static str, Arc<AtomicU64>)>,
}

impl Teller {
    pub(super) fn new(registry: Arc<super::metric::Registry>, series: WorkerSeries, voice: Option<Voice>) -> Teller {
        Teller {
            cells: registry.worker(),
            inner: RefCell::new(Inner { series, voice, scratch: Vec::new(), registry, reasons: Vec::new() }),
        }
    }

    /// Commands on their way: one more, one less.
    pub fn in_flight(&self, direction: Direction, delta: i64) {
        self.cells.in_flight(direction, delta);
    }

    /// A command has ended: counts it. To be called once, when its end is set.
    pub fn count(&self, x: &Exchange) {
        self.inner.borrow_mut().series.record(x);
    }

    /// A command has ended: tells every log sink.
    pub fn log(&self, x: &Exchange) {
        self.tell(What::Command, x);
    }

    /// The worker is given a command: its own lines may be about it.
    pub fn begun(&self, x: &Exchange) {
        if self.inner.borrow().voice.as_ref().is_some_and(|v| v.watch.is_wanted()) {
            self.tell(What::Begun, x);
        }
    }

    fn tell(&self, what: What, x: &Exchange) {
        let mut inner = self.inner.borrow_mut();
        let Inner { voice: Some(voice), scratch, .. } = &mut *inner else { return };
        if voice.generation.branches.is_empty() && !voice.eyes.is_open() {
            return;
        }
        ring::begin(scratch);
        let mut entry = Entry::of(what, x);
        let watched = x.direction == Direction::Inbound && voice.watch.is_wanted();
        if watched {
            entry.moment = voice.watch.now();
        }
        if what == What::Command {
            entry.whole = Whole::of(x, voice.generation.wants);
        }
        entry.write(scratch);
        if voice.ring.push(scratch) {
            voice.outlet.ring();
        } else {
            if what == What::Command {
                voice.generation.lost(1);
                voice.eyes.missed();
            }
            if watched {
                voice.watch.missed();
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

    /// A command would have been sent again, but for this.
    pub fn retry_skipped(&self, reason: &'static str) {
        self.event(metric::RETRIES_SKIPPED, reason);
    }

    /// A limit could not be counted as its file asks.
    pub fn limit_fallback(&self, reason: &'static str) {
        self.event(metric::LIMIT_FALLBACKS, reason);
    }

    /// An instance answered, and nobody waited for it any more.
    pub fn answer_dropped(&self, reason: &'static str) {
        self.event(metric::ANSWERS_DROPPED, reason);
    }

    /// Connections of callers, or to instances: one more, one less.
    pub fn connection(&self, side: ConnectionSide, delta: i64) {
        self.cells.connections(side, delta);
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

#[cfg(test)]
impl Teller {
    /// As the road begins a command.
    pub(super) fn beginning(&self, x: &Exchange) {
        self.in_flight(x.direction, 1);
    }

    /// As the road ends one.
    pub(super) fn told(&self, x: &Exchange) {
        self.in_flight(x.direction, -1);
        self.count(x);
        self.log(x);
    }
}
