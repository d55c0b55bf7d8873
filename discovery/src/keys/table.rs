//! The table of keys and values.

use super::{Order, Undone};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) value: Bytes,
    /// A number that means something to whoever set it.
    pub(crate) flags: u64,
    pub(crate) created: u64,
    pub(crate) modified: u64,
}

impl Pair {
    fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// How much there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) keys: usize,
    /// Over all keys and values.
    pub(crate) bytes: usize,
}

/// What whoever keeps them says.
#[derive(Debug)]
pub(crate) enum Heard {
    Put(Pair),
    /// A key is gone since that number.
    Gone(String, u64),
}

/// A key as it is to be written; none when it is gone.
pub(crate) type Row = (String, Option<Arc<Pair>>);

#[derive(Debug)]
pub(super) struct Table {
    pairs: BTreeMap<String, Arc<Pair>>,
    room: Room,
    bytes: usize,
    /// The number of the last change.
    last: u64,
    /// That of the last time that any key went.
    removed: u64,
    /// What changed and is not written yet, when somebody writes it.
    unsaved: Option<BTreeSet<String>>,
    /// Whether anything changed that nobody was told of.
    untold: bool,
}

impl Table {
    pub(super) fn new(room: Room, last: u64) -> Self {
        Table { pairs: BTreeMap::new(), room, bytes: 0, last, removed: last, unsaved: None, untold: false }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether anything changed since the last call.
    pub(super) fn take_untold(&mut self) -> bool {
        std::mem::take(&mut self.untold)
    }

    pub(super) fn changed(&self, key: &str) -> u64 {
        self.pairs.get(key).map_or(self.removed, |pair| pair.modified)
    }

    pub(super) fn changed_under(&self, prefix: &str) -> u64 {
        self.under(prefix).map(|pair| pair.modified).max().unwrap_or(0).max(self.removed)
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Pair>> {
        self.pairs.get(key).cloned()
    }

    pub(super) fn under(&self, prefix: &str) -> impl Iterator<Item = &Arc<Pair>> {
        let from = self.pairs.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(move |(key, _)| key.starts_with(prefix)).map(|(_, pair)| pair)
    }

    pub(super) fn has_room(&self, key: &str, length: usize) -> bool {
        let before = self.pairs.get(key);
        let bytes = self.bytes - before.map_or(0, |pair| pair.size()) + key.len() + length;
        bytes <= self.room.bytes && (before.is_some() || self.pairs.len() < self.room.keys)
    }

    /// Does it at once. Returns whether its condition was so.
    pub(super) fn order(&mut self, order: &Order) -> Result<bool, Undone> {
        let known = |key: &String| self.pairs.get(key).map(|pair| pair.modified);
        match order {
            Order::Put { key, value, flags, cas } => {
                if cas.is_some_and(|cas| known(key).unwrap_or(0) != cas) {
                    return Ok(false);
                }
                if !self.has_room(key, value.len()) {
                    return Err(Undone::Full);
                }
                let modified = self.last + 1;
                let created = self.pairs.get(key).map_or(modified, |pair| pair.created);
                self.set(Pair { key: key.clone(), value: value.clone(), flags: *flags, created, modified });
            }
            Order::Delete { key, cas } => {
                if cas.is_some_and(|cas| known(key) != Some(cas)) {
                    return Ok(false);
                }
                self.remove(std::slice::from_ref(key), self.last + 1);
            }
            Order::DeleteUnder { prefix } => {
                let keys: Vec<String> = self.under(prefix).map(|pair| pair.key.clone()).collect();
                self.remove(&keys, self.last + 1);
            }
        }
        Ok(true)
    }

    /// Takes over what somebody else keeps. Returns whether there was room.
    pub(super) fn follow(&mut self, told: Heard) -> bool {
        match told {
            Heard::Put(pair) => {
                let fits = self.has_room(&pair.key, pair.value.len());
                match fits {
                    true => self.set(pair),
                    // What was there before is not so any more.
                    false => self.remove(&[pair.key], pair.modified),
                }
                fits
            }
            Heard::Gone(key, number) => {
                self.remove(&[key], number);
                true
            }
        }
    }

    pub(super) fn keep_only(&mut self, named: impl Fn(&str) -> bool, number: u64) {
        let gone: Vec<String> = self.pairs.keys().filter(|key| !named(key)).cloned().collect();
        self.remove(&gone, number);
        if self.removed == 0 {
            // What went before we looked went before that number, and nobody has seen a later one.
            (self.removed, self.last, self.untold) = (number, self.last.max(number), true);
        }
    }

    /// Puts back what was read; it is written already.
    pub(super) fn load(&mut self, pair: Pair) -> bool {
        let fits = self.has_room(&pair.key, pair.value.len());
        if fits {
            self.set(pair);
        }
        fits
    }

    pub(super) fn keep_unsaved(&mut self) {
        self.unsaved.get_or_insert_default();
    }

    pub(super) fn take_unsaved(&mut self) -> (u64, Vec<Row>) {
        let keys = self.unsaved.as_mut().map(std::mem::take).unwrap_or_default();
        (self.last, keys.into_iter().map(|key| (key.clone(), self.get(&key))).collect())
    }

    pub(super) fn put_back(&mut self, keys: impl Iterator<Item = String>) {
        self.unsaved.get_or_insert_default().extend(keys);
    }

    fn set(&mut self, pair: Pair) {
        let number = pair.modified;
        // As it came it may be a part of something larger.
        let pair = Pair { value: Bytes::copy_from_slice(&pair.value), ..pair };
        self.bytes += pair.size();
        self.bytes -= self.pairs.get(&pair.key).map_or(0, |before| before.size());
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.insert(pair.key.clone());
        }
        self.pairs.insert(pair.key.clone(), Arc::new(pair));
        self.untold = true;
        self.last = self.last.max(number);
    }

    fn remove(&mut self, keys: &[String], number: u64) {
        for key in keys {
            let Some(gone) = self.pairs.remove(key) else { continue };
            self.bytes -= gone.size();
            if let Some(unsaved) = &mut self.unsaved {
                unsaved.insert(key.clone());
            }
            self.untold = true;
            self.removed = self.removed.max(number);
            self.last = self.last.max(number);
        }
    }
}
