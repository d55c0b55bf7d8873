//! How many stored commands of a service are sent at once: one to find out, then twice as many each round, as long as
//! the service does not become slower by it. Live commands come first: they never wait for these.

use std::time::{Duration, Instant};

/// After nobody was there: the first wait, and the longest.
const AWAY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The weight of the newest duration in the smoothed one.
const NEWEST: f64 = 0.1;
/// How much slower than when it had little to do a service may become.
const SLOWER: f64 = 2.0;
/// Below this a difference means nothing.
const NOISE: f64 = 0.002;
/// How much of the least is forgotten in a second, so that a service that has become slow for good is not held back for
/// ever.
const FORGET: f64 = 0.01;

/// How an attempt ended, as far as the service is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It answered.
    Well,
    /// It failed.
    Badly,
    /// It was not there.
    Away,
}

/// One service.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) running: u32,
    /// Those whose answer has begun and does not end: they hold nobody up, and are as many as may be sent at once.
    answering: u32,
    pub(super) paused: bool,
    window: f64,
    most: u32,
    closed: Option<Instant>,
    away: Duration,
    /// Smoothed seconds of an attempt, and the least that it was.
    smooth: Option<f64>,
    least: f64,
    last: Option<Instant>,
}

impl Gate {
    pub(super) fn new(most: u32, paused: bool) -> Gate {
        Gate {
            running: 0,
            answering: 0,
            paused,
            window: 1.0,
            most,
            closed: None,
            away: AWAY.0,
            smooth: None,
            least: f64::MAX,
            last: None,
        }
    }

    /// How many more may be sent.
    pub(super) fn room(&self, now: Instant) -> u32 {
        if self.paused || self.closed.is_some_and(|until| until > now) {
            return 0;
        }
        let all = self.most.saturating_sub(self.running.saturating_add(self.answering));
        (self.window as u32).max(1).saturating_sub(self.running).min(all)
    }

    /// Whether anything of it is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.running == 0 && self.answering == 0
    }

    /// When it opens again, if it is closed.
    pub(super) fn opens(&self, now: Instant) -> Option<Instant> {
        self.closed.filter(|until| *until > now)
    }

    pub(super) fn begun(&mut self) {
        self.running += 1;
    }

    /// It was not sent after all.
    pub(super) fn not_begun(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Its answer has begun, which says how the service is; the rest of it may take long.
    pub(super) fn answering(&mut self, now: Instant, how: How, took: Duration) {
        self.ended(now, how, took);
        self.answering += 1;
    }

    /// Such an answer has ended.
    pub(super) fn answered(&mut self) {
        self.answering = self.answering.saturating_sub(1);
    }

    pub(super) fn ended(&mut self, now: Instant, how: How, took: Duration) {
        self.running = self.running.saturating_sub(1);
        match how {
            How::Well => {
                (self.closed, self.away) = (None, AWAY.0);
                let took = took.as_secs_f64();
                let smooth = self.smooth.map_or(took, |smooth| smooth + NEWEST * (took - smooth));
                self.smooth = Some(smooth);
                let since =
                    self.last.replace(now).map_or(0.0, |last| now.saturating_duration_since(last).as_secs_f64());
                self.least = (self.least * (1.0 + FORGET * since)).min(smooth);
                let slow = smooth > self.least * SLOWER + NOISE;
                self.window = match slow {
                    // Each that ends takes its part: a round together takes a tenth.
                    true => (self.window - 0.1).max(1.0),
                    false => (self.window + 1.0).min(f64::from(self.most)),
                };
            }
            How::Badly => self.window = (self.window / 2.0).max(1.0),
            How::Away => {
                self.window = 1.0;
                // Those that were on their way together have found out one thing.
                if self.opens(now).is_none() {
                    self.closed = Some(now + self.away);
                    self.away = (self.away * 2).min(AWAY.1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_one_and_doubles() {
        let mut gate = Gate::new(64, false);
        let now = Instant::now();
        let mut rounds = Vec::new();
        for _ in 0..8 {
            let room = gate.room(now);
            rounds.push(room);
            (0..room).for_each(|_| gate.begun());
            assert_eq!(gate.room(now), 0);
            (0..room).for_each(|_| gate.ended(now, How::Well, Duration::from_millis(10)));
        }
        assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 64, 64]);
    }

    #[test]
    fn one_that_is_away_is_asked_now_and_then() {
        let mut gate = Gate::new(64, false);
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..7 {
            gate.begun();
            gate.ended(now, How::Away, Duration::ZERO);
            assert_eq!(gate.room(now), 0);
            let opens = gate.opens(now).unwrap();
            waits.push((opens - now).as_millis());
            now = opens;
            assert_eq!(gate.room(now), 1, "one probe");
        }
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
        gate.begun();
        gate.ended(now, How::Well, Duration::from_millis(1));
        assert_eq!(gate.room(now), 2);
    }

    #[test]
    fn it_gives_way_when_the_service_becomes_slower() {
        let mut gate = Gate::new(64, false);
        let now = Instant::now();
        // A service with four hands: what is more than that waits.
        for _ in 0..200 {
            let room = gate.room(now);
            (0..room).for_each(|_| gate.begun());
            let took = Duration::from_millis(10).mul_f64(f64::from(room.max(4)) / 4.0);
            (0..room).for_each(|_| gate.ended(now, How::Well, took));
        }
        let room = gate.room(now);
        assert!((4..=12).contains(&room), "{room}");
        gate.begun();
        gate.ended(now, How::Badly, Duration::ZERO);
        assert!(gate.room(now) <= room / 2 + 1);
    }

    #[test]
    fn endless_answers_hold_nobody_up_and_have_a_limit() {
        let mut gate = Gate::new(4, false);
        let now = Instant::now();
        let mut sent = 0;
        while gate.room(now) > 0 {
            gate.begun();
            gate.answering(now, How::Well, Duration::from_millis(1));
            sent += 1;
        }
        assert_eq!(sent, 4);
        gate.answered();
        assert_eq!(gate.room(now), 1);
        (0..3).for_each(|_| gate.answered());
        assert!(gate.is_idle());
    }

    #[test]
    fn a_paused_one_stays_shut() {
        let gate = Gate::new(64, true);
        assert_eq!(gate.room(Instant::now()), 0);
    }
}
