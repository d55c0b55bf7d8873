//! What all threads know of one instance: whether commands may go to it, and why not.

use super::limits::Counter;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A trial that nobody reported on is over after this long, and the next command may be one.
const TRIAL: u64 = 10_000;
/// After this long without an ejection one of the earlier ones is forgotten.
pub(super) const CALM: u64 = 60_000;
/// Bytes of a failure's text that are kept.
const TEXT_MAX: usize = 256;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the first question.
pub(super) fn now() -> u64 {
    u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// All that decides whether an instance is usable, so that it changes in one step: flags, how often it was ejected of
/// late, and a time in milliseconds (ejected: until when; else: since when no more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    /// Its check has not let it in yet.
    pub(super) const STARTING: u64 = 1;
    /// Active checks say that it is down.
    pub(super) const DOWN: u64 = 1 << 1;
    /// Ejected; half-open once the time is over.
    pub(super) const EJECTED: u64 = 1 << 2;
    /// Taken out by hand.
    pub(super) const FORCED_DOWN: u64 = 1 << 3;
    /// Put in by hand, whatever the rest says.
    pub(super) const FORCED_UP: u64 = 1 << 4;
    /// Active checks say that it is up.
    pub(super) const UP: u64 = 1 << 5;
    /// Half-open, and a command is proving it; the time is that of the proof.
    pub(super) const TRIAL: u64 = 1 << 6;

    const SPECIAL: u64 = Word::STARTING | Word::DOWN | Word::EJECTED | Word::FORCED_DOWN;
    const FORCED: u64 = Word::FORCED_DOWN | Word::FORCED_UP;
    const TIME_SHIFT: u32 = 16;

    pub(super) fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }
    pub(super) fn with(self, flags: u64) -> Word {
        Word(self.0 | flags)
    }
    pub(super) fn without(self, flags: u64) -> Word {
        Word(self.0 & !flags)
    }
    pub(super) fn time(self) -> u64 {
        self.0 >> Word::TIME_SHIFT
    }
    pub(super) fn at(self, time: u64) -> Word {
        let time = time.min(u64::MAX >> Word::TIME_SHIFT);
        Word((self.0 & ((1 << Word::TIME_SHIFT) - 1)) | (time << Word::TIME_SHIFT))
    }
    pub(super) fn ejections(self) -> u8 {
        (self.0 >> 8) as u8
    }
    pub(super) fn counted(self, ejections: u8) -> Word {
        Word((self.0 & !0xff00) | (u64::from(ejections) << 8))
    }
    pub(super) fn is_forced(self) -> bool {
        self.has(Word::FORCED)
    }
    /// Commands may go to it freely.
    pub(super) fn is_open(self) -> bool {
        !self.has(Word::SPECIAL) || self.has(Word::FORCED_UP)
    }
    /// Nothing but the ejection is in the way.
    fn is_only_ejected(self) -> bool {
        self.0 & (Word::SPECIAL | Word::FORCED_UP) == Word::EJECTED
    }
    /// The ejection is over and it may prove itself, or does.
    pub(super) fn is_half_open(self, now: u64) -> bool {
        self.has(Word::EJECTED) && (self.has(Word::TRIAL) || self.time() <= now)
    }
    /// Ejections that still count.
    pub(super) fn recent(self, now: u64) -> u8 {
        let calm = if self.has(Word::EJECTED) { 0 } else { now.saturating_sub(self.time()) / CALM };
        self.ejections().saturating_sub(u8::try_from(calm).unwrap_or(u8::MAX))
    }
    /// Out of the ejection.
    pub(super) fn back(self, now: u64) -> Word {
        match self.has(Word::EJECTED) {
            true => self.without(Word::EJECTED | Word::TRIAL).at(now),
            false => self,
        }
    }
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

/// Counted reports, up to 255 of each kind. A success clears the failures, a failure the successes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Successes on the way back.
    pub successes: u8,
    /// Failed by their status.
    pub http_failures: u8,
    /// Failed connections.
    pub tcp_failures: u8,
    /// Timeouts.
    pub timeouts: u8,
}

/// Four counters in one atomic, so that they change together.
#[derive(Debug, Default)]
pub(super) struct Counters(AtomicU32);

impl Counters {
    /// Counts one more; its counter's new value.
    pub(super) fn count(&self, counter: Counter) -> u8 {
        let place = match counter {
            Counter::Successes => 0,
            Counter::HttpFailures => 1,
            Counter::TcpFailures => 2,
            Counter::Timeouts => 3,
        };
        let next = |all: u32| {
            let mut bytes = all.to_le_bytes();
            match counter {
                Counter::Successes => bytes = [bytes[0], 0, 0, 0],
                _ => bytes[0] = 0,
            }
            bytes[place] = bytes[place].saturating_add(1);
            u32::from_le_bytes(bytes)
        };
        let before = self.0.fetch_update(Relaxed, Relaxed, |all| Some(next(all))).unwrap_or_else(|all| all);
        next(before).to_le_bytes()[place]
    }

    /// All to zero; writes nothing when they are.
    pub(super) fn clear(&self) {
        if self.0.load(Relaxed) != 0 {
            self.0.store(0, Relaxed);
        }
    }

    /// The successes to zero, in the same way.
    pub(super) fn clear_successes(&self) {
        if self.0.load(Relaxed) & 0xff != 0 {
            self.0.fetch_and(!0xff, Relaxed);
        }
    }

    fn shown(&self) -> Counts {
        let [successes, http_failures, tcp_failures, timeouts] = self.0.load(Relaxed).to_le_bytes();
        Counts { successes, http_failures, tcp_failures, timeouts }
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
    /// Why it was last taken out.
    pub last_failure: Option<String>,
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
    failure: Mutex<Option<String>>,
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

    /// Lets a command in that is about to be sent. Of a half-open instance only one at a time gets a yes, and has to
    /// report.
    pub fn admit(&self) -> bool {
        self.word().is_open() || self.admit_at(now())
    }

    pub(super) fn admit_at(&self, now: u64) -> bool {
        let enter = |w: Word| (w.is_only_ejected() && w.time() <= now).then(|| w.with(Word::TRIAL).at(now + TRIAL));
        self.word().is_open() || self.change(now, enter).is_some()
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

    /// Its active checks have ended or become others: what they said is forgotten.
    pub fn forget_checks(&self, gated: bool) {
        let said = Word::STARTING | Word::DOWN | Word::UP;
        let _ = self.change(now(), |w| {
            // Who was let in stays so; the new check will say.
            let starting = if gated && !w.has(Word::UP) { Word::STARTING } else { 0 };
            Some(w.without(said).with(starting))
        });
        self.active.clear();
    }

    /// Says why it was taken out.
    pub(super) fn say(&self, why: &str) {
        let mut end = why.len().min(TEXT_MAX);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        let text = why.get(..end).unwrap_or_default().to_owned();
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
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
        Shown {
            state: self.state_at(now),
            reached: self.is_reached(),
            active: self.active.shown(),
            passive: self.passive.shown(),
            ejections: word.recent(now),
            ejected_total: self.ejected_total.load(Relaxed),
            ejected_for: ejected.then(|| Duration::from_millis(word.time().saturating_sub(now))),
            usable_for: self.usable_for_at(now),
            last_failure: self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
