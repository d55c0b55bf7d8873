//! Counted reports.

use super::limits::Counter;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Counted reports, up to 255 of each kind. A success clears the failures, a failure the successes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Successes on the way back.
    pub successes: u8,
    /// Failed by their status.
    pub http_failures: u8,
    /// Failed connections.
    pub tcp_failures: u8,
    /// Timeouts.
    pub timeouts: u8,
}

/// Four counters in one atomic, so that they change together.
#[derive(Debug, Default)]
pub(super) struct Counters(AtomicU32);

impl Counters {
    /// Counts one more; its counter's new value.
    pub(super) fn count(&self, counter: Counter) -> u8 {
        let place = match counter {
            Counter::Successes => 0,
            Counter::HttpFailures => 1,
            Counter::TcpFailures => 2,
            Counter::Timeouts => 3,
        };
        let next = |all: u32| {
            let mut bytes = all.to_le_bytes();
            match counter {
                Counter::Successes => bytes = [bytes[0], 0, 0, 0],
                _ => bytes[0] = 0,
            }
            bytes[place] = bytes[place].saturating_add(1);
            u32::from_le_bytes(bytes)
        };
        let before = self.0.fetch_update(Relaxed, Relaxed, |all| Some(next(all))).unwrap_or_else(|all| all);
        next(before).to_le_bytes()[place]
    }

    /// All to zero; writes nothing when they are.
    pub(super) fn clear(&self) {
        if self.0.load(Relaxed) != 0 {
            self.0.store(0, Relaxed);
        }
    }

    /// The successes to zero, in the same way.
    pub(super) fn clear_successes(&self) {
        if self.0.load(Relaxed) & 0xff != 0 {
            self.0.fetch_and(!0xff, Relaxed);
        }
    }

    pub(super) fn shown(&self) -> Counts {
        let [successes, http_failures, tcp_failures, timeouts] = self.0.load(Relaxed).to_le_bytes();
        Counts { successes, http_failures, tcp_failures, timeouts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stop_at_their_most_and_clear_each_other() {
        let counters = Counters::default();
        (0..300).for_each(|_| _ = counters.count(Counter::HttpFailures));
        assert_eq!(counters.count(Counter::TcpFailures), 1);
        assert_eq!(counters.shown(), Counts { http_failures: 255, tcp_failures: 1, ..Counts::default() });
        assert_eq!(counters.count(Counter::Successes), 1);
        assert_eq!(counters.shown(), Counts { successes: 1, ..Counts::default() });
        counters.count(Counter::Timeouts);
        assert_eq!(counters.shown(), Counts { timeouts: 1, ..Counts::default() });
    }
}
