//! StatsD: sums leave by the clock, as what came since the last time.

mod event;
mod line;
mod name;
mod out;
mod report;

use super::drain::Outlet;
use super::metric::{Reason, Registry, Sample, Totals};
use super::{Dialect, StatsdSettings};
use crate::exchange::Identity;
pub(crate) use line::{Packet, Packets, rate, weights};
pub(crate) use out::Out;
use report::{Lot, Report};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Sums do not leave more often than this.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How long to wait when no address is known.
const AWAY: Duration = Duration::from_millis(500);

/// What was told already: the sums of every series and of every reason.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    series: HashMap<u64, Totals>,
    reasons: HashMap<Reason, u64>,
    /// The number of the first event that was not told.
    events: u64,
}

impl Told {
    /// Everything that was counted until now.
    pub(crate) fn until_now(registry: &Registry) -> Told {
        Told {
            series: registry.snapshot(None).into_iter().map(|s| (s.id, s.totals)).collect(),
            reasons: registry.reasons().into_iter().collect(),
            events: registry.events.next(),
        }
    }
}

/// Where one sink ends and its successor begins, when a reload replaced it: nothing is told twice or never.
pub(crate) type Handover = Arc<Mutex<Option<Told>>>;

/// A sink that takes the registry's sums: as long as it is there, nothing is forgotten that it was not told.
struct Reading {
    registry: Arc<Registry>,
    /// The sink's number, which is that of its samples too.
    sink: u64,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.registry.remove_reader(self.sink);
    }
}

/// The sender of one `statsd` entry.
pub(crate) struct Statsd {
    outlet: Arc<Outlet>,
    reading: Reading,
    identity: Arc<Identity>,
    dialect: Dialect,
    interval: Duration,
    out: Out,
    told: Told,
    until: Handover,
}

impl Statsd {
    /// A sender that tells what is counted after `told`.
    pub(crate) fn new(
        sink: u64,
        outlet: Arc<Outlet>,
        registry: Arc<Registry>,
        identity: Arc<Identity>,
        settings: &StatsdSettings,
        told: Told,
        until: Handover,
    ) -> Statsd {
        registry.add_reader(sink);
        let interval = settings.interval.max(INTERVAL_MIN);
        Statsd {
            outlet,
            reading: Reading { registry, sink },
            identity,
            dialect: settings.dialect,
            interval,
            out: Out::new(&settings.place, settings.packet, interval),
            told,
            until,
        }
    }

    /// Sends until the outlet ends, and what is left then.
    pub(crate) async fn run(mut self) {
        let mut next = Instant::now() + self.interval;
        loop {
            while !self.outlet.is_ending() && Instant::now() < next {
                self.out.rest(next - Instant::now(), &self.outlet).await;
            }
            let last = self.outlet.is_ending();
            if self.out.ready(&self.outlet).await {
                let packets = self.collect();
                self.out.send(packets, &self.outlet).await;
            } else if last && !self.outlet.is_late() && self.outlet.is_stopping() {
                self.out.rest(AWAY, &self.outlet).await;
                continue;
            } else if last {
                let packets = self.collect();
                self.outlet.counts.error(packets.iter().map(|p| p.lines).sum(), &"no receiver at the end");
            } else {
                // The sums stay until there is somebody to tell.
                next = Instant::now() + AWAY.min(self.interval);
                continue;
            }
            if last {
                return self.out.end(&self.outlet).await;
            }
            next += self.interval;
            next = next.max(Instant::now());
        }
    }

    /// Everything since the last time, as packets.
    fn collect(&mut self) -> Vec<Packet> {
        let registry = &self.reading.registry;
        let mut samples = registry.snapshot(Some(self.reading.sink));
        let mut reasons = registry.reasons();
        let mut events_end = u64::MAX;
        let handover = self.until.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(until) = handover {
            // A successor tells what came later.
            samples.retain_mut(|s| {
                until.series.get(&s.id).is_some_and(|t| {
                    s.totals = t.clone();
                    true
                })
            });
            reasons = until.reasons.into_iter().collect();
            events_end = until.events;
        }
        let mut report = Report::new(self.dialect, &self.identity, Packets::new(self.out.packet));
        // Of series that the registry has forgotten nothing is kept here either.
        let mut told = HashMap::with_capacity(samples.len());
        for Sample { id, key, totals, samples } in samples {
            let before = self.told.series.remove(&id).unwrap_or_default();
            report.series(&key, &totals, &before, &samples);
            told.insert(id, totals);
        }
        self.told.series = told;
        for (event, n) in reasons {
            let told = self.told.reasons.entry(event).or_default();
            report.reason(event, n.saturating_sub(*told));
            *told = n;
        }
        report.levels(registry.levels(), &registry.instances());
        report.waiting(&registry.waiting());
        report.certificates(&registry.certificates());
        report.absence(registry.absence());
        report.spooled(&registry.spooled());
        if self.dialect == Dialect::Datadog {
            let (events, missed) = registry.events.between(self.told.events, events_end);
            self.told.events += events.len() as u64 + missed;
            events.iter().for_each(|happened| report.event(happened));
            if missed > 0 {
                self.outlet.counts.error(missed, &"more events than are kept");
            }
        }
        let Lot { packets, oversize, invalid } = report.finish();
        if oversize > 0 {
            self.outlet.counts.oversize(oversize);
        }
        if invalid > 0 {
            self.outlet.counts.error(invalid, &"a value that is no number");
        }
        packets
    }
}

#[cfg(test)]
mod tests;
