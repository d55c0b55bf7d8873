//! What one sending says: counters through the `metrics` recorder, timers and gauges by our own lines.
//!
//! The recorder writes a line for every increment; it gets each counter once an interval, with the sum.

use super::line::{Packet, Packets, gauge, timer, weights};
use super::name::{dotted, part, tags};
use crate::exchange::{Identity, Outcome};
use crate::names::metric;
use crate::sink::Dialect;
use crate::sink::metric::{Distribution, Duration3, Levels, SeriesKey, Totals};
use cadence::MetricSink;
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_statsd::{StatsdBuilder, StatsdRecorder};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
const DURATIONS: Duration3<&str> = [metric::COMMAND_DURATION, metric::UPSTREAM_DURATION, metric::OVERHEAD];

type Tags = Vec<(String, String)>;

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
pub(super) struct Report {
    dialect: Dialect,
    env: String,
    /// `fourmi.<env>.<service>` of the plain dialect.
    plain: String,
    lines: Lines,
    recorder: Option<StatsdRecorder>,
    counters: BTreeMap<(String, Tags), u64>,
}

impl Report {
    /// Nothing said yet.
    pub(super) fn new(dialect: Dialect, identity: &Identity, packets: Packets) -> Report {
        let lines = Lines(Arc::new(Mutex::new(packets)));
        // It fails only for a host and port, which a sink of ours does not have.
        let recorder = StatsdBuilder::default().with_sink(lines.clone()).build(None).ok();
        Report {
            dialect,
            env: identity.env.to_string(),
            plain: format!("fourmi.{}.{}", part(&identity.env), part(&identity.service)),
            lines,
            recorder,
            counters: BTreeMap::new(),
        }
    }

    /// What one series counted since it was told last.
    pub(super) fn series(&mut self, key: &SeriesKey, now: &Totals, told: &Totals, samples: &Duration3<Vec<f32>>) {
        let ended = now.count().saturating_sub(told.count());
        let outcomes = Outcome::ALL.iter().zip(now.outcomes.iter().zip(told.outcomes));
        let outcomes = outcomes.map(|(outcome, (now, told))| (outcome.as_str(), now.saturating_sub(told)));
        match self.dialect {
            Dialect::Plain => {
                let name = format!("{}.{}", self.plain, part(&key.command));
                for (outcome, n) in outcomes {
                    self.count(format!("{name}.{outcome}"), Vec::new(), n);
                }
                for (label, value) in key.labels() {
                    self.count(format!("{}.tag.{}.{}", self.plain, part(&label.tag), part(value)), Vec::new(), ended);
                }
                let whole = (&now.durations[0], &told.durations[0], samples[0].as_slice());
                self.durations(&format!("{name}.duration"), whole, &[]);
            }
            Dialect::Datadog => {
                let env = self.env.clone();
                let mut pairs: Vec<(&str, &str)> = vec![
                    ("env", &env),
                    ("service", &key.service),
                    ("command", &key.command),
                    ("route", &key.route),
                    ("direction", key.direction.as_str()),
                    ("protocol", key.protocol.as_str()),
                ];
                pairs.extend(key.labels().map(|(label, value)| (&*label.name, value)));
                let of_series = tags(&pairs);
                for (outcome, n) in outcomes.filter(|(_, n)| *n > 0) {
                    pairs.push(("outcome", outcome));
                    self.count(dotted(metric::COMMANDS), tags(&pairs), n);
                    pairs.pop();
                }
                for (label, value) in key.labels() {
                    let pairs = [("env", env.as_str()), ("tag", &label.tag), ("value", value)];
                    self.count(dotted(metric::TAG), tags(&pairs), ended);
                }
                for (i, name) in DURATIONS.into_iter().enumerate() {
                    let seen = (&now.durations[i], &told.durations[i], samples[i].as_slice());
                    self.durations(&dotted(name), seen, &of_series);
                }
            }
        }
    }

    /// How often an event happened since it was told last.
    pub(super) fn reason(&mut self, name: &str, reason: &str, n: u64) {
        match self.dialect {
            // The plain dialect has room for commands and tags only.
            Dialect::Plain => {}
            Dialect::Datadog => {
                let tags = tags(&[("env", &self.env), ("reason", reason)]);
                self.count(dotted(name), tags, n);
            }
        }
    }

    /// The levels of this moment.
    pub(super) fn levels(&mut self, levels: Levels, instances: &BTreeMap<(String, String), u64>) {
        if self.dialect == Dialect::Plain {
            return;
        }
        for (direction, n) in ["inbound", "outbound"].into_iter().zip(levels.in_flight) {
            self.gauge(metric::IN_FLIGHT, n, &[("direction", direction)]);
        }
        for (side, n) in ["client", "upstream"].into_iter().zip(levels.connections) {
            self.gauge(metric::CONNECTIONS, n, &[("side", side)]);
        }
        for ((service, state), n) in instances {
            let n = i64::try_from(*n).unwrap_or(i64::MAX);
            self.gauge(metric::INSTANCES, n, &[("service", service), ("state", state)]);
        }
    }

    /// The packets, and how many lines were too long.
    pub(super) fn finish(self) -> (Vec<Packet>, u64) {
        for ((name, tags), n) in &self.counters {
            let labels: Vec<Label> = tags.iter().map(|(k, v)| Label::new(k.clone(), v.clone())).collect();
            if let Some(recorder) = &self.recorder {
                recorder.register_counter(&Key::from_parts(name.clone(), labels), &METADATA).increment(*n);
            }
        }
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn count(&mut self, name: String, tags: Tags, n: u64) {
        if n > 0 {
            *self.counters.entry((name, tags)).or_default() += n;
        }
    }

    fn gauge(&mut self, name: &str, n: i64, pairs: &[(&str, &str)]) {
        let mut all = vec![("env", self.env.as_str())];
        all.extend(pairs);
        let lines = gauge(&dotted(name), n, &tags(&all));
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner).together(lines.as_bytes());
    }

    /// Timers whose number, as the receiver counts it, is the true one.
    fn durations(
        &mut self,
        name: &str,
        (now, told, samples): (&Distribution, &Distribution, &[f32]),
        tags: &[(String, String)],
    ) {
        let count = now.count().saturating_sub(told.count());
        if count == 0 {
            return;
        }
        // The samples may be gone with the worker's cells; the mean stands for them.
        let mean = [(now.nanos.wrapping_sub(told.nanos) as f64 / 1e6 / count as f64) as f32];
        let samples = if samples.is_empty() { &mean[..] } else { samples };
        let mut packets = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (sample, weight) in samples.iter().zip(weights(count, samples.len())) {
            if let Some(line) = timer(name, *sample, weight, tags) {
                packets.line(line.as_bytes());
            }
        }
    }
}
