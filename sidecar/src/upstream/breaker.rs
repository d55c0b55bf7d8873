//! A circuit breaker: a service that mostly fails is left alone for a while and then asked by one command.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// When it opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The share of failures that opens it.
    pub failures: f64,
    /// Commands that a window must have before its share means something.
    pub least: u32,
    /// How long commands are counted together.
    pub window: Duration,
    /// How long it stays open.
    pub open: Duration,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Commands pass.
    Closed,
    /// Commands are refused until then.
    Open(Instant),
    /// One command is on its way to find out, and must have come back by then.
    HalfOpen(Instant),
}

/// One thread's breaker of one service. It outlives changes of plan.
#[derive(Debug)]
pub struct Breaker {
    state: Cell<State>,
    began: Cell<Instant>,
    commands: Cell<u32>,
    failed: Cell<u32>,
}

/// Whether a command may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Yes.
    Yes,
    /// Yes, and its end decides.
    Trial,
    /// No, for so long.
    No(Duration),
}

/// How the breaker moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It refuses from now on.
    Opened,
    /// It lets pass from now on.
    Closed,
}

impl Breaker {
    /// A closed one.
    pub fn new(now: Instant) -> Self {
        Breaker { state: Cell::new(State::Closed), began: Cell::new(now), commands: Cell::new(0), failed: Cell::new(0) }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// Whether a command may go.
    pub fn admit(&self, settings: &Settings, now: Instant) -> Pass {
        match self.state.get() {
            State::Closed => Pass::Yes,
            State::Open(until) | State::HalfOpen(until) if now < until => Pass::No(until - now),
            // Its time has come, or the one that was to find out never came back.
            State::Open(_) | State::HalfOpen(_) => {
                self.state.set(State::HalfOpen(now + settings.open));
                Pass::Trial
            }
        }
    }

    /// A command has ended.
    pub fn ended(&self, settings: &Settings, pass: Pass, failed: bool, now: Instant) -> Option<Moved> {
        match (pass, self.state.get()) {
            // Another trial was faster.
            (Pass::Yes | Pass::Trial, State::Closed) => self.count(settings, failed, now),
            (Pass::Trial, _) if failed => {
                self.state.set(State::Open(now + settings.open));
                None
            }
            (Pass::Trial, _) => {
                self.state.set(State::Closed);
                self.begin(now);
                Some(Moved::Closed)
            }
            // It was sent before the breaker opened.
            _ => None,
        }
    }

    /// The command that was to find out ended without telling anything: its caller left, or it was refused before.
    pub fn given_up(&self, pass: Pass, now: Instant) {
        if pass == Pass::Trial && matches!(self.state.get(), State::HalfOpen(_)) {
            self.state.set(State::Open(now));
        }
    }

    /// Nobody asks it any more; whether it was open.
    pub fn reset(&self) -> bool {
        self.state.replace(State::Closed) != State::Closed
    }

    fn begin(&self, now: Instant) {
        self.began.set(now);
        self.commands.set(0);
        self.failed.set(0);
    }

    fn count(&self, settings: &Settings, failed: bool, now: Instant) -> Option<Moved> {
        if now.saturating_duration_since(self.began.get()) > settings.window {
            self.begin(now);
        }
        self.commands.set(self.commands.get().saturating_add(1));
        if !failed {
            return None;
        }
        self.failed.set(self.failed.get().saturating_add(1));
        let enough = self.commands.get() >= settings.least;
        if enough && f64::from(self.failed.get()) >= settings.failures * f64::from(self.commands.get()) {
            self.state.set(State::Open(now + settings.open));
            return Some(Moved::Opened);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_asks_once_and_closes() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let s =
            Settings { failures: 0.5, least: 4, window: Duration::from_millis(1000), open: Duration::from_millis(100) };
        let b = Breaker::new(start);
        for failed in [true, false, true] {
            assert_eq!(b.admit(&s, at(0)), Pass::Yes);
            assert_eq!(b.ended(&s, Pass::Yes, failed, at(0)), None, "too few to judge");
        }
        assert_eq!(b.ended(&s, Pass::Yes, true, at(0)), Some(Moved::Opened));
        assert_eq!(b.admit(&s, at(60)), Pass::No(Duration::from_millis(40)));
        assert_eq!(b.ended(&s, Pass::Yes, false, at(60)), None, "it was sent before");
        assert_eq!(b.admit(&s, at(100)), Pass::Trial);
        assert!(matches!(b.admit(&s, at(100)), Pass::No(_)), "one at a time");
        assert_eq!(b.ended(&s, Pass::Trial, true, at(110)), None);
        assert!(matches!(b.admit(&s, at(200)), Pass::No(_)));
        assert_eq!(b.admit(&s, at(210)), Pass::Trial);
        b.given_up(Pass::Trial, at(215));
        assert_eq!(b.admit(&s, at(215)), Pass::Trial, "the next one finds out");
        assert_eq!(b.ended(&s, Pass::Trial, false, at(220)), Some(Moved::Closed));
        assert_eq!(b.admit(&s, at(220)), Pass::Yes);
        // A window that is over counts no more.
        for _ in 0..3 {
            assert_eq!(b.ended(&s, Pass::Yes, true, at(230)), None);
        }
        assert_eq!(b.ended(&s, Pass::Yes, true, at(2000)), None);
        // A trial that never comes back is followed by another.
        for _ in 0..3 {
            b.ended(&s, Pass::Yes, true, at(2000));
        }
        assert_eq!(b.admit(&s, at(2100)), Pass::Trial);
        assert_eq!(b.admit(&s, at(2200)), Pass::Trial);
        // Both come back: it closes once, and what the slower one says counts like any other.
        assert_eq!(b.ended(&s, Pass::Trial, false, at(2210)), Some(Moved::Closed));
        assert_eq!(b.ended(&s, Pass::Trial, false, at(2220)), None);
        assert_eq!(b.ended(&s, Pass::Trial, true, at(2220)), None);
        b.given_up(Pass::Trial, at(2230));
        assert_eq!(b.admit(&s, at(2230)), Pass::Yes);
        assert!(!b.reset());
    }
}
