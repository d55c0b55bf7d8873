//! One window's counter in one atomic number: which window, and how much of it is used.

use super::window::Window;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How the number is divided: which window it is, what was used of the one before, what is used of this one.
struct Form {
    now: u32,
    past: u32,
}

/// Each window for itself.
const FIXED: Form = Form { now: 36, past: 0 };
/// What was used of the window before counts, as far as it is not past yet.
const SLIDING: Form = Form { now: 22, past: 22 };

impl Form {
    const fn of(sliding: bool) -> Form {
        if sliding { SLIDING } else { FIXED }
    }

    const fn mask(bits: u32) -> u64 {
        (1 << bits) - 1
    }

    const fn windows(&self) -> u64 {
        Form::mask(64 - self.now - self.past)
    }
}

/// No fixed limit is higher, and no count.
pub(crate) const COUNT_MAX: u64 = Form::mask(FIXED.now) - 1;
/// The same of those that slide.
pub(crate) const SLIDING_MAX: u64 = Form::mask(SLIDING.now) - 1;
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

/// What the number says of a window.
struct State {
    window: u64,
    past: u64,
    now: u64,
    /// Of what is past, so many thousandths still count.
    share: u64,
}

impl State {
    fn used(&self) -> u64 {
        self.now + (self.past * self.share).div_ceil(1_000)
    }

    fn packed(&self, sliding: bool) -> u64 {
        let form = Form::of(sliding);
        let now = self.now.min(Form::mask(form.now) - 1);
        self.window << (form.now + form.past) | self.past << form.now | now
    }

    fn less(self, n: u64) -> State {
        State { now: self.now.saturating_sub(n), ..self }
    }
}

impl Cell {
    fn read(value: u64, window: &Window, sliding: bool) -> State {
        let form = Form::of(sliding);
        let its = value >> (form.now + form.past);
        let (past, now) = (value >> form.now & Form::mask(form.past), value & Form::mask(form.now));
        let share = if sliding { u64::from(window.share) } else { 0 };
        let wanted = window.number & form.windows();
        match its.wrapping_sub(wanted) & form.windows() {
            0 => State { window: its, past, now, share },
            // It has just begun.
            1..=AHEAD_MAX => State { window: its, past, now, share: 1_000 },
            before if before == form.windows() && sliding => State { window: wanted, past: now, now: 0, share },
            _ => State { window: wanted, past: 0, now: 0, share },
        }
    }

    /// Counts `n` in a window unless its limit is reached: one check and one addition that nothing comes between.
    pub(crate) fn add(&self, window: &Window, sliding: bool, limit: u64, n: u64) -> Added {
        let mut old = self.0.load(Relaxed);
        loop {
            if old == DEAD {
                return Added::Dead;
            }
            let state = Cell::read(old, window, sliding);
            let (its, used) = (state.window, state.used());
            if used >= limit {
                return Added::Full(used);
            }
            let new = State { now: state.now.saturating_add(n), ..state }.packed(sliding);
            match self.0.compare_exchange_weak(old, new, Relaxed, Relaxed) {
                Ok(_) => return Added::Counted(its, used),
                Err(now) => old = now,
            }
        }
    }

    /// Takes back what [`Cell::add`] counted in that window, if it still is that one.
    pub(crate) fn take_back(&self, its: u64, window: &Window, sliding: bool, n: u64) {
        let less = |value: u64| {
            let state = Cell::read(value, window, sliding);
            (value != DEAD && state.window == its).then(|| state.less(n).packed(sliding))
        };
        let _ = self.0.fetch_update(Relaxed, Relaxed, less);
    }

    /// Takes back what was counted in a window, if it still is that one or the next.
    pub(crate) fn give_back(&self, window: &Window, sliding: bool, n: u64) {
        let less = |value: u64| (value != DEAD).then(|| Cell::read(value, window, sliding).less(n).packed(sliding));
        let _ = self.0.fetch_update(Relaxed, Relaxed, less);
    }

    /// Others have counted so much of a window: it has at least that. Whether the counter lives.
    pub(crate) fn raise(&self, window: &Window, sliding: bool, used: u64) -> bool {
        let more = |value: u64| {
            let state = Cell::read(value, window, sliding);
            let missing = used.saturating_sub(state.used());
            let now = state.now.saturating_add(missing);
            (value != DEAD && missing > 0).then(|| State { now, ..state }.packed(sliding))
        };
        !matches!(self.0.fetch_update(Relaxed, Relaxed, more), Err(DEAD))
    }

    /// How much of a window is used; none when the counter was given up.
    pub(crate) fn used(&self, window: &Window, sliding: bool) -> Option<u64> {
        let value = self.0.load(Relaxed);
        (value != DEAD).then(|| Cell::read(value, window, sliding).used())
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

    fn window(number: u64) -> Window {
        Window { number, ..Window::default() }
    }

    #[test]
    fn counts_up_to_the_limit_and_begins_anew_with_the_window() {
        let cell = Cell::default();
        let add = |number, n| cell.add(&window(number), false, 2, n);
        let used = |number| cell.used(&window(number), false);
        assert_eq!(add(7, 1), Added::Counted(7, 0));
        assert_eq!(add(7, 5), Added::Counted(7, 1));
        assert_eq!((add(7, 1), used(7)), (Added::Full(6), Some(6)));
        assert_eq!((add(8, 1), used(8)), (Added::Counted(8, 0), Some(1)));
        // Whoever read the clock just before the turn counts in the new window.
        assert_eq!((add(7, 1), add(7, 1)), (Added::Counted(8, 1), Added::Full(2)));
        // The clock was set back.
        assert_eq!(add(3, 1), Added::Counted(3, 0));
        cell.take_back(3, &window(3), false, 1);
        cell.take_back(2, &window(3), false, 1);
        assert_eq!(used(3), Some(0));
        cell.raise(&window(3), false, 9);
        cell.raise(&window(3), false, 4);
        assert_eq!(used(3), Some(9));
        assert!(cell.kill(cell.standing()));
        assert_eq!((add(3, 1), used(3), cell.raise(&window(3), false, 99)), (Added::Dead, None, false));
        assert_eq!(Cell::default().add(&window(1), false, COUNT_MAX, u64::MAX), Added::Counted(1, 0));
    }

    #[test]
    fn what_slides_remembers_the_window_before() {
        let cell = Cell::default();
        let at = |number, share| Window { number, share, ..Window::default() };
        let add = |number, share, n| cell.add(&at(number, share), true, 10, n);
        assert_eq!(add(7, 1_000, 9), Added::Counted(7, 0));
        assert_eq!(add(8, 1_000, 1), Added::Counted(8, 9));
        assert_eq!(add(8, 999, 1), Added::Full(10));
        // Of the nine, five still count.
        assert_eq!(add(8, 501, 4), Added::Counted(8, 6));
        assert_eq!(add(8, 500, 1), Added::Full(10));
        assert_eq!(cell.used(&at(9, 400), true), Some(2));
        assert_eq!(cell.used(&at(10, 400), true), Some(0));
        cell.give_back(&at(8, 500), true, 2);
        cell.raise(&at(8, 500), true, 9);
        assert_eq!(cell.used(&at(8, 500), true), Some(9));
        cell.take_back(8, &at(8, 500), true, 4);
        assert_eq!((cell.used(&at(8, 0), true), cell.used(&at(8, 1_000), true)), (Some(0), Some(9)));
        assert_eq!(Cell::default().add(&at(1, 0), true, SLIDING_MAX, u64::MAX), Added::Counted(1, 0));
    }
}
