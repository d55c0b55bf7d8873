//! Reads that wait until what they tell has changed.
//!
//! Whoever waits for the same thing shares one channel, and one task looks after every change whose number has moved.
//! So a change costs one look for each thing that is waited for, however many wait, and wakes nobody else.

use crate::keys::Keys;
use crate::registry::Registry;
use crate::snapshot::Snapshot;
use foldhash::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Changes within that time are looked at together.
const TOGETHER: Duration = Duration::from_millis(5);

/// What an answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// One service: its members, their checks and nodes. In lower case.
    Service(String),
    /// One node, with what lives on it. In lower case.
    Node(String),
    /// One key of the key-value store.
    Key(String),
    /// All keys that begin so.
    Keys(String),
    /// Who is registered, not how they are.
    Registered,
    /// Everything.
    All,
}

impl Scope {
    pub(super) fn service(name: &str) -> Self {
        Scope::Service(name.to_ascii_lowercase())
    }

    pub(super) fn node(name: &str) -> Self {
        Scope::Node(name.to_ascii_lowercase())
    }

    /// The number of the last change of it; never 0, which means "at once" to clients.
    pub(super) fn index(&self, snapshot: &Snapshot, keys: &Keys) -> u64 {
        let index = match self {
            Scope::Service(name) => snapshot.changed(name),
            Scope::Node(name) => snapshot.node_changed(name),
            Scope::Key(key) => keys.changed(key),
            Scope::Keys(prefix) => keys.changed_under(prefix),
            Scope::Registered => snapshot.registered(),
            Scope::All => snapshot.known(),
        };
        index.max(1)
    }

    /// The greatest number that there can be by now. A greater one is from a registry that is no more.
    pub(super) fn newest(&self, snapshot: &Snapshot, keys: &Keys) -> u64 {
        match self {
            Scope::Key(_) | Scope::Keys(_) => keys.last(),
            _ => snapshot.changes().max(1),
        }
    }
}

/// Everybody who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    registry: Registry,
    scopes: Mutex<HashMap<Scope, watch::Sender<u64>>>,
}

impl Waiting {
    pub(super) fn new(registry: Registry) -> Self {
        Waiting { registry, scopes: Mutex::default() }
    }

    /// Wakes those whose number has moved, until it is dropped.
    pub(super) async fn follow(&self) {
        let (mut changes, mut keys) = (self.registry.watch(), self.registry.keys().watch());
        loop {
            let changed = tokio::select! {
                changed = changes.changed() => changed,
                changed = keys.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            let snapshot = self.registry.snapshot();
            self.scopes().retain(|scope, sender| {
                let index = scope.index(&snapshot, self.registry.keys());
                sender.send_if_modified(|last| {
                    let later = index > *last;
                    *last = index.max(*last);
                    later
                });
                sender.receiver_count() > 0
            });
            tokio::time::sleep(TOGETHER).await;
        }
    }

    /// Waits until the number of a scope is greater than that, or until the time is over.
    pub(super) async fn until(&self, scope: &Scope, index: u64, most: Duration) {
        let end = Instant::now() + most;
        let mut numbers = self.subscribe(scope);
        let moved = async { while *numbers.borrow_and_update() <= index && numbers.changed().await.is_ok() {} };
        let _ = tokio::time::timeout_at(end, moved).await;
    }

    fn subscribe(&self, scope: &Scope) -> watch::Receiver<u64> {
        let mut scopes = self.scopes();
        if let Some(sender) = scopes.get(scope) {
            return sender.subscribe();
        }
        // Inside the lock: a later change is looked at after this entry is there.
        let index = scope.index(&self.registry.snapshot(), self.registry.keys());
        let (sender, receiver) = watch::channel(index);
        scopes.insert(scope.clone(), sender);
        receiver
    }

    fn scopes(&self) -> MutexGuard<'_, HashMap<Scope, watch::Sender<u64>>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
