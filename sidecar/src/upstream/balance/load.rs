//! How loaded an instance is, by each measure; the lowest wins.

use super::Peer;
use std::time::Instant;

/// Faster than this is not told apart: an estimate that has decayed to nothing would let an instance take everything.
const SECONDS_MIN: f64 = 100e-6;
/// What each command in flight counts at an instance that has not answered yet. The first goes there at once, so that
/// it becomes known; the next ones only when the others are slower than this.
const SECONDS_UNTRIED: f64 = 1.0;
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

/// The seconds until it would be done with those and the next one, for its weight.
pub(super) fn latency(peer: &impl Peer, weight: u32, now: Instant) -> f64 {
    let seconds = match peer.cost(now) {
        None if peer.in_flight() == 0 => 0.0,
        Some(seconds) if seconds.is_finite() => seconds.max(SECONDS_MIN),
        _ => SECONDS_UNTRIED,
    };
    seconds * connections(peer, weight, now)
}
