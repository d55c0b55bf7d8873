//! How loaded an instance is, by each measure; the lowest wins.

use super::Peer;
use std::time::Instant;

/// Faster than this is not told apart: an estimate that has decayed to nothing would let an instance take everything.
const SECONDS_MIN: f64 = 100e-6;
/// What each command in flight counts at an instance that has not answered yet. The first goes there at once, so that
/// it becomes known; the next ones only when the others are slower than this.
const SECONDS_UNTRIED: f64 = 1.0;
/// One that takes so many times as long as another is sluggish beside it.
const SLUGGISH: f64 = 4.0;
/// Below this a peak is the machine's noise, and no reason to leave an instance alone.
const SECONDS_NOTICED: f64 = 5e-3;
/// The least part of its weight that an instance has.
const RAMP_MIN: f64 = 0.01;

/// The part of its weight that counts now.
pub(super) fn ramp(peer: &impl Peer, now: Instant) -> f64 {
    match peer.ramp(now) {
        ramp if ramp.is_nan() => RAMP_MIN,
        ramp => ramp.clamp(RAMP_MIN, 1.0),
    }
}

/// The weight that counts now.
pub(super) fn strength(peer: &impl Peer, weight: u32, now: Instant) -> f64 {
    f64::from(weight.max(1)) * ramp(peer, now)
}

/// Commands in flight with the next one, for its weight.
pub(super) fn connections(peer: &impl Peer, weight: u32, now: Instant) -> f64 {
    (f64::from(peer.in_flight()) + 1.0) / strength(peer, weight, now)
}

/// The seconds that it is expected to take.
fn seconds(peer: &impl Peer, now: Instant) -> f64 {
    match peer.cost(now) {
        None if peer.in_flight() == 0 => 0.0,
        Some(seconds) if seconds.is_finite() => seconds.max(SECONDS_MIN),
        _ => SECONDS_UNTRIED,
    }
}

/// The seconds until it would be done with those and the next one, for its weight.
pub(super) fn latency(peer: &impl Peer, weight: u32, now: Instant) -> f64 {
    seconds(peer, now) * connections(peer, weight, now)
}

/// Whether it takes so much longer than the other that no number of commands there makes up for it. The other has its
/// own latency to say when they become too many.
pub(super) fn is_sluggish(peer: &impl Peer, beside: &impl Peer, now: Instant) -> bool {
    peer.cost(now).is_some_and(f64::is_finite)
        && seconds(peer, now) > SLUGGISH * seconds(beside, now).max(SECONDS_NOTICED)
}
