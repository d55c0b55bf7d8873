//! What comes of an attempt: nothing more, or another one, and when.

use super::{Ending, Kept, State};
use crate::exchange::RetryLater;
use std::time::Duration;

/// The longest `Retry-After` that is obeyed.
const AFTER_MAX: Duration = Duration::from_secs(3600);

/// What an attempt met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    /// An answer.
    Answer {
        /// Its status.
        status: u16,
        /// What its `Retry-After` asks for.
        retry_after: Option<Duration>,
        /// What its `Fourmi-Retry` says.
        says: Option<Says>,
    },
    /// Nobody had it.
    Nobody(String),
    /// It was written, and nobody answered.
    Silence(String),
    /// It cannot be sent at all.
    Hopeless(String),
}

/// What a worker says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// `no`.
    No,
    /// `after=30s`.
    After(Duration),
}

impl Says {
    /// Reads a `Fourmi-Retry` line.
    pub fn parse(line: &str) -> Option<Says> {
        let line = line.trim();
        if line.eq_ignore_ascii_case("no") {
            return Some(Says::No);
        }
        let text = line.strip_prefix("after=")?.trim();
        let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(unit);
        let n: u64 = digits.parse().ok()?;
        let seconds = match unit {
            "ms" => return Some(Says::After(Duration::from_millis(n))),
            "" | "s" => n,
            "m" => n.checked_mul(60)?,
            "h" => n.checked_mul(3600)?,
            _ => return None,
        };
        Some(Says::After(Duration::from_secs(seconds)))
    }
}

/// The delay after the `attempt`-th attempt, before jitter.
fn delay(retry: &RetryLater, attempt: u32) -> Duration {
    let at = (attempt.max(1) as usize - 1).min(retry.delays.len().saturating_sub(1));
    retry.delays.get(at).copied().unwrap_or_default()
}

/// The same with jitter; `chance` is from 0 to 1.
fn jittered(retry: &RetryLater, attempt: u32, chance: f64) -> Duration {
    delay(retry, attempt).mul_f64((1.0 + retry.jitter * (2.0 * chance - 1.0)).max(0.0))
}

/// Whether an answer asks for another attempt.
pub fn is_failure(retry: &RetryLater, status: u16, says: Option<Says>) -> bool {
    match says {
        Some(Says::No) => false,
        Some(Says::After(_)) => true,
        None => retry.statuses.contains(&status),
    }
}

/// What comes of the `attempt`-th attempt of a command that is `age` old by now.
pub fn decide(retry: &RetryLater, met: Met, attempt: u32, age: Duration, at_most_once: bool, chance: f64) -> Ending {
    let last = |state, status, error| Ending::Final { state, status, error, answer: Kept::default() };
    let old = |error: String| format!("{error}; {:?} old (retry.max_age)", retry.max_age);
    let again = |status: u16, least: Option<Duration>, error: String| {
        if attempt >= retry.max_attempts {
            let error = format!("{error}; {attempt} attempts (retry.max_attempts)");
            return last(State::Dead, status, Some(error));
        }
        let after = jittered(retry, attempt, chance).max(least.unwrap_or_default().min(AFTER_MAX));
        if age.saturating_add(after) > retry.max_age {
            return last(State::Dead, status, Some(old(error)));
        }
        Ending::Again { after, status, error }
    };
    match met {
        Met::Answer { status, says: Some(Says::After(after)), .. } => {
            // The worker's word replaces the schedule, not only its minimum.
            match again(status, None, format!("the worker answered {status} and wants it again")) {
                Ending::Again { status, error, .. } => Ending::Again { after: after.min(AFTER_MAX), status, error },
                ended => ended,
            }
        }
        Met::Answer { status, says, retry_after } if is_failure(retry, status, says) => {
            again(status, retry_after, format!("the worker answered {status}"))
        }
        Met::Answer { status, .. } if status < 400 => last(State::Succeeded, status, None),
        Met::Answer { status, says, .. } => {
            let no = if says.is_some() { " (Fourmi-Retry: no)" } else { "" };
            last(State::Dead, status, Some(format!("the worker answered {status}{no}")))
        }
        Met::Nobody(error) if age > retry.max_age => last(State::Dead, 0, Some(old(error))),
        Met::Nobody(error) => Ending::Nobody { error },
        Met::Silence(error) if at_most_once => last(State::Unknown, 0, Some(error)),
        Met::Silence(error) => again(0, None, error),
        Met::Hopeless(error) => last(State::Dead, 0, Some(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Met {
        Met::Answer { status, retry_after: None, says: None }
    }

    /// What it is, in words.
    fn told(ending: &Ending) -> String {
        match ending {
            Ending::Final { state, .. } => state.as_str().to_owned(),
            Ending::Again { after, .. } => format!("again after {} ms", after.as_millis()),
            Ending::Nobody { .. } => "nobody".to_owned(),
            Ending::Held { .. } => "held".to_owned(),
            Ending::Forget => "forget".to_owned(),
        }
    }

    #[test]
    fn every_outcome_has_its_consequence() {
        let retry = RetryLater { jitter: 0.0, ..RetryLater::default() };
        let now = Duration::ZERO;
        let decided = |met, attempt| told(&decide(&retry, met, attempt, now, false, 0.5));
        for status in [200, 201, 204, 301, 304] {
            assert_eq!(decided(answer(status), 1), "succeeded", "{status}");
        }
        for status in [400, 401, 403, 404, 409, 410, 422, 501, 505] {
            assert_eq!(decided(answer(status), 1), "dead", "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(decided(answer(status), 1), "again after 1000 ms", "{status}");
        }
        let silent = || Met::Silence("no answer".into());
        assert_eq!(decided(silent(), 1), "again after 1000 ms");
        assert_eq!(told(&decide(&retry, silent(), 1, now, true, 0.5)), "unknown");
        assert_eq!(decided(Met::Nobody("refused".into()), 11), "nobody", "that burns no attempt");
        assert_eq!(decided(Met::Hopeless("no".into()), 1), "dead");
        assert_eq!(decided(answer(503), 12), "dead", "the last attempt");
    }

    #[test]
    fn the_schedule_is_kept_from_the_end_of_each_attempt() {
        let retry = RetryLater {
            delays: [1, 5, 30].map(Duration::from_secs).to_vec(),
            jitter: 0.0,
            max_attempts: 5,
            ..RetryLater::default()
        };
        // A clock of our own: attempts at 0, 1, 6, 36 and 66 s, then it is dead.
        let (mut clock, mut at) = (Duration::ZERO, Vec::new());
        for attempt in 1.. {
            at.push(clock.as_secs());
            match decide(&retry, answer(503), attempt, clock, false, 0.5) {
                Ending::Again { after, .. } => clock += after,
                ended => {
                    assert_eq!(told(&ended), "dead");
                    break;
                }
            }
        }
        assert_eq!(at, [0, 1, 6, 36, 66]);
    }

    #[test]
    fn a_worker_has_its_say() {
        let retry = RetryLater { jitter: 0.0, ..RetryLater::default() };
        let decided = |status, retry_after: Option<u64>, says| {
            let met = Met::Answer { status, retry_after: retry_after.map(Duration::from_secs), says };
            told(&decide(&retry, met, 1, Duration::ZERO, false, 0.5))
        };
        assert_eq!(decided(503, Some(20), None), "again after 20000 ms", "not before");
        assert_eq!(decided(429, Some(86_400), None), "again after 3600000 ms", "an hour at most");
        assert_eq!(decided(503, None, Some(Says::No)), "dead");
        assert_eq!(decided(200, None, Some(Says::After(Duration::from_secs(30)))), "again after 30000 ms");
        assert_eq!(decided(503, Some(20), Some(Says::After(Duration::from_millis(5)))), "again after 5 ms");
        assert_eq!(Says::parse("no"), Some(Says::No));
        assert_eq!(Says::parse(" after=30s "), Some(Says::After(Duration::from_secs(30))));
        assert_eq!(Says::parse("after=250ms"), Some(Says::After(Duration::from_millis(250))));
        for line in ["", "yes", "after=", "after=x", "after=1d", "after=99999999999999999999"] {
            assert_eq!(Says::parse(line), None, "{line}");
        }
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let retry = RetryLater::default();
        assert_eq!(jittered(&retry, 1, 0.0), Duration::from_millis(900));
        assert_eq!(jittered(&retry, 1, 1.0), Duration::from_millis(1100));
        assert_eq!(jittered(&retry, 100, 0.5), Duration::from_secs(3600), "the last one repeats");
    }

    #[test]
    fn what_is_too_old_is_dead() {
        let retry = RetryLater { jitter: 0.0, ..RetryLater::default() };
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(
            told(&decide(&retry, answer(503), 2, day - Duration::from_secs(6), false, 0.5)),
            "again after 5000 ms"
        );
        assert_eq!(told(&decide(&retry, answer(503), 2, day - Duration::from_secs(4), false, 0.5)), "dead");
        let nobody = Met::Nobody("refused".into());
        assert_eq!(told(&decide(&retry, nobody, 1, day + Duration::from_secs(1), false, 0.5)), "dead");
    }
}
