//! `rate-shaping`: a pace that is kept by waiting. Where `rate-limiting` refuses, commands wait here for their turn, in
//! the order in which they came; only who would wait too long is refused.

use super::limits::queue::{Lines, Pace, Turn};
use super::limits::{By, Place};
use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Resume, Verdict};
use crate::exchange::{Exchange, Reply, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use serde_json::Value as Json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Behind the limits, which refuse without waiting, and before what transforms.
pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 895, build };

const NAME: &str = "rate-shaping";
/// Unless the file says otherwise: who would wait longer is refused.
const WAIT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Unless the file says otherwise: as many may wait for one turn.
const WAITING: i64 = 1_000;
const WAITING_MAX: i64 = 100_000;
const LIMIT_MAX: i64 = 1_000_000;
/// The longest `per`.
const PER_MAX: Duration = Duration::from_secs(86_400);
/// A way that is faster than the one before brings commands closer together than they left. So much longer than `per`
/// is the time in which `limit` of them leave: a fiftieth of it, within these bounds.
const MARGIN_MIN: Duration = Duration::from_millis(10);
const MARGIN_MAX: Duration = Duration::from_secs(1);

struct RateShaping {
    lines: Arc<Lines>,
    by: By,
    pace: Pace,
    longest: Duration,
    waiting: usize,
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
    fields.one_of("policy", &["local"], "local");
    fields.finish()?;
    let count = |n: i64| u32::try_from(n).unwrap_or(1).max(1);
    let step = (per + (per / 50).clamp(MARGIN_MIN, MARGIN_MAX)) / count(limit);
    let pace = Pace { step, ahead: step * (count(burst) - 1) };
    let place = Place::new("shape", &setup.scope, "", &by, &[]);
    let explained = format!("waits for its turn: {limit} in {per:?} by {}, at most {longest:?}", by.word());
    let waiting = usize::try_from(waiting).unwrap_or(1);
    Ok(Arc::new(RateShaping { lines: Lines::of(&place), by, pace, longest, waiting, explained }))
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
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        let now = Instant::now();
        // Who has less time than its turn needs is told so at once, and takes no turn.
        let left = exchange.deadline.map(|at| at.saturating_duration_since(now));
        let longest = left.map_or(self.longest, |left| left.min(self.longest));
        let Some(line) = self.by.of(exchange, |who| self.lines.line(who)) else {
            return refused(Duration::ZERO, "too many are told apart");
        };
        match line.come(now, self.pace, self.waiting, longest) {
            Turn::Now => Verdict::Next,
            Turn::Wait(ticket) => Verdict::Wait(Box::pin(async move {
                ticket.turn().await;
                Box::new(|_: &mut Exchange| Verdict::Next) as Resume<Exchange, Verdict>
            })),
            Turn::TooLong(wait) => refused(wait.saturating_sub(self.longest), "its turn would come too late"),
            Turn::TooMany(wait) => refused(wait, "too many wait for their turn"),
        }
    }

    fn explain(&self, _: &Exchange) -> String {
        self.explained.clone()
    }
}

fn refused(after: Duration, why: &'static str) -> Verdict {
    let mut reply = Reply::message(NAME, 429, "API rate limit exceeded");
    reply.why = why.into();
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    Verdict::Reply(reply.with("retry-after", itoa::Buffer::new().format(seconds.max(1))))
}

#[cfg(test)]
mod tests;
