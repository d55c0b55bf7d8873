//! The table of keys and values.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::watch;

/// A key and its value.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(super) key: String,
    pub(super) value: Bytes,
    /// A number that means something to whoever set it.
    pub(super) flags: u64,
    pub(super) created: u64,
    pub(super) modified: u64,
}

/// How much there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) keys: usize,
    /// Over all keys and values.
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Table {
    pairs: BTreeMap<String, Arc<Pair>>,
    bytes: usize,
    /// The number of the last change.
    last: u64,
    /// That of the last time that any key went.
    removed: u64,
}

/// All keys and values. They are in memory: a restart forgets them.
#[derive(Debug)]
pub(crate) struct Keys {
    table: Mutex<Table>,
    changes: watch::Sender<u64>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        // From the time in microseconds on, so that no reader sees a number again that it has seen before a restart.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let last = u64::try_from(now.as_micros()).unwrap_or(0);
        let table = Table { last, removed: last, ..Table::default() };
        Keys { table: Mutex::new(table), changes: watch::Sender::new(last) }
    }

    /// Tells of every change.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The number of the last change of any.
    pub(crate) fn last(&self) -> u64 {
        self.table().last
    }

    /// The number of the last change of a key. One that is not there changed when any went.
    pub(crate) fn changed(&self, key: &str) -> u64 {
        let table = self.table();
        table.pairs.get(key).map_or(table.removed, |pair| pair.modified)
    }

    /// The same of all keys that begin so.
    pub(crate) fn changed_under(&self, prefix: &str) -> u64 {
        let table = self.table();
        under(&table, prefix).map(|pair| pair.modified).max().unwrap_or(0).max(table.removed)
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Pair>> {
        self.table().pairs.get(key).cloned()
    }

    /// All pairs whose keys begin so, sorted.
    pub(super) fn under(&self, prefix: &str) -> Vec<Arc<Pair>> {
        under(&self.table(), prefix).cloned().collect()
    }

    /// Sets a value, if nobody has changed it since the number that is given; 0 is that it is not there. Returns whether
    /// that was so; None when there is no room.
    pub(super) fn put(&self, key: &str, value: Bytes, flags: u64, cas: Option<u64>, room: Room) -> Option<bool> {
        let mut table = self.table();
        let before = table.pairs.get(key).cloned();
        if cas.is_some_and(|cas| before.as_ref().map_or(0, |pair| pair.modified) != cas) {
            return Some(false);
        }
        let size = |pair: &Pair| pair.key.len() + pair.value.len();
        let number = table.last + 1;
        let created = before.as_ref().map_or(number, |pair| pair.created);
        // As it came it may be a part of something larger.
        let value = Bytes::copy_from_slice(&value);
        let pair = Pair { key: key.to_owned(), value, flags, created, modified: number };
        let bytes = table.bytes - before.as_ref().map_or(0, |pair| size(pair)) + size(&pair);
        if bytes > room.bytes || (before.is_none() && table.pairs.len() >= room.keys) {
            return None;
        }
        table.bytes = bytes;
        table.pairs.insert(key.to_owned(), Arc::new(pair));
        self.changed_to(&mut table, number);
        Some(true)
    }

    /// Removes a key, if nobody has changed it since the number that is given. Returns whether that was so.
    pub(super) fn remove(&self, key: &str, cas: Option<u64>) -> bool {
        let mut table = self.table();
        let known = table.pairs.get(key).map(|pair| pair.modified);
        if cas.is_some_and(|cas| known != Some(cas)) {
            return false;
        }
        if known.is_some() {
            self.take(&mut table, &[key.to_owned()]);
        }
        true
    }

    /// Removes all keys that begin so.
    pub(super) fn remove_under(&self, prefix: &str) {
        let mut table = self.table();
        let keys: Vec<String> = under(&table, prefix).map(|pair| pair.key.clone()).collect();
        if !keys.is_empty() {
            self.take(&mut table, &keys);
        }
    }

    fn take(&self, table: &mut Table, keys: &[String]) {
        for key in keys {
            let gone = table.pairs.remove(key);
            table.bytes -= gone.map_or(0, |pair| pair.key.len() + pair.value.len());
        }
        table.removed = table.last + 1;
        let number = table.removed;
        self.changed_to(table, number);
    }

    fn changed_to(&self, table: &mut Table, number: u64) {
        table.last = number;
        self.changes.send_replace(number);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn under<'a>(table: &'a Table, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Pair>> {
    let from = table.pairs.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
    from.take_while(move |(key, _)| key.starts_with(prefix)).map(|(_, pair)| pair)
}
