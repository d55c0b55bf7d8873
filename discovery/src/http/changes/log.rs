//! The names of what changed of late, and the bytes that tell it.
//!
//! Only names are remembered, with the numbers of the changes: what is told of a thing is how it is now. So whoever was
//! away for a while gets each thing once, and nobody who reads slowly makes us keep anything.

use super::diff::{self, Key, Touched};
use crate::http::access::{Resource, Rights};
use crate::snapshot::Snapshot;
use crate::wire::{self, Written};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many names are remembered.
const NAMES_MAX: usize = 65_536;
/// And so many steps.
const STEPS_MAX: usize = 16_384;
/// The whole state is made anew when the last one is older than that.
const WHOLE_FOR: Duration = Duration::from_secs(2);
/// So many bytes of batches that lead to the newest number are kept.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Who sees the same: the settings he is judged by, and the place of his token there.
type Place = (u64, Option<usize>);

struct Step {
    at: u64,
    touched: Vec<Touched>,
}

/// What is told to whoever has seen that number.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    /// The number that he has seen then.
    pub(super) at: u64,
    pub(super) lines: Bytes,
}

struct Whole {
    place: Place,
    made: Instant,
    batch: Batch,
}

/// The names of what changed of late.
pub(super) struct Log {
    head: Arc<Snapshot>,
    /// All that changed after this number is remembered.
    since: u64,
    steps: VecDeque<Step>,
    names: usize,
    /// Batches that lead to the newest number, by where they begin.
    kept: Vec<(u64, Place, Batch)>,
    whole: Option<Whole>,
}

impl Log {
    /// Nothing is remembered yet.
    pub(super) fn new(head: Arc<Snapshot>) -> Self {
        let since = head.changes();
        Log { head, since, steps: VecDeque::new(), names: 0, kept: Vec::new(), whole: None }
    }

    /// The newest number.
    pub(super) fn at(&self) -> u64 {
        self.head.changes()
    }

    /// Remembers what changed until a later snapshot.
    pub(super) fn follow(&mut self, next: Arc<Snapshot>) {
        if next.changes() <= self.at() {
            return;
        }
        let touched = diff::between(&self.head, &next);
        self.names += touched.len();
        self.steps.push_back(Step { at: next.changes(), touched });
        while self.names > NAMES_MAX || self.steps.len() > STEPS_MAX {
            let Some(oldest) = self.steps.pop_front() else { break };
            self.names -= oldest.touched.len();
            self.since = oldest.at;
        }
        self.kept.clear();
        // Whoever reads it has it himself.
        self.whole.take_if(|whole| whole.made.elapsed() >= WHOLE_FOR);
        self.head = next;
    }

    /// Whether all that changed after a number is remembered.
    pub(super) fn covers(&self, number: u64) -> bool {
        (self.since..=self.at()).contains(&number)
    }

    /// What is told to somebody who has seen that number, or nothing yet.
    pub(super) fn batch(&mut self, seen: Option<u64>, epoch: u64, rights: &Rights) -> Batch {
        let place = (epoch, rights.place());
        let Some(seen) = seen.filter(|seen| self.covers(*seen)) else { return self.whole(place, rights) };
        let kept = self.kept.iter().find(|(from, of, _)| *from == seen && *of == place);
        if let Some((.., batch)) = kept {
            return batch.clone();
        }
        let mut touched: BTreeMap<&Key, bool> = BTreeMap::new();
        let newer = self.steps.partition_point(|step| step.at <= seen);
        for (key, was) in self.steps.range(newer..).flat_map(|step| &step.touched) {
            let saw = was.as_ref().is_some_and(|service| rights.sees(Resource::Service, service));
            *touched.entry(key).or_default() |= saw;
        }
        let mut lines = Vec::new();
        for (key, saw) in touched {
            tell(&self.head, key, saw, rights, &mut lines);
        }
        Written::At(self.at()).onto(&mut lines);
        let batch = Batch { at: self.at(), lines: lines.into() };
        let bytes: usize = self.kept.iter().map(|(.., batch)| batch.lines.len()).sum();
        if bytes + batch.lines.len() <= KEPT_BYTES {
            self.kept.push((seen, place, batch.clone()));
        }
        batch
    }

    /// Everything; many who come at once get the same one, and what changed since then as everybody does.
    fn whole(&mut self, place: Place, rights: &Rights) -> Batch {
        let usable =
            |whole: &&Whole| whole.place == place && whole.made.elapsed() < WHOLE_FOR && self.covers(whole.batch.at);
        if let Some(whole) = self.whole.as_ref().filter(usable) {
            return whole.batch.clone();
        }
        let mut lines = Vec::new();
        Written::All(true).onto(&mut lines);
        for (key, _) in diff::all(&self.head) {
            tell(&self.head, &key, false, rights, &mut lines);
        }
        Written::At(self.at()).onto(&mut lines);
        let batch = Batch { at: self.at(), lines: lines.into() };
        self.whole = Some(Whole { place, made: Instant::now(), batch: batch.clone() });
        batch
    }
}

/// Adds a line that tells how a thing is now. What may not be seen is not told of; it is gone for whoever saw it before.
fn tell(head: &Snapshot, key: &Key, saw: bool, rights: &Rights, lines: &mut Vec<u8>) {
    match key {
        Key::Node(name) => {
            if !rights.sees(Resource::Node, name) {
                return;
            }
            match head.nodes.get(name) {
                Some(entry) => Written::Node(&entry.node, wire::checks(&entry.checks)).onto(lines),
                None => Written::NoNode(name).onto(lines),
            }
        }
        Key::Instance(node, id) => {
            if !rights.sees(Resource::Node, node) {
                return;
            }
            let entry = head.nodes.get(node);
            let at = entry.and_then(|entry| entry.instances.binary_search_by(|m| m.instance.id.as_str().cmp(id)).ok());
            match entry.zip(at).and_then(|(entry, at)| entry.instances.get(at)) {
                Some(member) if rights.sees(Resource::Service, &member.instance.service) => {
                    Written::Instance(&member.instance, wire::checks(&member.checks)).onto(lines);
                }
                _ if saw => Written::NoInstance(node, id).onto(lines),
                _ => {}
            }
        }
        Key::Record(path) => {
            // Like a service of that name, since it stands for one.
            let name = path.split('/').rev().collect::<Vec<_>>().join(".");
            if !rights.sees(Resource::Service, &name) {
                return;
            }
            match head.records.get(path) {
                Some(record) => Written::Record(&name, record, wire::ends(record)).onto(lines),
                None => Written::NoRecord(&name).onto(lines),
            }
        }
    }
}
