//! The control thread's side: who sends what where, and what became of it.

use super::counts::Totals;
use super::drain::{Inbox, Outlet};
use super::event::Event;
use super::fields::Who;
use super::filter::Filter;
use super::generation::{Branch, Generation, tell_all};
use super::logs::{LogSettings, Sending};
use super::metric::{Labels, Registry, Sampling, WorkerSeries};
use super::ring::RING_BYTES;
use super::statsd::{Handover, Statsd, Told};
use super::teller::{Teller, Voice};
use super::{MetricSettings, StatsdSettings, process, prometheus};
use crate::exchange::Identity;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

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
    /// Sinks that left the configuration and still send.
    leaving: Vec<Running>,
    /// Numbers of sinks that are gone.
    gone: BTreeMap<&'static str, Totals>,
    next_id: u64,
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
            state.telling = Some(runtime.spawn(tell_all(intake.clone(), Inbox::of_threads(intake))));
        }
        let State { logs, statsd, .. } = &mut *state;
        logs.iter_mut().map(|(.., r)| r).chain(statsd.iter_mut().map(|(.., r)| r)).for_each(|r| r.start(&runtime));
        state.runtime = Some(runtime);
    }

    /// Takes another configuration. Sinks that are the same stay; others end when they have sent what their old
    /// tellers still bring. Sums go on. The worker count stays.
    pub fn reload(&self, identity: &Arc<Identity>, logs: &[LogSettings], metrics: &MetricSettings) -> Vec<Teller> {
        let mut state = self.state();
        self.reload_logs(&mut state, identity, logs);
        self.reload_statsd(&mut state, identity, &metrics.statsd);
        let labels = self.0.registry.labels(&metrics.labels);
        let samplings: Arc<[Sampling]> =
            state.statsd.iter().map(|(s, _, id, ..)| Sampling { sink: *id, most: s.samples }).collect();
        let generation = state.generation.clone();
        (0..self.0.workers).map(|_| self.teller(&generation, &labels, &samplings)).collect()
    }

    fn teller(&self, generation: &Arc<Generation>, labels: &Labels, statsd: &Arc<[Sampling]>) -> Teller {
        let registry = &self.0.registry;
        let voice = (!generation.branches.is_empty()).then(|| Voice {
            ring: self.0.intake.connect(RING_BYTES, generation),
            outlet: self.0.intake.clone(),
            generation: generation.clone(),
            begun: false,
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
                let (branch, mut running) = log_sink(settings)?;
                if let Some(runtime) = &state.runtime {
                    running.start(runtime);
                }
                Some((settings.clone(), branch, running))
            }));
        }
        let branches = state.logs.iter().map(|(_, branch, _)| branch.clone()).collect();
        state.generation = Arc::new(Generation { who: Some(Who::new(identity)), branches });
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

    /// Commands on their way now, both directions.
    pub fn in_flight(&self) -> i64 {
        self.0.registry.levels().in_flight.iter().sum()
    }

    /// Appends the whole text of `/metrics` (media type [`Hub::CONTENT_TYPE`]).
    pub fn prometheus(&self, out: &mut String) {
        let mut sinks = BTreeMap::new();
        {
            let mut state = self.state();
            state.settle();
            sinks.clone_from(&state.gone);
            for running in state.running() {
                sinks.entry(running.outlet.sink).or_default().add(running.outlet.counts.totals());
            }
        }
        prometheus::write(out, &self.0.registry, &sinks, self.0.start_time);
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
            let State { logs, statsd, leaving, .. } = &mut *state;
            let all = logs.iter_mut().map(|(.., r)| r).chain(statsd.iter_mut().map(|(.., r)| r));
            all.chain(leaving).filter_map(|r| r.task.take()).collect()
        };
        for task in tasks {
            end(Some(task), until).await;
        }
    }

    /// Says how many instances of a service are in a state.
    pub fn set_instances(&self, service: &str, state: &str, n: u64) {
        self.0.registry.set_instances(service, state, n);
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
    fn running(&self) -> impl Iterator<Item = &Running> {
        self.logs.iter().map(|(.., r)| r).chain(self.statsd.iter().map(|(.., r)| r)).chain(&self.leaving)
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
fn log_sink(settings: &LogSettings) -> Option<(Arc<Branch>, Running)> {
    let (common, sink) = (settings.common().ok()?, settings.build().ok()?);
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
