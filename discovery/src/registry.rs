//! The set of services as it changes.

use crate::instance::{Instance, Invalid, State, key};
use crate::snapshot::{Entry, Snapshot};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

#[cfg(test)]
mod tests;

/// How much a registry may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Services.
    pub services: usize,
    /// Instances of one service.
    pub instances: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { services: 4096, instances: 1024 }
    }
}

/// Why a change was refused; the registry is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A name, id, address or tag is not allowed.
    Invalid(Invalid),
    /// There are as many services as may be.
    Services(usize),
    /// The service has as many instances as it may.
    Instances(usize),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Invalid(what) => what.fmt(f),
            Refused::Services(max) => write!(f, "the registry is full: {max} services"),
            Refused::Instances(max) => write!(f, "the service is full: {max} instances"),
        }
    }
}

impl std::error::Error for Refused {}

/// The set of services as it changes. Readers never wait for more than the exchange of one pointer.
#[derive(Debug, Default)]
pub struct Registry {
    limits: Limits,
    now: RwLock<Arc<Snapshot>>,
}

impl Registry {
    /// An empty registry with limits of its own.
    pub fn new(limits: Limits) -> Self {
        Registry { limits, now: RwLock::default() }
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        // A poisoned lock still guards a whole snapshot: the pointer is exchanged in one step.
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds an instance, or replaces the one of the same id. Returns whether anything changed.
    pub fn register(&self, service: &str, instance: Instance) -> Result<bool, Refused> {
        let name = key(service).ok_or(Refused::Invalid(Invalid::Name))?;
        instance.check().map_err(Refused::Invalid)?;
        self.change(&name, |known, services| {
            let Some(known) = known else {
                let room = services < self.limits.services && self.limits.instances > 0;
                return if room { Ok(Some(vec![instance])) } else { Err(Refused::Services(self.limits.services)) };
            };
            let mut list = known.to_vec();
            match list.binary_search_by(|i| i.id.cmp(&instance.id)) {
                Ok(at) if list[at] == instance => return Ok(None),
                Ok(at) => list[at] = instance,
                Err(_) if list.len() >= self.limits.instances => return Err(Refused::Instances(self.limits.instances)),
                Err(at) => list.insert(at, instance),
            }
            Ok(Some(list))
        })
    }

    /// Removes an instance; the last one takes its service along. Returns whether it was there.
    pub fn deregister(&self, service: &str, id: &str) -> bool {
        self.edit(service, id, |list, at| {
            list.remove(at);
            true
        })
    }

    /// Sets how an instance is. Returns whether that changed anything: no for an unknown one.
    pub fn set_state(&self, service: &str, id: &str, state: State) -> bool {
        self.edit(service, id, |list, at| {
            let before = std::mem::replace(&mut list[at].state, state);
            before != state
        })
    }

    /// Changes one known instance.
    fn edit(&self, service: &str, id: &str, edit: impl FnOnce(&mut Vec<Instance>, usize) -> bool) -> bool {
        let Some(name) = key(service) else { return false };
        let done = self.change(&name, |known, _| {
            let Some(known) = known else { return Ok(None) };
            let Ok(at) = known.binary_search_by(|i| (*i.id).cmp(id)) else { return Ok(None) };
            let mut list = known.to_vec();
            Ok(edit(&mut list, at).then_some(list))
        });
        done.unwrap_or(false)
    }

    /// Puts a new list of one service in place of the old one, unless there is none to put.
    fn change(
        &self,
        name: &str,
        list: impl FnOnce(Option<&[Instance]>, usize) -> Result<Option<Vec<Instance>>, Refused>,
    ) -> Result<bool, Refused> {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let Some(list) = list(now.services.get(name).map(|e| &*e.instances), now.services.len())? else {
            return Ok(false);
        };
        // Lists are shared between snapshots; only the map of pointers is copied.
        let mut next = Snapshot::clone(&now);
        next.changes += 1;
        if list.is_empty() {
            next.services.remove(name);
        } else {
            next.services.insert(name.into(), Entry { instances: list.into(), changed: next.changes });
        }
        *now = Arc::new(next);
        Ok(true)
    }
}
