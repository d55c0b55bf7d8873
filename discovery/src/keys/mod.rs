//! Keys and values: what programs leave for each other.
//!
//! A [`Keys`] belongs to a registry. By itself it is in memory; a file store writes what changes, as it writes the rest of
//! the registry. Shared through etcd, nothing is changed here first: an [`Order`] goes to etcd as one transaction, and
//! comes back by the watch like everybody's.

mod table;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use table::Table;
pub(crate) use table::{Heard, Pair, Room, Row};
use tokio::sync::{mpsc, oneshot, watch};

/// The longest value.
pub(crate) const VALUE_MAX: usize = 512 * 1024;
/// The longest key.
pub(crate) const KEY_MAX: usize = 1024;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Sets a value; with a number only if nobody has changed it since, 0 is that it is not there.
    Put { key: String, value: Bytes, flags: u64, cas: Option<u64> },
    /// Removes a key, on the same condition.
    Delete { key: String, cas: Option<u64> },
    /// Removes all keys that begin so.
    DeleteUnder { prefix: String },
}

/// Why an order was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undone {
    /// There is no room for more.
    Full,
    /// Whoever keeps them does not do it.
    Refused(String),
    /// Nobody can say whether it was done.
    Unknown(String),
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undone::Full => f.write_str("there is no room for more keys and values"),
            Undone::Refused(why) => write!(f, "etcd does not take it: {why}"),
            Undone::Unknown(why) => {
                write!(f, "it is not known whether that was done, read the key to see: {why}")
            }
        }
    }
}

/// An order on its way, and who waits for what became of it: whether its condition was so.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) order: Order,
    pub(crate) done: oneshot::Sender<Result<bool, Undone>>,
}

/// All keys and values.
#[derive(Debug)]
pub(crate) struct Keys {
    table: Mutex<Table>,
    changes: watch::Sender<u64>,
    /// Where orders go, when somebody else keeps them.
    orders: OnceLock<mpsc::Sender<Job>>,
}

impl Keys {
    /// None yet, counting from there.
    pub(crate) fn counting_from(room: Room, last: u64) -> Self {
        Keys { table: Mutex::new(Table::new(room, last)), changes: watch::Sender::new(last), orders: OnceLock::new() }
    }

    /// From now on orders go there, and what they change is heard.
    pub(crate) fn send_to(&self, orders: mpsc::Sender<Job>) {
        // Only a store that begins does so, once.
        let _ = self.orders.set(orders);
    }

    /// Tells of every change.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The number of the last change of any.
    pub(crate) fn last(&self) -> u64 {
        self.table().last()
    }

    /// The number of the last change of a key. One that is not there changed when any went.
    pub(crate) fn changed(&self, key: &str) -> u64 {
        self.table().changed(key)
    }

    /// The same of all keys that begin so.
    pub(crate) fn changed_under(&self, prefix: &str) -> u64 {
        self.table().changed_under(prefix)
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<Pair>> {
        self.table().get(key)
    }

    /// All pairs whose keys begin so, sorted.
    pub(crate) fn under(&self, prefix: &str) -> Vec<Arc<Pair>> {
        self.table().under(prefix).cloned().collect()
    }

    /// Does what is ordered. Returns whether its condition was so.
    pub(crate) async fn order(&self, order: Order) -> Result<bool, Undone> {
        let Some(orders) = self.orders.get() else { return self.change(|table| table.order(&order)) };
        if let Order::Put { key, value, .. } = &order
            && !self.table().has_room(key, value.len())
        {
            return Err(Undone::Full);
        }
        let ended = || Undone::Refused("it is not shared any more".into());
        let (done, result) = oneshot::channel();
        orders.send(Job { order, done }).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?
    }

    /// Takes over what somebody else keeps. Returns how many had no room.
    pub(crate) fn follow(&self, told: Vec<Heard>) -> usize {
        self.change(|table| told.into_iter().map(|one| table.follow(one)).filter(|fits| !fits).count())
    }

    /// Forgets all that is not named, since there is no such thing any more.
    pub(crate) fn keep_only(&self, named: impl Fn(&str) -> bool, number: u64) {
        self.change(|table| table.keep_only(named, number));
    }

    /// Puts back what was read from a file. Returns how many had no room.
    pub(crate) fn load(&self, pairs: Vec<Pair>) -> usize {
        self.change(|table| pairs.into_iter().map(|pair| table.load(pair)).filter(|fits| !fits).count())
    }

    /// From now on remembers what changes, for [`Self::take_unsaved`].
    pub(crate) fn keep_unsaved(&self) {
        self.table().keep_unsaved();
    }

    /// What changed since the last call, as it is now, and the number of the last change.
    pub(crate) fn take_unsaved(&self) -> (u64, Vec<Row>) {
        self.table().take_unsaved()
    }

    /// These could not be written.
    pub(crate) fn put_back(&self, keys: impl Iterator<Item = String>) {
        self.table().put_back(keys);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table();
        let result = change(&mut table);
        // What is read all at once does not come in the order of its numbers.
        if table.take_untold() {
            // Told inside the lock, so that numbers are told in order.
            self.changes.send_replace(table.last());
        }
        result
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
