//! What stands between the workers' rings and one sink's sender, and how the sender sleeps.
//!
//! A sender that finds its rings empty says so in a flag and sleeps; the first worker that writes then wakes it,
//! once. It waits a moment before it reads, so that many records share one wake and one system call.

use super::counts::Counts;
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

/// The shared side of one sink: tellers put rings in, the sender takes them out.
pub(crate) struct Outlet {
    /// The configuration's key of the sink.
    pub(crate) sink: &'static str,
    /// Where it sends, for people.
    pub(crate) target: String,
    /// What became of its records.
    pub(crate) counts: Counts,
    arriving: Mutex<Vec<Reader>>,
    asleep: AtomicBool,
    bell: Notify,
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
            state: AtomicU8::new(RUNNING),
            deadline: Mutex::new(None),
        })
    }

    /// A new ring into this sink.
    pub(crate) fn connect(&self, bytes: usize) -> Writer {
        let (writer, reader) = ring(bytes);
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
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

    /// Whether there is no time left.
    pub(crate) fn is_late(&self) -> bool {
        self.is_stopping()
            && self.deadline.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|d| Instant::now() >= d)
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
    rings: Vec<Reader>,
    next: usize,
}

impl Inbox {
    /// The one reader of this outlet.
    pub(crate) fn new(outlet: Arc<Outlet>) -> Inbox {
        Inbox { outlet, rings: Vec::new(), next: 0 }
    }

    /// Appends the next record of any ring to `out`.
    pub(crate) fn pop(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        for _ in 0..self.rings.len() {
            if let Some(length) = self.rings[self.next].pop(out) {
                return Some(length);
            }
            self.next = (self.next + 1) % self.rings.len();
        }
        None
    }

    /// Bytes that wait in the fullest ring.
    pub(crate) fn backlog(&self) -> usize {
        self.rings.iter().map(Reader::backlog).max().unwrap_or(0)
    }

    /// Waits for records; false when the sink is to end. What cannot be sent before the deadline is counted as lost.
    pub(crate) async fn wait(&mut self) -> bool {
        loop {
            if !self.outlet.is_stopping() {
                tokio::time::sleep(COALESCE).await;
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

    fn has_arrivals(&self) -> bool {
        !self.outlet.arriving.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes new rings in and lets go of those whose worker is gone and whose records have left.
    fn tidy(&mut self) {
        self.rings.append(&mut self.outlet.arriving.lock().unwrap_or_else(PoisonError::into_inner));
        // Abandonment is asked first: after it nothing more can come.
        self.rings.retain(|ring| !(ring.is_abandoned() && ring.backlog() == 0));
        self.next = 0;
    }

    /// Counts everything that waits as lost.
    pub(crate) fn discard(&mut self, why: &dyn std::fmt::Display) {
        let mut lost = 0;
        let mut bytes = Vec::new();
        while self.pop(&mut bytes).is_some() {
            bytes.clear();
            lost += 1;
        }
        if lost > 0 {
            self.outlet.counts.error(lost, why);
        }
    }
}
