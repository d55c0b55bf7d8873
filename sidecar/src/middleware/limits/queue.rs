//! Turns in order: who comes when there is no turn now waits for its own, in a line that is bounded.
//!
//! A turn is given at the moment when its command leaves, not when it came: what wakes up later than the pace's slack
//! moves those behind it, so that however late they wake, the receiver never sees many at once. That, and the order,
//! need more than one number to change at once, hence a lock; whoever takes it only compares some numbers.
//!
//! Only the first of a line looks at the clock. The others are woken when they have become the first, because the one
//! before has gone or has given up, so a line of any length moves on at once and costs nothing while it stands.

use super::place::Place;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

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
    waiting: VecDeque<(u64, Arc<Notify>)>,
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
    /// It stands in front now.
    first: Arc<Notify>,
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

    /// Somebody else stands in front now.
    fn wake_first(&self) {
        if let Some((_, first)) = self.waiting.front() {
            first.notify_one();
        }
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
        let first = Arc::<Notify>::default();
        state.waiting.push_back((number, first.clone()));
        Turn::Wait(Ticket { line: self.clone(), number, pace, first })
    }
}

impl Ticket {
    /// Takes the turn if it has come; else says when it comes, which is known only to who stands in front.
    fn take(&self, now: Instant) -> Result<(), Option<Instant>> {
        let at = now.saturating_duration_since(start());
        let mut state = self.line.lock();
        if state.waiting.front().is_none_or(|(number, _)| *number != self.number) {
            return Err(None);
        }
        let due = state.due(0, &self.pace);
        if due > at {
            return Err(Some(start() + due));
        }
        state.waiting.pop_front();
        state.go(at, self.pace.step, self.pace.slack);
        state.wake_first();
        Ok(())
    }

    /// Waits for the turn. Whoever gives up shortens the wait of those behind it.
    ///
    /// # Errors
    /// When it has not come until then: those in front were too late. Tells how much longer it would take.
    pub(crate) async fn turn(self, until: Instant) -> Result<(), Duration> {
        loop {
            let now = Instant::now();
            let Err(comes) = self.take(now) else { return Ok(()) };
            if now >= until {
                return Err(self.left(now));
            }
            let again = comes.map_or(until, |comes| comes.min(until));
            let _ = tokio::time::timeout_at(again.into(), self.first.notified()).await;
        }
    }

    fn left(&self, now: Instant) -> Duration {
        let state = self.line.lock();
        let before = state.waiting.partition_point(|(number, _)| *number < self.number);
        state.due(before, &self.pace).saturating_sub(now.saturating_duration_since(start()))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        if let Ok(at) = state.waiting.binary_search_by_key(&self.number, |(number, _)| *number) {
            state.waiting.remove(at);
            if at == 0 {
                state.wake_first();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    proptest! {
        /// However late and in whatever order they wake, and whoever gives up: each in its turn, and none too early.
        #[test]
        fn turns_are_in_order_and_apart(
            comes in prop::collection::vec(0u32..40, 1..60),
            late in prop::collection::vec((0u32..90, prop::bool::weighted(0.2)), 1..60),
            burst in 1u32..4,
            slack in 0u32..15,
        ) {
            let pace = Pace { step: MS * 20, ahead: MS * 20 * (burst - 1), slack: MS * slack };
            let line = Arc::new(Line::default());
            // Behind the real start, so that the clock of this test never stands before it.
            let mut now = start() + Duration::from_secs(3_600);
            let mut went: Vec<(u64, Instant)> = Vec::new();
            let mut waiting: VecDeque<(u64, Ticket)> = VecDeque::new();
            for (i, after) in comes.iter().enumerate() {
                now += MS * *after;
                let number = i as u64;
                match line.come(now, pace, 1_000, Duration::from_secs(3_600)) {
                    Turn::Now => went.push((number, now)),
                    Turn::Wait(ticket) => {
                        prop_assert!(ticket.take(now).is_err(), "its turn was now");
                        waiting.push_back((number, ticket));
                    }
                    _ => panic!("there was room"),
                }
            }
            let mut late = late.iter().cycle();
            while !waiting.is_empty() {
                let (after, gives_up) = *late.next().unwrap();
                let other = after as usize % waiting.len();
                if gives_up {
                    waiting.remove(other);
                } else if other > 0 {
                    prop_assert_eq!(waiting[other].1.take(now), Err(None));
                }
                let Some((number, ticket)) = waiting.front() else { break };
                match ticket.take(now) {
                    Ok(()) => {
                        went.push((*number, now));
                        waiting.pop_front();
                        now += MS * (after % 7);
                    }
                    Err(comes) => now = comes.expect("the first knows its time") + MS * after,
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
        assert_eq!((second.take(now), second.left(now)), (Err(None), MS * 200));
        drop(first);
        assert_eq!((second.take(now), second.left(now)), (Err(Some(now + MS * 100)), MS * 100));
        assert_eq!(second.take(now + MS * 100), Ok(()));
        assert!(!line.is_over(now + MS * 199) && line.is_over(now + MS * 200));
    }

    /// The second of a line of 10,000 seconds, and the last.
    fn long_line() -> (Arc<Line>, Ticket, Vec<Ticket>, Ticket) {
        let pace = Pace { step: MS * 100, ahead: Duration::ZERO, slack: MS * 50 };
        let line = Arc::new(Line::default());
        let come = || line.come(Instant::now(), pace, usize::MAX, Duration::MAX);
        assert!(matches!(come(), Turn::Now));
        let mut all: Vec<_> = (0..100_000)
            .map(|_| match come() {
                Turn::Wait(ticket) => ticket,
                _ => panic!("its turn was now"),
            })
            .collect();
        let last = all.pop().unwrap();
        (line, all.remove(0), all, last)
    }

    fn run<T>(wait: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), wait).await.expect("nobody moves") })
    }

    #[test]
    fn a_line_moves_on_at_once_when_others_give_up() {
        let (line, second, mut between, last) = long_line();
        let (until, but_last) = (Instant::now() + Duration::from_secs(3_600), between.pop().unwrap());
        let gives_up = async {
            // By now the two wait.
            drop((second, between));
        };
        let waits = async { tokio::join!(biased; last.turn(until), but_last.turn(until), gives_up) };
        assert_eq!(run(waits), (Ok(()), Ok(()), ()));
        assert!(line.lock().waiting.is_empty());
    }

    #[test]
    fn nobody_waits_for_ever_for_who_never_goes() {
        let (line, _never_goes, between, last) = long_line();
        let left = run(last.turn(Instant::now() + MS)).unwrap_err();
        assert!(left > MS * 9_000_000, "{left:?}");
        assert_eq!(line.lock().waiting.len(), 1 + between.len());
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
