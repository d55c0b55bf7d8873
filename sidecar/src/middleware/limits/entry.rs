//! The counters of one identifier in one place: a window of each period.

use super::cell::{Added, Cell};
use super::place::Place;
use super::window::{PERIODS, Period, Window};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A limit on one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Of which.
    pub(crate) period: Period,
    /// How much may be used.
    pub(crate) most: u64,
}

/// What became of a wish, for each of its limits in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What was used before.
    pub(crate) used: [u64; PERIODS],
    /// Whether a limit was reached: nothing is counted then.
    pub(crate) refused: bool,
}

/// The counters of one identifier in one place.
pub(crate) struct Entry {
    pub(super) hash: u64,
    /// That of its place, which itself lives only as long as the plans that have it.
    pub(super) text: Arc<str>,
    sliding: bool,
    pub(super) who: Box<str>,
    /// The mark of the place that counted last: plugins with other limits may share these counters.
    mark: AtomicU64,
    cells: [Cell; PERIODS],
}

impl Entry {
    pub(super) fn new(hash: u64, place: &Place, who: &str) -> Entry {
        let mark = AtomicU64::new(place.mark);
        Entry {
            hash,
            text: place.text().clone(),
            sliding: place.sliding,
            who: who.into(),
            mark,
            cells: Default::default(),
        }
    }

    /// The mark of the place that counted last.
    pub(super) fn mark(&self) -> u64 {
        self.mark.load(Relaxed)
    }

    /// This place counts now. Mostly it did before, and then nothing is written that other threads read.
    pub(super) fn count_for(&self, place: &Place) {
        if self.mark() != place.mark {
            self.mark.store(place.mark, Relaxed);
        }
    }

    fn cell(&self, period: Period) -> &Cell {
        &self.cells[period as usize]
    }

    /// Counts `n` in every window, or in none when one of them has reached its limit. What a later window refuses is
    /// taken back from the earlier ones, so no window ever holds more than was let through; whoever is refused
    /// meanwhile by what is taken back a moment later would have been refused by the later window, too. None: the
    /// counters were given up.
    pub(crate) fn take(&self, limits: &[Limit], windows: &[Window; PERIODS], n: u64) -> Option<Taken> {
        let mut taken = Taken { used: [0; PERIODS], refused: false };
        let mut counted = [0; PERIODS];
        for (i, limit) in limits.iter().enumerate().take(PERIODS) {
            match self.cell(limit.period).add(&windows[limit.period as usize], self.sliding, limit.most, n) {
                Added::Counted(window, used) => {
                    counted[i] = window;
                    taken.used[i] = used;
                }
                stopped => {
                    for (limit, its) in limits.iter().zip(counted).take(i) {
                        let window = &windows[limit.period as usize];
                        self.cell(limit.period).take_back(its, window, self.sliding, n);
                    }
                    return match stopped {
                        Added::Dead => None,
                        _ => {
                            taken.used = self.used(limits, windows)?;
                            // What is taken back by another one meanwhile must not show a refusal without a reason.
                            if let Added::Full(used) = stopped {
                                taken.used[i] = used;
                            }
                            taken.refused = true;
                            Some(taken)
                        }
                    };
                }
            }
        }
        Some(taken)
    }

    /// What is used of each window.
    pub(crate) fn used(&self, limits: &[Limit], windows: &[Window; PERIODS]) -> Option<[u64; PERIODS]> {
        let mut used = [0; PERIODS];
        for (used, limit) in used.iter_mut().zip(limits) {
            *used = self.cell(limit.period).used(&windows[limit.period as usize], self.sliding)?;
        }
        Some(used)
    }

    /// Others have counted so much. What is told far beyond a limit is no count and must not stay: no more is remembered
    /// than holds the next one back. None: the counters were given up.
    pub(crate) fn raise(
        &self,
        limits: &[Limit],
        windows: &[Window; PERIODS],
        used: impl Iterator<Item = u64>,
    ) -> Option<()> {
        let sliding = self.sliding;
        let lives = |(limit, used): (&Limit, u64)| {
            let used = used.min(limit.most.saturating_add(1));
            self.cell(limit.period).raise(&windows[limit.period as usize], sliding, used)
        };
        limits.iter().zip(used).all(lives).then_some(())
    }

    /// Takes back `n` from every window, in which it was counted just before.
    pub(crate) fn give_back(&self, limits: &[Limit], windows: &[Window; PERIODS], n: u64) -> Option<()> {
        for limit in limits {
            self.cell(limit.period).give_back(&windows[limit.period as usize], self.sliding, n);
        }
        // Counters that were given up have nothing to take back.
        Some(())
    }

    /// The most that is used of any window that is not over.
    pub(super) fn most_used(&self, windows: &[Window; PERIODS]) -> u64 {
        self.cells.iter().zip(windows).filter_map(|(cell, w)| cell.used(w, self.sliding)).max().unwrap_or(0)
    }

    /// Gives the counters up: whoever still holds them asks for others. Without `force` only when every window is
    /// over.
    pub(super) fn kill(&self, windows: &[Window; PERIODS], force: bool) -> bool {
        let mut killed: [Option<u64>; PERIODS] = [None; PERIODS];
        for (i, (cell, window)) in self.cells.iter().zip(windows).enumerate() {
            loop {
                let standing = cell.standing();
                if !force && cell.used(window, self.sliding).is_none_or(|used| used > 0) {
                    self.revive(&killed);
                    return false;
                }
                if cell.kill(standing) {
                    killed[i] = Some(standing);
                    break;
                }
                // Somebody counted between; he is not to be lost.
                if !force {
                    self.revive(&killed);
                    return false;
                }
            }
        }
        true
    }

    fn revive(&self, killed: &[Option<u64>; PERIODS]) {
        for (cell, standing) in self.cells.iter().zip(killed) {
            if let Some(standing) = standing {
                cell.revive(*standing);
            }
        }
    }
}
