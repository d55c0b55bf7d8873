//! What all threads know of one instance: whether commands may go to it, and why not.

use super::counters::{Counters, Counts};
use super::word::Word;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A trial that nobody reported on is over after this long, and the next command may be one.
const TRIAL: u64 = 10_000;
/// Bytes of a failure's text that are kept.
const TEXT_MAX: usize = 256;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the first question.
pub(super) fn now() -> u64 {
    u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// How an instance stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Commands go to it.
    Healthy,
    /// Its checks say no.
    Unhealthy,
    /// Its commands failed; it is left alone for a while.
    Ejected,
    /// It is given one command at a time to prove itself.
    HalfOpen,
    /// Put in by hand.
    ForcedUp,
    /// Taken out by hand.
    ForcedDown,
    /// Nobody has reached it yet.
    Unknown,
}

impl State {
    /// The word that the API shows.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Unhealthy => "unhealthy",
            State::Ejected => "ejected",
            State::HalfOpen => "half-open",
            State::ForcedUp => "forced-up",
            State::ForcedDown => "forced-down",
            State::Unknown => "unknown",
        }
    }
}

/// Everything about an instance, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// How it stands.
    pub state: State,
    /// Whether the last connection to it succeeded.
    pub reached: bool,
    /// What active checks have counted.
    pub active: Counts,
    /// What commands have counted.
    pub passive: Counts,
    /// Ejections that make the next one longer.
    pub ejections: u8,
    /// Ejections ever.
    pub ejected_total: u64,
    /// How long it is still ejected.
    pub ejected_for: Option<Duration>,
    /// How long it has been usable without a break.
    pub usable_for: Option<Duration>,
    /// What went wrong with it last.
    pub last_failure: Option<String>,
    /// How long ago that was.
    pub last_failure_ago: Option<Duration>,
}

/// What a command owes that was let in: none, or the proof that is over at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial(u64);

impl Trial {
    const NONE: Trial = Trial(0);
}

/// One instance. Written when it changes, not per command: what is asked of it for every command is one load.
#[derive(Debug)]
pub struct Standing {
    word: AtomicU64,
    pub(super) passive: Counters,
    pub(super) active: Counters,
    since: AtomicU64,
    pub(super) ejected_total: AtomicU64,
    reached: AtomicBool,
    /// The last failure, and when that was.
    failure: Mutex<Option<(String, u64)>>,
}

impl Standing {
    /// An instance that nobody has reached yet. `gated`: it is not usable before a check succeeded.
    pub fn new(gated: bool) -> Arc<Self> {
        Arc::new(Standing {
            word: AtomicU64::new(if gated { Word::STARTING } else { 0 }),
            passive: Counters::default(),
            active: Counters::default(),
            since: AtomicU64::new(now()),
            ejected_total: AtomicU64::new(0),
            reached: AtomicBool::new(false),
            failure: Mutex::new(None),
        })
    }

    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Relaxed))
    }

    /// Changes the word in one step unless `next` says none. What it was, and is now.
    pub(super) fn change(&self, now: u64, next: impl Fn(Word) -> Option<Word>) -> Option<(Word, Word)> {
        let was = Word(self.word.fetch_update(Relaxed, Relaxed, |w| next(Word(w)).map(|w| w.0)).ok()?);
        let is = next(was)?;
        if !was.is_open() && is.is_open() {
            self.since.store(now, Relaxed);
        }
        Some((was, is))
    }

    /// Whether a command may go to it now. A half-open one says yes until a command is let in by [`Standing::admit`].
    pub fn usable(&self) -> bool {
        let word = self.word();
        !word.has(Word::SPECIAL) || word.is_open() || self.usable_at(now())
    }

    pub(super) fn usable_at(&self, now: u64) -> bool {
        let word = self.word();
        word.is_open() || (word.is_only_ejected() && word.time() <= now)
    }

    /// Lets a command in that is about to be sent. Of a half-open instance only one at a time gets in, and has to
    /// report or to give up.
    pub fn admit(&self) -> Option<Trial> {
        if self.word().is_open() { Some(Trial::NONE) } else { self.admit_at(now()) }
    }

    pub(super) fn admit_at(&self, now: u64) -> Option<Trial> {
        if self.word().is_open() {
            return Some(Trial::NONE);
        }
        let enter = |w: Word| (w.is_only_ejected() && w.time() <= now).then(|| w.with(Word::TRIAL).at(now + TRIAL));
        self.change(now, enter).map(|(_, is)| Trial(is.time()))
    }

    /// A command that was let in has ended. If it was to prove the instance and told nothing, because its caller left
    /// or the fault was ours, the next one may.
    pub fn give_up(&self, trial: Trial) {
        if trial != Trial::NONE {
            self.give_up_at(trial, now());
        }
    }

    pub(super) fn give_up_at(&self, trial: Trial, now: u64) {
        let _ =
            self.change(now, |w| (w.has(Word::TRIAL) && w.time() == trial.0).then(|| w.without(Word::TRIAL).at(now)));
    }

    /// The command that was to prove it did not: another may.
    pub(super) fn release(&self, now: u64) {
        let _ = self.change(now, |w| w.has(Word::TRIAL).then(|| w.without(Word::TRIAL).at(now)));
    }

    /// When it may be tried again; none when that is not a matter of time, or now.
    pub fn next_try(&self) -> Option<Instant> {
        let word = self.word();
        word.is_only_ejected().then(|| *EPOCH + Duration::from_millis(word.time()))
    }

    /// Whether its failures or its checks have taken it out.
    pub(super) fn is_out(&self) -> bool {
        self.word().has(Word::DOWN | Word::EJECTED | Word::STARTING)
    }

    /// Notes whether the last connection to it succeeded.
    pub fn set_reached(&self, yes: bool) {
        if self.reached.load(Relaxed) != yes {
            self.reached.store(yes, Relaxed);
            if yes {
                self.since.store(now(), Relaxed);
            }
        }
    }

    /// Whether the last connection to it succeeded.
    pub fn is_reached(&self) -> bool {
        self.reached.load(Relaxed)
    }

    /// Whether commands may go to it and would arrive.
    pub fn up(&self) -> bool {
        self.usable() && self.is_reached()
    }

    /// How long it has been usable without a break, which is what a slow start counts from.
    pub fn usable_for(&self) -> Option<Duration> {
        self.usable_for_at(now())
    }

    pub(super) fn usable_for_at(&self, now: u64) -> Option<Duration> {
        let open = self.word().is_open();
        open.then(|| Duration::from_millis(now.saturating_sub(self.since.load(Relaxed))))
    }

    /// By hand: in or out whatever checks and commands say, or as they say again.
    pub fn force(&self, up: Option<bool>) {
        let flag = match up {
            Some(true) => Word::FORCED_UP,
            Some(false) => Word::FORCED_DOWN,
            None => 0,
        };
        let _ = self.change(now(), |w| Some(w.without(Word::FORCED).with(flag)));
    }

    /// By hand: healthy as of now, with all that was counted forgotten; checks and commands go on from there.
    pub fn heal(&self) {
        let gone = Word::STARTING | Word::DOWN | Word::EJECTED | Word::TRIAL;
        let now = now();
        let _ = self.change(now, |w| Some(w.without(gone).counted(0).at(now)));
        self.passive.clear();
        self.active.clear();
    }

    /// Its active checks have ended or become others: what they said is forgotten. `gated` as in [`Standing::new`],
    /// except that one which serves already goes on serving until the new check has spoken.
    pub fn forget_checks(&self, gated: bool) {
        let said = Word::STARTING | Word::DOWN | Word::UP;
        let _ = self.change(now(), |w| {
            let serves = w.has(Word::UP) || (self.is_reached() && !w.has(Word::DOWN | Word::STARTING));
            let starting = if gated && !serves { Word::STARTING } else { 0 };
            Some(w.without(said).with(starting))
        });
        self.active.clear();
    }

    /// Remembers what went wrong with it last.
    pub fn say(&self, why: &str) {
        let mut end = why.len().min(TEXT_MAX);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        let text = why.get(..end).unwrap_or_default().to_owned();
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some((text, now()));
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.state_at(now())
    }

    pub(super) fn state_at(&self, now: u64) -> State {
        let word = self.word();
        match () {
            () if word.has(Word::FORCED_UP) => State::ForcedUp,
            () if word.has(Word::FORCED_DOWN) => State::ForcedDown,
            () if word.has(Word::DOWN) => State::Unhealthy,
            () if word.has(Word::STARTING) => State::Unknown,
            () if word.is_half_open(now) => State::HalfOpen,
            () if word.has(Word::EJECTED) => State::Ejected,
            () if word.has(Word::UP) || self.is_reached() => State::Healthy,
            () => State::Unknown,
        }
    }

    /// Everything, for people.
    pub fn shown(&self) -> Shown {
        self.shown_at(now())
    }

    pub(super) fn shown_at(&self, now: u64) -> Shown {
        let word = self.word();
        let ejected = word.has(Word::EJECTED) && !word.is_half_open(now);
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Shown {
            state: self.state_at(now),
            reached: self.is_reached(),
            active: self.active.shown(),
            passive: self.passive.shown(),
            ejections: word.recent(now),
            ejected_total: self.ejected_total.load(Relaxed),
            ejected_for: ejected.then(|| Duration::from_millis(word.time().saturating_sub(now))),
            usable_for: self.usable_for_at(now),
            last_failure: failure.as_ref().map(|(text, _)| text.clone()),
            last_failure_ago: failure.map(|(_, at)| Duration::from_millis(now.saturating_sub(at))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Counter;
    use super::*;

    #[test]
    fn a_new_check_starts_anew() {
        // Who serves goes on; who waits for its check waits for the new one.
        for (gated, reached, gated_now, usable) in [
            (false, true, true, true),
            (false, false, true, false),
            (true, false, true, false),
            (true, true, true, false),
            (true, false, false, true),
            (false, false, false, true),
        ] {
            let one = Standing::new(gated);
            one.set_reached(reached);
            one.active.count(Counter::Timeouts);
            one.forget_checks(gated_now);
            assert_eq!(one.usable(), usable, "{gated} {reached} {gated_now}");
            assert_eq!(one.shown().active, Counts::default());
        }
    }

    #[test]
    fn what_is_said_is_short() {
        let one = Standing::new(false);
        one.say(&"é".repeat(TEXT_MAX));
        assert_eq!(one.shown().last_failure, Some("é".repeat(TEXT_MAX / 2)));
        one.say(&format!("x{}", "é".repeat(TEXT_MAX)));
        assert_eq!(one.shown().last_failure.map(|t| t.len()), Some(TEXT_MAX - 1));
    }
}
