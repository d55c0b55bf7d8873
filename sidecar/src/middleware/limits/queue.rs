//! Turns in order: who comes when there is no turn now waits for its own, in a line that is bounded.
//!
//! A turn is given at the moment when its command leaves, not when it came: what wakes up later than the pace's slack
//! moves those behind it, so that however late they wake, the receiver never sees many at once. That, and the order,
//! need more than one number to change at once, hence a lock; whoever takes it only compares some numbers.

use super::place::Place;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Lines of one middleware.
const LINES_MAX: usize = 10_000;
/// When there is no room, lines that are over are looked for so often.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// How turns follow each other: GCRA's two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// From turn to turn.
    pub(crate) step: Duration,
    /// So far may turns go ahead of that, after a pause.
    pub(crate) ahead: Duration,
    /// So much later than its time a turn may be taken without moving the next: clocks wake nobody to the microsecond,
    /// and without it every turn would add its lateness to all that follow.
    pub(crate) slack: Duration,
}

/// The lines of one middleware.
#[derive(Default)]
pub(crate) struct Lines {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    lines: HashMap<Box<str>, Arc<Line>>,
    /// When lines that are over were looked for the last time.
    tidied: Option<Instant>,
}

/// The line of one identifier.
#[derive(Default)]
pub(crate) struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    /// Of who came last: plugins of the same scope may share a line.
    place: Option<Arc<Place>>,
    /// GCRA's theoretical arrival time, counted from the start of the process.
    next: Duration,
    waiting: VecDeque<u64>,
    tickets: u64,
}

/// What whoever comes is told.
pub(crate) enum Turn {
    /// Go.
    Now,
    /// Wait for it.
    Wait(Ticket),
    /// The turn would come after so long, which is too long.
    TooLong(Duration),
    /// Too many wait; the next turn that is free comes after so long.
    TooMany(Duration),
}

/// A place in a line, which is left when it is dropped.
pub(crate) struct Ticket {
    line: Arc<Line>,
    number: u64,
    pace: Pace,
}

/// Lines by their places, and from how many on those are looked for that nobody has any more.
type Known = (BTreeMap<String, Weak<Lines>>, usize);

const KNOWN_MIN: usize = 64;

static KNOWN: Mutex<Known> = Mutex::new((BTreeMap::new(), KNOWN_MIN));

/// Where somebody waits: the place, the identifier, how many.
pub(super) fn waiting() -> Vec<(Arc<Place>, Box<str>, usize)> {
    let known: Vec<Arc<Lines>> =
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).0.values().filter_map(Weak::upgrade).collect();
    let mut all = Vec::new();
    for lines in known {
        let inside = lines.inside.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(inside.lines.iter().filter_map(|(who, line)| {
            let state = line.lock();
            let n = state.waiting.len();
            state.place.clone().filter(|_| n > 0).map(|place| (place, who.clone(), n))
        }));
    }
    all
}

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

impl Lines {
    /// Those of a place. A middleware that a reload has made finds those of its predecessor.
    pub(crate) fn of(place: &Arc<Place>) -> Arc<Lines> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, tidy_at) = &mut *known;
        if known.len() >= *tidy_at {
            known.retain(|_, lines| lines.strong_count() > 0);
            *tidy_at = (2 * known.len()).max(KNOWN_MIN);
        }
        if let Some(same) = known.get(&**place.text()).and_then(Weak::upgrade) {
            return same;
        }
        let lines = Arc::<Lines>::default();
        known.insert(place.text().to_string(), Arc::downgrade(&lines));
        lines
    }

    /// The line of an identifier in a place of these lines; none when there are too many.
    pub(crate) fn line(&self, place: &Arc<Place>, who: &str) -> Option<Arc<Line>> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Inside { lines: known, tidied } = &mut *inside;
        if let Some(line) = known.get(who) {
            line.serve(place);
            return Some(line.clone());
        }
        let now = Instant::now();
        if known.len() >= LINES_MAX && tidied.is_none_or(|at| now.duration_since(at) >= TIDY_EVERY) {
            *tidied = Some(now);
            known.retain(|_, line| Arc::strong_count(line) > 1 || !line.is_over(now));
        }
        if known.len() >= LINES_MAX {
            return None;
        }
        let line = Arc::<Line>::default();
        line.serve(place);
        known.insert(who.into(), line.clone());
        Some(line)
    }
}

impl State {
    /// When the one may go before whom so many stand.
    fn due(&self, before: usize, pace: &Pace) -> Duration {
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        self.next.saturating_sub(pace.ahead) + pace.step.saturating_mul(before)
    }

    /// Takes a turn. Only who has waited for it can be late.
    fn go(&mut self, now: Duration, step: Duration, slack: Duration) {
        self.next = self.next.max(now.saturating_sub(slack)) + step;
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, place: &Arc<Place>) {
        let mut state = self.lock();
        if !state.place.as_ref().is_some_and(|served| Arc::ptr_eq(served, place)) {
            state.place = Some(place.clone());
        }
    }

    /// Nobody waits, and whoever comes may go.
    fn is_over(&self, now: Instant) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && state.next <= now.saturating_duration_since(start())
    }

    /// Comes to the line. `most` may wait, and each of them no longer than `longest`.
    pub(crate) fn come(self: &Arc<Self>, now: Instant, pace: Pace, most: usize, longest: Duration) -> Turn {
        let now = now.saturating_duration_since(start());
        let mut state = self.lock();
        let due = state.due(state.waiting.len(), &pace);
        let wait = due.saturating_sub(now);
        if wait.is_zero() && state.waiting.is_empty() {
            state.go(now, pace.step, Duration::ZERO);
            return Turn::Now;
        }
        if wait > longest {
            return Turn::TooLong(wait);
        }
        if state.waiting.len() >= most {
            return Turn::TooMany(state.due(0, &pace).saturating_sub(now));
        }
        let number = state.tickets;
        state.tickets += 1;
        state.waiting.push_back(number);
        Turn::Wait(Ticket { line: self.clone(), number, pace })
    }
}

impl Ticket {
    /// Takes the turn if it has come; else says when to ask again.
    fn take(&self, now: Instant) -> Result<(), Instant> {
        let at = now.saturating_duration_since(start());
        let mut state = self.line.lock();
        let before = state.waiting.partition_point(|number| *number < self.number);
        let due = state.due(before, &self.pace);
        if before == 0 && due <= at {
            state.waiting.pop_front();
            state.go(at, self.pace.step, self.pace.slack);
            return Ok(());
        }
        // Whoever stands in front may have been woken late; it needs a moment.
        Err(start() + due.max(at + Duration::from_millis(1)))
    }

    /// Waits for the turn. Whoever gives up does not shorten the wait of those behind it: they wake at their own time
    /// and find the line shorter, so a turn that nobody took is lost, and the pace is never exceeded.
    pub(crate) async fn turn(self) {
        while let Err(again) = self.take(Instant::now()) {
            tokio::time::sleep_until(again.into()).await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        if let Ok(at) = state.waiting.binary_search(&self.number) {
            state.waiting.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    proptest! {
        /// However late and in whatever order they wake: each in its turn, and none too early.
        #[test]
        fn turns_are_in_order_and_apart(
            comes in prop::collection::vec(0u32..40, 1..60),
            late in prop::collection::vec(0u32..90, 1..60),
            burst in 1u32..4,
            slack in 0u32..15,
        ) {
            let pace = Pace { step: MS * 20, ahead: MS * 20 * (burst - 1), slack: MS * slack };
            let line = Arc::new(Line::default());
            // Behind the real start, so that the clock of this test never stands before it.
            let mut now = start() + Duration::from_secs(3_600);
            let mut went: Vec<(u64, Instant)> = Vec::new();
            let mut waiting: Vec<(u64, Ticket, Instant)> = Vec::new();
            for (i, after) in comes.iter().enumerate() {
                now += MS * *after;
                let number = i as u64;
                match line.come(now, pace, 1_000, Duration::from_secs(3_600)) {
                    Turn::Now => went.push((number, now)),
                    Turn::Wait(ticket) => {
                        let Err(again) = ticket.take(now) else { panic!("its turn was now") };
                        waiting.push((number, ticket, again));
                    }
                    _ => panic!("there was room"),
                }
            }
            let mut late = late.iter().cycle();
            while !waiting.is_empty() {
                // The one that is to wake next does so late.
                let next = (0..waiting.len()).min_by_key(|i| waiting[*i].2).unwrap();
                let (number, ticket, at) = waiting.remove(next);
                now = now.max(at + MS * *late.next().unwrap());
                match ticket.take(now) {
                    Ok(()) => went.push((number, now)),
                    Err(again) => waiting.push((number, ticket, again)),
                }
            }
            prop_assert!(went.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
            let n = burst as usize;
            for more in [1, 2, 5, 20] {
                for some in went.windows(n + more) {
                    // Of so many more than a burst, the last is as many steps behind the first, but for the slack.
                    let apart = some[n + more - 1].1 - some[0].1;
                    prop_assert!(apart + pace.slack >= pace.step * more as u32, "{} more: {:?}", more, went);
                }
            }
        }
    }

    #[test]
    fn lines_are_bounded_and_can_be_left() {
        let pace = Pace { step: MS * 100, ahead: Duration::ZERO, slack: Duration::ZERO };
        let line = Arc::new(Line::default());
        let now = start() + Duration::from_secs(60);
        let come = |most| line.come(now, pace, most, MS * 250);
        assert!(matches!(come(9), Turn::Now));
        let Turn::Wait(first) = come(9) else { panic!() };
        assert!(matches!(come(1), Turn::TooMany(wait) if wait == MS * 100));
        let Turn::Wait(second) = come(9) else { panic!() };
        assert!(matches!(come(9), Turn::TooLong(wait) if wait == MS * 300));
        assert_eq!(second.take(now), Err(now + MS * 200));
        drop(first);
        assert_eq!(second.take(now), Err(now + MS * 100));
        assert_eq!(second.take(now + MS * 100), Ok(()));
        assert!(!line.is_over(now + MS * 199) && line.is_over(now + MS * 200));
    }

    #[test]
    fn lines_of_a_place_survive_whoever_made_them() {
        let place = || Place::anywhere("shape", "survives", &[]);
        let (before, place) = (place(), place());
        let first = Lines::of(&before);
        let line = first.line(&before, "x").unwrap();
        let second = Lines::of(&place);
        assert!(Arc::ptr_eq(&line, &second.line(&place, "x").unwrap()));
        for n in 0..LINES_MAX - 1 {
            second.line(&place, &n.to_string()).unwrap();
        }
        line.come(Instant::now(), Pace { step: MS * 60_000, ahead: MS, slack: MS }, 1, MS);
        // The others are over and make room.
        assert!(second.line(&place, "one more").is_some());
        assert_eq!(second.inside.lock().unwrap().lines.len(), 2);
    }
}
