//! One window's counter in one atomic number: which window, and how much of it is used.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits of the count; the rest says which window it is.
const COUNT_BITS: u32 = 36;
/// No limit is higher, and no count.
pub(crate) const COUNT_MAX: u64 = (1 << COUNT_BITS) - 2;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const WINDOW_MASK: u64 = (1 << (64 - COUNT_BITS)) - 1;
/// As many windows may a counter be ahead of whoever looks at it: he has read the clock a moment before. Further
/// ahead, the clock was set back, and the counter means nothing.
const AHEAD_MAX: u64 = 2;
/// The counter was given up: whoever holds it has to ask for another.
const DEAD: u64 = u64::MAX;

/// The counter of one window.
#[derive(Default)]
pub(crate) struct Cell(AtomicU64);

/// What became of a wish to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    /// So much was used before, in this window, and the wish is counted.
    Counted(u64, u64),
    /// So much is used, and nothing was counted.
    Full(u64),
    /// The counter was given up.
    Dead,
}

impl Cell {
    /// The window to count in, and what of it is used.
    fn read(value: u64, window: u64) -> (u64, u64) {
        let (its, count) = (value >> COUNT_BITS, value & COUNT_MASK);
        let window = window & WINDOW_MASK;
        match its.wrapping_sub(window) & WINDOW_MASK {
            0..=AHEAD_MAX => (its, count),
            _ => (window, 0),
        }
    }

    /// Counts `n` in a window unless its limit is reached: one check and one addition that nothing comes between.
    pub(crate) fn add(&self, window: u64, limit: u64, n: u64) -> Added {
        let mut old = self.0.load(Relaxed);
        loop {
            if old == DEAD {
                return Added::Dead;
            }
            let (window, used) = Cell::read(old, window);
            if used >= limit {
                return Added::Full(used);
            }
            let new = window << COUNT_BITS | used.saturating_add(n).min(COUNT_MAX);
            match self.0.compare_exchange_weak(old, new, Relaxed, Relaxed) {
                Ok(_) => return Added::Counted(window, used),
                Err(now) => old = now,
            }
        }
    }

    /// Takes back what [`Cell::add`] counted in that window.
    pub(crate) fn take_back(&self, window: u64, n: u64) {
        let less = |value: u64| {
            let same = value != DEAD && value >> COUNT_BITS == window;
            same.then(|| window << COUNT_BITS | (value & COUNT_MASK).saturating_sub(n))
        };
        let _ = self.0.fetch_update(Relaxed, Relaxed, less);
    }

    /// Takes back what was counted in a window, if it still is that one or the next.
    pub(crate) fn give_back(&self, window: u64, n: u64) {
        let less = |value: u64| {
            let (its, count) = Cell::read(value, window);
            (value != DEAD && count > 0).then(|| its << COUNT_BITS | count.saturating_sub(n))
        };
        let _ = self.0.fetch_update(Relaxed, Relaxed, less);
    }

    /// Others have counted so much of a window: it has at least that. Whether the counter lives.
    pub(crate) fn raise(&self, window: u64, used: u64) -> bool {
        let more = |value: u64| {
            let (window, known) = Cell::read(value, window);
            (value != DEAD && known < used).then(|| window << COUNT_BITS | used.min(COUNT_MAX))
        };
        !matches!(self.0.fetch_update(Relaxed, Relaxed, more), Err(DEAD))
    }

    /// How much of a window is used; none when the counter was given up.
    pub(crate) fn used(&self, window: u64) -> Option<u64> {
        let value = self.0.load(Relaxed);
        (value != DEAD).then(|| Cell::read(value, window).1)
    }

    /// Gives the counter up, if it still stands at what [`Cell::standing`] told.
    pub(crate) fn kill(&self, standing: u64) -> bool {
        self.0.compare_exchange(standing, DEAD, Relaxed, Relaxed).is_ok()
    }

    /// Takes that back.
    pub(crate) fn revive(&self, standing: u64) {
        self.0.store(standing, Relaxed);
    }

    /// What it holds, for [`Cell::kill`].
    pub(crate) fn standing(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_to_the_limit_and_begins_anew_with_the_window() {
        let cell = Cell::default();
        assert_eq!(cell.add(7, 2, 1), Added::Counted(7, 0));
        assert_eq!(cell.add(7, 2, 5), Added::Counted(7, 1));
        assert_eq!((cell.add(7, 2, 1), cell.used(7)), (Added::Full(6), Some(6)));
        assert_eq!((cell.add(8, 2, 1), cell.used(8)), (Added::Counted(8, 0), Some(1)));
        // Whoever read the clock just before the turn counts in the new window.
        assert_eq!((cell.add(7, 2, 1), cell.add(7, 2, 1)), (Added::Counted(8, 1), Added::Full(2)));
        // The clock was set back.
        assert_eq!(cell.add(3, 2, 1), Added::Counted(3, 0));
        cell.take_back(3, 1);
        cell.take_back(2, 1);
        assert_eq!(cell.used(3), Some(0));
        cell.raise(3, 9);
        cell.raise(3, 4);
        assert_eq!(cell.used(3), Some(9));
        assert!(cell.kill(cell.standing()));
        assert_eq!((cell.add(3, 99, 1), cell.used(3)), (Added::Dead, None));
        assert_eq!(Cell::default().add(1, COUNT_MAX, u64::MAX), Added::Counted(1, 0));
    }
}
