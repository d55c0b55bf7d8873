//! How long an instance takes: a moving average that jumps to a peak at once and forgets it slowly.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The time after which an observation counts for 1/e; Kong's too.
pub const DECAY: Duration = Duration::from_secs(10);
/// What an observation counts at least. Where there are many a second, a peak that was a moment's is not held against
/// an instance for seconds, and one that comes now and then still is.
const LEAST: f64 = 1.0 / 64.0;

/// The peak EWMA of an instance's latencies, as in Finagle.
///
/// Time alone lowers it as well: an instance that was slow and therefore gets no commands is asked again some day.
#[derive(Debug, Default)]
pub struct Ewma {
    last: Cell<Option<(f64, Instant)>>,
}

impl Ewma {
    /// One that has seen nothing.
    pub const fn new() -> Ewma {
        Ewma { last: Cell::new(None) }
    }

    /// A command took this long. Returns the seconds that the next one is expected to take.
    pub fn observe(&self, latency: Duration, now: Instant) -> f64 {
        let seconds = latency.as_secs_f64();
        let next = match self.last.get() {
            // Compared with the average as it was left: after a pause the usual latency is no peak.
            Some((average, at)) if seconds < average => {
                let kept = kept(at, now).min(1.0 - LEAST);
                // Commands may end in another order than their clocks were read.
                (average * kept + seconds * (1.0 - kept), now.max(at))
            }
            Some((_, at)) => (seconds, now.max(at)),
            None => (seconds, now),
        };
        self.last.set(Some(next));
        next.0
    }

    /// The seconds that the next one is expected to take; none before the first observation.
    pub fn get(&self, now: Instant) -> Option<f64> {
        self.last.get().map(|(average, at)| average * kept(at, now))
    }
}

/// The part of an average that is left at `now`.
fn kept(at: Instant, now: Instant) -> f64 {
    let age = now.saturating_duration_since(at).as_secs_f64() / DECAY.as_secs_f64();
    // Where commands follow one another, which is where it counts, a line is as good as the curve.
    if age < 1e-4 { 1.0 - age } else { (-age).exp() }
}
