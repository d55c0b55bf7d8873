//! What one sending says: counters through the `metrics` recorder, timers and gauges by our own lines.
//!
//! The recorder writes a line for every increment; it gets each counter once an interval, with the sum. It knows
//! DogStatsD's tags only and lets names pass as they are, so a dialect that has its tags in the name gets them there:
//! its lines need not be written again. It has no rates, whole milliseconds only, and would send what is no number.

use super::event;
use super::line::{Packet, Packets, gauge, timer, weights};
use super::name::{Tags, dotted, part, placed, tags};
use crate::exchange::{Identity, Outcome};
use crate::names::metric;
use crate::sink::Dialect;
use crate::sink::event::Happened;
use crate::sink::metric::{Distribution, Duration3, Levels, Reason, SeriesKey, Totals};
use cadence::MetricSink;
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_statsd::{StatsdBuilder, StatsdRecorder};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
const DURATIONS: Duration3<&str> = [metric::COMMAND_DURATION, metric::UPSTREAM_DURATION, metric::OVERHEAD];

/// Where the recorder's lines go.
#[derive(Clone)]
struct Lines(Arc<Mutex<Packets>>);

impl MetricSink for Lines {
    fn emit(&self, line: &str) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).line(line.as_bytes());
        Ok(line.len())
    }
}

/// The lines of one sending.
pub(super) struct Report<'a> {
    dialect: Dialect,
    identity: &'a Identity,
    env: &'a str,
    /// `fourmi.<env>.<service>` of the plain dialect.
    plain: String,
    lines: Lines,
    recorder: Option<StatsdRecorder>,
    counters: BTreeMap<(String, Tags), u64>,
    invalid: u64,
}

/// What one sending consists of.
pub(super) struct Lot {
    /// The packets.
    pub(super) packets: Vec<Packet>,
    /// Lines that no packet can hold.
    pub(super) oversize: u64,
    /// Values that are no numbers.
    pub(super) invalid: u64,
}

impl<'a> Report<'a> {
    /// Nothing said yet.
    pub(super) fn new(dialect: Dialect, identity: &'a Identity, packets: Packets) -> Report<'a> {
        let lines = Lines(Arc::new(Mutex::new(packets)));
        // It fails only for a host and port, which a sink of ours does not have.
        let recorder = StatsdBuilder::default().with_sink(lines.clone()).build(None).ok();
        Report {
            dialect,
            identity,
            env: &identity.env,
            plain: format!("fourmi.{}.{}", part(&identity.env), part(&identity.service)),
            lines,
            recorder,
            counters: BTreeMap::new(),
            invalid: 0,
        }
    }

    /// What one series counted since it was told last.
    pub(super) fn series(&mut self, key: &SeriesKey, now: &Totals, told: &Totals, samples: &Duration3<Vec<f32>>) {
        let ended = now.count().saturating_sub(told.count());
        let outcomes = Outcome::ALL.iter().zip(now.outcomes.iter().zip(told.outcomes));
        let outcomes = outcomes.map(|(outcome, (now, told))| (outcome.as_str(), now.saturating_sub(told)));
        if self.dialect == Dialect::Plain {
            let name = format!("{}.{}", self.plain, part(&key.command));
            for (outcome, n) in outcomes {
                self.count(format!("{name}.{outcome}"), &[], n);
            }
            for (label, value) in key.labels() {
                self.count(format!("{}.tag.{}.{}", self.plain, part(&label.tag), part(value)), &[], ended);
            }
            let whole = (&now.durations[0], &told.durations[0], samples[0].as_slice());
            return self.durations(&format!("{name}.duration"), whole, &[]);
        }
        let mut pairs: Vec<(&str, &str)> = vec![
            ("env", self.env),
            ("service", &key.service),
            ("command", &key.command),
            ("route", &key.route),
            ("direction", key.direction.as_str()),
            ("protocol", key.protocol.as_str()),
        ];
        pairs.extend(key.labels().map(|(label, value)| (&*label.name, value)));
        for (i, name) in DURATIONS.into_iter().enumerate() {
            let seen = (&now.durations[i], &told.durations[i], samples[i].as_slice());
            self.durations(&dotted(name), seen, &pairs);
        }
        for (outcome, n) in outcomes.filter(|(_, n)| *n > 0) {
            pairs.push(("outcome", outcome));
            self.count(dotted(metric::COMMANDS), &pairs, n);
            pairs.pop();
        }
        for (label, value) in key.labels() {
            self.count(dotted(metric::TAG), &[("env", self.env), ("tag", &label.tag), ("value", value)], ended);
        }
    }

    /// How often an event happened since it was told last.
    pub(super) fn reason(&mut self, event: Reason, n: u64) {
        // The plain dialect has room for commands and tags only.
        if self.dialect != Dialect::Plain {
            let mut labels: Vec<(&str, &str)> = vec![("env", self.env)];
            for (name, value) in event.labels() {
                // Here every kind of event has had the same word for it.
                labels.push((if name == "result" { "reason" } else { name }, value));
            }
            self.count(dotted(event.metric), &labels, n);
        }
    }

    /// What happened to Fourmi; only DogStatsD has lines for that.
    pub(super) fn event(&mut self, happened: &Happened) {
        if self.dialect == Dialect::Datadog {
            let tags = tags(self.dialect, &[("env", self.env), ("service", &self.identity.service)]);
            let mut packets = self.packets();
            let line = event::line(happened, &self.identity.hostname, &tags, packets.max());
            packets.line(line.as_bytes());
        }
    }

    /// The levels of this moment.
    pub(super) fn levels(&mut self, levels: Levels, instances: &BTreeMap<(String, String), u64>) {
        if self.dialect == Dialect::Plain {
            return;
        }
        for (direction, n) in ["inbound", "outbound"].into_iter().zip(levels.in_flight) {
            self.gauge(metric::IN_FLIGHT, n as f64, &[("direction", direction)]);
        }
        for (side, n) in ["client", "upstream"].into_iter().zip(levels.connections) {
            self.gauge(metric::CONNECTIONS, n as f64, &[("side", side)]);
        }
        for ((service, state), n) in instances {
            self.gauge(metric::INSTANCES, *n as f64, &[("service", service), ("state", state)]);
        }
    }

    /// Commands that wait for a place at an instance, by service.
    pub(super) fn waiting(&mut self, all: &[(String, u32)]) {
        if self.dialect == Dialect::Plain {
            return;
        }
        for (service, n) in all {
            self.gauge(metric::WAITING, f64::from(*n), &[("service", service)]);
        }
    }

    /// When the certificates of which file expire.
    pub(super) fn certificates(&mut self, all: &BTreeMap<String, i64>) {
        if self.dialect == Dialect::Plain {
            return;
        }
        for (file, at) in all {
            self.gauge(metric::CERTIFICATE_EXPIRES, *at as f64, &[("file", file)]);
        }
    }

    /// For how long the registry has been cut off.
    pub(super) fn absence(&mut self, seconds: Option<u64>) {
        if let Some(seconds) = seconds.filter(|_| self.dialect != Dialect::Plain) {
            self.gauge(metric::REGISTRY_AWAY, seconds as f64, &[]);
        }
    }

    /// What is in the spool.
    pub(super) fn spooled(&mut self, all: &[(&'static str, &'static str, f64)]) {
        if self.dialect == Dialect::Plain {
            return;
        }
        for (name, state, n) in all {
            let tags = [("state", *state)];
            self.gauge(name, *n, if state.is_empty() { &[] } else { &tags });
        }
    }

    /// Everything that is to be sent.
    pub(super) fn finish(self) -> Lot {
        for ((name, tags), n) in &self.counters {
            let labels: Vec<Label> = tags.iter().map(|(k, v)| Label::new(k.clone(), v.clone())).collect();
            if let Some(recorder) = &self.recorder {
                recorder.register_counter(&Key::from_parts(name.clone(), labels), &METADATA).increment(*n);
            }
        }
        let (packets, oversize) = self.packets().take();
        Lot { packets, oversize, invalid: self.invalid }
    }

    fn packets(&self) -> MutexGuard<'_, Packets> {
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name of this dialect with these tags, and the tags that stand behind the value.
    fn placed(&self, name: String, pairs: &[(&str, &str)]) -> (String, Tags) {
        placed(self.dialect, name, tags(self.dialect, pairs))
    }

    /// Adds to a counter; series that the dialect cannot tell apart are one.
    pub(super) fn count(&mut self, name: String, pairs: &[(&str, &str)], n: u64) {
        if n > 0 {
            *self.counters.entry(self.placed(name, pairs)).or_default() += n;
        }
    }

    /// Says a level.
    pub(super) fn gauge(&mut self, name: &str, n: f64, pairs: &[(&str, &str)]) {
        let mut all = vec![("env", self.env)];
        all.extend(pairs);
        let (name, tags) = self.placed(dotted(name), &all);
        match gauge(&name, n, &tags) {
            Some(lines) => self.packets().together(lines.as_bytes()),
            None => self.invalid += 1,
        }
    }

    /// Timers whose number, as the receiver counts it, is the true one.
    fn durations(
        &mut self,
        name: &str,
        (now, told, samples): (&Distribution, &Distribution, &[f32]),
        pairs: &[(&str, &str)],
    ) {
        let count = now.count().saturating_sub(told.count());
        if count == 0 {
            return;
        }
        let (name, tags) = self.placed(name.to_owned(), pairs);
        // The samples may be gone with the worker's cells; the mean stands for them.
        let mean = [(now.nanos.wrapping_sub(told.nanos) as f64 / 1e6 / count as f64) as f32];
        let samples = if samples.is_empty() { &mean[..] } else { samples };
        let mut invalid = 0;
        let mut packets = self.packets();
        for (sample, weight) in samples.iter().zip(weights(count, samples.len())) {
            match timer(&name, *sample, weight, &tags) {
                Some(line) => packets.line(line.as_bytes()),
                None => invalid += 1,
            }
        }
        drop(packets);
        self.invalid += invalid;
    }
}
