//! What results add up to: so many in a row change the state, and who changes too often is held back.

use crate::model::{State, Timing};
use std::time::{Duration, Instant};

/// What one fall counts.
const FALL: f64 = 1000.0;
/// With so much it is held back: the fourth fall within a minute or so.
const HOLD: f64 = 3000.0;
/// With so little it is let go again.
const LET_GO: f64 = 1000.0;
/// The most that counts, so that nobody is held back for more than three half-lives.
const MOST: f64 = 6000.0;
/// What counted is half of it after that time. (RFC 2439 does so with routes.)
const HALF_LIFE: Duration = Duration::from_secs(60);

/// The results of one check so far.
#[derive(Debug)]
pub(super) struct Tally {
    state: State,
    successes: u32,
    failures: u32,
    penalty: f64,
    at: Instant,
    held: bool,
    last: Option<Verdict>,
}

/// What a result leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: State,
    /// It passes, yet it is held critical.
    pub(super) held: bool,
}

impl Tally {
    /// Nothing is known but the state to begin with.
    pub(super) fn new(state: State, now: Instant) -> Self {
        Tally { state, successes: 0, failures: 0, penalty: 0.0, at: now, held: false, last: None }
    }

    /// What the results before led to; None before the first.
    pub(super) fn shown(&self) -> Option<Verdict> {
        self.last
    }

    /// Counts a result.
    pub(super) fn count(&mut self, result: State, timing: &Timing, now: Instant) -> Verdict {
        let before = self.state;
        if result.usable() {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            if self.successes >= u32::from(timing.success_before_passing.max(1)) {
                self.state = result;
            }
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            let critical = u32::from(timing.failures_before_critical.max(1));
            let warning = match timing.failures_before_warning {
                0 => critical,
                warning => u32::from(warning),
            };
            if self.failures >= critical {
                self.state = State::Critical;
            } else if self.failures >= warning && self.state == State::Passing {
                self.state = State::Warning;
            }
        }
        self.penalty *= 0.5_f64.powf(now.saturating_duration_since(self.at).div_duration_f64(HALF_LIFE));
        self.at = now;
        if before.usable() && !self.state.usable() {
            self.penalty = (self.penalty + FALL).min(MOST);
        }
        self.held = if self.held { self.penalty >= LET_GO } else { self.penalty >= HOLD };
        let verdict = match self.held && self.state.usable() {
            true => Verdict { state: State::Critical, held: true },
            false => Verdict { state: self.state, held: false },
        };
        self.last = Some(verdict);
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Critical, Passing, Warning};

    fn states(timing: &Timing, results: &[State]) -> Vec<State> {
        let now = Instant::now();
        let mut tally = Tally::new(Critical, now);
        results.iter().map(|result| tally.count(*result, timing, now).state).collect()
    }

    #[test]
    fn so_many_in_a_row_change_the_state_from_the_first_on() {
        let plain = Timing::default();
        assert_eq!(states(&plain, &[Passing, Warning, Critical, Passing]), [Passing, Warning, Critical, Passing]);
        let slow = Timing {
            success_before_passing: 2,
            failures_before_warning: 2,
            failures_before_critical: 3,
            ..Timing::default()
        };
        let results = [Passing, Passing, Critical, Critical, Critical, Passing, Critical, Passing, Passing];
        let expected = [Critical, Passing, Passing, Warning, Critical, Critical, Critical, Critical, Passing];
        assert_eq!(states(&slow, &results), expected);
    }

    #[test]
    fn who_changes_too_often_is_held_back_for_a_while() {
        let timing = Timing::default();
        let mut now = Instant::now();
        let mut tally = Tally::new(Critical, now);
        let mut verdicts = Vec::new();
        for result in [Passing, Critical].into_iter().cycle().take(9) {
            now += Duration::from_secs(1);
            verdicts.push(tally.count(result, &timing, now));
        }
        let held = Verdict { state: Critical, held: true };
        assert_eq!(verdicts[6], Verdict { state: Passing, held: false }, "three falls are forgiven");
        assert_eq!(verdicts[8], held, "four are not");
        assert_eq!(tally.count(Passing, &timing, now + HALF_LIFE), held);
        let later = now + HALF_LIFE * 2;
        assert_eq!(tally.count(Passing, &timing, later), Verdict { state: Passing, held: false });
    }
}
