//! What stands between rings and the one who empties them, and how that one sleeps.
//!
//! A reader that finds its rings empty says so in a flag and sleeps; the first writer then wakes it, once. Behind
//! the data threads' rings it waits a moment before it reads, so that many records share one wake and one system
//! call.

use super::counts::Counts;
use super::generation::Generation;
use super::ring::{Reader, Writer, ring};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long records may gather before they are read: at most some 300 wakes a second, and bursts that a
/// receiver's default buffer holds.
const COALESCE: Duration = Duration::from_millis(3);
/// How often a sink that is no longer configured looks whether its last writer is gone.
const RETIRED_POLL: Duration = Duration::from_millis(500);

const RUNNING: u8 = 0;
const RETIRED: u8 = 1;
const STOPPING: u8 = 2;

/// A ring, and the sinks that what comes through it is for.
type Tagged = (Reader, Arc<Generation>);

/// The shared side of one sink, or of the way to all of them: writers put rings in, the reader takes them out.
pub(crate) struct Outlet {
    /// The configuration's key of the sink.
    pub(crate) sink: &'static str,
    /// Where it sends, for people.
    pub(crate) target: String,
    /// What became of its records.
    pub(crate) counts: Counts,
    arriving: Mutex<Vec<Tagged>>,
    asleep: AtomicBool,
    bell: Notify,
    poked: Notify,
    state: AtomicU8,
    deadline: Mutex<Option<Instant>>,
}

impl Outlet {
    /// A sink that has no rings yet.
    pub(crate) fn new(sink: &'static str, target: String) -> Arc<Outlet> {
        Arc::new(Outlet {
            sink,
            target,
            counts: Counts::default(),
            arriving: Mutex::new(Vec::new()),
            asleep: AtomicBool::new(false),
            bell: Notify::new(),
            poked: Notify::new(),
            state: AtomicU8::new(RUNNING),
            deadline: Mutex::new(None),
        })
    }

    /// A new ring.
    pub(crate) fn connect(&self, bytes: usize, generation: &Arc<Generation>) -> Writer {
        let (writer, reader) = ring(bytes);
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner).push((reader, generation.clone()));
        self.ring();
        writer
    }

    /// Wakes the sender if it sleeps. Costs a fence and a load when it does not.
    pub(crate) fn ring(&self) {
        // Pairs with the fence in `Inbox::wait`: either we see the flag or the sender sees what we wrote.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.bell.notify_one();
        }
    }

    /// The sink left the configuration: send what the last writers still bring, then end.
    pub(crate) fn retire(&self) {
        self.state.store(RETIRED, Ordering::Release);
        self.bell.notify_one();
    }

    /// The configuration was read again and this sink stays as it is: it may want to open its files anew.
    pub(crate) fn poke(&self) {
        self.poked.notify_one();
    }

    /// Waits for the next such moment; one that has passed unseen counts. May be dropped at any time.
    pub(crate) async fn poked(&self) {
        self.poked.notified().await;
    }

    /// Fourmi ends: send what is there, not later than the deadline.
    pub(crate) fn stop(&self, deadline: Instant) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        self.state.store(STOPPING, Ordering::Release);
        self.bell.notify_one();
    }

    /// Whether Fourmi ends.
    pub(crate) fn is_stopping(&self) -> bool {
        self.state.load(Ordering::Acquire) == STOPPING
    }

    /// Whether the sink is to end when it has nothing left.
    pub(crate) fn is_ending(&self) -> bool {
        self.state.load(Ordering::Acquire) != RUNNING
    }

    /// Whether what was sent last was taken.
    pub(crate) fn is_moving(&self) -> bool {
        self.counts.is_well()
    }

    /// When there is no time left, once Fourmi ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is no time left.
    pub(crate) fn is_late(&self) -> bool {
        self.is_stopping() && self.deadline().is_some_and(|d| Instant::now() >= d)
    }

    /// Sleeps, but not beyond a stop.
    pub(crate) async fn rest(&self, how_long: Duration) {
        if self.is_ending() {
            tokio::time::sleep(how_long.min(Duration::from_millis(20))).await;
        } else {
            let _ = tokio::time::timeout(how_long, self.bell.notified()).await;
        }
    }
}

/// The sender's side: every worker's ring of one sink.
pub(crate) struct Inbox {
    outlet: Arc<Outlet>,
    rings: Vec<Tagged>,
    next: usize,
    /// How long records may gather before they are read.
    coalesce: Duration,
}

impl Inbox {
    /// The one reader of this sink's outlet.
    pub(crate) fn new(outlet: Arc<Outlet>) -> Inbox {
        Inbox { outlet, rings: Vec::new(), next: 0, coalesce: Duration::ZERO }
    }

    /// The one reader behind the data threads.
    pub(crate) fn of_threads(outlet: Arc<Outlet>) -> Inbox {
        Inbox { coalesce: COALESCE, ..Inbox::new(outlet) }
    }

    /// Appends the next record of any ring to `out`.
    pub(crate) fn pop(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        self.pop_from(out).map(|(length, _)| length)
    }

    /// The same, and whom it is for.
    pub(crate) fn pop_from(&mut self, out: &mut Vec<u8>) -> Option<(usize, &Arc<Generation>)> {
        let n = self.rings.len();
        for _ in 0..n {
            let at = self.next;
            if let Some(length) = self.rings[at].0.pop(out) {
                return Some((length, &self.rings[at].1));
            }
            self.next = (at + 1) % n;
        }
        None
    }

    /// Bytes that wait in the fullest ring.
    pub(crate) fn backlog(&self) -> usize {
        self.rings.iter().map(|(r, _)| r.backlog()).max().unwrap_or(0)
    }

    /// Whether a ring is about to overflow.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.rings.iter().any(|(r, _)| r.is_nearly_full())
    }

    /// Waits for records; false when the sink is to end. What cannot be sent before the deadline is counted as lost.
    pub(crate) async fn wait(&mut self) -> bool {
        loop {
            if !self.outlet.is_stopping() && !self.coalesce.is_zero() {
                tokio::time::sleep(self.coalesce).await;
            }
            self.tidy();
            if self.outlet.is_late() {
                self.discard(&"no time left at the end");
                return false;
            }
            if self.backlog() > 0 {
                return true;
            }
            if self.outlet.is_stopping() || (self.outlet.is_ending() && self.rings.is_empty()) {
                return false;
            }
            self.outlet.asleep.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            if self.backlog() > 0 || self.has_arrivals() {
                self.outlet.asleep.store(false, Ordering::Release);
                continue;
            }
            if self.outlet.is_ending() {
                let _ = tokio::time::timeout(RETIRED_POLL, self.outlet.bell.notified()).await;
            } else {
                self.outlet.bell.notified().await;
            }
            self.outlet.asleep.store(false, Ordering::Release);
        }
    }

    /// Whether there are rings that it does not read yet.
    pub(crate) fn has_arrivals(&self) -> bool {
        !self.outlet.arriving.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes new rings in and lets go of those whose worker is gone and whose records have left.
    pub(crate) fn tidy(&mut self) {
        self.rings.append(&mut self.outlet.arriving.lock().unwrap_or_else(PoisonError::into_inner));
        // Abandonment is asked first: after it nothing more can come.
        self.rings.retain(|(ring, _)| !(ring.is_abandoned() && ring.backlog() == 0));
        self.next = 0;
    }

    /// Counts everything that waits as lost.
    pub(crate) fn discard(&mut self, why: &dyn std::fmt::Display) {
        let mut lost = 0;
        let mut bytes = Vec::new();
        // What is still on the way to the sinks is lost to each of them; a sink's own ring is for nobody else.
        while let Some((_, generation)) = self.pop_from(&mut bytes) {
            generation.lost(1);
            bytes.clear();
            lost += 1;
        }
        if lost > 0 {
            self.outlet.counts.error(lost, why);
        }
    }
}
