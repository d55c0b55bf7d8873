//! The control thread's side: who sends what where, and what became of it.

use super::counts::Totals;
use super::drain::{Inbox, Outlet};
use super::event::Event;
use super::eyes::Eyes;
use super::fields::Who;
use super::filter::Filter;
use super::generation::{Branch, Generation, tell_all};
use super::kong::{Series, Switches, Target};
use super::logs::{LogSettings, Sending};
use super::metric::{Absence, Labels, Queries, Registry, Sampling, Spooled, WorkerSeries};
use super::otlp::{self, Border, OtlpMetrics, Sums};
use super::ring::{self, Writer};
use super::scope::Scopes;
use super::statsd::{Handover, Statsd, Told};
use super::teller::{Teller, Voice};
use super::watch::{Line, Watch};
use super::{MetricSettings, StatsdSettings, process, prometheus};
use crate::exchange::Identity;
use crate::names::metric;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes of the worker's lines that may wait: what a burst of two times the allowed rate brings while the control
/// thread is held up for a second.
const LINES_BYTES: usize = 4 << 20;
/// A scratch buffer that grew beyond this is let go.
const SCRATCH_MAX: usize = 128 << 10;

/// What became of one sink's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkStat {
    /// The configuration's key: `graylog`, `stdout`, `statsd`.
    pub sink: &'static str,
    /// Where it sends.
    pub target: String,
    /// Records (StatsD: lines) that were handed to the system; UDP gives no receipt.
    pub sent: u64,
    /// Records for which the ring had no room.
    pub dropped_full: u64,
    /// Records that the system or the other side refused.
    pub dropped_error: u64,
    /// Records too large to be sent.
    pub oversize: u64,
    /// How often the receiver was not there or did not take something, by why: `absent`, `refused`, `full` and so on.
    pub troubles: Vec<(&'static str, u64)>,
    /// The last error, for people.
    pub last_error: Option<String>,
    /// How long ago that was.
    pub last_error_age: Option<Duration>,
    /// `ok`, `failing`, or `unused` when there was nothing to send yet.
    pub state: &'static str,
}

/// All sinks of the process. Clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    registry: Arc<Registry>,
    workers: usize,
    start_time: f64,
    /// What the data threads' rings lead to.
    intake: Arc<Outlet>,
    /// Whether the worker's lines are taken, and where its output is.
    watch: Arc<Watch>,
    /// What people look at.
    eyes: Eyes,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runtime: Option<Handle>,
    /// Tells the sinks what the data threads bring.
    telling: Option<JoinHandle<()>>,
    /// The sinks of now.
    generation: Arc<Generation>,
    logs: Vec<(LogSettings, Arc<Branch>, Running)>,
    statsd: Vec<(StatsdSettings, Arc<Identity>, u64, Handover, Running)>,
    otlp: Vec<(OtlpMetrics, Arc<Identity>, Border, Running)>,
    /// Sinks that left the configuration and still send.
    leaving: Vec<Running>,
    /// Numbers of sinks that are gone.
    gone: BTreeMap<&'static str, Totals>,
    next_id: u64,
    /// The way of the worker's lines to the sinks of that generation.
    lines: Option<(Writer, Arc<Generation>)>,
    scratch: Vec<u8>,
}

struct Running {
    outlet: Arc<Outlet>,
    /// What waits for the start.
    sending: Option<Box<dyn FnOnce() -> Sending + Send>>,
    task: Option<JoinHandle<()>>,
}

impl Running {
    fn start(&mut self, runtime: &Handle) {
        if let Some(sending) = self.sending.take() {
            self.task = Some(runtime.spawn(sending()));
        }
    }
}

impl Hub {
    /// The sinks of a configuration, not sending yet, and a teller for each worker. Until [`Hub::start`] records
    /// gather in the rings.
    pub fn new(
        identity: &Arc<Identity>,
        logs: &[LogSettings],
        metrics: &MetricSettings,
        workers: usize,
    ) -> (Hub, Vec<Teller>) {
        let hub = Hub(Arc::new(Shared {
            registry: Arc::new(Registry::default()),
            workers,
            start_time: process::start_time(),
            intake: Outlet::new("intake", String::new()),
            watch: Arc::default(),
            eyes: Eyes::default(),
            state: Mutex::new(State::default()),
        }));
        let tellers = hub.reload(identity, logs, metrics);
        (hub, tellers)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to send, with plain tasks on the runtime in which it is called (a single-threaded one is enough, no
    /// `LocalSet` is needed). Outside of a runtime it does nothing.
    pub fn start(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut state = self.state();
        if state.telling.is_none() {
            let intake = self.0.intake.clone();
            let inbox = Inbox::of_threads(intake.clone());
            let scopes = Scopes::new(self.0.watch.clone(), self.0.registry.clone());
            state.telling = Some(runtime.spawn(tell_all(intake.clone(), inbox, scopes, self.0.eyes.clone())));
        }
        state.configured().for_each(|r| r.start(&runtime));
        state.runtime = Some(runtime);
    }

    /// Takes another configuration. Sinks that are the same stay; others end when they have sent what their old
    /// tellers still bring. Sums go on. The worker count stays.
    pub fn reload(&self, identity: &Arc<Identity>, logs: &[LogSettings], metrics: &MetricSettings) -> Vec<Teller> {
        let mut state = self.state();
        self.reload_logs(&mut state, identity, logs);
        self.reload_statsd(&mut state, identity, &metrics.statsd);
        self.reload_otlp(&mut state, identity, &metrics.otlp);
        let labels = self.0.registry.labels(&metrics.labels);
        let samplings: Arc<[Sampling]> =
            state.statsd.iter().map(|(s, _, id, ..)| Sampling { sink: *id, most: s.samples }).collect();
        let generation = state.generation.clone();
        (0..self.0.workers).map(|_| self.teller(&generation, &labels, &samplings)).collect()
    }

    fn teller(&self, generation: &Arc<Generation>, labels: &Labels, statsd: &Arc<[Sampling]>) -> Teller {
        let registry = &self.0.registry;
        let voice = Some(Voice {
            ring: self.0.intake.connect(ring::bytes(generation.wants), generation),
            outlet: self.0.intake.clone(),
            generation: generation.clone(),
            watch: self.0.watch.clone(),
            eyes: self.0.eyes.clone(),
        });
        let series = WorkerSeries::new(registry.clone(), labels.clone(), statsd.clone());
        Teller::new(registry.clone(), series, voice)
    }

    fn reload_logs(&self, state: &mut State, identity: &Identity, logs: &[LogSettings]) {
        let mut old = std::mem::take(&mut state.logs);
        for settings in logs {
            let kept = old.iter().position(|(s, ..)| s == settings).map(|i| old.swap_remove(i));
            if let Some((.., running)) = &kept {
                running.outlet.poke();
            }
            state.logs.extend(kept.or_else(|| {
                let (branch, mut running) = log_sink(settings, &self.0.registry.kong)?;
                if let Some(runtime) = &state.runtime {
                    running.start(runtime);
                }
                Some((settings.clone(), branch, running))
            }));
        }
        let branches = state.logs.iter().map(|(_, branch, _)| branch.clone()).collect();
        let wants = state.logs.iter().map(|(settings, ..)| settings.wants()).max().unwrap_or_default();
        state.generation = Arc::new(Generation { who: Some(Who::new(identity)), branches, wants });
        for (_, _, running) in old {
            leave(state, running);
        }
    }

    fn reload_statsd(&self, state: &mut State, identity: &Arc<Identity>, sinks: &[StatsdSettings]) {
        let registry = &self.0.registry;
        let mut old = std::mem::take(&mut state.statsd);
        let mut kept = Vec::new();
        for settings in sinks {
            // Names carry the identity, so a sink under another one is another sink.
            let same = old
                .iter()
                .position(|(s, i, ..)| s == settings && (&i.env, &i.service) == (&identity.env, &identity.service));
            kept.push(same.map(|i| old.swap_remove(i)));
        }
        let border = Told::until_now(registry);
        for (settings, kept) in sinks.iter().zip(kept) {
            if let Some(kept) = kept {
                state.statsd.push(kept);
                continue;
            }
            state.next_id += 1;
            let (id, handover) = (state.next_id, Handover::default());
            let outlet = Outlet::new("statsd", settings.place.to_string());
            let statsd = Statsd::new(
                id,
                outlet.clone(),
                registry.clone(),
                identity.clone(),
                settings,
                border.clone(),
                handover.clone(),
            );
            let mut running = Running { outlet, sending: Some(Box::new(move || Box::pin(statsd.run()))), task: None };
            if let Some(runtime) = &state.runtime {
                running.start(runtime);
            }
            state.statsd.push((settings.clone(), identity.clone(), id, handover, running));
        }
        for (_, _, _, handover, running) in old {
            *handover.lock().unwrap_or_else(PoisonError::into_inner) = Some(border.clone());
            leave(state, running);
        }
    }

    fn reload_otlp(&self, state: &mut State, identity: &Arc<Identity>, sinks: &[OtlpMetrics]) {
        if state.otlp.is_empty() && sinks.is_empty() {
            return;
        }
        let border = Arc::new(Sums::now(&self.0.registry, state.sums(), None));
        let mut old = std::mem::take(&mut state.otlp);
        for settings in sinks {
            // The resource says who we are, so a sink of another identity is another sink.
            let kept = old.iter().position(|(s, i, ..)| s == settings && i == identity).map(|i| old.swap_remove(i));
            state.otlp.extend(kept.or_else(|| {
                let (outlet, until) = (Outlet::new("otlp_metrics", settings.target()), Border::default());
                state.next_id += 1;
                let source = (self.0.registry.clone(), self.sinks(), state.next_id);
                let start = self.0.start_time;
                let sender =
                    otlp::Sender::new(settings, outlet.clone(), source, identity, start, &border, until.clone())?;
                let mut running =
                    Running { outlet, sending: Some(Box::new(move || Box::pin(sender.run()))), task: None };
                if let Some(runtime) = &state.runtime {
                    running.start(runtime);
                }
                Some((settings.clone(), identity.clone(), until, running))
            }));
        }
        for (_, _, until, running) in old {
            *until.lock().unwrap_or_else(PoisonError::into_inner) = Some(border.clone());
            leave(state, running);
        }
    }

    /// A way to ask how the sinks stand, which does not keep them.
    fn sinks(&self) -> otlp::Sinks {
        let shared = Arc::downgrade(&self.0);
        Arc::new(move || match shared.upgrade() {
            Some(shared) => shared.state.lock().unwrap_or_else(PoisonError::into_inner).sums(),
            None => BTreeMap::new(),
        })
    }

    /// What people look at.
    pub fn eyes(&self) -> &Eyes {
        &self.0.eyes
    }

    /// What the data threads are asked about the worker's output.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.0.watch
    }

    /// Tells a line of the worker's to every log sink, with what is known of its command. It is counted here.
    pub(crate) fn line(&self, line: &Line<'_>) {
        let mut state = self.state();
        let State { generation, lines, scratch, .. } = &mut *state;
        if lines.as_ref().is_none_or(|(_, of)| !Arc::ptr_eq(of, generation)) {
            *lines = Some((self.0.intake.connect(LINES_BYTES, generation), generation.clone()));
        }
        ring::begin(scratch);
        line.write(scratch);
        let fits = lines.as_mut().is_some_and(|(ring, _)| ring.push(scratch));
        match fits {
            true => self.0.intake.ring(),
            false => self.count_lines("dropped_full", 1),
        }
        if scratch.capacity() > SCRATCH_MAX {
            *scratch = Vec::new();
        }
    }

    /// Counts lines of the worker's by what became of them.
    pub(crate) fn count_lines(&self, result: &'static str, n: u64) {
        self.line_counter(result).fetch_add(n, Relaxed);
    }

    /// What it is counted in, for those who count many.
    pub(crate) fn line_counter(&self, result: &'static str) -> Arc<AtomicU64> {
        self.0.registry.reason(metric::WORKER_LINES, result)
    }

    /// Commands on their way now, both directions.
    pub fn in_flight(&self) -> i64 {
        self.0.registry.levels().in_flight.iter().sum()
    }

    /// Appends the whole text of `/metrics` (media type [`Hub::CONTENT_TYPE`]).
    pub fn prometheus(&self, out: &mut String) {
        let sinks = self.state().sums();
        prometheus::write(out, &self.0.registry, &sinks, self.0.start_time);
        let (switches, node) = self.state().kong();
        if let Some(switches) = switches {
            let [connections, _] = self.0.registry.levels().connections;
            self.0.registry.kong.write(out, switches.health, connections, &node);
        }
    }

    /// The media type of [`Hub::prometheus`].
    pub const CONTENT_TYPE: &'static str = prometheus::CONTENT_TYPE;

    /// What became of the records of every sink that still sends.
    pub fn stats(&self) -> Vec<SinkStat> {
        let mut state = self.state();
        state.settle();
        state
            .running()
            .map(|running| {
                let totals = running.outlet.counts.totals();
                let Totals { sent, full, error, oversize, .. } = totals;
                SinkStat {
                    sink: running.outlet.sink,
                    target: running.outlet.target.clone(),
                    sent,
                    dropped_full: full,
                    dropped_error: error,
                    oversize,
                    troubles: totals.troubles().collect(),
                    last_error: running.outlet.counts.last_error(),
                    last_error_age: running.outlet.counts.last_error_age(),
                    state: match (running.outlet.counts.is_well(), running.outlet.counts.last_error()) {
                        (true, _) => "ok",
                        (false, Some(_)) => "failing",
                        (false, None) => "unused",
                    },
                }
            })
            .collect()
    }

    /// Sends everything that waits, StatsD's last sums too, and ends the sinks; not later than after `deadline`.
    /// To be called when the workers have ended.
    pub async fn shutdown(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        // First what the data threads still bring, then what the sinks still have.
        let telling = {
            let mut state = self.state();
            self.0.intake.stop(until);
            state.telling.take()
        };
        end(telling, until).await;
        let tasks: Vec<JoinHandle<()>> = {
            let mut state = self.state();
            state.running().for_each(|r| r.outlet.stop(until));
            let leaving: Vec<_> = state.leaving.iter_mut().filter_map(|r| r.task.take()).collect();
            state.configured().filter_map(|r| r.task.take()).chain(leaving).collect()
        };
        for task in tasks {
            end(Some(task), until).await;
        }
    }

    /// Says where DNS questions are counted: type, code and number.
    pub fn count_queries(&self, counts: Queries) {
        self.0.registry.count_queries(counts);
    }

    /// Says for how long the registry has been cut off.
    pub fn watch_registry(&self, absence: Absence) {
        self.0.registry.watch_registry(absence);
    }

    /// Says where the numbers of the spool are.
    pub fn watch_spool(&self, spooled: Spooled) {
        self.0.registry.watch_spool(spooled);
    }

    /// The service is gone.
    pub fn forget_instances(&self, service: &str) {
        self.0.registry.forget_instances(service);
    }

    /// Says how many instances of a service are in a state.
    pub fn set_instances(&self, service: &str, state: &str, n: u64) {
        self.0.registry.set_instances(service, state, n);
    }

    /// Says where a service's commands are counted that wait for a place at an instance.
    pub fn set_waiting(&self, service: &str, count: Arc<AtomicU32>) {
        self.0.registry.set_waiting(service, count);
    }

    /// Says how all targets of a gateway's upstreams are.
    pub fn set_targets(&self, targets: Vec<Target>) {
        self.0.registry.kong.set_targets(targets);
    }

    /// Says when which file's certificates expire, in seconds since 1970; files that are not named are forgotten.
    pub fn set_certificates(&self, all: BTreeMap<String, i64>) {
        self.0.registry.set_certificates(all);
    }

    /// Tells the StatsD receivers that know events. Without one it is forgotten.
    pub fn event(&self, event: Event) {
        self.0.registry.events.push(event);
    }

    /// Counts a reload of the configuration.
    pub fn count_reload(&self, ok: bool) {
        self.0.registry.count_reload(ok);
    }
}

impl State {
    /// Whether the series of Kong's names are shown, and the host's name.
    fn kong(&self) -> (Option<Switches>, String) {
        let all = self.logs.iter().filter_map(|(settings, ..)| settings.switches());
        let shown = all.reduce(|a, b| Switches { health: a.health || b.health, ..a });
        (shown, self.generation.who.as_ref().map_or_else(String::new, |who| who.hostname.clone()))
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        let sums = self.statsd.iter().map(|(.., r)| r).chain(self.otlp.iter().map(|(.., r)| r));
        self.logs.iter().map(|(.., r)| r).chain(sums).chain(&self.leaving)
    }

    /// The sinks of now.
    fn configured(&mut self) -> impl Iterator<Item = &mut Running> {
        let sums = self.statsd.iter_mut().map(|(.., r)| r).chain(self.otlp.iter_mut().map(|(.., r)| r));
        self.logs.iter_mut().map(|(.., r)| r).chain(sums)
    }

    /// What became of the records of every sink, those that are gone included.
    fn sums(&mut self) -> BTreeMap<&'static str, Totals> {
        self.settle();
        let mut sums = self.gone.clone();
        for running in self.running() {
            sums.entry(running.outlet.sink).or_default().add(running.outlet.counts.totals());
        }
        sums
    }

    /// Keeps the numbers of sinks that have ended, and forgets the sinks.
    fn settle(&mut self) {
        let gone = &mut self.gone;
        self.leaving.retain(|running| {
            let ended = running.task.as_ref().is_none_or(JoinHandle::is_finished);
            if ended {
                gone.entry(running.outlet.sink).or_default().add(running.outlet.counts.totals());
            }
            !ended
        });
    }
}

/// Waits for a task. One that keeps to the deadline itself needs a moment more to count what it could not send.
async fn end(task: Option<JoinHandle<()>>, until: Instant) {
    let Some(mut task) = task else { return };
    if tokio::time::timeout_at(until + Duration::from_millis(50), &mut task).await.is_err() {
        task.abort();
    }
}

fn leave(state: &mut State, running: Running) {
    running.outlet.retire();
    state.settle();
    state.leaving.push(running);
}

/// None only for settings that the configuration's check would not have let through.
fn log_sink(settings: &LogSettings, kong: &Arc<Series>) -> Option<(Arc<Branch>, Running)> {
    let (common, sink) = (settings.common().ok()?, settings.build(kong).ok()?);
    let outlet = Outlet::new(settings.name(), sink.target);
    let branch = Arc::new(Branch::new(outlet.clone(), Filter::new(&common), sink.encode, common.buffer));
    let (send, at) = (sink.send, outlet.clone());
    let sending: Box<dyn FnOnce() -> Sending + Send> = Box::new(move || {
        let inbox = Inbox::new(at.clone());
        send(at, inbox)
    });
    Some((branch, Running { outlet, sending: Some(sending), task: None }))
}

#[cfg(test)]
mod tests;
