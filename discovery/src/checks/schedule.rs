//! When each check is due, and what becomes of its results.

use super::probe::{self, Outcome};
use super::tally::Tally;
use super::{Options, alias};
use crate::model::{Check, Definition, Probe, State, lower};
use crate::registry::Registry;
use foldhash::HashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The first looks after a start are spread over that time at most.
const FIRST_WITHIN: Duration = Duration::from_secs(3);
/// How often one that came back from the store is looked at.
const RETURNED_EVERY: Duration = Duration::from_secs(5);
/// How often those are looked for that were critical for too long.
const REAP_EVERY: Duration = Duration::from_secs(5);
/// An output that alone has changed is told that late.
const TELL_OUTPUT_EVERY: Duration = Duration::from_secs(300);
/// The scheduler wakes up at least that often.
const IDLE: Duration = Duration::from_secs(60);

type Key = Arc<(String, String)>;

/// What is known of one check.
struct Entry {
    definition: Arc<Definition>,
    /// Tells the entry from an earlier one of the same key.
    number: u64,
    tally: Tally,
    /// When its output was told last.
    told: Instant,
    running: bool,
}

/// When something is due: for whom, and for which entry of that key.
type Due = Reverse<(Instant, u64, Key)>;

pub(super) struct Schedule {
    registry: Registry,
    options: Options,
    entries: HashMap<Key, Entry>,
    due: BinaryHeap<Due>,
    running: JoinSet<(Key, u64, Outcome)>,
    numbers: u64,
    aliases: usize,
    reap_at: Instant,
}

impl Schedule {
    pub(super) fn new(registry: Registry, options: Options) -> Self {
        Schedule {
            registry,
            options,
            entries: HashMap::default(),
            due: BinaryHeap::new(),
            running: JoinSet::new(),
            numbers: 0,
            aliases: 0,
            reap_at: Instant::now() + REAP_EVERY,
        }
    }

    pub(super) async fn run(mut self) {
        let mut definitions = self.registry.watch_definitions();
        let mut changes = self.registry.watch();
        self.follow();
        loop {
            let now = Instant::now();
            self.start_due(now);
            if now >= self.reap_at {
                self.reap_at = now + REAP_EVERY;
                self.reap(now);
            }
            let full = self.running.len() >= self.options.at_once;
            let next = self.due.peek().filter(|_| !full).map_or(now + IDLE, |Reverse((at, ..))| *at);
            let aliases = self.aliases > 0;
            tokio::select! {
                changed = definitions.changed() => match changed {
                    Ok(()) => self.follow(),
                    Err(_) => return,
                },
                Some(done) = self.running.join_next() => {
                    if let Ok((key, number, outcome)) = done {
                        self.count(&key, number, outcome);
                    }
                }
                Ok(()) = changes.changed(), if aliases => self.follow_aliases(),
                () = tokio::time::sleep_until(next.min(self.reap_at).into()) => {}
            }
        }
    }

    /// Takes up new checks and lets go of those that are gone.
    fn follow(&mut self) {
        let snapshot = self.registry.snapshot();
        let now = Instant::now();
        let mut old = std::mem::take(&mut self.entries);
        self.aliases = 0;
        for check in snapshot.own_checks() {
            let definition = &check.definition;
            self.aliases += usize::from(matches!(definition.probe, Probe::Alias(_)));
            let key = (lower(&definition.node).into_owned(), definition.id.clone());
            match old.remove_entry(&key) {
                Some((key, entry)) if Arc::ptr_eq(&entry.definition, definition) => {
                    self.entries.insert(key, entry);
                }
                _ => self.add(Arc::new(key), check, now),
            }
        }
        if self.aliases > 0 {
            self.follow_aliases();
        }
    }

    fn add(&mut self, key: Key, check: &Check, now: Instant) {
        self.numbers += 1;
        let definition = Arc::clone(&check.definition);
        let first = match &definition.probe {
            Probe::Ttl(ttl) => Some(*ttl),
            probe if probe.is_active() => Some(part(every(&definition).min(FIRST_WITHIN), 0.0)),
            _ => None,
        };
        if let Some(first) = first {
            self.due.push(Reverse((now + first, self.numbers, Arc::clone(&key))));
        }
        let entry =
            Entry { definition, number: self.numbers, tally: Tally::new(check.state, now), told: now, running: false };
        self.entries.insert(key, entry);
    }

    /// Starts what is due, as far as there is room.
    fn start_due(&mut self, now: Instant) {
        while self.running.len() < self.options.at_once {
            let Some(Reverse((at, number, key))) = self.due.pop() else { return };
            if at > now {
                self.due.push(Reverse((at, number, key)));
                return;
            }
            let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.number == number) else { continue };
            let definition = Arc::clone(&entry.definition);
            if let Probe::Ttl(ttl) = definition.probe {
                let next = self.expire(&definition, ttl, now);
                self.due.push(Reverse((next, number, key)));
                continue;
            }
            // Looks start at different times, and stay apart. One that is behind is not made up for.
            let next = (at + part(every(&definition), 0.9)).max(now);
            self.due.push(Reverse((next, number, Arc::clone(&key))));
            if std::mem::replace(&mut entry.running, true) {
                continue;
            }
            let target = matches!(definition.probe, Probe::Returned)
                .then(|| probe::target(&self.registry, &definition))
                .flatten();
            let trust = self.options.trust.clone();
            self.running.spawn(async move {
                let outcome = probe::look(&definition, target, &trust).await;
                (key, number, outcome)
            });
        }
    }

    /// Nobody may have reported within the time; otherwise says when that will be so.
    fn expire(&self, definition: &Definition, ttl: Duration, now: Instant) -> Instant {
        let end = self.registry.reported(&definition.node, &definition.id).map_or(now, |at| at + ttl);
        if end > now {
            return end;
        }
        let snapshot = self.registry.snapshot();
        let check = snapshot.checks().find(|check| *check.definition == *definition);
        if let Some(check) = check.filter(|check| check.state != State::Critical || check.unseen) {
            let output = format!("TTL expired; before that: {}", check.output);
            self.registry.report_held(&definition.node, &definition.id, State::Critical, &output, false);
        }
        now + ttl
    }

    fn count(&mut self, key: &Key, number: u64, outcome: Outcome) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.number == number) else { return };
        entry.running = false;
        let now = Instant::now();
        let Definition { node, id, timing, .. } = &*entry.definition;
        let before = entry.tally.shown();
        let verdict = entry.tally.count(outcome.state, timing, now);
        if entry.definition.probe == Probe::Returned {
            if verdict.state.usable() {
                self.registry.deregister_check(node, id);
            } else {
                self.registry.report_held(node, id, verdict.state, &outcome.output, false);
            }
            return;
        }
        if before == Some(verdict) && now.saturating_duration_since(entry.told) < TELL_OUTPUT_EVERY {
            return;
        }
        entry.told = now;
        let output = match verdict.held {
            true => format!("held back, it changed too often; {}", outcome.output),
            false => outcome.output,
        };
        self.registry.report_held(node, id, verdict.state, &output, verdict.held);
    }

    fn follow_aliases(&self) {
        let snapshot = self.registry.snapshot();
        for entry in self.entries.values() {
            if let Probe::Alias(alias) = &entry.definition.probe {
                let (state, output) = alias::state(&snapshot, &entry.definition, alias);
                self.registry.report_held(&entry.definition.node, &entry.definition.id, state, &output, false);
            }
        }
    }

    /// Removes who was critical for longer than allowed.
    fn reap(&self, now: Instant) {
        for check in self.registry.snapshot().own_checks().filter(|check| check.state == State::Critical) {
            let Definition { node, instance, timing, id, .. } = &*check.definition;
            if let (Some(after), Some(instance)) = (timing.deregister_after, instance)
                && now.saturating_duration_since(check.since) >= after
            {
                tracing::info!(node, instance, check = id, "an instance was critical for too long and is removed");
                self.registry.deregister(node, instance);
            }
        }
    }
}

fn every(definition: &Definition) -> Duration {
    match definition.probe {
        Probe::Returned => RETURNED_EVERY,
        _ => definition.timing.interval,
    }
}

/// A part of a time by chance: from `least` of it to as much more as is missing, so that the middle is the whole.
fn part(whole: Duration, least: f64) -> Duration {
    let most = if least > 0.0 { 2.0 - least } else { 1.0 };
    whole.mul_f64(least + fastrand::f64() * (most - least))
}
