//! Passive checks: what commands themselves say about an instance.
//!
//! The fields and their meaning are Kong's, with three differences, each because the other way leaves an instance out
//! for ever or takes it out for nothing. An instance that was taken out comes back half-open by itself, one command at
//! a time; with Kong it stays out until an active check or a person brings it back. A success clears the failures also
//! with `successes: 0`, where Kong adds failures up over days. And never more than a share of a service's instances is
//! ejected, never the last usable one.

use super::floor::Floor;
use super::limits::{Counter, Judged, Limits, Report, Statuses};
use super::standing::{Standing, now};
use super::word::Word;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Failed connections in a row that eject, without a word in the configuration. Envoy's number of consecutive errors.
const TCP_FAILURES: u8 = 5;
/// Timeouts in a row that eject: fewer, since each has cost a caller its whole patience.
const TIMEOUTS: u8 = 3;
/// The statuses by which a gateway says that what is behind it cannot be reached.
const GATEWAY_STATUSES: [u16; 3] = [502, 503, 504];
/// The first ejection, and each one's addition.
const EJECTION_BASE: Duration = Duration::from_secs(10);
/// The longest ejection.
const EJECTION_MAX: Duration = Duration::from_secs(300);
/// The share of a service's instances that may be ejected at once.
const MAX_EJECTED: f64 = 0.5;

/// How ejections go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ejection {
    /// The n-th ejection in close succession takes n times as long.
    pub base: Duration,
    /// But not longer than this.
    pub max: Duration,
    /// The share of a service's instances that may be ejected at once.
    pub share: f64,
}

impl Default for Ejection {
    fn default() -> Ejection {
        Ejection { base: EJECTION_BASE, max: EJECTION_MAX, share: MAX_EJECTED }
    }
}

impl Ejection {
    fn time(&self, nth: u8) -> u64 {
        let time = self.base.saturating_mul(u32::from(nth)).min(self.max.max(self.base));
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The settings of passive checks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Passive {
    /// What counts how.
    pub limits: Limits,
    /// What comes of it.
    pub ejection: Ejection,
}

impl Default for Passive {
    /// Ours: failed connections and timeouts eject, statuses do not, since many a worker means its 500s. Any answer
    /// but a gateway's brings an instance back.
    fn default() -> Passive {
        let limits = Limits {
            healthy: Statuses::of((100..1000).filter(|s| !GATEWAY_STATUSES.contains(s))),
            successes: 1,
            unhealthy: Statuses::of(GATEWAY_STATUSES),
            http_failures: 0,
            tcp_failures: TCP_FAILURES,
            timeouts: TIMEOUTS,
        };
        Passive { limits, ejection: Ejection::default() }
    }
}

impl Passive {
    /// Kong's defaults: the statuses are named, and nothing counts.
    pub fn kong() -> Passive {
        let limits = Limits {
            healthy: Statuses::of((200..=208).chain([226]).chain(300..=308)),
            successes: 0,
            unhealthy: Statuses::of([429, 500, 503]),
            http_failures: 0,
            tcp_failures: 0,
            timeouts: 0,
        };
        Passive { limits, ejection: Ejection::default() }
    }
}

/// What a report changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing that anybody would want to hear.
    None,
    /// The instance is left alone for so long.
    Ejected(Duration),
    /// Commands go to it again.
    Back,
    /// It is down by its active checks.
    Down,
    /// It would have been ejected, but too few would have been left.
    Spared,
}

impl Standing {
    /// Takes in what came of a command that [`Standing::admit`] let in. Writes nothing when all is well and was.
    pub fn report(&self, passive: &Passive, report: Report, floor: &Floor) -> Change {
        self.report_when(passive, report, floor, now)
    }

    /// The clock is only looked at when something changes.
    fn report_when(&self, passive: &Passive, report: Report, floor: &Floor, now: impl FnOnce() -> u64) -> Change {
        // For commands, Kong counts a 504 as a timeout, whoever said it.
        let report = if report == Report::Status(504) { Report::Timeout } else { report };
        let judged = passive.limits.judge(report);
        if judged == Judged::Good && !self.word().has(Word::EJECTED) {
            self.passive.clear();
            return Change::None;
        }
        self.report_at(passive, (report, judged), floor, now())
    }

    fn report_at(&self, passive: &Passive, (report, judged): (Report, Judged), floor: &Floor, now: u64) -> Change {
        let word = self.word();
        if word.is_forced() || word.has(Word::DOWN | Word::STARTING) {
            return Change::None;
        }
        if !word.has(Word::EJECTED) {
            let Judged::Bad(counter, limit) = judged else {
                return Change::None;
            };
            let count = self.passive.count(counter);
            return match count >= limit {
                true => self.eject(&passive.ejection, floor, now, || in_a_row(report, count)),
                false => Change::None,
            };
        }
        // Stragglers from before the ejection prove nothing.
        if !word.is_half_open(now) {
            return Change::None;
        }
        match judged {
            Judged::Good => {
                if self.passive.count(Counter::Successes) < passive.limits.successes.max(1) {
                    self.release(now);
                    return Change::None;
                }
                self.passive.clear();
                let back = self.change(now, |w| w.has(Word::EJECTED).then(|| w.back(now)));
                back.map_or(Change::None, |_| Change::Back)
            }
            Judged::Bad(..) => {
                self.passive.clear();
                self.eject_again(&passive.ejection, now, &report.to_string())
            }
            Judged::Neither => {
                self.release(now);
                Change::None
            }
        }
    }

    /// Ejects it if the floor allows.
    pub(super) fn eject(&self, ejection: &Ejection, floor: &Floor, now: u64, why: impl FnOnce() -> String) -> Change {
        let out = |w: Word| {
            let nth = w.recent(now).saturating_add(1);
            let out = w.with(Word::EJECTED).counted(nth).at(now.saturating_add(ejection.time(nth)));
            (!w.has(Word::EJECTED)).then_some(out)
        };
        match floor.ask(self, ejection.share, || self.change(now, out)) {
            Some(Ok(Some((_, word)))) => {
                self.passive.clear();
                self.ejected_total.fetch_add(1, Relaxed);
                self.say(&why());
                Change::Ejected(Duration::from_millis(word.time().saturating_sub(now)))
            }
            // Another thread was first.
            Some(Ok(None)) | None => Change::None,
            Some(Err(())) => {
                // It has to fail as often again before the floor is asked again.
                self.passive.clear();
                Change::Spared
            }
        }
    }

    /// A half-open one failed: longer this time. It was out, so no floor is asked.
    fn eject_again(&self, ejection: &Ejection, now: u64, why: &str) -> Change {
        let longer = |w: Word| {
            let nth = w.recent(now).saturating_add(1);
            let longer = w.without(Word::TRIAL).counted(nth).at(now.saturating_add(ejection.time(nth)));
            w.is_half_open(now).then_some(longer)
        };
        let Some((_, word)) = self.change(now, longer) else { return Change::None };
        self.ejected_total.fetch_add(1, Relaxed);
        self.say(why);
        Change::Ejected(Duration::from_millis(word.time().saturating_sub(now)))
    }
}

fn in_a_row(report: Report, count: u8) -> String {
    match count {
        0 | 1 => report.to_string(),
        _ => format!("{report}, {count} in a row"),
    }
}

#[cfg(test)]
mod tests;
