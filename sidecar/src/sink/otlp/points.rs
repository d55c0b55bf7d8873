//! From the sums of one moment to the metrics of OTLP (opentelemetry/proto/metrics/v1), in requests of bounded size.
//!
//! Names have dots and units, attributes are called like the labels of `/metrics`: turned into Prometheus' names by the
//! usual rules (dots to underscores, the unit, `_total`) they are the same, so dashboards and alerts fit both.

use super::attributes::text;
use super::since::{Since, Told};
use crate::exchange::Outcome;
use crate::names::metric;
use crate::sink::counts::Totals as SinkTotals;
use crate::sink::metric::{BOUNDS, Distribution, Levels, Reason, Registry, Sample, Totals};
use crate::sink::process;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that is counted, at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sums {
    /// Nanoseconds since 1970.
    pub(super) at: u64,
    pub(super) samples: Vec<Sample>,
    reasons: Vec<(Reason, u64)>,
    levels: Levels,
    instances: BTreeMap<(String, String), u64>,
    waiting: Vec<(String, u32)>,
    certificates: BTreeMap<String, i64>,
    absence: Option<u64>,
    spooled: Vec<(&'static str, &'static str, f64)>,
    reloads: [u64; 2],
    collisions: u64,
    sinks: BTreeMap<&'static str, SinkTotals>,
    /// What series that were forgotten counted for tags that others still carry.
    forgotten: Vec<(Arc<str>, Arc<str>, u64)>,
}

impl Sums {
    /// Those of now, taken by this reader of the registry, if it is one.
    pub(crate) fn now(registry: &Registry, sinks: BTreeMap<&'static str, SinkTotals>, reader: Option<u64>) -> Sums {
        Sums {
            at: super::record::nanos(std::time::SystemTime::now()),
            samples: registry.snapshot(reader),
            forgotten: registry.forgotten_tags(),
            collisions: registry.collisions(),
            reasons: registry.reasons(),
            levels: registry.levels(),
            instances: registry.instances(),
            waiting: registry.waiting(),
            certificates: registry.certificates(),
            absence: registry.absence(),
            spooled: registry.spooled(),
            reloads: registry.reloads(),
            sinks,
        }
    }

    /// All that was counted for each tag.
    pub(super) fn tags(&self) -> BTreeMap<(&str, &str), u64> {
        let mut tags: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (tag, value, n) in &self.forgotten {
            *tags.entry((tag, value)).or_default() += n;
        }
        for sample in &self.samples {
            for (label, value) in sample.key.labels() {
                *tags.entry((&label.tag, value)).or_default() += sample.totals.count();
            }
        }
        tags
    }

    /// What is told when they are.
    pub(super) fn told(&self) -> Told {
        Told {
            at: self.at,
            series: self.samples.iter().map(|s| (s.id, s.totals.clone())).collect(),
            reasons: self.reasons.iter().copied().collect(),
            reloads: self.reloads,
            collisions: self.collisions,
            sinks: self.sinks.clone(),
        }
    }
}

/// A body, and how many data points it has.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    pub(super) metrics: Vec<Metric>,
    pub(super) points: u64,
    bytes: usize,
}

/// What a metric is called and means.
#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    unit: &'static str,
    help: &'static str,
}

const fn family(name: &'static str, unit: &'static str, help: &'static str) -> Family {
    Family { name, unit, help }
}

const COMMANDS: Family = family("fourmi.commands", "{command}", "Commands that ended, by how.");
const DURATIONS: [Family; 3] = [
    family("fourmi.command.duration", "s", "From the request's head to the answer's last byte."),
    family("fourmi.upstream.duration", "s", "From handing the command to an instance to the answer's head."),
    family("fourmi.overhead", "s", "From the request's head to handing the command to an instance."),
];
const TAG: Family =
    family("fourmi.tag", "{command}", "Commands that ended, by each tag that is listed in metrics.labels.");
const REJECTED: Family =
    family("fourmi.rejected", "{command}", "Commands refused before an instance saw them, by reason.");
const RETRIES: Family = family("fourmi.retries", "{attempt}", "Commands sent again, by reason.");
const RETRIES_SKIPPED: Family =
    family("fourmi.retries.skipped", "{attempt}", "Commands that would have been sent again, by what forbade it.");
const LIMIT_FALLBACKS: Family =
    family("fourmi.limit.fallbacks", "{event}", "Times that a limit could not be counted as its file asks, by reason.");
const ANSWERS_DROPPED: Family =
    family("fourmi.answers.dropped", "{answer}", "Answers of instances that nobody waited for any more, by reason.");
const DNS_QUERIES: Family =
    family("fourmi.dns.queries", "{query}", "DNS questions, by type and by how they were answered.");
const SPOOL_TRANSITIONS: Family =
    family("fourmi.spool.transitions", "{command}", "Times that a stored command has entered a state.");
const SPOOL_REFUSED: Family =
    family("fourmi.spool.refused", "{command}", "Commands that could not be stored, by reason.");
const SPOOL_COMMANDS: Family = family("fourmi.spool.commands", "{command}", "Commands in the spool, by state.");
const SPOOL_OLDEST_AGE: Family =
    family("fourmi.spool.oldest_age", "s", "Age of the oldest command in the spool, by state.");
const SPOOL_BYTES: Family = family("fourmi.spool.bytes", "By", "Bytes of the spool's file that are used.");
const RELOADS: Family = family("fourmi.reloads", "{reload}", "Reloads of the configuration, by result.");
const WORKER_LINES: Family =
    family("fourmi.worker.lines", "{line}", "Lines that the worker wrote, by what became of them.");
const LABEL_COLLISIONS: Family =
    family("fourmi.label.collisions", "{label}", "Listed labels that were left out because another has their name.");
const SINK_RECORDS: Family =
    family("fourmi.sink.records", "{record}", "Records and data points by sink and by what became of them.");
const SINK_TROUBLES: Family =
    family("fourmi.sink.troubles", "{trouble}", "How often a sink's receiver was not there or refused, by why.");
const IN_FLIGHT: Family = family("fourmi.commands.in_flight", "{command}", "Commands that have begun and not ended.");
const CONNECTIONS: Family =
    family("fourmi.connections", "{connection}", "Open connections of callers and to instances.");
const WAITING: Family =
    family("fourmi.commands.waiting", "{command}", "Commands that wait for a place at an instance of the service.");
const INSTANCES: Family = family("fourmi.instances", "{instance}", "Instances of a service by state.");
const REGISTRY_AWAY: Family = family(
    "fourmi.registry.away",
    "s",
    "For how long the registry has been cut off from etcd or from the one that it follows; 0 when it is not.",
);
const CERTIFICATE_EXPIRES: Family = family(
    "fourmi.certificate.expires.timestamp",
    "s",
    "When the certificates of a file expire, in seconds since 1970.",
);
// The conventions' own names for what a process takes.
const CPU: Family = family("process.cpu.time", "s", "User and system time.");
const MEMORY: Family = family("process.memory.usage", "By", "Resident memory.");
const FILES: Family = family("process.unix.file_descriptor.count", "{file_descriptor}", "Open file descriptors.");

/// Puts data points into metrics and metrics into parts.
pub(super) struct Report<'a> {
    parts: Vec<Part>,
    limit: usize,
    start: u64,
    at: u64,
    since: &'a Since,
}

impl<'a> Report<'a> {
    /// Sums since whenever the receiver needs them from. Parts have about `limit` bytes at most.
    pub(super) fn new(since: &'a Since, limit: usize) -> Report<'a> {
        Report { parts: Vec::new(), limit, start: since.start(), at: 0, since }
    }

    /// Everything.
    pub(super) fn of(mut self, sums: &Sums) -> Vec<Part> {
        self.at = sums.at;
        self.commands(&sums.samples);
        self.durations(&sums.samples);
        self.tags(sums);
        self.events(sums);
        self.levels(sums);
        self.process();
        self.parts
    }

    /// What is new in a sum: all of it for a receiver of cumulative sums.
    fn fresh(&self, now: u64, told: impl FnOnce(&Told) -> u64) -> u64 {
        now.saturating_sub(self.since.told().map_or(0, told))
    }

    fn commands(&mut self, samples: &[Sample]) {
        for sample in samples {
            let told = self.since.told().and_then(|t| t.series.get(&sample.id));
            self.start = self.since.of_series(sample.id);
            for (i, outcome) in Outcome::ALL.iter().enumerate() {
                let n = sample.totals.outcomes[i].saturating_sub(told.map_or(0, |t| t.outcomes[i]));
                if n > 0 {
                    let mut attributes = of_series(sample);
                    attributes.push(text("outcome", outcome.as_str()));
                    self.sum(COMMANDS, attributes, n);
                }
            }
        }
    }

    fn durations(&mut self, samples: &[Sample]) {
        for (i, family) in DURATIONS.into_iter().enumerate() {
            for sample in samples {
                let told = self.since.told().and_then(|t| t.series.get(&sample.id)).map(|t| &t.durations[i]);
                self.start = self.since.of_series(sample.id);
                self.histogram(family, sample, &sample.totals.durations[i], told);
            }
        }
    }

    fn histogram(&mut self, family: Family, sample: &Sample, seen: &Distribution, told: Option<&Distribution>) {
        let fresh = |i: usize| seen.buckets[i].saturating_sub(told.map_or(0, |t| t.buckets[i]));
        let buckets: Vec<u64> = (0..seen.buckets.len()).map(fresh).collect();
        let count: u64 = buckets.iter().sum();
        if count == 0 {
            return;
        }
        let point = HistogramDataPoint {
            attributes: of_series(sample),
            start_time_unix_nano: self.start,
            // A clock that was set back must not make a point end before it begins.
            time_unix_nano: self.at.max(self.start),
            count,
            sum: Some(seen.nanos.wrapping_sub(told.map_or(0, |t| t.nanos)) as f64 / 1e9),
            bucket_counts: buckets,
            explicit_bounds: BOUNDS.iter().map(|(nanos, _)| *nanos as f64 / 1e9).collect(),
            ..HistogramDataPoint::default()
        };
        let bytes = point.encoded_len();
        let empty = Histogram { data_points: Vec::new(), aggregation_temporality: self.since.temporality() as i32 };
        if let Data::Histogram(to) = self.room(family, Data::Histogram(empty), bytes) {
            to.data_points.push(point);
        }
    }

    fn tags(&mut self, sums: &Sums) {
        let mut tags = sums.tags();
        if let Some(told) = self.since.told() {
            // Series by series: none is forgotten before it is told.
            tags.values_mut().for_each(|n| *n = 0);
            for sample in &sums.samples {
                let before = told.series.get(&sample.id).map_or(0, Totals::count);
                for (label, value) in sample.key.labels() {
                    *tags.entry((&label.tag, value)).or_default() += sample.totals.count().saturating_sub(before);
                }
            }
        }
        for ((tag, value), n) in tags.into_iter().filter(|(_, n)| *n > 0) {
            self.start = self.since.of_tag(tag, value);
            self.sum(TAG, vec![text("tag", tag), text("value", value)], n);
        }
        self.start = self.since.start();
    }

    fn events(&mut self, sums: &Sums) {
        for (event, n) in &sums.reasons {
            let family = match event.metric {
                metric::REJECTED => REJECTED,
                metric::RETRIES => RETRIES,
                metric::RETRIES_SKIPPED => RETRIES_SKIPPED,
                metric::LIMIT_FALLBACKS => LIMIT_FALLBACKS,
                metric::ANSWERS_DROPPED => ANSWERS_DROPPED,
                metric::WORKER_LINES => WORKER_LINES,
                metric::DNS_QUERIES => DNS_QUERIES,
                metric::SPOOL_TRANSITIONS => SPOOL_TRANSITIONS,
                metric::SPOOL_REFUSED => SPOOL_REFUSED,
                // Every event has a family in `/metrics` too.
                _ => continue,
            };
            let n = self.fresh(*n, |t| t.reasons.get(event).copied().unwrap_or(0));
            if n > 0 {
                self.sum(family, event.labels().map(|(key, value)| text(key, value)).collect(), n);
            }
        }
        for (i, result) in ["ok", "failed"].into_iter().enumerate() {
            let n = self.fresh(sums.reloads[i], |t| t.reloads[i]);
            if n > 0 {
                self.sum(RELOADS, vec![text("result", result)], n);
            }
        }
        let collisions = self.fresh(sums.collisions, |t| t.collisions);
        if collisions > 0 {
            self.sum(LABEL_COLLISIONS, Vec::new(), collisions);
        }
        for (sink, totals) in &sums.sinks {
            for (i, (result, n)) in totals.named().into_iter().enumerate() {
                let n = self.fresh(n, |t| t.sinks.get(sink).map_or(0, |s| s.named()[i].1));
                if n > 0 {
                    self.sum(SINK_RECORDS, vec![text("sink", sink), text("result", result)], n);
                }
            }
        }
        for (sink, totals) in &sums.sinks {
            for (why, n) in totals.troubles() {
                let told = |t: &Told| t.sinks.get(sink).and_then(|s| s.troubles().find(|(w, _)| *w == why));
                let n = self.fresh(n, |t| told(t).map_or(0, |(_, n)| n));
                if n > 0 {
                    self.sum(SINK_TROUBLES, vec![text("sink", sink), text("reason", why)], n);
                }
            }
        }
    }

    fn levels(&mut self, sums: &Sums) {
        let level = |n: i64| Value::AsInt(n);
        for (direction, n) in ["inbound", "outbound"].into_iter().zip(sums.levels.in_flight) {
            self.gauge(IN_FLIGHT, vec![text("direction", direction)], level(n));
        }
        for (side, n) in ["client", "upstream"].into_iter().zip(sums.levels.connections) {
            self.gauge(CONNECTIONS, vec![text("side", side)], level(n));
        }
        for (service, n) in &sums.waiting {
            self.gauge(WAITING, vec![text("service", service)], level(i64::from(*n)));
        }
        for ((service, state), n) in &sums.instances {
            let attributes = vec![text("service", service), text("state", state)];
            self.gauge(INSTANCES, attributes, level(i64::try_from(*n).unwrap_or(i64::MAX)));
        }
        if let Some(seconds) = sums.absence {
            self.gauge(REGISTRY_AWAY, Vec::new(), level(i64::try_from(seconds).unwrap_or(i64::MAX)));
        }
        for (name, state, n) in &sums.spooled {
            let family = match *name {
                metric::SPOOL_COMMANDS => SPOOL_COMMANDS,
                metric::SPOOL_OLDEST_AGE => SPOOL_OLDEST_AGE,
                _ => SPOOL_BYTES,
            };
            let attributes = if state.is_empty() { Vec::new() } else { vec![text("state", state)] };
            self.gauge(family, attributes, Value::AsDouble(*n));
        }
        for (file, at) in &sums.certificates {
            self.gauge(CERTIFICATE_EXPIRES, vec![text("file", file)], level(*at));
        }
    }

    fn process(&mut self) {
        let p = process::read();
        let whole = |n: u64| Value::AsInt(i64::try_from(n).unwrap_or(i64::MAX));
        // A sum that is a decimal; a receiver of deltas is told all of it as a level instead, so nothing depends on
        // what was told before.
        match self.since.temporality() {
            AggregationTemporality::Cumulative => self.number(CPU, Vec::new(), Value::AsDouble(p.cpu), true),
            _ => self.gauge(CPU, Vec::new(), Value::AsDouble(p.cpu)),
        }
        if let Some(resident) = p.resident {
            self.gauge(MEMORY, Vec::new(), whole(resident));
        }
        if let Some(files) = p.open_fds {
            self.gauge(FILES, Vec::new(), whole(files));
        }
    }

    fn sum(&mut self, family: Family, attributes: Vec<KeyValue>, n: u64) {
        self.number(family, attributes, Value::AsInt(i64::try_from(n).unwrap_or(i64::MAX)), true);
    }

    fn gauge(&mut self, family: Family, attributes: Vec<KeyValue>, value: Value) {
        self.number(family, attributes, value, false);
    }

    fn number(&mut self, family: Family, attributes: Vec<KeyValue>, value: Value, sum: bool) {
        let point = NumberDataPoint {
            attributes,
            start_time_unix_nano: if sum { self.start } else { 0 },
            time_unix_nano: self.at.max(self.start),
            value: Some(value),
            ..NumberDataPoint::default()
        };
        let bytes = point.encoded_len();
        let empty = match sum {
            true => Data::Sum(Sum {
                data_points: Vec::new(),
                aggregation_temporality: self.since.temporality() as i32,
                is_monotonic: true,
            }),
            false => Data::Gauge(Gauge::default()),
        };
        match self.room(family, empty, bytes) {
            Data::Sum(to) => to.data_points.push(point),
            Data::Gauge(to) => to.data_points.push(point),
            _ => {}
        }
    }

    /// Where a point of a family of this size goes: the metric of the points before it, or a new one, in a new part when
    /// this one is full.
    fn room(&mut self, family: Family, empty: Data, bytes: usize) -> &mut Data {
        // Tag and length.
        let bytes = bytes + 6;
        let around = family.name.len() + family.unit.len() + family.help.len() + 32;
        if self.parts.last().is_none_or(|p| p.bytes + bytes + around > self.limit) {
            self.parts.push(Part::default());
        }
        let at = self.parts.len() - 1;
        let part = &mut self.parts[at];
        part.points += 1;
        part.bytes += bytes;
        if part.metrics.last().is_none_or(|m| m.name != family.name) {
            part.bytes += around;
            part.metrics.push(Metric {
                name: family.name.to_owned(),
                description: family.help.to_owned(),
                unit: family.unit.to_owned(),
                ..Metric::default()
            });
        }
        let last = part.metrics.len() - 1;
        part.metrics[last].data.get_or_insert(empty)
    }
}

fn of_series(sample: &Sample) -> Vec<KeyValue> {
    let key = &sample.key;
    let mut all = Vec::with_capacity(8);
    for (name, value) in [
        ("service", &*key.service),
        ("command", &*key.command),
        ("route", &*key.route),
        ("direction", key.direction.as_str()),
        ("protocol", key.protocol.as_str()),
    ] {
        all.push(text(name, value));
    }
    all.extend(key.labels().map(|(label, value)| text(&label.name, value)));
    all
}

#[cfg(test)]
mod tests;
