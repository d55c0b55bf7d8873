//! `rate-shaping`: a pace that is kept by waiting. Where `rate-limiting` refuses, commands wait here for their turn, in
//! the order in which they came; only who would wait too long is refused.

use super::limits::queue::{Line, Lines, Pace, Turn};
use super::limits::{self, By, Place, Shared};
use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Resume, Verdict};
use crate::control::redis::{Away, Question, Script};
use crate::exchange::{Exchange, Reply, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use serde_json::Value as Json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Behind the limits, which refuse without waiting, and before what transforms.
pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 895, build };

const NAME: &str = "rate-shaping";
const TOO_LATE: &str = "its turn would come too late";
/// Unless the file says otherwise: who would wait longer is refused.
const WAIT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Unless the file says otherwise: as many may wait for one turn.
const WAITING: i64 = 1_000;
const WAITING_MAX: i64 = 100_000;
const LIMIT_MAX: i64 = 1_000_000;
/// The longest `per`.
const PER_MAX: Duration = Duration::from_secs(86_400);
/// Turns that others take late come later than was told. Whose turn has not come so long after its longest wait is
/// refused, too.
const LATE_MAX: Duration = Duration::from_millis(100);
/// No turn is so far away, whatever others have in their files: Redis is wrong.
const AWAY_MAX: Duration = Duration::from_secs(2 * 86_400);
/// A way that is faster than the one before brings commands closer together than they left. So much longer than `per`
/// is the time in which `limit` of them leave: a fiftieth of it, within these bounds.
const MARGIN_MIN: Duration = Duration::from_millis(10);
const MARGIN_MAX: Duration = Duration::from_secs(1);

/// Gives the next turn, unless it comes too late: from turn to turn, how far ahead, and the longest wait, all in
/// microseconds. The clock is that of Redis, so it is the same for all.
static TURN: Script = Script::new(
    "local time = redis.call('TIME') \
     local now = time[1] * 1000000 + time[2] \
     local next = tonumber(redis.call('GET', KEYS[1]) or '0') \
     local wait = math.max(next - ARGV[2] - now, 0) \
     if wait > tonumber(ARGV[3]) then return {1, wait} end \
     next = math.max(next, now) + ARGV[1] \
     redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1) \
     return {0, wait}",
);

struct RateShaping(Arc<Inner>);

struct Inner {
    place: Arc<Place>,
    lines: Arc<Lines>,
    by: By,
    pace: Pace,
    longest: Duration,
    waiting: usize,
    /// None: turns are given here.
    shared: Option<Shared>,
    explained: String,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    if !fields.has("limit") {
        fields.wrong("limit", "required field missing", "write how many may leave: `limit: 50`");
    }
    let limit = fields.integer("limit", 1, LIMIT_MAX).unwrap_or(1);
    let per = duration(&mut fields, "per", PER_MAX).unwrap_or(Duration::from_secs(1));
    let burst = fields.integer("burst", 1, limit).unwrap_or(1);
    let longest = duration(&mut fields, "wait", WAIT_MAX).unwrap_or(WAIT);
    let waiting = fields.integer("max_waiting", 1, WAITING_MAX).unwrap_or(WAITING);
    let by = By::read(&mut fields, &["service", "consumer", "credential", "ip", "header", "path"], "service");
    let shared = limits::policy(&mut fields);
    fields.finish()?;
    let count = |n: i64| u32::try_from(n).unwrap_or(1).max(1);
    let margin = (per / 50).clamp(MARGIN_MIN, MARGIN_MAX);
    let step = (per + margin) / count(limit);
    // Half of the margin is for turns that are taken late, half for the way.
    let pace = Pace { step, ahead: step * (count(burst) - 1), slack: margin / 2 };
    let place = Place::new(limits::RATE_SHAPING, setup, "", &by, &[]);
    let explained = format!("waits for its turn: {limit} in {per:?} by {}, at most {longest:?}", by.word());
    let (lines, waiting) = (Lines::of(&place), usize::try_from(waiting).unwrap_or(1));
    Ok(Arc::new(RateShaping(Arc::new(Inner { place, lines, by, pace, longest, waiting, shared, explained }))))
}

/// Seconds, or a text such as `500ms`, `1s`, `2m` or `1h`.
fn duration(fields: &mut Fields<'_>, key: &'static str, most: Duration) -> Option<Duration> {
    let value = fields.raw(key)?;
    let read = match value {
        Json::String(text) => {
            let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
            let unit = match unit {
                "ms" => Some(0.001),
                "s" | "" => Some(1.0),
                "m" => Some(60.0),
                "h" => Some(3_600.0),
                _ => None,
            };
            number.trim().parse::<f64>().ok().zip(unit).map(|(n, unit)| n * unit)
        }
        other => other.as_f64(),
    };
    let read = read.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let legal = read.filter(|read| !read.is_zero() && *read <= most);
    if legal.is_none() {
        fields.wrong(key, "expected a duration", format!("write seconds or a text such as 1s, at most {most:?}"));
    }
    legal
}

impl Middleware for RateShaping {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, done: self.0.shared.is_some(), ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, tell: &dyn Tell) -> Verdict {
        let (inner, now) = (&self.0, Instant::now());
        // Who has less time than its turn needs is told so at once, and takes no turn.
        let left = exchange.deadline.map(|at| at.saturating_duration_since(now));
        let longest = left.map_or(inner.longest, |left| left.min(inner.longest));
        let until = now + longest + LATE_MAX;
        let Some(line) = inner.by.of(exchange, |who| inner.lines.line(&inner.place, who)) else {
            return Verdict::Reply(refused(Duration::ZERO, "too many are told apart"));
        };
        let verdict = match &inner.shared {
            None => match line.come(now, inner.pace, inner.waiting, longest) {
                Turn::Now => Verdict::Next,
                Turn::Wait(ticket) => Verdict::Wait(Box::pin(async move {
                    let verdict = came(ticket.turn(until).await);
                    Box::new(move |_: &mut Exchange| verdict) as Resume<Exchange, Verdict>
                })),
                turn => inner.refuse(&turn),
            },
            Some(shared) => {
                let asked = inner.by.of(exchange, |who| shared.redis().ask(inner.question(who, longest)));
                let inner = inner.clone();
                Verdict::Wait(Box::pin(async move {
                    let answer = match asked {
                        Ok(asked) => asked.await,
                        Err(away) => Err(away),
                    };
                    let verdict = inner.turn(answer, &line, longest, until).await;
                    Box::new(move |_: &mut Exchange| verdict) as Resume<Exchange, Verdict>
                }))
            }
        };
        limits::tell_what_happened(tell);
        verdict
    }

    fn on_done(&self, _: &Exchange, tell: &dyn Tell) {
        limits::tell_what_happened(tell);
    }

    fn explain(&self, _: &Exchange) -> String {
        self.0.explained.clone()
    }
}

impl Inner {
    fn question(&self, who: &str, longest: Duration) -> Question {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let numbers = vec![micros(self.pace.step), micros(self.pace.ahead), micros(self.longest(longest))];
        Question { script: &TURN, keys: vec![self.place.only_key(who)], numbers }
    }

    /// As many as may wait, of all processes together.
    fn longest(&self, longest: Duration) -> Duration {
        longest.min(self.pace.step.saturating_mul(u32::try_from(self.waiting).unwrap_or(u32::MAX)))
    }

    /// Waits for the turn that Redis has given, and then in the line of this process: what wakes up late here must not
    /// come closer to the next.
    async fn turn(
        &self,
        answer: Result<Vec<i64>, Away>,
        line: &Arc<Line>,
        longest: Duration,
        until: Instant,
    ) -> Verdict {
        let (waiting, shared) = match answer.and_then(|answer| read(&answer, self.longest(longest))) {
            Ok((true, wait)) => {
                return Verdict::Reply(refused(wait.saturating_sub(longest), TOO_LATE));
            }
            Ok((false, wait)) => {
                tokio::time::sleep(wait).await;
                (usize::MAX, true)
            }
            Err(away) => {
                limits::without(away);
                (self.waiting, false)
            }
        };
        if !shared && !self.shared.as_ref().is_some_and(|shared| shared.tolerant) {
            return Verdict::Reply(Reply::message(NAME, 500, "An unexpected error occurred"));
        }
        let now = Instant::now();
        match line.come(now, self.pace, waiting, until.saturating_duration_since(now)) {
            Turn::Now => Verdict::Next,
            Turn::Wait(ticket) => came(ticket.turn(until).await),
            turn => self.refuse(&turn),
        }
    }

    fn refuse(&self, turn: &Turn) -> Verdict {
        Verdict::Reply(match turn {
            Turn::TooMany(wait) => refused(*wait, "too many wait for their turn"),
            Turn::TooLong(wait) => refused(wait.saturating_sub(self.longest), TOO_LATE),
            Turn::Now | Turn::Wait(_) => refused(Duration::ZERO, "its turn has passed"),
        })
    }
}

/// Whether Redis refuses, and its wait. What the script cannot say is an error.
fn read(answer: &[i64], longest: Duration) -> Result<(bool, Duration), Away> {
    let [full @ 0..=1, wait] = answer else { return Err(Away::Failed) };
    let wait = Duration::from_micros(u64::try_from(*wait).map_err(|_| Away::Failed)?);
    let full = *full == 1;
    if wait > if full { AWAY_MAX } else { longest } { Err(Away::Failed) } else { Ok((full, wait)) }
}

/// What becomes of who has waited.
fn came(turn: Result<(), Duration>) -> Verdict {
    turn.map_or_else(|left| Verdict::Reply(refused(left, TOO_LATE)), |()| Verdict::Next)
}

fn refused(after: Duration, why: &'static str) -> Box<Reply> {
    let mut reply = Reply::message(NAME, 429, "API rate limit exceeded");
    reply.why = why.into();
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    reply.with("retry-after", itoa::Buffer::new().format(seconds.max(1)))
}

#[cfg(test)]
mod tests;
