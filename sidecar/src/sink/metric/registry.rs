//! All series of the process. Workers come here only when they meet a series for the first time.

use super::idle::{Closed, IDLE, Rest, TagTotals};
use super::series::{Duration3, Sampling, Series, Totals};
use super::view::{Label, Labels, SeriesKey};
use crate::exchange::{ConnectionSide, Direction};
use crate::names::{COMMANDS_MAX, OTHER, SERIES_MAX, metric};
use crate::sink::event::Events;
use crate::sink::kong::Series as KongSeries;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Reasons of one kind of event that are told apart.
const REASONS_MAX: usize = 64;
/// States of instances that are kept.
const INSTANCES_MAX: usize = 2 * SERIES_MAX;
/// Files of certificates that are kept.
const CERTIFICATES_MAX: usize = SERIES_MAX;
/// How often at most a worker that finds no room makes the registry look for series that rest.
const LOOK_EVERY: Duration = Duration::from_secs(10);

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
    pub(crate) fn connections(&self, side: ConnectionSide, by: i64) {
        shift(&self.connections[usize::from(side == ConnectionSide::Upstream)], by);
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
    /// Stays the same as long as the series lives. A series that was forgotten comes back under another one, at zero.
    pub(crate) id: u64,
    /// What it is.
    pub(crate) key: SeriesKey,
    /// Its sums.
    pub(crate) totals: Totals,
    /// Single durations in ms, if a StatsD sink asked.
    pub(crate) samples: Duration3<Vec<f32>>,
}

struct Entry {
    id: u64,
    cells: Vec<Arc<Series>>,
    /// What workers counted whose cells are gone.
    past: Totals,
    rest: Rest,
}

impl Entry {
    /// Keeps what was counted in cells that only we hold: they have no writer any more.
    fn settle(&mut self) {
        let past = &mut self.past;
        self.cells.retain_mut(|cells| match Arc::get_mut(cells) {
            Some(cells) => {
                cells.add_to(past);
                false
            }
            None => true,
        });
    }

    fn totals(&self) -> Totals {
        let mut totals = self.past.clone();
        self.cells.iter().for_each(|cells| cells.add_to(&mut totals));
        totals
    }
}

/// Something that is counted: its metric, and the values of its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reason {
    pub(crate) metric: &'static str,
    values: [&'static str; 2],
}

impl Reason {
    /// Its labels.
    pub(crate) fn labels(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let names: &[&'static str] = match self.metric {
            metric::WORKER_LINES => &["result"],
            metric::DNS_QUERIES => &["type", "rcode"],
            metric::SPOOL_TRANSITIONS => &["state"],
            _ => &["reason"],
        };
        names.iter().copied().zip(self.values)
    }
}

/// For how many seconds the registry has been cut off from what it follows or is kept in.
pub type Absence = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Counts DNS questions: type, code of the answer, number.
pub type Queries = Arc<dyn Fn() -> Vec<(&'static str, &'static str, u64)> + Send + Sync>;

/// Numbers of the spool. Those of one metric differ by the word, which is its label's value; none when it is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers {
    /// Levels.
    pub gauges: Vec<(&'static str, &'static str, f64)>,
    /// Counters.
    pub counters: Vec<(&'static str, &'static str, u64)>,
}

/// Tells the numbers of the spool.
pub type Spooled = Arc<dyn Fn() -> Numbers + Send + Sync>;

#[derive(Default)]
struct Inner {
    series: BTreeMap<SeriesKey, Entry>,
    next_id: u64,
    /// Cells of forgotten series that their workers have not let go yet; not more than the workers know series.
    closed: Vec<Closed>,
    tags: TagTotals,
    /// When each StatsD sink took the sums last. A series is not forgotten before all have.
    readers: BTreeMap<u64, Option<Instant>>,
    looked: Option<Instant>,
    commands: HashSet<Arc<str>>,
    workers: Vec<Arc<WorkerCells>>,
    past: Levels,
    reasons: BTreeMap<(&'static str, &'static str), Arc<AtomicU64>>,
    instances: BTreeMap<(String, String), u64>,
    waiting: BTreeMap<String, Arc<AtomicU32>>,
    queries: Option<Queries>,
    absence: Option<Absence>,
    spooled: Option<Spooled>,
    certificates: BTreeMap<String, i64>,
    reloads: [u64; 2],
    collisions: u64,
}

impl Inner {
    fn entry(&mut self, key: SeriesKey) -> &mut Entry {
        let next_id = &mut self.next_id;
        self.series.entry(key).or_insert_with(|| {
            *next_id += 1;
            Entry { id: *next_id, cells: Vec::new(), past: Totals::default(), rest: Rest::default() }
        })
    }

    /// Every series now, without those that have rested too long: they are forgotten. True when there was one.
    fn look(&mut self, statsd: Option<u64>, idle: Duration) -> (Vec<Sample>, bool) {
        let now = Instant::now();
        self.looked = Some(now);
        self.reopen();
        if let Some(reader) = statsd.and_then(|sink| self.readers.get_mut(&sink)) {
            *reader = Some(now);
        }
        let told = |since| self.readers.values().all(|at| at.is_some_and(|at| at >= since));
        let (closed, tags) = (&mut self.closed, &mut self.tags);
        let mut all = Vec::with_capacity(self.series.len());
        let before = self.series.len();
        self.series.retain(|key, entry| {
            let mut samples = Duration3::default();
            if let Some(sink) = statsd {
                entry.cells.iter().for_each(|cells| cells.take_samples(sink, &mut samples));
            }
            entry.settle();
            let totals = entry.totals();
            if entry.rest.is_over(totals.count(), now, idle) && told(entry.rest.since(now)) {
                let seen: Vec<Totals> = entry.cells.iter().map(|cells| cells.totals()).collect();
                // A worker may have counted between the sum and here: then the series does not rest.
                if entry.past.count() + seen.iter().map(Totals::count).sum::<u64>() == totals.count() {
                    tags.keep(key, totals.count());
                    closed.extend(entry.cells.drain(..).zip(seen).map(|(cells, seen)| Closed::new(key, cells, seen)));
                    return false;
                }
            }
            all.push(Sample { id: entry.id, key: key.clone(), totals, samples });
            true
        });
        let forgot = self.series.len() < before;
        if forgot {
            self.tags.tidy(self.series.keys());
            self.commands = self.series.keys().map(|k| k.command.clone()).filter(|c| **c != *OTHER).collect();
        }
        (all, forgot)
    }

    /// What a worker still counted in cells after their series was forgotten begins the series again.
    fn reopen(&mut self) {
        for (key, late) in super::idle::let_go(&mut self.closed) {
            self.entry(key).past.add(&late);
        }
    }
}

/// All series of the process.
pub(crate) struct Registry {
    inner: Mutex<Inner>,
    /// Moves on when series were forgotten.
    generation: AtomicU64,
    idle: Duration,
    /// What happened, for the sinks that tell it.
    pub(crate) events: Events,
    /// The series of Kong's names, when a Kong file asks for them.
    pub(crate) kong: Arc<KongSeries>,
}

impl Default for Registry {
    fn default() -> Self {
        Registry::new(IDLE)
    }
}

impl Registry {
    /// An empty one, that forgets a series in which nothing was counted for so long.
    pub(crate) fn new(idle: Duration) -> Registry {
        Registry {
            inner: Mutex::default(),
            generation: AtomicU64::new(0),
            idle,
            events: Events::default(),
            kong: Arc::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another number than before when series were forgotten since.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    fn look(&self, inner: &mut Inner, statsd: Option<u64>) -> Vec<Sample> {
        let (all, forgot) = inner.look(statsd, self.idle);
        if forgot {
            self.generation.fetch_add(1, Release);
        }
        all
    }

    /// The labels of a configuration. What is left out because of its name is counted.
    pub(crate) fn labels(&self, tags: &[String]) -> Labels {
        let (labels, collisions) = Label::all(tags);
        self.inner().collisions += collisions;
        labels
    }

    /// Labels that were left out because another one has their name.
    pub(crate) fn collisions(&self) -> u64 {
        self.inner().collisions
    }

    /// A StatsD sink will take the sums: nothing is forgotten that it was not told.
    pub(crate) fn add_reader(&self, sink: u64) {
        self.inner().readers.insert(sink, None);
    }

    /// It no longer will.
    pub(crate) fn remove_reader(&self, sink: u64) {
        self.inner().readers.remove(&sink);
    }

    /// What forgotten series counted for a tag that others still carry.
    pub(crate) fn forgotten_tags(&self) -> Vec<(Arc<str>, Arc<str>, u64)> {
        self.inner().tags.all()
    }

    /// The series that stands for this one: itself, or with `_other` where a limit is reached.
    pub(crate) fn admit(&self, asked: &SeriesKey) -> SeriesKey {
        let mut inner = self.inner();
        let full = !inner.series.contains_key(asked)
            && (inner.series.len() >= SERIES_MAX || inner.commands.len() >= COMMANDS_MAX);
        if full && inner.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY.min(self.idle)) {
            // Where nobody reads, this is the only time that resting series make room.
            self.look(&mut inner, None);
        }
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
    pub(crate) fn attach(&self, key: &SeriesKey, statsd: &[Sampling]) -> Arc<Series> {
        let series = Arc::new(Series::new(statsd));
        self.inner().entry(key.clone()).cells.push(series.clone());
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
        self.look(&mut self.inner(), statsd)
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

    /// Every event counter now.
    pub(crate) fn reasons(&self) -> Vec<(Reason, u64)> {
        let inner = self.inner();
        let queries = inner.queries.iter().flat_map(|counts| counts());
        let queries = queries.map(|(kind, code, n)| (Reason { metric: metric::DNS_QUERIES, values: [kind, code] }, n));
        let reasons = inner.reasons.iter();
        let reasons = reasons.map(|((metric, reason), n)| (Reason { metric, values: [reason, ""] }, n.load(Relaxed)));
        let spooled = inner.spooled.iter().flat_map(|numbers| numbers().counters);
        let spooled = spooled.map(|(metric, word, n)| (Reason { metric, values: [word, ""] }, n));
        reasons.chain(queries).chain(spooled).collect()
    }

    /// Says where the numbers of the spool are.
    pub(crate) fn watch_spool(&self, spooled: Spooled) {
        self.inner().spooled = Some(spooled);
    }

    /// Levels of the spool: metric, state, number.
    pub(crate) fn spooled(&self) -> Vec<(&'static str, &'static str, f64)> {
        let spooled = self.inner().spooled.clone();
        spooled.map(|numbers| numbers().gauges).unwrap_or_default()
    }

    /// Says where DNS questions are counted.
    pub(crate) fn count_queries(&self, counts: Queries) {
        self.inner().queries = Some(counts);
    }

    /// Says for how long the registry has been cut off.
    pub(crate) fn watch_registry(&self, absence: Absence) {
        self.inner().absence = Some(absence);
    }

    /// For how many seconds it has been; none where there is nothing to be cut off from.
    pub(crate) fn absence(&self) -> Option<u64> {
        let absence = self.inner().absence.clone();
        absence.map(|absence| absence())
    }

    /// The service is gone.
    pub(crate) fn forget_instances(&self, service: &str) {
        let mut inner = self.inner();
        inner.instances.retain(|(name, _), _| name != service);
        inner.waiting.remove(service);
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

    /// Says where a service's commands are counted that wait for a place at an instance.
    pub(crate) fn set_waiting(&self, service: &str, count: Arc<AtomicU32>) {
        let mut inner = self.inner();
        if inner.waiting.len() < INSTANCES_MAX || inner.waiting.contains_key(service) {
            inner.waiting.insert(service.to_owned(), count);
        }
    }

    /// Commands that wait, by service.
    pub(crate) fn waiting(&self) -> Vec<(String, u32)> {
        self.inner().waiting.iter().map(|(service, n)| (service.clone(), n.load(Relaxed))).collect()
    }

    /// Says when which file's certificates expire, in seconds since 1970; files that are not named are forgotten.
    pub(crate) fn set_certificates(&self, all: BTreeMap<String, i64>) {
        self.inner().certificates = all.into_iter().take(CERTIFICATES_MAX).collect();
    }

    /// Files of certificates and when they expire.
    pub(crate) fn certificates(&self) -> BTreeMap<String, i64> {
        self.inner().certificates.clone()
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
