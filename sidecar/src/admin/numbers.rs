//! What the page and `fourmi top` show of the metrics: the same numbers that Prometheus reads, at one moment.

use super::histogram::Histogram;
use crate::names::metric;
use crate::sink::scrape::samples;
use std::collections::BTreeMap;

/// Direction, service and command.
pub(super) type Key = (String, String, String);

/// What the metrics say of one command in one direction.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) total: f64,
    /// By outcome.
    pub(super) outcomes: BTreeMap<String, f64>,
    /// Of all that ended.
    pub(super) seconds: f64,
    pub(super) buckets: Histogram,
}

impl Row {
    /// Those that ended well.
    pub(super) fn success(&self) -> f64 {
        ["success", "accepted"].iter().filter_map(|word| self.outcomes.get(*word)).sum()
    }

    /// Adds another row's numbers.
    pub(super) fn add(&mut self, other: &Row) {
        self.total += other.total;
        self.seconds += other.seconds;
        for (word, n) in &other.outcomes {
            *self.outcomes.entry(word.clone()).or_default() += n;
        }
        self.buckets.merge(&other.buckets);
    }

    /// What has come since an earlier state of the same row.
    pub(super) fn since(&self, earlier: &Row) -> Row {
        let before = |word: &String| earlier.outcomes.get(word).copied().unwrap_or(0.0);
        Row {
            total: (self.total - earlier.total).max(0.0),
            outcomes: self.outcomes.iter().map(|(word, n)| (word.clone(), (n - before(word)).max(0.0))).collect(),
            seconds: (self.seconds - earlier.seconds).max(0.0),
            buckets: self.buckets.since(&earlier.buckets),
        }
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    pub(super) commands: BTreeMap<Key, Row>,
    /// By direction.
    pub(super) in_flight: BTreeMap<String, f64>,
    /// By sink and result.
    pub(super) sinks: BTreeMap<String, BTreeMap<String, f64>>,
    /// Service, state, how many.
    pub(super) instances: Vec<(String, String, f64)>,
}

impl Numbers {
    pub(super) fn read(text: &str) -> Self {
        let mut numbers = Numbers::default();
        for sample in samples(text) {
            let key = || {
                let of = |label| sample.label(label).to_owned();
                (of("direction"), of("service"), of("command"))
            };
            let part = sample.name.strip_prefix(metric::COMMAND_DURATION);
            match (sample.name, part) {
                (metric::COMMANDS, _) => {
                    let row = numbers.commands.entry(key()).or_default();
                    row.total += sample.value;
                    *row.outcomes.entry(sample.label("outcome").to_owned()).or_default() += sample.value;
                }
                (_, Some("_sum")) => numbers.commands.entry(key()).or_default().seconds += sample.value,
                (_, Some("_bucket")) => {
                    if let Ok(bound) = sample.label("le").parse() {
                        numbers.commands.entry(key()).or_default().buckets.add(bound, sample.value);
                    }
                }
                (metric::IN_FLIGHT, _) => {
                    *numbers.in_flight.entry(sample.label("direction").to_owned()).or_default() += sample.value;
                }
                (metric::SINK_RECORDS, _) => {
                    let results = numbers.sinks.entry(sample.label("sink").to_owned()).or_default();
                    *results.entry(sample.label("result").to_owned()).or_default() += sample.value;
                }
                (metric::INSTANCES, _) if sample.value > 0.0 => numbers.instances.push((
                    sample.label("service").to_owned(),
                    sample.label("state").to_owned(),
                    sample.value,
                )),
                _ => {}
            }
        }
        // A histogram may have been cut differently (or not at all); rows are what was counted.
        numbers.commands.retain(|_, row| row.total > 0.0);
        numbers
    }

    /// Records that sinks lost.
    pub(super) fn lost(&self) -> f64 {
        let lost = self.sinks.values().flatten().filter(|(result, _)| *result != "sent").map(|(_, n)| n);
        // The sum of nothing is -0.
        lost.sum::<f64>() + 0.0
    }
}
