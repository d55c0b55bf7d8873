//! All series of the process. Workers come here only when they meet a series for the first time.

use super::series::{Duration3, Series, Totals};
use super::view::SeriesKey;
use crate::exchange::Direction;
use crate::names::{COMMANDS_MAX, OTHER, SERIES_MAX};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Reasons of one kind of event that are told apart.
const REASONS_MAX: usize = 64;
/// States of instances that are kept.
const INSTANCES_MAX: usize = 2 * SERIES_MAX;

/// Which connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Of callers.
    Client,
    /// To instances.
    Upstream,
}

/// Levels that one worker moves up and down.
#[derive(Default)]
pub(crate) struct WorkerCells {
    in_flight: [AtomicI64; 2],
    connections: [AtomicI64; 2],
}

impl WorkerCells {
    /// Moves the commands in flight.
    pub(crate) fn in_flight(&self, direction: Direction, by: i64) {
        shift(&self.in_flight[usize::from(direction == Direction::Outbound)], by);
    }
    /// Moves the open connections.
    pub(crate) fn connections(&self, side: Connection, by: i64) {
        shift(&self.connections[usize::from(side == Connection::Upstream)], by);
    }
}

fn shift(cell: &AtomicI64, by: i64) {
    cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
}

/// The levels of all workers: inbound and outbound, client and upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    /// Commands in flight: inbound, outbound.
    pub(crate) in_flight: [i64; 2],
    /// Connections: of callers, to instances.
    pub(crate) connections: [i64; 2],
}

/// One series at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Stays the same as long as the process lives.
    pub(crate) id: u64,
    /// What it is.
    pub(crate) key: SeriesKey,
    /// Its sums.
    pub(crate) totals: Totals,
    /// Single durations in ms, if a StatsD sink asked.
    pub(crate) samples: Duration3<Vec<f32>>,
}

#[derive(Default)]
struct Entry {
    id: u64,
    cells: Vec<Arc<Series>>,
    /// What workers counted whose cells are gone.
    past: Totals,
}

#[derive(Default)]
struct Inner {
    series: BTreeMap<SeriesKey, Entry>,
    commands: HashSet<Arc<str>>,
    workers: Vec<Arc<WorkerCells>>,
    past: Levels,
    reasons: BTreeMap<(&'static str, &'static str), Arc<AtomicU64>>,
    instances: BTreeMap<(String, String), u64>,
    reloads: [u64; 2],
}

/// All series of the process.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Inner>);

impl Registry {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The series that stands for this one: itself, or with `_other` where a limit is reached.
    pub(crate) fn admit(&self, asked: &SeriesKey) -> SeriesKey {
        let mut inner = self.inner();
        let mut key = asked.clone();
        if !inner.commands.contains(&key.command) {
            if inner.commands.len() < COMMANDS_MAX {
                inner.commands.insert(key.command.clone());
            } else {
                key.command = OTHER.into();
            }
        }
        if !inner.series.contains_key(&key) && inner.series.len() >= SERIES_MAX { key.folded() } else { key }
    }

    /// New cells for a worker in an admitted series.
    pub(crate) fn attach(&self, key: &SeriesKey, statsd: &[u64]) -> Arc<Series> {
        let series = Arc::new(Series::new(statsd));
        let mut inner = self.inner();
        let id = inner.series.len() as u64;
        let entry = inner.series.entry(key.clone()).or_insert_with(|| Entry { id, ..Entry::default() });
        entry.cells.push(series.clone());
        series
    }

    /// New levels for a worker.
    pub(crate) fn worker(&self) -> Arc<WorkerCells> {
        let cells = Arc::new(WorkerCells::default());
        self.inner().workers.push(cells.clone());
        cells
    }

    /// The counter of an event for a reason that the code names.
    pub(crate) fn reason(&self, metric: &'static str, reason: &'static str) -> Arc<AtomicU64> {
        let mut inner = self.inner();
        let known = inner.reasons.contains_key(&(metric, reason));
        let reason = if known || inner.reasons.len() < REASONS_MAX { reason } else { OTHER };
        inner.reasons.entry((metric, reason)).or_default().clone()
    }

    /// Every series now; with the number of a StatsD sink its samples too, which it then will not get again.
    pub(crate) fn snapshot(&self, statsd: Option<u64>) -> Vec<Sample> {
        let mut inner = self.inner();
        let mut all = Vec::with_capacity(inner.series.len());
        for (key, entry) in &mut inner.series {
            let mut samples = Duration3::default();
            if let Some(sink) = statsd {
                entry.cells.iter().for_each(|cells| cells.take_samples(sink, &mut samples));
            }
            // Cells that only we hold have no writer any more.
            let past = &mut entry.past;
            entry.cells.retain_mut(|cells| match Arc::get_mut(cells) {
                Some(cells) => {
                    cells.add_to(past);
                    false
                }
                None => true,
            });
            let mut totals = entry.past.clone();
            entry.cells.iter().for_each(|cells| cells.add_to(&mut totals));
            all.push(Sample { id: entry.id, key: key.clone(), totals, samples });
        }
        all
    }

    /// The levels now.
    pub(crate) fn levels(&self) -> Levels {
        let mut inner = self.inner();
        let Inner { workers, past, .. } = &mut *inner;
        let add = |sum: &mut Levels, cells: &WorkerCells| {
            for i in 0..2 {
                sum.in_flight[i] += cells.in_flight[i].load(Relaxed);
                sum.connections[i] += cells.connections[i].load(Relaxed);
            }
        };
        workers.retain_mut(|cells| match Arc::get_mut(cells) {
            Some(cells) => {
                add(past, cells);
                false
            }
            None => true,
        });
        let mut sum = *past;
        workers.iter().for_each(|cells| add(&mut sum, cells));
        // One worker's cells may be read a moment before another's: never show less than nothing.
        sum.in_flight = sum.in_flight.map(|n| n.max(0));
        sum.connections = sum.connections.map(|n| n.max(0));
        sum
    }

    /// Every event counter now: metric, reason, count.
    pub(crate) fn reasons(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.inner().reasons.iter().map(|((metric, reason), n)| (*metric, *reason, n.load(Relaxed))).collect()
    }

    /// Says how many instances of a service are in a state.
    pub(crate) fn set_instances(&self, service: &str, state: &str, n: u64) {
        let mut inner = self.inner();
        let key = (service.to_owned(), state.to_owned());
        if inner.instances.len() < INSTANCES_MAX || inner.instances.contains_key(&key) {
            inner.instances.insert(key, n);
        }
    }

    /// Instances by service and state.
    pub(crate) fn instances(&self) -> BTreeMap<(String, String), u64> {
        self.inner().instances.clone()
    }

    /// Counts a reload.
    pub(crate) fn count_reload(&self, ok: bool) {
        self.inner().reloads[usize::from(!ok)] += 1;
    }

    /// Reloads: good ones, refused ones.
    pub(crate) fn reloads(&self) -> [u64; 2] {
        self.inner().reloads
    }
}
