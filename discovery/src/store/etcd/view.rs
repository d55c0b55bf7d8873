//! What etcd says, taken over into the registry: who is registered, how they are, and whose registry is there.

use super::keys::{Layout, Place};
use super::leased::MARK;
use super::rows::{self, is_transient};
use super::ttl::Leases;
use super::wire::Kv;
use crate::keys::{Heard as Told, Pair};
use crate::model::Definition;
use crate::registry::{Heard, Key, Owners, Refused, Registry};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Longer values are left out: nothing that we write comes near that.
const VALUE_MAX: usize = 1024 * 1024;

/// A key and what it has now.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    /// None when it is gone.
    pub(super) value: Option<Vec<u8>>,
    pub(super) lease: i64,
    pub(super) created: i64,
    pub(super) revision: i64,
}

/// What is known of all registries.
pub(super) struct View {
    layout: Layout,
    /// In lower case.
    pub(super) own: String,
    identity: String,
    /// Nodes whose registry is there, and has said how its checks are.
    alive: BTreeSet<String>,
    /// Nodes that have one.
    pub(super) owned: BTreeSet<String>,
    pub(super) checker: Option<String>,
    /// Until then nobody is taken for gone: etcd was away, and others need time to come back too.
    grace: Option<Instant>,
    /// What went meanwhile.
    deferred: BTreeSet<Key>,
    /// Something of the above has changed.
    moved: bool,
    /// All is being read, so that who is there is not known yet.
    reading: bool,
    pub(super) unreadable: u64,
    pub(super) left_out: u64,
    /// Something was left out that may have room when another thing is gone.
    pub(super) crowded: bool,
    /// And another thing is gone.
    pub(super) roomier: bool,
    /// What the numbers of keys and values count from, which etcd's revisions are added to.
    pub(super) base: u64,
    /// Keys and values that have changed.
    pairs: Vec<Told>,
}

impl View {
    pub(super) fn new(layout: Layout, own: String, identity: String) -> Self {
        View {
            layout,
            own,
            identity,
            alive: BTreeSet::new(),
            owned: BTreeSet::new(),
            checker: None,
            grace: None,
            deferred: BTreeSet::new(),
            moved: true,
            reading: true,
            unreadable: 0,
            left_out: 0,
            crowded: false,
            roomier: false,
            base: 0,
            pairs: Vec::new(),
        }
    }

    /// Forgets who is there: all is read again, until [`View::missing`] ends that.
    pub(super) fn begin(&mut self) {
        self.alive.clear();
        self.owned.clear();
        self.checker = None;
        (self.moved, self.reading, self.crowded, self.roomier) = (true, true, false, false);
    }

    /// Takes nobody for gone for that long.
    pub(super) fn be_patient(&mut self, time: Duration) {
        self.grace = Some(Instant::now() + time);
    }

    /// When the patience ends.
    pub(super) fn patient_until(&self) -> Option<Instant> {
        self.grace
    }

    /// Whether we do the checks of nodes that have no registry.
    pub(super) fn is_checker(&self) -> bool {
        self.checker.as_ref() == Some(&self.identity)
    }

    /// What a pair of etcd's is. None when it is nothing for us.
    pub(super) fn entry(&mut self, kv: &Kv, gone: bool) -> Option<Entry> {
        let key = kv.key()?;
        let place = self.layout.place(&key)?;
        let value = match gone {
            true => None,
            false => kv.value().filter(|value| value.len() <= VALUE_MAX),
        };
        if value.is_none() && !gone {
            self.cannot_read(&key);
        }
        Some(Entry { key, place, value, lease: kv.lease, created: kv.create_revision, revision: kv.mod_revision })
    }

    /// Takes over what has changed.
    pub(super) fn take(&mut self, registry: &Registry, leases: &mut Leases, mut entries: Vec<Entry>) {
        // In the order in which it was written; of what was written at once, first what others belong to.
        entries.sort_by(|a, b| (a.revision, &a.place).cmp(&(b.revision, &b.place)));
        let mut told = Vec::with_capacity(entries.len());
        for entry in entries {
            self.roomier |= entry.value.is_none();
            self.take_one(registry, leases, entry, &mut told);
        }
        self.share(registry);
        self.follow(registry, told);
        let full = registry.keys().follow(std::mem::take(&mut self.pairs));
        self.left_out += full as u64;
        self.crowded |= full > 0;
        self.judge(registry);
    }

    /// The number of a revision, among those of keys and values.
    pub(super) fn number(&self, revision: i64) -> u64 {
        self.base + u64::try_from(revision).unwrap_or(0)
    }

    fn take_pair(&mut self, key: String, value: Option<Vec<u8>>, name: &str, created: i64, revision: i64) {
        let read = value.as_ref().and_then(|value| rows::pair(value));
        if value.is_some() && read.is_none() {
            self.cannot_read(name);
        }
        let (created, modified) = (self.number(created), self.number(revision));
        self.pairs.push(match read {
            Some((value, flags)) => Told::Put(Pair { key, value, flags, created, modified }),
            // Whatever it was before, it is that no more.
            None => Told::Gone(key, modified),
        });
    }

    fn take_one(&mut self, registry: &Registry, leases: &mut Leases, entry: Entry, told: &mut Vec<Heard>) {
        let Entry { key, place, value, lease, created, revision } = entry;
        match (place, value) {
            (Place::Pair(pair), value) => self.take_pair(pair, value, &key, created, revision),
            (Place::Registry(node), value) => {
                self.moved = true;
                match value {
                    Some(_) => self.owned.insert(node),
                    None => self.owned.remove(&node),
                };
            }
            (Place::Alive(node), value) => {
                let ready = value.and_then(|value| rows::parsed::<Map<String, Value>>(&value));
                let ready = ready.is_some_and(|map| map.get("ready") == Some(&true.into()));
                self.moved = true;
                match ready {
                    true => self.alive.insert(node),
                    false => self.alive.remove(&node),
                };
            }
            (Place::Checker, value) => {
                self.moved = true;
                self.checker = value.and_then(|value| String::from_utf8(value).ok());
            }
            // How our own checks are, nobody knows better than we.
            (Place::How(node, _), _) if node == self.own => {}
            (Place::How(node, id), value) => self.take_how(registry, node, id, value, &key, told),
            (Place::Kept(Key::Record(path)), value) => self.take_record(leases, path, value, lease, &key, told),
            (Place::Kept(kept), None) => {
                let transient = registry.read(|catalog| is_transient(catalog, &kept));
                match transient && self.is_patient() && !self.is_ours(&kept) {
                    true => drop(self.deferred.insert(kept)),
                    false => told.push(Heard::Gone(kept)),
                }
            }
            // What our node was told of before a restart, by what did not outlive it.
            (Place::Kept(kept), Some(_)) if lease != 0 && self.is_ours(&kept) => {}
            (Place::Kept(kept), Some(value)) => {
                self.deferred.remove(&kept);
                self.moved |= matches!(kept, Key::Node(_));
                let alone = match &kept {
                    Key::Check(node, _) => *node != self.own && !self.owned.contains(node),
                    _ => false,
                };
                match rows::read(&kept, &value, lease != 0, alone) {
                    Some(read) => told.extend(read),
                    None => self.cannot_read(&key),
                }
            }
        }
    }

    fn take_how(
        &mut self,
        registry: &Registry,
        node: String,
        id: String,
        value: Option<Vec<u8>>,
        key: &str,
        told: &mut Vec<Heard>,
    ) {
        let Some(value) = value else {
            // With its registry goes what that said, and that is judged elsewhere. While the registry is there, only a
            // check goes that came back from the store.
            let kept = Key::Check(node, id);
            let Key::Check(node, id) = &kept else { return };
            let returned = |check: &Definition| check.probe == crate::Probe::Returned;
            let returned = registry.read(|catalog| catalog.definition(node, id).is_some_and(returned));
            if returned && self.alive.contains(node) {
                told.push(Heard::Gone(kept));
            }
            return;
        };
        let Some(how) = rows::parsed(&value).and_then(|map| rows::how(&map)) else { return self.cannot_read(key) };
        if let Some(instance) = &how.returned {
            let known = registry.read(|catalog| catalog.instance(&node, instance).map(Definition::returned));
            told.extend(known.map(|check| Heard::Check(Box::new(check))));
        }
        told.push(Heard::How(node, id, how.state, how.output, how.held));
    }

    fn take_record(
        &mut self,
        leases: &mut Leases,
        path: String,
        value: Option<Vec<u8>>,
        lease: i64,
        key: &str,
        told: &mut Vec<Heard>,
    ) {
        let value = value.and_then(|value| {
            let read = rows::parsed::<Value>(&value);
            if read.is_none() {
                self.cannot_read(key);
            }
            read
        });
        // An instance that some registry tells to SkyDNS is known as such.
        let foreign = value.filter(|value| value.get(MARK).is_none());
        let record = foreign.and_then(|value| {
            let record = rows::entry(value);
            if record.is_none() {
                self.cannot_read(key);
            }
            record
        });
        self.deferred.remove(&Key::Record(path.clone()));
        match record {
            Some(record) => {
                let expires = leases.keep(&path, lease);
                told.push(Heard::Record(path, crate::Record { expires, ..record }));
            }
            None => {
                leases.forget(&path);
                told.push(Heard::Gone(Key::Record(path)));
            }
        }
    }

    /// Lets the registry know who does which checks.
    fn share(&self, registry: &Registry) {
        if self.moved && !self.reading {
            let others = self.owned.iter().filter(|node| **node != self.own).cloned().collect();
            registry.share(Owners { own: self.own.clone(), others, rest: self.is_checker() });
        }
    }

    fn follow(&mut self, registry: &Registry, told: Vec<Heard>) {
        for refused in registry.follow(told) {
            let invalid = matches!(refused, Refused::Invalid(_));
            let count = if invalid { &mut self.unreadable } else { &mut self.left_out };
            *count += 1;
            if *count == 1 {
                tracing::warn!(%refused, "an entry of etcd is left out; further ones are only counted");
            }
            self.crowded |= !invalid;
        }
    }

    fn cannot_read(&mut self, key: &str) {
        self.unreadable += 1;
        if self.unreadable == 1 {
            tracing::warn!(key, "an entry of etcd cannot be read and is left out; further ones are only counted");
        }
    }

    fn is_patient(&self) -> bool {
        self.grace.is_some_and(|end| Instant::now() < end)
    }

    /// Says of every node that has a registry whether that is there.
    pub(super) fn judge(&mut self, registry: &Registry) {
        if self.reading {
            return;
        }
        let patient = self.is_patient();
        if !patient && self.grace.take().is_some() {
            self.moved = true;
            let gone = std::mem::take(&mut self.deferred).into_iter().map(Heard::Gone).collect();
            self.follow(registry, gone);
        }
        if !std::mem::take(&mut self.moved) {
            return;
        }
        let nodes = registry.snapshot();
        let nodes = nodes.nodes.keys().map(|node| node.to_string());
        let away = |node: &String| *node != self.own && self.owned.contains(node) && !self.alive.contains(node);
        let told = nodes.map(|node| (away(&node), node)).filter(|(away, _)| !(*away && patient));
        registry.follow(told.map(|(away, node)| Heard::Away(node, away)).collect());
    }

    /// That was not among all that was read: it is gone, or will be.
    pub(super) fn missing(&mut self, registry: &Registry, keys: BTreeSet<Key>, leases: &mut Leases) {
        let mut told = Vec::new();
        for key in keys {
            if let Key::Record(path) = &key {
                leases.forget(path);
            }
            let (transient, ours) = registry.read(|catalog| (is_transient(catalog, &key), self.is_ours(&key)));
            match transient {
                // What we tell ourselves is told anew.
                true if ours => {}
                true if self.is_patient() => drop(self.deferred.insert(key)),
                _ => told.push(Heard::Gone(key)),
            }
        }
        (self.reading, self.moved) = (false, true);
        self.share(registry);
        self.follow(registry, told);
        self.judge(registry);
    }

    fn is_ours(&self, key: &Key) -> bool {
        matches!(key, Key::Instance(node, _) | Key::Check(node, _) if *node == self.own)
    }
}
