//! From when on a receiver is told sums: from the beginning, or from what it was told last.

use super::points::Sums;
use crate::sink::counts::Totals as SinkTotals;
use crate::sink::metric::{Reason, Totals};
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use std::collections::{BTreeMap, HashMap};

/// One of the two.
#[derive(Debug, Clone)]
pub(super) enum Since {
    /// The beginning of each sum.
    Begin(Begun),
    /// The last time.
    Last(Told),
}

/// When each sum began, in nanoseconds since 1970: with the process, but for a series that was forgotten and has come
/// back at zero. That one must not look like the old one running backwards.
#[derive(Debug, Clone, Default)]
pub(super) struct Begun {
    pub(super) start: u64,
    /// When sums were taken last.
    last: Option<u64>,
    series: HashMap<u64, u64>,
    tags: HashMap<(String, String), u64>,
}

/// What was told last.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) at: u64,
    pub(super) series: HashMap<u64, Totals>,
    pub(super) reasons: HashMap<Reason, u64>,
    pub(super) reloads: [u64; 2],
    pub(super) collisions: u64,
    pub(super) sinks: BTreeMap<&'static str, SinkTotals>,
}

impl Begun {
    /// With the process.
    pub(super) fn at(start: u64) -> Begun {
        Begun { start, ..Begun::default() }
    }

    /// What is met for the first time has begun after the last time that sums were taken.
    fn meet(&mut self, sums: &Sums) {
        let since = self.last.unwrap_or(self.start);
        let (series, tags) = (std::mem::take(&mut self.series), std::mem::take(&mut self.tags));
        self.series = sums.samples.iter().map(|s| (s.id, series.get(&s.id).copied().unwrap_or(since))).collect();
        let known = sums.tags().into_keys().map(|(tag, value)| (tag.to_owned(), value.to_owned()));
        self.tags =
            known.map(|key| (tags.get(&key).copied().unwrap_or(since), key)).map(|(at, key)| (key, at)).collect();
        self.last = Some(sums.at);
    }
}

impl Since {
    /// Sums have been taken and are about to be told.
    pub(super) fn meet(&mut self, sums: &Sums) {
        if let Since::Begin(begun) = self {
            begun.meet(sums);
        }
    }

    /// They are told.
    pub(super) fn tell(&mut self, sums: &Sums) {
        if let Since::Last(told) = self {
            *told = sums.told();
        }
    }

    /// What the receiver knows already and must not be told again.
    pub(super) fn told(&self) -> Option<&Told> {
        match self {
            Since::Begin(_) => None,
            Since::Last(told) => Some(told),
        }
    }

    pub(super) fn temporality(&self) -> AggregationTemporality {
        match self {
            Since::Begin(_) => AggregationTemporality::Cumulative,
            Since::Last(_) => AggregationTemporality::Delta,
        }
    }

    /// When what has always been there begins.
    pub(super) fn start(&self) -> u64 {
        match self {
            Since::Begin(begun) => begun.start,
            Since::Last(told) => told.at,
        }
    }

    /// When a series begins.
    pub(super) fn of_series(&self, id: u64) -> u64 {
        match self {
            Since::Begin(begun) => begun.series.get(&id).copied().unwrap_or(begun.start),
            Since::Last(told) => told.at,
        }
    }

    /// When a tag's sum begins.
    pub(super) fn of_tag(&self, tag: &str, value: &str) -> u64 {
        match self {
            Since::Begin(begun) => begun.tags.get(&(tag.to_owned(), value.to_owned())).copied().unwrap_or(begun.start),
            Since::Last(told) => told.at,
        }
    }
}
