//! An instance as a balancer weighs it.

use super::Endpoint;
use crate::upstream::balance::Peer;
use std::time::Instant;

impl Peer for Endpoint {
    fn name(&self) -> &str {
        &self.label
    }
    fn in_flight(&self) -> u32 {
        Endpoint::in_flight(self)
    }
    /// An instance that says nothing is at least as slow as its silence is long.
    fn cost(&self, now: Instant) -> Option<f64> {
        let usual = self.ewma.get(now);
        match self.asked.get() {
            Some(since) => {
                let silent = now.saturating_duration_since(since).as_secs_f64();
                Some(usual.map_or(silent, |usual| usual.max(silent)))
            }
            None => usual,
        }
    }
    fn weight(&self) -> u32 {
        self.weight.get()
    }
    fn ramp(&self, now: Instant) -> f64 {
        let slow_start = self.around.slow_start.get();
        if slow_start.window.is_zero() {
            return 1.0;
        }
        let since = self.standing.usable_for().and_then(|age| now.checked_sub(age));
        slow_start.factor(since.unwrap_or(now), now)
    }
    fn rank(&self) -> u32 {
        self.rank.get()
    }
    fn near(&self) -> bool {
        self.near.get()
    }
}
