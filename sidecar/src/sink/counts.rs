//! What became of the records of one sink.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Results of one sink, counted by whoever sees them.
#[derive(Default)]
pub(crate) struct Counts {
    sent: AtomicU64,
    full: AtomicU64,
    error: AtomicU64,
    oversize: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// The numbers of one sink at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Handed to the system.
    pub(crate) sent: u64,
    /// No room in the ring.
    pub(crate) full: u64,
    /// Refused by the system or the other side.
    pub(crate) error: u64,
    /// Larger than the sink can carry.
    pub(crate) oversize: u64,
}

impl Totals {
    /// The `result` label of each number.
    pub(crate) fn named(self) -> [(&'static str, u64); 4] {
        [("sent", self.sent), ("dropped_full", self.full), ("dropped_error", self.error), ("oversize", self.oversize)]
    }
    /// Adds another sink's numbers.
    pub(crate) fn add(&mut self, other: Totals) {
        self.sent += other.sent;
        self.full += other.full;
        self.error += other.error;
        self.oversize += other.oversize;
    }
}

impl Counts {
    /// Records that left.
    pub(crate) fn sent(&self, n: u64) {
        self.sent.fetch_add(n, Relaxed);
    }
    /// A record without room.
    pub(crate) fn full(&self) {
        self.full.fetch_add(1, Relaxed);
    }
    /// Records that could not leave, and why.
    pub(crate) fn error(&self, n: u64, why: &dyn std::fmt::Display) {
        self.error.fetch_add(n, Relaxed);
        self.note(why);
    }
    /// A record too large to leave.
    pub(crate) fn oversize(&self, n: u64) {
        self.oversize.fetch_add(n, Relaxed);
    }
    /// Keeps an error for people; nothing is counted.
    pub(crate) fn note(&self, why: &dyn std::fmt::Display) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_string());
    }
    /// The numbers now.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            sent: self.sent.load(Relaxed),
            full: self.full.load(Relaxed),
            error: self.error.load(Relaxed),
            oversize: self.oversize.load(Relaxed),
        }
    }
    /// The last error that was noted.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
