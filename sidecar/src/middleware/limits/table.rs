//! The one table of counters of the process: it survives reloads, and all threads count in it.
//!
//! A thread remembers the counters that it used last, and then counts without any lock. Only a counter that it does not
//! remember is looked up under the lock of its shard.

use super::entry::Entry;
use super::place::Place;
use super::window::{Moment, PERIODS, Window};
use foldhash::quality::RandomState;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Identifiers whose counters are kept, of all middlewares together.
pub(crate) const IDENTIFIERS_MAX: usize = 100_000;
/// A power of two.
const SHARDS: usize = 64;
/// Counters that a thread remembers: a power of two. A thousand callers in turn find their own nine times of ten.
const REMEMBERED: usize = 8_192;
/// Counters that are looked at for every new one, to find some whose windows are over. Tests live in times of their own,
/// so the counters of one may be over for another.
const TIDIED: usize = if cfg!(test) { 0 } else { 2 };
/// The same when there is no room: of these, one has to go.
const SAMPLED: usize = 16;

/// Counters that were forgotten before their windows were over, since the process began.
static FORGOTTEN: AtomicU64 = AtomicU64::new(0);

struct Table {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Default)]
struct Shard {
    /// Places in `entries` by hash. Should two have the same one of 64 bits, the later takes the next number.
    index: HashMap<u64, usize, RandomState>,
    entries: Vec<Arc<Entry>>,
    hand: usize,
}

thread_local! {
    static LATELY: RefCell<Vec<Option<Arc<Entry>>>> = const { RefCell::new(Vec::new()) };
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table {
        hasher: RandomState::default(),
        shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
    })
}

impl Entry {
    fn is_of(&self, hash: u64, place: &Place, who: &str) -> bool {
        self.hash == hash && *self.who == *who && (Arc::ptr_eq(&self.text, place.text()) || self.text == *place.text())
    }
}

/// Does something with the counters of an identifier. `f` says none when they were given up meanwhile, and is then
/// asked again with others.
pub(crate) fn with<R>(place: &Place, who: &str, mut f: impl FnMut(&Entry) -> Option<R>) -> R {
    let table = table();
    let mut hasher = table.hasher.build_hasher();
    hasher.write(place.text().as_bytes());
    hasher.write(who.as_bytes());
    let hash = hasher.finish();
    LATELY.with_borrow_mut(|lately| {
        if lately.is_empty() {
            lately.resize(REMEMBERED, None);
        }
        let slot = &mut lately[hash as usize & (REMEMBERED - 1)];
        if let Some(entry) = slot.as_ref().filter(|entry| entry.is_of(hash, place, who))
            && let Some(done) = f(entry)
        {
            entry.count_for(place);
            return done;
        }
        loop {
            let entry = table.entry(hash, place, who);
            let done = f(&entry);
            entry.count_for(place);
            *slot = Some(entry);
            if let Some(done) = done {
                return done;
            }
        }
    })
}

impl Table {
    fn entry(&self, hash: u64, place: &Place, who: &str) -> Arc<Entry> {
        // The low bits choose the place in a thread's memory.
        let shard = &self.shards[(hash >> 32) as usize & (SHARDS - 1)];
        shard.lock().unwrap_or_else(PoisonError::into_inner).entry(hash, place, who, TIDIED, IDENTIFIERS_MAX / SHARDS)
    }
}

impl Shard {
    fn entry(&mut self, hash: u64, place: &Place, who: &str, tidied: usize, most: usize) -> Arc<Entry> {
        let mut key = hash;
        while let Some(entry) = self.index.get(&key).and_then(|at| self.entries.get(*at)) {
            if *entry.who == *who && entry.text == *place.text() {
                return entry.clone();
            }
            key = key.wrapping_add(1);
        }
        let windows = Moment::now().windows();
        for _ in 0..tidied {
            let at = self.next();
            if self.entries.get(at).is_some_and(|entry| entry.kill(&windows, false)) {
                self.remove(at);
            }
        }
        if self.entries.len() >= most {
            self.make_room(&windows);
        }
        let entry = Arc::new(Entry::new(hash, place, who));
        self.index.insert(key, self.entries.len());
        self.entries.push(entry.clone());
        entry
    }

    /// Of some, the one goes that has used least: that costs its limit least.
    fn make_room(&mut self, windows: &[Window; PERIODS]) {
        let sampled = (0..SAMPLED).map(|_| self.next()).collect::<Vec<_>>();
        let used = |at: &usize| self.entries.get(*at).map_or(u64::MAX, |entry| entry.most_used(windows));
        let Some(least) = sampled.into_iter().min_by_key(used) else { return };
        if let Some(entry) = self.entries.get(least) {
            if entry.most_used(windows) > 0 {
                FORGOTTEN.fetch_add(1, Relaxed);
                super::happened(super::FORGOTTEN);
            }
            entry.kill(windows, true);
            self.remove(least);
        }
    }

    fn next(&mut self) -> usize {
        self.hand = if self.hand + 1 < self.entries.len() { self.hand + 1 } else { 0 };
        self.hand
    }

    fn remove(&mut self, at: usize) {
        let Some(key) = self.key(at) else { return };
        let last = self.key(self.entries.len() - 1);
        self.index.remove(&key);
        self.entries.swap_remove(at);
        if let (true, Some(last)) = (at < self.entries.len(), last) {
            self.index.insert(last, at);
        }
    }

    fn key(&self, at: usize) -> Option<u64> {
        let mut key = self.entries.get(at)?.hash;
        // An entry that was moved aside stands behind its number.
        for _ in 0..self.entries.len() {
            if self.index.get(&key) == Some(&at) {
                return Some(key);
            }
            key = key.wrapping_add(1);
        }
        None
    }
}

/// All counters, in no order, and how many were forgotten before their time.
pub(super) fn all() -> (Vec<Arc<Entry>>, u64) {
    let entries = |shard: &Mutex<Shard>| shard.lock().unwrap_or_else(PoisonError::into_inner).entries.clone();
    (table().shards.iter().flat_map(entries).collect(), FORGOTTEN.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Limit, Taken};
    use super::super::window::{NOW, Period};
    use super::*;
    use std::sync::Barrier;

    const LIMITS: [Limit; 2] = [Limit { period: Period::Minute, most: 5 }, Limit { period: Period::Day, most: 9 }];

    fn place(name: &str) -> Arc<Place> {
        Place::anywhere("ratelimit", name, &LIMITS)
    }

    fn take(entry: &Entry, n: u64) -> Option<Taken> {
        entry.take(&LIMITS, &Moment::now().windows(), n)
    }

    #[test]
    fn what_is_over_goes_and_else_what_has_used_least() {
        NOW.set(Some(1_769_860_800));
        let (place, mut shard) = (place("room"), Shard::default());
        let mut of = |who: u64, n| {
            // Two have the same number.
            let entry = shard.entry(who / 2, &place, &who.to_string(), 2, 8);
            take(&entry, n);
            (entry, shard.entries.len())
        };
        (0..8).for_each(|who| assert_eq!(of(who, 10 - who).1, who as usize + 1));
        let (kept, _) = of(0, 1);
        assert_eq!(take(&kept, 1).map(|taken| taken.used), Some([10, 10, 0, 0, 0, 0]));
        // There is no room, and the eighth had used least.
        let (eighth, _) = of(7, 0);
        let before = FORGOTTEN.load(Relaxed);
        assert_eq!(of(8, 9).1, 8);
        assert_eq!((take(&eighth, 1), FORGOTTEN.load(Relaxed) > before), (None, true));
        // The next day they are over, and go before anything new comes in their place.
        NOW.set(Some(1_769_860_800 + 86_400));
        let sizes: Vec<usize> = (100..108).map(|who| of(who, 1).1).collect();
        assert!(sizes.iter().all(|size| *size <= 8) && take(&kept, 1).is_none(), "{sizes:?}");
        (0..9).chain(100..108).for_each(|who| assert!(of(who, 0).1 <= 8));
    }

    #[test]
    fn nothing_is_counted_where_nobody_looks_any_more() {
        NOW.set(Some(1_769_860_800));
        let place = place("race");
        for round in 0..3_000 {
            let (entry, both) = (Entry::new(0, &place, "x"), Barrier::new(2));
            let windows = Moment::now().windows();
            let (killed, counted) = std::thread::scope(|threads| {
                let killing = threads.spawn(|| {
                    both.wait();
                    entry.kill(&windows, false)
                });
                both.wait();
                let counted = entry.take(&LIMITS, &windows, 1).is_some();
                (killing.join().unwrap(), counted)
            });
            assert!(killed != counted, "round {round}: {killed} {counted}");
            assert_eq!(entry.used(&LIMITS, &windows), counted.then_some([1, 1, 0, 0, 0, 0]), "round {round}");
        }
    }

    #[test]
    fn a_thread_that_remembers_what_was_given_up_finds_the_new_one() {
        NOW.set(Some(1_769_860_800));
        let place = place("lately");
        with(&place, "x", |entry| take(entry, 3));
        let known = with(&place, "x", |entry| Some(std::ptr::from_ref(entry) as usize));
        // As another thread does that needs the room.
        for shard in &table().shards {
            let mut shard = shard.lock().unwrap();
            if let Some(at) = shard.entries.iter().position(|e| e.text == *place.text()) {
                assert!(shard.entries[at].kill(&Moment::now().windows(), true));
                shard.remove(at);
            }
        }
        assert_eq!(with(&place, "x", |entry| take(entry, 1)).used[0], 0);
        assert_ne!(with(&place, "x", |entry| Some(std::ptr::from_ref(entry) as usize)), known);
    }
}
