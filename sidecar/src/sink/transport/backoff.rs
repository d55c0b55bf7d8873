//! How long to leave a receiver alone.

use std::time::Duration;

/// The first pause is at most this.
const LOW: Duration = Duration::from_millis(100);
/// No pause is longer.
const HIGH: Duration = Duration::from_secs(5);

/// Pauses that double, each a random part of its bound: receivers that come back are not met by everybody at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    low: Duration,
    high: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new(LOW, HIGH)
    }
}

impl Backoff {
    /// Pauses of at most `low` at first and never more than `high`.
    pub(crate) fn new(low: Duration, high: Duration) -> Backoff {
        Backoff { low, high: high.max(low), failures: 0 }
    }

    /// The pause after one more failure: anything up to the bound, but never so little that it would spin.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = self.low.saturating_mul(1 << self.failures.min(20)).min(self.high);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(fastrand::f64()).max(self.low / 8)
    }

    /// It worked: the next pause is short again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_again() {
        let (low, high) = (Duration::from_millis(100), Duration::from_secs(15));
        let mut backoff = Backoff::new(low, high);
        let mut longest = Duration::ZERO;
        for round in 0..2000_u32 {
            let pause = backoff.next();
            assert!(pause >= low / 8 && pause <= low.saturating_mul(1 << round.min(20)).min(high), "{pause:?}");
            longest = longest.max(pause);
        }
        assert!(longest > high / 2, "jitter over the whole range: {longest:?}");
        backoff.reset();
        assert!(backoff.next() <= low);
    }
}
