//! What balancing must know of an instance.

use std::rc::Rc;
use std::time::Instant;

/// An instance, as a balancer sees it.
///
/// Name, weight, rank and nearness are read when a [`Balancer`](super::Balancer) is built: another one is built when
/// they change. The rest is read with every pick.
pub trait Peer {
    /// Where it is: its places on the ring follow from it, so it must be the same in every process.
    fn name(&self) -> &str;

    /// Commands that it holds now.
    fn in_flight(&self) -> u32;

    /// The seconds that it is expected to take: the peak EWMA of its latencies (see [`Ewma`](super::Ewma)), or the
    /// age of its oldest command in flight when that is more. None when nothing is known of it yet.
    fn cost(&self, now: Instant) -> Option<f64>;

    /// Its share beside the others; 0 is drained: it gets nothing.
    fn weight(&self) -> u32 {
        100
    }

    /// The part of its weight that counts now, from 0 to 1 (see [`SlowStart`](super::SlowStart)).
    fn ramp(&self, _now: Instant) -> f64 {
        1.0
    }

    /// Lower is preferred: the priority of its SRV record.
    fn rank(&self) -> u32 {
        0
    }

    /// Whether it is in our own zone; also when nobody knows zones.
    fn near(&self) -> bool {
        true
    }
}

impl<T: Peer + ?Sized> Peer for Rc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn in_flight(&self) -> u32 {
        (**self).in_flight()
    }
    fn cost(&self, now: Instant) -> Option<f64> {
        (**self).cost(now)
    }
    fn weight(&self) -> u32 {
        (**self).weight()
    }
    fn ramp(&self, now: Instant) -> f64 {
        (**self).ramp(now)
    }
    fn rank(&self) -> u32 {
        (**self).rank()
    }
    fn near(&self) -> bool {
        (**self).near()
    }
}
