//! The set of services as it changes.

mod catalog;
mod mirror;
mod publish;
mod shared;
#[cfg(test)]
mod tests;

use crate::keys::{Keys, Room};
use crate::model::{Check, Definition, Instance, Invalid, Node, Record, State, cut, lower, path};
use crate::snapshot::Snapshot;
pub(crate) use catalog::{Catalog, Key};
pub(crate) use mirror::{Mirrored, Told};
use publish::Publisher;
pub(crate) use shared::{Heard, Owners};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Bytes of what a check said that are logged.
const SAID_MAX: usize = 200;

/// How much a registry may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nodes.
    pub nodes: usize,
    /// Services.
    pub services: usize,
    /// Instances over all services.
    pub instances: usize,
    /// Checks over all nodes.
    pub checks: usize,
    /// SkyDNS records.
    pub records: usize,
    /// Keys of the key-value store.
    pub keys: usize,
    /// Bytes of all its keys and values.
    pub key_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            nodes: 4096,
            services: 4096,
            instances: 16_384,
            checks: 32_768,
            records: 16_384,
            keys: 4096,
            key_bytes: 16 * 1024 * 1024,
        }
    }
}

/// Why a change was refused; the registry is as it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A name, id, address or tag is not allowed.
    Invalid(Invalid),
    /// There is no such node.
    Node(String),
    /// There is no such instance on the node.
    Instance(String),
    /// There are as many of these as may be.
    Full(&'static str, usize),
}

impl From<Invalid> for Refused {
    fn from(what: Invalid) -> Self {
        Refused::Invalid(what)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Invalid(what) => what.fmt(f),
            Refused::Node(name) => write!(f, "there is no node {name:?}"),
            Refused::Instance(id) => write!(f, "there is no instance {id:?} on the node"),
            Refused::Full(what, max) => write!(f, "the registry is full: {max} {what}"),
        }
    }
}

impl std::error::Error for Refused {}

struct Inner {
    catalog: Catalog,
    publisher: Publisher,
}

struct Shared {
    inner: Mutex<Inner>,
    keys: Keys,
    changes: watch::Sender<u64>,
    definitions: watch::Sender<u64>,
}

/// The set of services as it changes: a handle, cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

impl Default for Registry {
    fn default() -> Self {
        Registry::new(Limits::default())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("changes", &*self.0.changes.borrow()).finish_non_exhaustive()
    }
}

impl Registry {
    /// An empty registry with limits of its own.
    pub fn new(limits: Limits) -> Self {
        Registry::counting_from(limits, 0)
    }

    /// An empty registry whose counter of changes starts there.
    pub(crate) fn counting_from(limits: Limits, changes: u64) -> Self {
        // Keys count by themselves, from the time on, so that no reader sees a number again after a restart.
        Registry::counting_both(limits, changes, crate::store::now())
    }

    /// The same with where its keys and values count from.
    pub(crate) fn counting_both(limits: Limits, changes: u64, keys: u64) -> Self {
        let inner = Inner { catalog: Catalog::new(limits), publisher: Publisher::new(changes) };
        let room = Room { keys: limits.keys, bytes: limits.key_bytes };
        Registry(Arc::new(Shared {
            inner: Mutex::new(inner),
            keys: Keys::counting_from(room, keys),
            changes: watch::Sender::new(changes),
            definitions: watch::Sender::new(0),
        }))
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let Inner { catalog, publisher } = &mut *self.lock();
        publisher.publish(catalog)
    }

    /// Its keys and values.
    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Tells of every change by its number: the value of [`Snapshot::changes`] that shows it.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Tells when checks come, go or are defined otherwise, but not when their state changes.
    pub(crate) fn watch_definitions(&self) -> watch::Receiver<u64> {
        self.0.definitions.subscribe()
    }

    /// Adds a node or replaces it; what lives on it stays. Returns whether anything changed.
    pub fn put_node(&self, node: Node) -> Result<bool, Refused> {
        node.check()?;
        self.change(|catalog| catalog.put_node(node))
    }

    /// Adds an instance, or replaces the one of the same id on the same node. Its checks are added to those it has,
    /// or take their place. A check that is registered as it was keeps its state. Returns whether anything changed.
    pub fn register(&self, mut instance: Instance, checks: Vec<Check>, replace_checks: bool) -> Result<bool, Refused> {
        instance.check()?;
        let mut settled = Vec::with_capacity(checks.len());
        for check in checks {
            let check = settle(check)?;
            if check.definition.instance.as_ref() != Some(&instance.id) {
                return Err(Refused::Instance(check.definition.instance.clone().unwrap_or_default()));
            }
            settled.push(check);
        }
        self.change(|catalog| {
            // Registering again is how an instance says that it is here to stay.
            instance.draining &= catalog.instance(&lower(&instance.node), &instance.id).is_none();
            catalog.register(instance, settled, replace_checks)
        })
    }

    /// Adds a check, or replaces the one of the same id on the same node. One that is defined as it was keeps its
    /// state. Returns whether anything changed.
    pub fn put_check(&self, check: Check) -> Result<bool, Refused> {
        let check = settle(check)?;
        self.change(|catalog| catalog.put_check(check))
    }

    /// Removes an instance and its checks; the last one takes its service along. Returns whether it was there.
    pub fn deregister(&self, node: &str, id: &str) -> bool {
        let there = self.change(|catalog| Ok(catalog.deregister(node, id))).unwrap_or(false);
        if there {
            tracing::info!(node, instance = id, "an instance is deregistered");
        }
        there
    }

    /// Removes a check. Returns whether it was there.
    pub fn deregister_check(&self, node: &str, id: &str) -> bool {
        self.change(|catalog| Ok(catalog.deregister_check(node, id))).unwrap_or(false)
    }

    /// Removes a node with all that lives on it. Returns whether it was there.
    pub fn deregister_node(&self, node: &str) -> bool {
        self.change(|catalog| Ok(catalog.deregister_node(node))).unwrap_or(false)
    }

    /// Says how a check came out. Returns whether that changed anything: no for an unknown one. A TTL check begins
    /// its time anew.
    pub fn report(&self, node: &str, check: &str, state: State, output: &str) -> bool {
        self.lock().catalog.beat(node, check, Instant::now());
        self.report_held(node, check, state, output, false)
    }

    /// When somebody reported a check last, other than the checks themselves.
    pub(crate) fn reported(&self, node: &str, check: &str) -> Option<Instant> {
        self.lock().catalog.reported(node, check)
    }

    pub(crate) fn report_held(&self, node: &str, check: &str, state: State, output: &str, held: bool) -> bool {
        let mut before = None;
        let changed = self.change(|catalog| {
            before = catalog.standing(node, check);
            Ok(catalog.report(node, check, state, output, held))
        });
        let changed = changed.unwrap_or(false);
        if let Some((was, seen)) = before.filter(|(was, _)| changed && *was != state) {
            let (was, now) = (was.as_str(), state.as_str());
            let says = cut(output.lines().next().unwrap_or_default(), SAID_MAX);
            match (seen, state) {
                // The first look at each would fill the log at every start.
                (false, State::Passing) => tracing::debug!(node, check, "a check passes: {says}"),
                (_, State::Passing) => tracing::info!(node, check, was, "a check passes: {says}"),
                _ => tracing::warn!(node, check, was, now, "a check does not pass: {says}"),
            }
        }
        changed
    }

    /// Sends nobody to an instance any more, or again: before it ends what it has. Returns whether that changed
    /// anything: no for an unknown one.
    pub fn drain(&self, node: &str, id: &str, draining: bool) -> bool {
        self.change(|catalog| Ok(catalog.drain(node, id, draining))).unwrap_or(false)
    }

    /// Adds a SkyDNS record under a whole name (`1.orders.skydns.local`), or replaces it. Returns whether anything
    /// changed.
    pub fn put_record(&self, name: &str, record: Record) -> Result<bool, Refused> {
        let path = path(name).ok_or(Invalid::Record)?;
        record.check()?;
        self.change(|catalog| catalog.put_record(path, record))
    }

    /// Removes a SkyDNS record. Returns whether it was there.
    pub fn remove_record(&self, name: &str) -> bool {
        path(name).is_some_and(|path| self.change(|catalog| Ok(catalog.remove_record(&path))).unwrap_or(false))
    }

    /// From now on keeps the keys of what changes, for [`Self::take_unsaved`].
    pub(crate) fn keep_unsaved(&self) {
        self.lock().catalog.keep_unsaved();
    }

    /// The keys of what changed since the last call, and reads them.
    pub(crate) fn take_unsaved<T>(&self, read: impl Fn(&Catalog, &Key) -> T) -> (u64, Vec<(Key, T)>) {
        let inner = &mut *self.lock();
        let keys = inner.catalog.take_unsaved();
        let read = keys.into_iter().map(|key| {
            let value = read(&inner.catalog, &key);
            (key, value)
        });
        (*self.0.changes.borrow(), read.collect())
    }

    /// Puts those keys back: they could not be written.
    pub(crate) fn put_back(&self, keys: impl Iterator<Item = Key>) {
        self.lock().catalog.put_back(keys);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A change touches the tables last, after everything that could fail, so they are whole even then.
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Catalog) -> Result<bool, Refused>) -> Result<bool, Refused> {
        let inner = &mut *self.lock();
        if !change(&mut inner.catalog)? {
            return Ok(false);
        }
        let touched = inner.catalog.take_touched();
        let defined = touched.definitions;
        let number = inner.publisher.touch(touched);
        // Told inside the lock, so that numbers are told in order.
        self.0.changes.send_replace(number);
        if defined {
            self.0.definitions.send_modify(|count| *count += 1);
        }
        Ok(true)
    }
}

fn settle(check: Check) -> Result<Check, Refused> {
    check.definition.check()?;
    let definition = Definition::clone(&check.definition).settled();
    let output = cut(&check.output, definition.output_max).into();
    Ok(Check { output, definition: Arc::new(definition), ..check })
}
