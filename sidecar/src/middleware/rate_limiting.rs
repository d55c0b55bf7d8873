//! `rate-limiting`: so many commands in each window of the calendar. Exact, however many come at once: a command is
//! counted in all of its windows or in none, by one check and addition each.

use super::limits::window::{Moment, PERIODS, Period, Window};
use super::limits::{self, By, Limit, Place, Shared, Taken, Wish};
use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Resume, Verdict};
use crate::control::redis::Away;
use crate::exchange::{Exchange, Headers, Reply, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 910, build };

const NAME: &str = "rate-limiting";

/// By [`Period`].
const LIMITS: [&str; PERIODS] = [
    "x-ratelimit-limit-second",
    "x-ratelimit-limit-minute",
    "x-ratelimit-limit-hour",
    "x-ratelimit-limit-day",
    "x-ratelimit-limit-month",
    "x-ratelimit-limit-year",
];
/// By [`Period`].
const REMAINING: [&str; PERIODS] = [
    "x-ratelimit-remaining-second",
    "x-ratelimit-remaining-minute",
    "x-ratelimit-remaining-hour",
    "x-ratelimit-remaining-day",
    "x-ratelimit-remaining-month",
    "x-ratelimit-remaining-year",
];

struct RateLimiting(Arc<Inner>);

struct Inner {
    place: Arc<Place>,
    limits: Box<[Limit]>,
    by: By,
    /// Callers are told nothing of limits.
    hide: bool,
    status: u16,
    message: Arc<str>,
    /// None: counters are here.
    shared: Option<Shared>,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let limits = limits::periods(&mut fields);
    let by = By::read(&mut fields, &["consumer", "credential", "ip", "service", "header", "path"], "consumer");
    let hide = fields.flag("hide_client_headers", false);
    let status = fields.integer("error_code", 100, 599).and_then(|code| u16::try_from(code).ok()).unwrap_or(429);
    let message = fields.text("error_message").unwrap_or_else(|| "API rate limit exceeded".to_owned());
    // What others count is always known at once, so there is nothing to be brought together later.
    if fields.number("sync_rate", -1.0, f64::MAX).is_some_and(|rate| rate != -1.0 && rate < 0.02) {
        fields.wrong("sync_rate", "value should be -1 or at least 0.02", "leave it out: counters are always exact");
    }
    let sliding = fields.one_of("window_type", &["fixed", "sliding"], "fixed") == "sliding";
    if let Some(limit) = limits.iter().find(|limit| sliding && limit.most > limits::SLIDING_MAX) {
        let most = limits::SLIDING_MAX;
        fields.wrong(
            limit.period.word(),
            format!("value should be at most {most} in a window that slides"),
            "lower it",
        );
    }
    let shared = limits::policy(&mut fields);
    fields.finish()?;
    let place = match sliding {
        true => Place::sliding(limits::RATE_LIMITING, setup, &by, &limits),
        false => Place::new(limits::RATE_LIMITING, setup, "", &by, &limits),
    };
    let message = message.into();
    Ok(Arc::new(RateLimiting(Arc::new(Inner { place, limits: limits.into(), by, hide, status, message, shared }))))
}

impl Middleware for RateLimiting {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, done: self.0.shared.is_some(), ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, tell: &dyn Tell) -> Verdict {
        let now = Moment::now();
        let inner = &self.0;
        let windows = limits::windows(&inner.limits, now);
        let verdict = match &inner.shared {
            None => {
                let taken = inner.by.of(exchange, |who| inner.take_here(who, &windows));
                inner.decide(exchange, &taken, now, &windows, !inner.hide)
            }
            Some(shared) => {
                let wish = Wish { place: &inner.place, limits: &inner.limits, n: 1 };
                let ask = |who: &str| (shared.take(who, &[wish], &windows), who.to_owned());
                match inner.by.of(exchange, ask) {
                    (Ok(asked), who) => {
                        let inner = inner.clone();
                        Verdict::Wait(Box::pin(async move {
                            let answer = asked.await;
                            let resume = move |exchange: &mut Exchange| inner.settle(exchange, &who, answer, now);
                            Box::new(resume) as Resume<Exchange, Verdict>
                        }))
                    }
                    (Err(away), who) => inner.settle(exchange, &who, Err(away), now),
                }
            }
        };
        limits::tell_what_happened(tell);
        verdict
    }

    fn on_done(&self, _: &Exchange, tell: &dyn Tell) {
        limits::tell_what_happened(tell);
    }

    fn explain(&self, _: &Exchange) -> String {
        let one = |limit: &Limit| {
            let article = if limit.period == Period::Hour { "an" } else { "a" };
            format!("{} {article} {}", limit.most, limit.period.word())
        };
        let all: Vec<String> = self.0.limits.iter().map(one).collect();
        format!("{} by {}", all.join(", "), self.0.by.word())
    }
}

impl Inner {
    fn take_here(&self, who: &str, windows: &[Window; PERIODS]) -> Taken {
        limits::with(&self.place, who, |entry| entry.take(&self.limits, windows, 1))
    }

    /// Redis has answered, or has not.
    fn settle(
        &self,
        exchange: &mut Exchange,
        who: &str,
        answer: Result<(bool, Vec<u64>), Away>,
        now: Moment,
    ) -> Verdict {
        let windows = limits::windows(&self.limits, now);
        match answer {
            Ok((refused, before)) => {
                let counted = u64::from(!refused);
                let used = before.iter().map(|used| used + counted);
                limits::remember(&self.place, who, (&self.limits, &windows), used);
                let mut taken = Taken { used: [0; PERIODS], refused };
                taken.used.iter_mut().zip(before).for_each(|(to, from)| *to = from);
                self.decide(exchange, &taken, now, &windows, !self.hide)
            }
            Err(away) => {
                limits::without(away);
                if !self.shared.as_ref().is_some_and(|shared| shared.tolerant) {
                    return Verdict::Reply(Reply::message(NAME, 500, "An unexpected error occurred"));
                }
                // What is counted here is not what others count, so nobody is told numbers.
                let taken = self.take_here(who, &windows);
                self.decide(exchange, &taken, now, &windows, false)
            }
        }
    }

    fn decide(
        &self,
        exchange: &mut Exchange,
        taken: &Taken,
        now: Moment,
        windows: &[Window; PERIODS],
        told: bool,
    ) -> Verdict {
        let reset = if told { self.tell(&mut exchange.added, taken, now, windows) } else { 0 };
        if !taken.refused {
            return Verdict::Next;
        }
        let mut reply = Reply::message(NAME, self.status, self.message.to_string());
        if told {
            reply.headers.append("retry-after", itoa::Buffer::new().format(reset));
        }
        Verdict::Reply(reply)
    }

    /// Tells the caller what is left; returns after how many seconds there is more.
    fn tell(&self, added: &mut Headers, taken: &Taken, now: Moment, windows: &[Window; PERIODS]) -> u64 {
        if added.is_empty() {
            *added = Headers::recycled();
        }
        let mut digits = itoa::Buffer::new();
        let mut tightest: Option<(u64, Limit)> = None;
        for (limit, used) in self.limits.iter().zip(taken.used) {
            // Of a refused command, nothing was counted.
            let left = limit.most.saturating_sub(used).saturating_sub(u64::from(!taken.refused));
            added.append(LIMITS[limit.period as usize], digits.format(limit.most));
            added.append(REMAINING[limit.period as usize], digits.format(left));
            // Limits are in the order of their periods: of two that are as tight, the longer counts.
            if tightest.is_none_or(|(least, _)| left <= least) {
                tightest = Some((left, *limit));
            }
        }
        let (left, limit) = tightest.unwrap_or((0, Limit { period: Period::Second, most: 0 }));
        let reset = limit.period.reset(windows[limit.period as usize], now);
        added.append("ratelimit-limit", digits.format(limit.most));
        added.append("ratelimit-remaining", digits.format(left));
        added.append("ratelimit-reset", digits.format(reset));
        reset
    }
}

#[cfg(test)]
mod tests;
