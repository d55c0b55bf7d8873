//! Which series an exchange belongs to, found without asking anybody else.

use super::registry::Registry;
use super::series::{Sampling, Series};
use crate::exchange::{Direction, Exchange, Protocol};
use crate::names::{OTHER, SERIES_MAX};
use crate::sink::json::cut;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::Arc;

/// Labels of the configuration that are used; more are not.
const LABELS_MAX: usize = 16;
/// Bytes of a label's value.
const VALUE_MAX: usize = 128;
/// Answers of the registry that a worker's new series is one too many; after so many it no longer asks.
const REFUSALS_MAX: usize = 2 * SERIES_MAX;
/// The label that shows the consumer, when it is listed.
const CONSUMER: &str = "consumer";
/// Labels that every series has.
const RESERVED: [&str; 9] =
    ["service", "command", "route", "direction", "protocol", "outcome", "le", "env", "__name__"];

/// A tag that is a label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Label {
    /// The tag's key.
    pub(crate) tag: Arc<str>,
    /// The label's name: as Prometheus allows it, and none of ours.
    pub(crate) name: Arc<str>,
}

/// The labels of the configuration.
pub(crate) type Labels = Arc<[Label]>;

impl Label {
    /// The listed tags as labels, and how many were left out because their name is another one's. The first of a
    /// name stays, so the answer is the same on every machine.
    pub(crate) fn all(tags: &[String]) -> (Labels, u64) {
        let mut labels: Vec<Label> = Vec::new();
        let mut collisions = 0;
        for tag in tags.iter().filter(|t| !t.is_empty()).take(LABELS_MAX) {
            let mut name: String =
                tag.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
            if name.starts_with(|c: char| c.is_ascii_digit() || c == '_') || RESERVED.contains(&name.as_str()) {
                name.insert_str(0, "tag_");
            }
            match labels.iter().find(|l| *l.name == *name) {
                None => labels.push(Label { tag: tag.as_str().into(), name: name.into() }),
                Some(taken) => collisions += u64::from(*taken.tag != **tag),
            }
        }
        (labels.into(), collisions)
    }

    fn value<'a>(&self, x: &'a Exchange) -> &'a str {
        let value = if &*self.tag == CONSUMER {
            x.consumer.as_deref()
        } else {
            let own = x.command.tags.iter().find(|(k, _)| *k == self.tag).map(|(_, v)| v.as_str());
            own.or_else(|| x.identity.tags.iter().find(|(k, _)| *k == self.tag).map(|(_, v)| &**v))
        };
        cut(value.unwrap_or(""), VALUE_MAX).0
    }
}

/// What makes a series, owned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeriesKey {
    /// Service that the command goes to.
    pub(crate) service: Arc<str>,
    /// Name of the command.
    pub(crate) command: Arc<str>,
    /// Name of the route.
    pub(crate) route: Arc<str>,
    /// Which way it goes.
    pub(crate) direction: Direction,
    /// How it came.
    pub(crate) protocol: Protocol,
    /// The labels, and a value for each; an empty value is none.
    pub(crate) labels: Labels,
    /// The values.
    pub(crate) values: Box<[Box<str>]>,
}

impl SeriesKey {
    /// The same beyond the limit on series.
    pub(crate) fn folded(&self) -> SeriesKey {
        let other: Arc<str> = OTHER.into();
        SeriesKey {
            service: other.clone(),
            command: other.clone(),
            route: other,
            values: self.values.iter().map(|v| if v.is_empty() { "".into() } else { OTHER.into() }).collect(),
            ..self.clone()
        }
    }

    /// The labels that have a value.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&Label, &str)> {
        self.labels.iter().zip(self.values.iter().map(|v| &**v)).filter(|(_, v)| !v.is_empty())
    }

    fn view(&self) -> View<'_> {
        let mut values = [""; LABELS_MAX];
        values.iter_mut().zip(&self.values).for_each(|(to, from)| *to = from);
        View {
            service: &self.service,
            command: &self.command,
            route: &self.route,
            direction: self.direction,
            protocol: self.protocol,
            values,
            used: self.values.len().min(LABELS_MAX),
        }
    }
}

/// What makes a series, borrowed.
struct View<'a> {
    service: &'a str,
    command: &'a str,
    route: &'a str,
    direction: Direction,
    protocol: Protocol,
    values: [&'a str; LABELS_MAX],
    used: usize,
}

impl<'a> View<'a> {
    fn parts(&self) -> (&'a str, &'a str, &'a str, Direction, Protocol, &[&'a str]) {
        (self.service, self.command, self.route, self.direction, self.protocol, &self.values[..self.used])
    }
}

/// A hash that is a hash already.
#[derive(Default, Clone, Copy)]
struct Hashed(u64);

impl std::hash::Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.0 = self.0.rotate_left(8) ^ u64::from(*b));
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

type Known = (SeriesKey, Arc<Series>);

/// The series that one worker has met.
pub(crate) struct WorkerSeries {
    registry: Arc<Registry>,
    labels: Labels,
    statsd: Arc<[Sampling]>,
    hasher: foldhash::fast::RandomState,
    /// By the hash of the key; keys that share one stand beside each other.
    known: HashMap<u64, Vec<Known>, BuildHasherDefault<Hashed>>,
    refused: usize,
    /// The registry's, when we last let go of what it had forgotten.
    generation: u64,
}

impl WorkerSeries {
    /// Nothing met yet.
    pub(crate) fn new(registry: Arc<Registry>, labels: Labels, statsd: Arc<[Sampling]>) -> WorkerSeries {
        WorkerSeries {
            generation: registry.generation(),
            registry,
            labels,
            statsd,
            hasher: foldhash::fast::RandomState::default(),
            known: HashMap::default(),
            refused: 0,
        }
    }

    /// Counts a finished exchange in its series.
    pub(crate) fn record(&mut self, x: &Exchange) {
        let generation = self.registry.generation();
        if generation != self.generation {
            self.let_go(generation);
        }
        let mut values = [""; LABELS_MAX];
        for (value, label) in values.iter_mut().zip(self.labels.iter()) {
            *value = label.value(x);
        }
        let view = View {
            service: &x.service,
            command: &x.command.name,
            route: &x.route,
            direction: x.direction,
            protocol: x.protocol,
            values,
            used: self.labels.len(),
        };
        let hash = self.hasher.hash_one(view.parts());
        match self.find(hash, &view) {
            Some(series) => series.record(x),
            None => self.meet(x, &view),
        }
    }

    fn find(&self, hash: u64, view: &View<'_>) -> Option<&Series> {
        self.known.get(&hash)?.iter().find(|(key, _)| key.view().parts() == view.parts()).map(|(_, series)| &**series)
    }

    /// The registry has forgotten series: their cells are let go here, and there may be room for others again.
    #[cold]
    fn let_go(&mut self, generation: u64) {
        self.generation = generation;
        self.refused = 0;
        self.known.retain(|_, same| {
            same.retain(|(_, series)| !series.is_closed());
            !same.is_empty()
        });
        self.known.shrink_to(self.known.len() * 2);
    }

    /// The first time here, or one series too many.
    #[cold]
    fn meet(&mut self, x: &Exchange, view: &View<'_>) {
        let asked = SeriesKey {
            service: x.service.clone(),
            command: x.command.name.clone(),
            route: x.route.clone(),
            direction: x.direction,
            protocol: x.protocol,
            labels: self.labels.clone(),
            values: view.values[..self.labels.len()].iter().map(|v| Box::from(*v)).collect(),
        };
        let key = if self.refused >= REFUSALS_MAX { asked.folded() } else { self.registry.admit(&asked) };
        if key != asked {
            self.refused = self.refused.saturating_add(1);
        }
        let hash = self.hasher.hash_one(key.view().parts());
        if let Some(series) = self.find(hash, &key.view()) {
            return series.record(x);
        }
        let series = self.registry.attach(&key, &self.statsd);
        series.record(x);
        self.known.entry(hash).or_default().push((key, series));
    }

    /// Series whose cells it holds.
    #[cfg(test)]
    pub(super) fn met(&self) -> usize {
        self.known.values().map(Vec::len).sum()
    }
}
