//! Kong's StatsD metrics: summed up on the control thread, sent by the clock.

use super::known::{Known, Number, number};
use super::names;
use super::object::{Latencies, sizes, status};
use super::settings::{Of, StatKind, Statsd};
use crate::names::SERIES_MAX;
use crate::sink::drain::Outlet;
use crate::sink::entry::Entry;
use crate::sink::fields::Who;
use crate::sink::generation::Encode;
use crate::sink::statsd::{Out, Packet, Packets, weights};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Single values of one metric, series and interval; of more, a fair sample is kept and says how many it stands for.
const SAMPLES_MAX: usize = 256;
/// How long to wait when nobody is there.
const AWAY: Duration = Duration::from_millis(500);

/// What makes a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) service: Number,
    pub(super) route: Number,
    pub(super) consumer: Number,
    pub(super) status: u16,
    /// One series too many: it stands for all others.
    pub(super) other: bool,
}

/// What one metric saw in an interval.
#[derive(Debug, Clone)]
enum Cell {
    Sum(u64),
    Last(Option<u64>),
    Seen(bool),
    Samples { seen: u64, values: Vec<u64> },
}

impl Cell {
    fn new(kind: StatKind) -> Cell {
        match kind {
            StatKind::Counter => Cell::Sum(0),
            StatKind::Gauge => Cell::Last(None),
            StatKind::Set => Cell::Seen(false),
            _ => Cell::Samples { seen: 0, values: Vec::new() },
        }
    }

    fn add(&mut self, value: u64) {
        match self {
            Cell::Sum(sum) => *sum += value,
            Cell::Last(last) => *last = Some(value),
            Cell::Seen(seen) => *seen = true,
            Cell::Samples { seen, values } => {
                *seen += 1;
                if values.len() < SAMPLES_MAX {
                    values.push(value);
                } else if let Some(place) =
                    values.get_mut(usize::try_from(fastrand::u64(..*seen)).unwrap_or(usize::MAX))
                {
                    *place = value;
                }
            }
        }
    }
}

#[derive(Default)]
struct Inner {
    series: HashMap<Key, Box<[Cell]>>,
    /// The host's name, as the last command's configuration says.
    node: String,
}

/// The sums of one plugin.
pub(super) struct Tally {
    settings: Statsd,
    known: Arc<Known>,
    inner: Mutex<Inner>,
}

impl Tally {
    pub(super) fn new(settings: Statsd, known: Arc<Known>) -> Tally {
        Tally { settings, known, inner: Mutex::default() }
    }

    fn add(&self, entry: &Entry<'_>, who: &Who) {
        let Some(whole) = &entry.whole else { return };
        let status = status(entry);
        if self.settings.allow.as_ref().is_some_and(|all| !all.iter().any(|(a, b)| (*a..=*b).contains(&status))) {
            return;
        }
        let metrics = &self.settings.metrics;
        let Latencies { request, proxy, kong, .. } = Latencies::of(entry);
        let (bytes_in, bytes_out) = sizes(entry, whole);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.node != who.hostname {
            inner.node.clone_from(&who.hostname);
        }
        let mut key = Key {
            service: number(whole.service),
            route: number(whole.route),
            consumer: number(whole.consumer),
            status,
            other: false,
        };
        if inner.series.len() >= SERIES_MAX && !inner.series.contains_key(&key) {
            key = Key { service: 0, route: 0, consumer: 0, status: 0, other: true };
        }
        let cells =
            inner.series.entry(key).or_insert_with(|| metrics.iter().map(|metric| Cell::new(metric.kind)).collect());
        for (metric, cell) in metrics.iter().zip(cells) {
            match metric.of {
                Of::RequestSize => cell.add(bytes_in),
                Of::ResponseSize => cell.add(bytes_out),
                Of::Latency => cell.add(request),
                Of::UpstreamLatency => proxy.into_iter().for_each(|ms| cell.add(ms)),
                Of::KongLatency => cell.add(kong),
                Of::ShdictUsage => {}
                _ => cell.add(1),
            }
        }
    }

    /// Everything since the last time, as packets, and how many lines were too long for one.
    fn take(&self) -> (Vec<Packet>, u64) {
        let (series, node) = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut inner.series), inner.node.clone())
        };
        let names = names::Names { settings: &self.settings, known: &self.known, node: &node };
        let mut sums: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut lines: Vec<String> = Vec::new();
        let mut sorted: Vec<_> = series.into_iter().collect();
        sorted.sort_by_key(|(key, _)| *key);
        for (key, cells) in sorted {
            for (metric, cell) in self.settings.metrics.iter().zip(cells) {
                let Some((name, tags)) = names.of(metric, &key) else { continue };
                let kind = names::kind(metric.kind);
                match cell {
                    Cell::Sum(0) | Cell::Last(None) | Cell::Seen(false) => {}
                    Cell::Sum(n) => *sums.entry((name, format!("|{kind}{tags}"))).or_default() += n,
                    Cell::Last(Some(n)) => lines.push(format!("{name}:{n}|{kind}{tags}")),
                    Cell::Seen(true) => {
                        let consumer = names.consumer(metric, &key).unwrap_or_default();
                        lines.push(format!("{name}:{consumer}|{kind}{tags}"));
                    }
                    Cell::Samples { seen, values } => {
                        for (value, weight) in values.iter().zip(weights(seen, values.len())) {
                            lines.push(format!("{name}:{value}|{kind}{}{tags}", names::rate(weight)));
                        }
                    }
                }
            }
        }
        let mut packets = Packets::new(self.settings.packet.max(1));
        let sums = sums.into_iter().map(|((name, rest), n)| format!("{name}:{n}{rest}"));
        if self.settings.packet == 0 {
            let single = |line: String| Packet { bytes: line.into_bytes(), lines: 1 };
            return (sums.chain(lines).map(single).collect(), 0);
        }
        sums.chain(lines).for_each(|line| packets.line(line.as_bytes()));
        packets.take()
    }
}

/// Adds commands up.
pub(super) struct Adding(pub(super) Arc<Tally>);

impl Encode for Adding {
    fn encode(&mut self, _: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        self.0.add(entry, who);
        false
    }
}

/// Sends sums until the outlet ends and nobody adds to them any more.
pub(super) async fn run(outlet: Arc<Outlet>, tally: Arc<Tally>) {
    let Statsd { place, packet, interval, .. } = &tally.settings;
    let mut out = Out::new(place, *packet, *interval);
    let mut next = Instant::now() + *interval;
    loop {
        while !outlet.is_ending() && Instant::now() < next {
            out.rest(next - Instant::now(), &outlet).await;
        }
        let last = outlet.is_stopping() || (outlet.is_ending() && Arc::strong_count(&tally) == 1);
        if out.ready(&outlet).await {
            let (packets, oversize) = tally.take();
            if oversize > 0 {
                outlet.counts.oversize(oversize);
            }
            out.send(packets, &outlet).await;
        } else if last && outlet.is_stopping() && !outlet.is_late() {
            out.rest(AWAY, &outlet).await;
            continue;
        } else if last {
            let (packets, _) = tally.take();
            outlet.counts.error(packets.iter().map(|p| p.lines).sum(), &"no receiver at the end");
        } else {
            // The sums stay until there is somebody to tell.
            next = Instant::now() + AWAY.min(*interval);
            out.rest(AWAY.min(*interval), &outlet).await;
            continue;
        }
        if last {
            return out.end(&outlet).await;
        }
        if outlet.is_ending() {
            out.rest(AWAY, &outlet).await;
        }
        next = (next + *interval).max(Instant::now());
    }
}

#[cfg(test)]
mod tests;
