//! The cells of one series on one worker. They have one writer, so plain loads and stores are enough.

use crate::exchange::{Exchange, Outcome};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};
use std::time::Duration;

/// Upper bounds of the buckets, in nanoseconds, and as `/metrics` shows them, in seconds.
pub(crate) const BOUNDS: [(u64, &str); 13] = [
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// A StatsD sink that wants single durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampling {
    /// The sink's number.
    pub(crate) sink: u64,
    /// How many it wants at most of each duration, series, worker and interval.
    pub(crate) most: usize,
}

/// One value for each of the three durations: whole, upstream, overhead.
pub(crate) type Duration3<T> = [T; 3];

/// Adds to a cell whose only writer we are.
pub(super) fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
}

/// Counts and durations of one series, written by one worker.
#[derive(Default)]
pub(crate) struct Series {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    durations: Duration3<Histogram>,
    /// One each StatsD sink, by the sink's number.
    reservoirs: Box<[(u64, Duration3<Reservoir>)]>,
    /// The registry has forgotten the series: the worker lets go of these cells.
    closed: AtomicBool,
}

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// A fair sample of what was seen since the last reading.
struct Reservoir {
    /// Moved on by the reader: the next interval begins.
    interval: AtomicU32,
    /// The interval that the writer fills.
    filling: AtomicU32,
    seen: AtomicU32,
    /// Milliseconds, as the bits of an f32.
    slots: Box<[AtomicU32]>,
}

impl Reservoir {
    fn new(most: usize) -> Reservoir {
        Reservoir {
            interval: AtomicU32::new(0),
            filling: AtomicU32::new(0),
            seen: AtomicU32::new(0),
            slots: (0..most).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    fn offer(&self, d: Duration) {
        let interval = self.interval.load(Acquire);
        if self.filling.load(Relaxed) != interval {
            self.seen.store(0, Relaxed);
            self.filling.store(interval, Release);
        }
        let seen = self.seen.load(Relaxed);
        let slot = if (seen as usize) < self.slots.len() { seen } else { fastrand::u32(..=seen) };
        if let Some(slot) = self.slots.get(slot as usize) {
            slot.store(((d.as_nanos() as f64 / 1e6) as f32).to_bits(), Relaxed);
        }
        self.seen.store(seen.saturating_add(1), Release);
    }

    fn take(&self, out: &mut Vec<f32>) {
        let interval = self.interval.load(Relaxed);
        if self.filling.load(Acquire) == interval {
            let seen = (self.seen.load(Acquire) as usize).min(self.slots.len());
            out.extend(self.slots[..seen].iter().map(|s| f32::from_bits(s.load(Relaxed))));
        }
        self.interval.store(interval.wrapping_add(1), Release);
    }
}

impl Histogram {
    fn observe(&self, d: Duration) {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().take_while(|(bound, _)| nanos > *bound).count();
        add(&self.buckets[bucket], 1);
        add(&self.nanos, nanos);
    }
}

impl Series {
    /// Empty cells, with samples for these StatsD sinks.
    pub(crate) fn new(statsd: &[Sampling]) -> Series {
        let reservoirs = statsd.iter().map(|s| (s.sink, std::array::from_fn(|_| Reservoir::new(s.most))));
        Series { reservoirs: reservoirs.collect(), ..Series::default() }
    }

    /// Asks the worker to let go.
    pub(super) fn close(&self) {
        self.closed.store(true, Release);
    }

    /// Whether the worker is to let go.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }

    /// Counts a finished exchange.
    pub(crate) fn record(&self, x: &Exchange) {
        let outcome = x.outcome();
        if let Some(cell) = Outcome::ALL.iter().position(|o| *o == outcome).and_then(|i| self.outcomes.get(i)) {
            add(cell, 1);
        }
        // Nothing was sent: there is no upstream to speak of.
        let upstream = x.timings.sent.map(|_| x.timings.upstream());
        for (i, d) in [Some(x.timings.total()), upstream, Some(x.timings.overhead())].into_iter().enumerate() {
            let Some(d) = d else { continue };
            self.durations[i].observe(d);
            for (_, reservoirs) in &self.reservoirs {
                reservoirs[i].offer(d);
            }
        }
    }

    /// Adds the cells to a sum.
    pub(crate) fn add_to(&self, sum: &mut Totals) {
        for (cell, sum) in self.outcomes.iter().zip(&mut sum.outcomes) {
            *sum += cell.load(Relaxed);
        }
        for (cells, sum) in self.durations.iter().zip(&mut sum.durations) {
            for (cell, sum) in cells.buckets.iter().zip(&mut sum.buckets) {
                *sum += cell.load(Relaxed);
            }
            sum.nanos = sum.nanos.wrapping_add(cells.nanos.load(Relaxed));
        }
    }

    /// The cells as they are.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.add_to(&mut totals);
        totals
    }

    /// Moves the samples of one StatsD sink to `out` and begins its next interval.
    pub(crate) fn take_samples(&self, sink: u64, out: &mut Duration3<Vec<f32>>) {
        for (_, reservoirs) in self.reservoirs.iter().filter(|(id, _)| *id == sink) {
            for (reservoir, out) in reservoirs.iter().zip(out.iter_mut()) {
                reservoir.take(out);
            }
        }
    }
}

/// The sums of one series at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// In the order of [`Outcome::ALL`].
    pub(crate) outcomes: [u64; Outcome::ALL.len()],
    /// Whole, upstream, overhead.
    pub(crate) durations: Duration3<Distribution>,
}

/// One histogram at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// Not cumulative; the last one is everything above the bounds.
    pub(crate) buckets: [u64; BUCKETS],
    /// The sum.
    pub(crate) nanos: u64,
}

impl Distribution {
    /// How many were observed.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl Totals {
    /// How many commands ended.
    pub(crate) fn count(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Adds other sums.
    pub(super) fn add(&mut self, other: &Totals) {
        self.join(other, u64::wrapping_add);
    }

    /// What was counted since these sums.
    pub(super) fn since(mut self, earlier: &Totals) -> Totals {
        self.join(earlier, u64::wrapping_sub);
        self
    }

    fn join(&mut self, other: &Totals, with: impl Fn(u64, u64) -> u64) {
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(a, b)| *a = with(*a, b));
        for (a, b) in self.durations.iter_mut().zip(&other.durations) {
            a.buckets.iter_mut().zip(b.buckets).for_each(|(a, b)| *a = with(*a, b));
            a.nanos = with(a.nanos, b.nanos);
        }
    }
}
