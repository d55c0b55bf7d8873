//! Memory for messages on their way, over all connections.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes of the whole process at once, as long as no listener allows messages of more than half of it.
const MOST: usize = 256 << 20;
/// What a connection may have without being counted: usual messages cost no look at what others have.
const FREE: usize = 64 << 10;
/// What is taken at a time.
const STEP: usize = 64 << 10;

/// So many bytes at once are a burst, whose memory is given back when it is over.
const BURST: usize = 16 << 20;

static ALL: Shared = Shared::new();

struct Shared {
    taken: AtomicUsize,
    /// There was a burst.
    burst: AtomicBool,
    /// One goes beyond the limit, so that there is always one that can come to its end.
    beyond: AtomicBool,
}

impl Shared {
    const fn new() -> Shared {
        Shared { taken: AtomicUsize::new(0), burst: AtomicBool::new(false), beyond: AtomicBool::new(false) }
    }

    fn is_over(&self) -> bool {
        self.taken.load(Ordering::Relaxed) == 0
            && self.burst.load(Ordering::Relaxed)
            && self.burst.swap(false, Ordering::Relaxed)
    }
}

/// Whether much was held, and nothing is any more; said once.
pub(crate) fn is_over() -> bool {
    ALL.is_over()
}

/// A connection's part, given back when it is dropped.
#[derive(Default)]
pub(super) struct Room {
    taken: usize,
    /// It is the one that goes beyond.
    beyond: bool,
}

impl Room {
    /// Has room for so many bytes and no more; false when others have it, and then nothing is changed. A message may have
    /// `most` of them.
    pub(super) fn cover(&mut self, bytes: usize, most: usize) -> bool {
        if bytes <= FREE && self.taken == 0 {
            return true;
        }
        self.cover_of(&ALL, bytes, MOST.max(most.saturating_mul(2)))
    }

    /// The same for what a caller leaves unread, of which no more than one answer goes beyond the limit.
    pub(super) fn cover_unread(&mut self, bytes: usize, unread: usize, most: usize) -> bool {
        self.cover(bytes, most) && (!self.beyond || unread <= most.saturating_add(FREE))
    }

    fn cover_of(&mut self, shared: &Shared, bytes: usize, most: usize) -> bool {
        let needed = bytes.saturating_sub(FREE).div_ceil(STEP).saturating_mul(STEP);
        let Some(more) = needed.checked_sub(self.taken) else {
            let less = self.taken - needed;
            let left = shared.taken.fetch_sub(less, Ordering::Relaxed).saturating_sub(less);
            self.taken = needed;
            // Within the limit again, or nothing at all: another may need it more.
            if (needed == 0 || left <= most) && std::mem::take(&mut self.beyond) {
                shared.beyond.store(false, Ordering::Relaxed);
            }
            return true;
        };
        if more > 0 && shared.taken.fetch_add(more, Ordering::Relaxed).saturating_add(more) > most && !self.beyond {
            if shared.beyond.swap(true, Ordering::Relaxed) {
                shared.taken.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
            self.beyond = true;
        }
        self.taken = needed;
        if shared.taken.load(Ordering::Relaxed) > BURST {
            shared.burst.store(true, Ordering::Relaxed);
        }
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.cover_of(&ALL, 0, MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_one_goes_beyond() {
        let shared = Shared::new();
        let now = || shared.taken.load(Ordering::Relaxed) / STEP;
        let (mut one, mut other, mut third) = (Room::default(), Room::default(), Room::default());
        assert!(one.cover_of(&shared, FREE, STEP * 2) && now() == 0);
        assert!(one.cover_of(&shared, FREE + 1, STEP * 2) && now() == 1);
        assert!(other.cover_of(&shared, FREE + STEP, STEP * 2) && now() == 2);
        // The first that finds no room goes beyond, and only that one.
        assert!(one.cover_of(&shared, FREE + STEP * 2, STEP * 2) && now() == 3);
        assert!(!third.cover_of(&shared, FREE + 1, STEP * 2) && now() == 3);
        assert!(one.cover_of(&shared, FREE + STEP * 9, STEP * 2) && now() == 10);
        assert!(!other.cover_of(&shared, FREE + STEP * 2, STEP * 2) && now() == 10);
        assert!(one.cover_of(&shared, 0, STEP * 2) && now() == 1);
        assert!(other.cover_of(&shared, FREE + STEP * 2, STEP * 2) && now() == 2);
        assert!(third.cover_of(&shared, FREE + 1, STEP * 2) && now() == 3);
        for mut room in [one, other, third] {
            assert!(room.cover_of(&shared, 0, STEP * 2));
        }
        assert!(now() == 0 && !shared.beyond.load(Ordering::Relaxed) && !shared.is_over());
        let mut large = Room::default();
        assert!(large.cover_of(&shared, BURST * 2, MOST) && !shared.is_over());
        assert!(large.cover_of(&shared, 0, MOST) && shared.is_over() && !shared.is_over());
    }
}
