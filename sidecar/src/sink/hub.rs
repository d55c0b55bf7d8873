//! The control thread's side: who sends what where, and what became of it.

use super::counts::Totals;
use super::drain::{Inbox, Outlet};
use super::gelf::{Gelf, record_max};
use super::metric::{Label, Labels, Registry, WorkerSeries};
use super::record::{Form, RecordEncoder};
use super::ring::RING_BYTES;
use super::statsd::{Handover, Statsd, Told};
use super::teller::{Encoder, Log, Teller};
use super::text::TextEncoder;
use super::{LogSettings, MetricSettings, StatsdSettings, StdoutFormat, process, prometheus, stdout};
use crate::exchange::Identity;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal};
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
    /// The last error, for people.
    pub last_error: Option<String>,
}

/// All sinks of the process. Clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    registry: Arc<Registry>,
    workers: usize,
    start_time: f64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runtime: Option<Handle>,
    logs: Vec<(LogSettings, Running)>,
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
    sender: Option<Sender>,
    task: Option<JoinHandle<()>>,
}

enum Sender {
    Gelf(Box<Gelf>, Inbox),
    Stdout(io::Result<File>, Inbox),
    Statsd(Box<Statsd>),
}

impl Running {
    fn start(&mut self, runtime: &Handle) {
        let outlet = self.outlet.clone();
        self.task = match self.sender.take() {
            None => return,
            Some(Sender::Gelf(gelf, inbox)) => Some(runtime.spawn(gelf.run(inbox))),
            Some(Sender::Stdout(file, inbox)) => Some(runtime.spawn(stdout::run(outlet, inbox, file))),
            Some(Sender::Statsd(statsd)) => Some(runtime.spawn(statsd.run())),
        };
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
        let State { logs, statsd, .. } = &mut *state;
        logs.iter_mut().map(|(_, r)| r).chain(statsd.iter_mut().map(|(.., r)| r)).for_each(|r| r.start(&runtime));
        state.runtime = Some(runtime);
    }

    /// Takes another configuration. Sinks that are the same stay; others end when they have sent what their old
    /// tellers still bring. Sums go on. The worker count stays.
    pub fn reload(&self, identity: &Arc<Identity>, logs: &[LogSettings], metrics: &MetricSettings) -> Vec<Teller> {
        let mut state = self.state();
        self.reload_logs(&mut state, logs);
        self.reload_statsd(&mut state, identity, &metrics.statsd);
        let labels = Label::all(&metrics.labels);
        let ids: Arc<[u64]> = state.statsd.iter().map(|(_, _, id, ..)| *id).collect();
        let encoders: Vec<_> = state.logs.iter().map(|(s, r)| (encoder(s, identity), r.outlet.clone())).collect();
        (0..self.0.workers).map(|_| self.teller(&encoders, &labels, &ids)).collect()
    }

    fn teller(&self, encoders: &[(Encoder, Arc<Outlet>)], labels: &Labels, statsd: &Arc<[u64]>) -> Teller {
        let registry = &self.0.registry;
        let logs = encoders
            .iter()
            .map(|(encoder, outlet)| Log {
                encoder: encoder.clone(),
                ring: outlet.connect(RING_BYTES),
                outlet: outlet.clone(),
            })
            .collect();
        let series = WorkerSeries::new(registry.clone(), labels.clone(), statsd.clone());
        Teller::new(registry.clone(), series, logs)
    }

    fn reload_logs(&self, state: &mut State, logs: &[LogSettings]) {
        let mut old = std::mem::take(&mut state.logs);
        for settings in logs {
            let kept = old.iter().position(|(s, _)| s == settings).map(|i| old.swap_remove(i).1);
            let running = kept.unwrap_or_else(|| launched(log_sink(settings), state.runtime.as_ref()));
            state.logs.push((settings.clone(), running));
        }
        for (_, running) in old {
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
            let outlet = Outlet::new("statsd", format!("udp://{}:{}", settings.host, settings.port));
            let statsd = Statsd::new(
                id,
                outlet.clone(),
                registry.clone(),
                identity.clone(),
                settings,
                border.clone(),
                handover.clone(),
            );
            let running = Running { outlet, sender: Some(Sender::Statsd(Box::new(statsd))), task: None };
            let running = launched(running, state.runtime.as_ref());
            state.statsd.push((settings.clone(), identity.clone(), id, handover, running));
        }
        for (_, _, _, handover, running) in old {
            *handover.lock().unwrap_or_else(PoisonError::into_inner) = Some(border.clone());
            leave(state, running);
        }
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
                let Totals { sent, full, error, oversize } = running.outlet.counts.totals();
                SinkStat {
                    sink: running.outlet.sink,
                    target: running.outlet.target.clone(),
                    sent,
                    dropped_full: full,
                    dropped_error: error,
                    oversize,
                    last_error: running.outlet.counts.last_error(),
                }
            })
            .collect()
    }

    /// Sends everything that waits, StatsD's last sums too, and ends the sinks; not later than after `deadline`.
    /// To be called when the workers have ended.
    pub async fn shutdown(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let tasks: Vec<JoinHandle<()>> = {
            let mut state = self.state();
            state.running().for_each(|r| r.outlet.stop(until));
            let State { logs, statsd, leaving, .. } = &mut *state;
            let all = logs.iter_mut().map(|(_, r)| r).chain(statsd.iter_mut().map(|(.., r)| r));
            all.chain(leaving).filter_map(|r| r.task.take()).collect()
        };
        for mut task in tasks {
            // A sink that keeps to the deadline itself needs a moment more to count what it could not send.
            if tokio::time::timeout_at(until + Duration::from_millis(50), &mut task).await.is_err() {
                task.abort();
            }
        }
    }

    /// Says how many instances of a service are in a state.
    pub fn set_instances(&self, service: &str, state: &str, n: u64) {
        self.0.registry.set_instances(service, state, n);
    }

    /// Counts a reload of the configuration.
    pub fn count_reload(&self, ok: bool) {
        self.0.registry.count_reload(ok);
    }
}

impl State {
    fn running(&self) -> impl Iterator<Item = &Running> {
        self.logs.iter().map(|(_, r)| r).chain(self.statsd.iter().map(|(.., r)| r)).chain(&self.leaving)
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

fn launched(mut running: Running, runtime: Option<&Handle>) -> Running {
    if let Some(runtime) = runtime {
        running.start(runtime);
    }
    running
}

fn leave(state: &mut State, running: Running) {
    running.outlet.retire();
    state.settle();
    state.leaving.push(running);
}

fn log_sink(settings: &LogSettings) -> Running {
    let (outlet, sender) = match settings {
        LogSettings::Stdout { .. } => {
            let outlet = Outlet::new("stdout", "stdout".to_owned());
            let sender = Sender::Stdout(stdout::standard_output(), Inbox::new(outlet.clone()));
            (outlet, Some(sender))
        }
        LogSettings::Graylog { host, port, .. } => {
            let outlet = Outlet::new("graylog", format!("udp://{host}:{port}"));
            let inbox = Inbox::new(outlet.clone());
            let sender = Gelf::new(outlet.clone(), settings).map(|gelf| Sender::Gelf(Box::new(gelf), inbox));
            (outlet, sender)
        }
    };
    Running { outlet, sender, task: None }
}

fn encoder(settings: &LogSettings, identity: &Identity) -> Encoder {
    match settings {
        LogSettings::Graylog { chunk, .. } => {
            Encoder::Gelf(Arc::new(RecordEncoder::new(Form::Gelf, identity, record_max(*chunk))))
        }
        LogSettings::Stdout { format } => {
            let terminal = io::stdout().is_terminal();
            let text = match format {
                StdoutFormat::Auto => terminal,
                StdoutFormat::Text => true,
                StdoutFormat::Json => false,
            };
            if text {
                // https://no-color.org: any value but an empty one.
                let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
                Encoder::Text(TextEncoder::new(terminal && !plain))
            } else {
                Encoder::Json(Arc::new(RecordEncoder::new(Form::Json, identity, RING_BYTES / 4)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
