//! Where answers are kept: one store for the process, bounded in bytes, in shards of which each has its lock. A lock is
//! held for the look-up only; bodies are shared, not copied.

use crate::exchange::Headers;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that all answers together may take.
pub(super) const BYTES_MAX: usize = 64 << 20;
/// Bytes of one body; a larger answer is not kept.
pub(super) const BODY_MAX: usize = 1 << 20;
/// Bytes of the header lines of one answer; one with more is not kept.
const HEAD_MAX: usize = 32 << 10;
/// What an answer takes beside its body and lines.
const OVERHEAD: usize = 512;
const SHARDS: usize = 16;

/// The digest of what an answer is the answer to.
pub(super) type Key = [u8; 32];

/// The answers of this process.
pub(super) static STORE: LazyLock<Store> = LazyLock::new(|| Store::new(BYTES_MAX));

/// One kept answer.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
    /// When it was kept.
    pub(super) at: Instant,
    /// How old it was then.
    pub(super) age: Duration,
    /// For how long it is fresh by its own word.
    pub(super) fresh: Duration,
    /// Whether it may not be used when it is not.
    pub(super) strict: bool,
}

impl Kept {
    /// How old it is.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.age.saturating_add(now.saturating_duration_since(self.at))
    }

    fn bytes(&self) -> usize {
        self.body.len() + head_bytes(&self.headers) + OVERHEAD
    }
}

fn head_bytes(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
}

/// What is found under a key.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Answer(Arc<Kept>),
    /// The answer depends on these headers of the request, too: it is under a key of its own.
    Varies(Arc<[Box<str>]>),
}

struct Slot {
    key: Key,
    found: Found,
    bytes: usize,
    /// When it is of no use any more.
    until: Instant,
    /// Whether it was asked for since the hand passed.
    asked: bool,
}

/// A part of the keys: a clock, whose hand throws out what nobody asked for since it passed last.
struct Shard {
    places: HashMap<Key, usize>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    most: usize,
}

pub(super) struct Store {
    shards: Vec<Mutex<Shard>>,
}

impl Store {
    pub(super) fn new(bytes: usize) -> Store {
        let shard = || Shard {
            places: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            most: bytes / SHARDS,
        };
        Store { shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect() }
    }

    fn shard(&self, key: &Key) -> Option<MutexGuard<'_, Shard>> {
        let shard = self.shards.get(usize::from(key[0]) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is kept under a key, if it may still be kept.
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Found> {
        self.shard(key)?.get(key, now)
    }

    /// Keeps an answer; one that is too large is not, and takes the place of none.
    pub(super) fn put(&self, key: Key, kept: Kept, until: Instant) -> bool {
        if kept.body.len() > BODY_MAX || head_bytes(&kept.headers) > HEAD_MAX {
            return false;
        }
        let bytes = kept.bytes();
        self.shard(&key).is_some_and(|mut s| s.put(key, Found::Answer(Arc::new(kept)), bytes, until))
    }

    /// Remembers on what the answers under a key depend.
    pub(super) fn varies(&self, key: Key, names: Arc<[Box<str>]>, until: Instant) -> bool {
        let bytes = names.iter().map(|name| name.len() + 16).sum::<usize>() + OVERHEAD;
        self.shard(&key).is_some_and(|mut s| s.put(key, Found::Varies(names), bytes, until))
    }

    /// Bytes and answers.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let each = self.shards.iter().map(|s| {
            let shard = s.lock().unwrap();
            assert_eq!(shard.bytes, shard.slots.iter().flatten().map(|s| s.bytes).sum::<usize>());
            assert_eq!(shard.places.len(), shard.slots.iter().flatten().count());
            assert_eq!(shard.free.len(), shard.slots.iter().filter(|s| s.is_none()).count());
            (shard.bytes, shard.places.len())
        });
        each.fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
    }
}

impl Shard {
    fn get(&mut self, key: &Key, now: Instant) -> Option<Found> {
        let place = *self.places.get(key)?;
        let slot = self.slots.get_mut(place)?.as_mut()?;
        if slot.until <= now {
            self.remove(place);
            return None;
        }
        slot.asked = true;
        Some(slot.found.clone())
    }

    fn put(&mut self, key: Key, found: Found, bytes: usize, until: Instant) -> bool {
        if bytes > self.most {
            return false;
        }
        if let Some(place) = self.places.get(&key) {
            self.remove(*place);
        }
        while self.bytes + bytes > self.most {
            self.turn();
        }
        let slot = Some(Slot { key, found, bytes, until, asked: false });
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(free) = self.slots.get_mut(place) {
                    *free = slot;
                }
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.places.insert(key, place);
        self.bytes += bytes;
        true
    }

    /// Moves the hand by one.
    fn turn(&mut self) {
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
        let place = self.hand;
        self.hand += 1;
        if let Some(Some(slot)) = self.slots.get_mut(place)
            && !std::mem::take(&mut slot.asked)
        {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: usize) {
        if let Some(slot) = self.slots.get_mut(place).and_then(Option::take) {
            self.places.remove(&slot.key);
            self.bytes -= slot.bytes;
            self.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        let mut key = [0; 32];
        // The first byte chooses the shard.
        key[..8].copy_from_slice(&n.to_le_bytes());
        key
    }

    fn kept(bytes: usize) -> Kept {
        Kept {
            status: 200,
            headers: Headers::default(),
            body: vec![b'x'; bytes].into(),
            at: Instant::now(),
            age: Duration::ZERO,
            fresh: Duration::from_secs(1),
            strict: false,
        }
    }

    #[test]
    fn what_nobody_asks_for_goes_first() {
        let store = Store::new(SHARDS * 10 * (1000 + OVERHEAD));
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        // All in one shard: room for ten.
        let nth = |n: u64| key(n * 256);
        for n in 0..10 {
            assert!(store.put(nth(n), kept(1000), later));
        }
        assert!(store.get(&nth(3), now).is_some() && store.get(&nth(7), now).is_some());
        for n in 10..18 {
            assert!(store.put(nth(n), kept(1000), later));
        }
        let left: Vec<u64> = (0..18).filter(|n| store.get(&nth(*n), now).is_some()).collect();
        assert_eq!(left, [3, 7, 10, 11, 12, 13, 14, 15, 16, 17]);
        // Everything has been asked for by now: the hand goes round once and takes one all the same.
        assert!(store.put(nth(20), kept(1000), later));
        assert_eq!(store.size().1, 10);
        // The same key takes its own place.
        assert!(store.put(nth(20), kept(900), later));
        assert_eq!(store.size().1, 10);
        // A larger one takes the place of several.
        assert!(store.put(nth(21), kept(5000), later) && store.get(&nth(21), now).is_some());
        assert!(store.size().0 <= 10 * (1000 + OVERHEAD));
        assert!(!store.put(nth(22), kept(16_000), later), "larger than its shard");
    }

    #[test]
    fn what_is_too_old_or_too_large_is_not_kept() {
        let store = Store::new(BYTES_MAX);
        let now = Instant::now();
        assert!(store.put(key(1), kept(10), now + Duration::from_secs(5)));
        assert!(store.get(&key(1), now + Duration::from_secs(4)).is_some());
        assert!(store.get(&key(1), now + Duration::from_secs(5)).is_none());
        assert_eq!(store.size(), (0, 0));
        assert!(store.put(key(2), kept(BODY_MAX), now) && !store.put(key(3), kept(BODY_MAX + 1), now));
        let mut heady = kept(0);
        heady.headers.append("x", vec![b'x'; HEAD_MAX]);
        assert!(!store.put(key(3), heady, now));
    }

    #[test]
    fn the_bound_holds_whatever_comes() {
        let store = Store::new(SHARDS * 50_000);
        let now = Instant::now();
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..20_000 {
            let key = key(random.u64(0..3_000));
            match random.u8(0..4) {
                0 => drop(store.get(&key, now)),
                1 => drop(store.varies(key, ["accept".into()].into(), now + Duration::from_secs(9))),
                _ => drop(store.put(key, kept(random.usize(0..4_000)), now + Duration::from_secs(random.u64(0..9)))),
            }
        }
        let (bytes, entries) = store.size();
        assert!(bytes <= SHARDS * 50_000 && entries > 100, "{bytes} {entries}");
    }
}
