//! Active checks: asking an instance now and then, on the control thread, whether it is well.

use super::floor::Floor;
use super::limits::{Counter, Judged, Limits, Report, Statuses};
use super::passive::{Change, Ejection};
use super::probe::{Answer, Opener, Question, probe};
use super::standing::{Standing, now};
use super::word::Word;
use crate::exchange::Counted;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How often an instance that does not answer is tried, where nothing says so.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// And at most, where a TLS session cannot be made.
const SESSION_AGAIN: Duration = Duration::from_secs(5);
/// How long such a question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// So much earlier or later is each question, so that those who started together do not ask together for ever.
const JITTER: f64 = 0.1;

/// What an active check speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speak {
    /// A GET.
    Http,
    /// A GET over TLS.
    Https,
    /// A connection is enough.
    Tcp,
    /// The gRPC health service.
    Grpc,
    /// The same over TLS.
    Grpcs,
}

impl Speak {
    /// Whether the connection has to be one with TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Speak::Https | Speak::Grpcs)
    }
}

/// The settings of active checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// What is spoken.
    pub speak: Speak,
    /// How long a question may take, its connection included.
    pub timeout: Duration,
    /// Questions to the instances of one service at once.
    pub concurrency: u32,
    /// What is asked for over HTTP.
    pub path: String,
    /// Header lines of the question.
    pub headers: Vec<(String, String)>,
    /// The name that is asked for, and that the certificate must be for, over TLS.
    pub sni: Option<String>,
    /// Whether the certificate is verified.
    pub verify: bool,
    /// What counts how.
    pub limits: Limits,
    /// How often a usable instance is asked; never with zero.
    pub healthy_interval: Duration,
    /// How often one that is out is asked; never with zero.
    pub unhealthy_interval: Duration,
}

impl Default for Active {
    /// Kong's defaults: off.
    fn default() -> Active {
        Active {
            speak: Speak::Http,
            timeout: Duration::from_secs(1),
            concurrency: 10,
            path: "/".to_owned(),
            headers: Vec::new(),
            sni: None,
            verify: true,
            limits: Limits {
                healthy: Statuses::of([200, 302]),
                successes: 0,
                unhealthy: Statuses::of([429, 404, 500, 501, 502, 503, 504, 505]),
                http_failures: 0,
                tcp_failures: 0,
                timeouts: 0,
            },
            healthy_interval: Duration::ZERO,
            unhealthy_interval: Duration::ZERO,
        }
    }
}

impl Active {
    /// Whether nothing is ever asked.
    pub fn is_off(&self) -> bool {
        self.healthy_interval.is_zero() && self.unhealthy_interval.is_zero()
    }

    /// The places for questions at once that all instances of a service share.
    pub fn permits(&self) -> Rc<Semaphore> {
        Rc::new(Semaphore::new(usize::try_from(self.concurrency.max(1)).map_or(1, |n| n.min(Semaphore::MAX_PERMITS))))
    }

    /// Whether an instance that these checks took out can come back by them. With Kong it stays out otherwise; here it
    /// is ejected, and proves itself by commands when the time is over.
    fn brings_back(&self) -> bool {
        !self.unhealthy_interval.is_zero() && self.limits.successes > 0
    }

    fn interval(&self, out: bool) -> Duration {
        if out { self.unhealthy_interval } else { self.healthy_interval }
    }

    fn question(&self, two: bool) -> Question<'_> {
        match self.speak {
            Speak::Tcp => Question::Connect,
            Speak::Http | Speak::Https => Question::Http { path: &self.path, headers: &self.headers, two },
            Speak::Grpc | Speak::Grpcs => Question::Grpc { headers: &self.headers },
        }
    }
}

/// How an instance is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A connection is enough, and is only tried while none has succeeded.
    Connect,
    /// A GET that must answer 2xx before it is given commands, and from then on.
    Ready {
        /// The path.
        path: String,
        /// How often.
        interval: Duration,
    },
    /// As `healthchecks.active` says.
    Active(Box<Active>),
}

/// One instance, and what a check needs of it.
pub struct Instance {
    /// What becomes known.
    pub standing: Arc<Standing>,
    /// Its service's instances.
    pub floor: Arc<Floor>,
    /// How it is ejected, when checks cannot bring it back.
    pub ejection: Ejection,
    /// Connects to it.
    pub open: Opener,
    /// What it is called in `Host`.
    pub authority: String,
    /// Whether it is asked over HTTP/2.
    pub two: bool,
    /// Whether it speaks ZeroMQ: then a connection is all that is asked.
    pub messages: bool,
    /// Questions at once.
    pub permits: Rc<Semaphore>,
}

impl Standing {
    /// A readiness check's word holds at once.
    fn set_ready(&self, answer: &Answer, up: bool) {
        let now = now();
        self.set_reached(up);
        let next = |w: Word| match up {
            // It was away and is new: what its commands said of it before is past.
            true if w.has(Word::DOWN) => Some(w.without(Word::STARTING | Word::DOWN).with(Word::UP).back(now)),
            true if w.has(Word::UP) => None,
            true => Some(w.without(Word::STARTING).with(Word::UP)),
            false if w.has(Word::DOWN) => None,
            false => Some(w.without(Word::UP).with(Word::DOWN)),
        };
        if self.change(now, next).is_some() && !up {
            self.say(&answer.words);
        }
    }

    /// A connection stands again, of one that could not be reached.
    fn set_found(&self) {
        if !self.is_reached() {
            let now = now();
            let _ = self.change(now, |w| w.has(Word::EJECTED).then(|| w.back(now)));
            self.set_reached(true);
        }
    }

    /// Counts the answer to an active check.
    fn checked(&self, active: &Active, answer: &Answer, ejection: &Ejection, floor: &Floor) -> Change {
        self.checked_at(active, answer.report, &answer.words, (ejection, floor), now())
    }

    fn checked_at(
        &self,
        active: &Active,
        report: Report,
        words: &str,
        (ejection, floor): (&Ejection, &Floor),
        now: u64,
    ) -> Change {
        let word = self.word();
        match active.limits.judge(report) {
            Judged::Neither => Change::None,
            Judged::Good => {
                let out = word.has(Word::DOWN | Word::EJECTED);
                if out {
                    let count = self.active.count(Counter::Successes);
                    if active.limits.successes == 0 || count < active.limits.successes {
                        return Change::None;
                    }
                    self.passive.clear();
                }
                self.active.clear();
                let up = |w: Word| {
                    let up = w.without(Word::STARTING | Word::DOWN).with(Word::UP).back(now);
                    (up != w).then_some(up)
                };
                match self.change(now, up) {
                    Some(_) if out => Change::Back,
                    _ => Change::None,
                }
            }
            Judged::Bad(..) if word.has(Word::DOWN) => {
                self.active.clear_successes();
                Change::None
            }
            Judged::Bad(counter, limit) => {
                if self.active.count(counter) < limit {
                    return Change::None;
                }
                self.active.clear();
                if !active.brings_back() {
                    let _ = self.change(now, |w| Some(w.without(Word::UP)));
                    return self.eject(ejection, floor, now, || words.to_owned());
                }
                let _ = self.change(now, |w| Some(w.without(Word::UP | Word::TRIAL).with(Word::DOWN)));
                self.say(words);
                Change::Down
            }
        }
    }
}

/// Checks one instance for ever; `changed` hears of each change, whoever made it. Ends when it is dropped.
pub async fn keep_checking(instance: Instance, check: Check, counted: impl Fn() -> Counted, changed: impl Fn(bool)) {
    let mut was = None;
    let mut rhythm = Rhythm::default();
    loop {
        let pause = match &check {
            Check::Active(active) if !active.is_off() => rhythm.round(&instance, active, &counted).await,
            Check::Connect | Check::Active(_) => rhythm.find(&instance, &counted).await,
            Check::Ready { path, interval } => {
                let question = Question::Http { path, headers: &[], two: instance.two };
                let answer = probe(&instance.open, &instance.authority, question, PATIENCE, counted()).await;
                let up = matches!(answer.report, Report::Status(200..300));
                instance.standing.set_ready(&answer, up);
                if up { *interval } else { TRY_AGAIN.min(*interval) }
            }
        };
        let up = instance.standing.up();
        if was.replace(up) != Some(up) {
            changed(up);
        }
        tokio::time::sleep(pause).await;
    }
}

/// When an instance is asked next.
#[derive(Default)]
struct Rhythm {
    /// When it was asked last, and how long the pause after that is, as a factor.
    last: Option<(Instant, f64)>,
    /// The pause after a session that could not be made; it doubles.
    pause: Duration,
}

impl Rhythm {
    /// Connects to an instance that could not be reached; how long until that may be tried again.
    async fn find(&mut self, instance: &Instance, counted: &impl Fn() -> Counted) -> Duration {
        if instance.standing.is_reached() {
            return TRY_AGAIN;
        }
        let found = probe(&instance.open, &instance.authority, Question::Connect, PATIENCE, counted()).await;
        if found.opened {
            instance.standing.set_found();
        } else {
            instance.standing.say(&found.words);
        }
        self.pause = match found.session {
            true => self.pause.saturating_mul(2).clamp(TRY_AGAIN, SESSION_AGAIN),
            false => TRY_AGAIN,
        };
        self.pause
    }

    /// Asks if it is time; how long until it may be again. Commands and people change how an instance stands too, so it
    /// is looked at as often as the shorter interval says.
    async fn round(&mut self, instance: &Instance, active: &Active, counted: &impl Fn() -> Counted) -> Duration {
        let standing = &instance.standing;
        if self.left(active.interval(standing.is_out())).is_some_and(|left| left.is_zero()) {
            // Closed never.
            let Ok(_place) = instance.permits.acquire().await else { return TRY_AGAIN };
            let question = if instance.messages { Question::Connect } else { active.question(instance.two) };
            let answer = probe(&instance.open, &instance.authority, question, active.timeout, counted()).await;
            if answer.opened {
                standing.set_reached(true);
            }
            let _ = standing.checked(active, &answer, &instance.ejection, &instance.floor);
            self.last = Some((Instant::now(), 1.0 - JITTER + 2.0 * JITTER * fastrand::f64()));
        }
        let intervals = [active.healthy_interval, active.unhealthy_interval];
        let shortest = intervals.into_iter().filter(|i| !i.is_zero()).min().unwrap_or(TRY_AGAIN);
        match self.left(active.interval(standing.is_out())) {
            Some(left) => left.min(shortest),
            None if standing.is_reached() => shortest,
            // Whether it is there is worth knowing, though nobody wants it asked more.
            None => self.find(instance, counted).await.min(shortest.max(TRY_AGAIN)),
        }
    }

    /// How long until it is asked; none for never.
    fn left(&self, interval: Duration) -> Option<Duration> {
        if interval.is_zero() {
            return None;
        }
        let Some((last, factor)) = self.last else { return Some(Duration::ZERO) };
        Some((last + interval.mul_f64(factor)).saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests;
