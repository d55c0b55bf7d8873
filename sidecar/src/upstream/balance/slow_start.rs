//! An instance that has just become usable is not yet warm: it gets its share little by little.

use std::time::{Duration, Instant};

/// The part of its weight with which an instance begins.
const FIRST: f64 = 0.1;

/// How long an instance is spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlowStart {
    /// From its first moment to its full share; zero for not at all.
    pub window: Duration,
}

impl SlowStart {
    /// The part of its weight that counts: from 0.1 to 1 in a straight line over the window.
    pub fn factor(&self, usable_since: Instant, now: Instant) -> f64 {
        let age = now.saturating_duration_since(usable_since);
        if age >= self.window {
            return 1.0;
        }
        FIRST + (1.0 - FIRST) * age.as_secs_f64() / self.window.as_secs_f64()
    }
}
