//! What became of the records of one sink.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why a receiver could not be reached or did not take something: each asks for another remedy.
pub(crate) const TROUBLES: [&str; 8] =
    ["absent", "refused", "full", "broken", "denied", "unreachable", "size", "other"];

/// The place of an error among the [`TROUBLES`].
fn trouble(error: &io::Error) -> usize {
    use io::ErrorKind::*;
    let name = match error.kind() {
        // ENOENT: no socket file, or no such host.
        NotFound => "absent",
        ConnectionRefused => "refused",
        // EAGAIN, or no progress for as long as we wait.
        WouldBlock | TimedOut => "full",
        ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | NotConnected | WriteZero => "broken",
        PermissionDenied => "denied",
        HostUnreachable | NetworkUnreachable | NetworkDown | AddrNotAvailable => "unreachable",
        _ if error.raw_os_error() == Some(nix::errno::Errno::EMSGSIZE as i32) => "size",
        _ => "other",
    };
    TROUBLES.iter().position(|t| *t == name).unwrap_or(TROUBLES.len() - 1)
}

/// Results of one sink, counted by whoever sees them.
#[derive(Default)]
pub(crate) struct Counts {
    sent: AtomicU64,
    full: AtomicU64,
    error: AtomicU64,
    oversize: AtomicU64,
    troubles: [AtomicU64; TROUBLES.len()],
    /// Whether the last thing that happened was a success.
    well: AtomicBool,
    last_error: Mutex<Option<(String, Instant)>>,
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
    /// How often the receiver was not there or did not take something, in the order of [`TROUBLES`].
    pub(crate) troubles: [u64; TROUBLES.len()],
}

impl Totals {
    /// The `result` label of each number.
    pub(crate) fn named(self) -> [(&'static str, u64); 4] {
        [("sent", self.sent), ("dropped_full", self.full), ("dropped_error", self.error), ("oversize", self.oversize)]
    }
    /// Each trouble that was met, and how often.
    pub(crate) fn troubles(self) -> impl Iterator<Item = (&'static str, u64)> {
        TROUBLES.into_iter().zip(self.troubles).filter(|(_, n)| *n > 0)
    }
    /// Adds another sink's numbers.
    pub(crate) fn add(&mut self, other: Totals) {
        self.sent += other.sent;
        self.full += other.full;
        self.error += other.error;
        self.oversize += other.oversize;
        self.troubles.iter_mut().zip(other.troubles).for_each(|(sum, n)| *sum += n);
    }
}

impl Counts {
    /// Records that left.
    pub(crate) fn sent(&self, n: u64) {
        if n > 0 {
            self.sent.fetch_add(n, Relaxed);
            self.well.store(true, Relaxed);
        }
    }
    /// Records without room.
    pub(crate) fn full(&self, n: u64) {
        self.full.fetch_add(n, Relaxed);
    }
    /// Whether what was sent last was taken.
    pub(crate) fn is_well(&self) -> bool {
        self.well.load(Relaxed)
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
    /// The receiver could not be reached or did not take something. What is lost by it is counted elsewhere.
    pub(crate) fn trouble(&self, error: &io::Error) {
        self.troubles[trouble(error)].fetch_add(1, Relaxed);
        self.note(error);
    }
    /// Keeps an error for people; nothing is counted.
    pub(crate) fn note(&self, why: &dyn std::fmt::Display) {
        self.well.store(false, Relaxed);
        let why = why.to_string();
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((why, Instant::now()));
    }
    /// The numbers now.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            sent: self.sent.load(Relaxed),
            full: self.full.load(Relaxed),
            error: self.error.load(Relaxed),
            oversize: self.oversize.load(Relaxed),
            troubles: std::array::from_fn(|i| self.troubles[i].load(Relaxed)),
        }
    }
    /// The last error that was noted.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(why, _)| why.clone())
    }
    /// How long ago that was.
    pub(crate) fn last_error_age(&self) -> Option<Duration> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, at)| at.elapsed())
    }
}
