//! What the registry held at one moment.

use crate::instance::{Instance, key};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One service at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Sorted by id, so that two readers see the same order.
    pub(crate) instances: Arc<[Instance]>,
    /// The change that touched it last.
    pub(crate) changed: u64,
}

/// What the registry held at one moment. Never changes; ask the registry for a newer one.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(crate) services: BTreeMap<Arc<str>, Entry>,
    pub(crate) changes: u64,
}

impl Snapshot {
    /// Every instance of a service, whatever its state, sorted by id. The name compares without case.
    pub fn service(&self, name: &str) -> Option<&[Instance]> {
        self.entry(name).map(|entry| &*entry.instances)
    }

    /// The instances of a service that may get commands.
    pub fn usable<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Instance> + use<'a> {
        self.service(name).unwrap_or_default().iter().filter(|instance| instance.state.usable())
    }

    /// The names of all services, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(|name| &**name)
    }

    /// Counts the changes until this snapshot; a later snapshot never has a smaller one.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The value of [`Self::changes`] when this service last changed. None when it is not there.
    pub fn changed(&self, name: &str) -> Option<u64> {
        self.entry(name).map(|entry| entry.changed)
    }

    /// How many instances there are over all services.
    pub fn len(&self) -> usize {
        self.services.values().map(|entry| entry.instances.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        match self.services.get(name) {
            Some(entry) => Some(entry),
            None => self.services.get(key(name)?.as_str()),
        }
    }
}
