//! `response-ratelimiting`: what an answer says that it has cost is counted against named limits. What is used up is
//! known before the next command is sent, so the service may be told, and the command refused.

use super::limits::window::{Moment, PERIODS, Window};
use super::limits::{self, By, Limit, Place, Shared, Wish};
use super::plugin::{Plugin, Setup};
use super::{After, Hooks, Middleware, Resume, Verdict};
use crate::control::redis::Away;
use crate::exchange::{AnswerHead, Exchange, Headers, Reply, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 900, build };

const NAME: &str = "response-ratelimiting";
/// Named limits of one configuration.
const NAMES_MAX: usize = 100;

struct ResponseRatelimiting(Arc<Inner>);

struct Inner {
    names: Box<[Named]>,
    /// In which line an answer says what it has cost.
    header: String,
    by: By,
    hide: bool,
    block: bool,
    /// None: counters are here.
    shared: Option<Shared>,
}

/// One named limit.
struct Named {
    name: Box<str>,
    place: Arc<Place>,
    limits: Box<[Limit]>,
    /// The caller's lines for each period: the limit, and what is left.
    lines: Box<[(String, String)]>,
    /// The service's line.
    upstream: String,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let header = fields.text("header_name").unwrap_or_else(|| "x-kong-limit".to_owned()).to_ascii_lowercase();
    let by = By::read(&mut fields, &["consumer", "credential", "ip"], "consumer");
    let hide = fields.flag("hide_client_headers", false);
    let block = fields.flag("block_on_first_violation", false);
    let shared = limits::policy(&mut fields);
    if !fields.has("limits") {
        fields.wrong("limits", "required field missing", "write `limits: {video: {minute: 10}}`");
    }
    let mut inside = Vec::new();
    let mut names = Vec::new();
    if let Some(map) = fields.map("limits") {
        if map.is_empty() || map.len() > NAMES_MAX {
            let message = format!("length must be between 1 and {NAMES_MAX}");
            fields.wrong("limits", message, "write `limits: {video: {minute: 10}}`");
        }
        for (name, config) in map {
            let lower = name.to_ascii_lowercase();
            if http::HeaderName::from_bytes(lower.as_bytes()).is_err() {
                fields.wrong(&format!("limits.{name}"), "it names header lines", "use letters, digits, `-` and `_`");
            }
            match limits::periods_of(config) {
                Ok(limits) => names.push(Named::new(setup, name, &lower, &by, limits)),
                Err(wrong) => inside.extend(wrong.into_iter().map(|wrong| within(name, wrong))),
            }
        }
    }
    match (fields.finish(), inside.is_empty()) {
        (Ok(()), true) => {}
        (Ok(()), false) => return Err(inside),
        (Err(mut wrong), _) => {
            wrong.append(&mut inside);
            return Err(wrong);
        }
    }
    Ok(Arc::new(ResponseRatelimiting(Arc::new(Inner { names: names.into(), header, by, hide, block, shared }))))
}

/// What is wrong with a named limit.
fn within(name: &str, wrong: Wrong) -> Wrong {
    let field = match wrong.field.as_str() {
        "@entity" => format!("limits.{name}"),
        field => format!("limits.{name}.{field}"),
    };
    Wrong { field, ..wrong }
}

impl Named {
    fn new(setup: &Setup<'_>, name: &str, lower: &str, by: &By, limits: Vec<Limit>) -> Named {
        let line = |limit: &Limit| {
            let period = limit.period.word();
            (format!("x-ratelimit-limit-{lower}-{period}"), format!("x-ratelimit-remaining-{lower}-{period}"))
        };
        Named {
            name: name.into(),
            place: Place::new(limits::RESPONSE_RATELIMITING, setup, name, by, &limits),
            lines: limits.iter().map(line).collect(),
            limits: limits.into(),
            upstream: format!("x-ratelimit-remaining-{lower}"),
        }
    }

    fn left<'a>(&'a self, used: &'a [u64]) -> impl Iterator<Item = u64> + 'a {
        self.limits.iter().zip(used).map(|(limit, used)| limit.most.saturating_sub(*used))
    }

    fn used_here(&self, who: &str, windows: &[Window; PERIODS]) -> [u64; PERIODS] {
        limits::with(&self.place, who, |entry| entry.used(&self.limits, windows))
    }
}

impl Middleware for ResponseRatelimiting {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, answer: true, done: self.0.shared.is_some() }
    }

    fn on_request(&self, exchange: &mut Exchange, tell: &dyn Tell) -> Verdict {
        let inner = &self.0;
        let windows = inner.windows();
        let verdict = match &inner.shared {
            None => inner.begin_here(exchange, &windows, !inner.hide),
            Some(shared) => {
                let look = |who: &str| {
                    let wishes: Vec<Wish<'_>> = inner.names.iter().map(|named| named.wish(0)).collect();
                    (shared.take(who, &wishes, &windows), who.to_owned())
                };
                match inner.by.of(exchange, look) {
                    (Ok(asked), who) => {
                        let inner = inner.clone();
                        Verdict::Wait(Box::pin(async move {
                            let answer = asked.await;
                            let resume = move |exchange: &mut Exchange| inner.begin(exchange, &who, &windows, answer);
                            Box::new(resume) as Resume<Exchange, Verdict>
                        }))
                    }
                    (Err(away), who) => inner.begin(exchange, &who, &windows, Err(away)),
                }
            }
        };
        limits::tell_what_happened(tell);
        verdict
    }

    fn on_answer(&self, exchange: &mut Exchange, answer: &mut AnswerHead) -> After {
        // Only a service says what its answers cost.
        if answer.own {
            return After::Next;
        }
        let inner = &self.0;
        let costs = inner.costs(&answer.headers);
        answer.headers.remove(&inner.header);
        if costs.iter().all(|n| *n == 0) {
            return After::Next;
        }
        let windows = inner.windows();
        let Some(shared) = &inner.shared else {
            let (stop, before) = inner.by.of(exchange, |who| inner.take_here(who, &costs, &windows));
            return inner.end(exchange, &costs, stop, &before);
        };
        let count = |who: &str| {
            let wishes: Vec<Wish<'_>> = inner.names.iter().zip(&costs).map(|(named, n)| named.wish(*n)).collect();
            (shared.take(who, &wishes, &windows), who.to_owned())
        };
        match inner.by.of(exchange, count) {
            (Ok(asked), who) => {
                let inner = inner.clone();
                After::Wait(Box::pin(async move {
                    let answer = asked.await;
                    let resume = move |exchange: &mut Exchange| inner.settle(exchange, &who, &costs, &windows, answer);
                    Box::new(resume) as Resume<Exchange, After>
                }))
            }
            (Err(away), who) => inner.settle(exchange, &who, &costs, &windows, Err(away)),
        }
    }

    fn on_done(&self, _: &Exchange, tell: &dyn Tell) {
        limits::tell_what_happened(tell);
    }

    fn explain(&self, _: &Exchange) -> String {
        let names: Vec<&str> = self.0.names.iter().map(|named| &*named.name).collect();
        format!("what answers cost in {} by {}", names.join(", "), self.0.by.word())
    }
}

impl Named {
    fn wish(&self, n: u64) -> Wish<'_> {
        Wish { place: &self.place, limits: &self.limits, n }
    }
}

impl Inner {
    fn windows(&self) -> [Window; PERIODS] {
        Moment::now().windows()
    }

    /// What an answer says that it has cost, for each name: `video=2, image=1`.
    fn costs(&self, headers: &Headers) -> Box<[u64]> {
        let mut costs: Box<[u64]> = vec![0; self.names.len()].into();
        for line in headers.get_all(&self.header) {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            for (name, n) in line.split(',').filter_map(|part| part.split_once('=')) {
                let named = self.names.iter().position(|named| *named.name == *name.trim());
                if let (Some(cost), Ok(n)) = (named.and_then(|at| costs.get_mut(at)), n.trim().parse()) {
                    *cost = n;
                }
            }
        }
        costs
    }

    fn begin(
        &self,
        exchange: &mut Exchange,
        who: &str,
        windows: &[Window; PERIODS],
        answer: Result<(bool, Vec<u64>), Away>,
    ) -> Verdict {
        match answer {
            Ok((_, used)) => {
                self.remember(who, windows, &used);
                self.began(exchange, !self.hide, |at| self.part(&used, at))
            }
            Err(away) => {
                limits::without(away);
                if !self.shared.as_ref().is_some_and(|shared| shared.tolerant) {
                    return Verdict::Reply(Reply::message(NAME, 500, "An unexpected error occurred"));
                }
                self.begin_here(exchange, windows, false)
            }
        }
    }

    fn begin_here(&self, exchange: &mut Exchange, windows: &[Window; PERIODS], told: bool) -> Verdict {
        let all: Vec<[u64; PERIODS]> =
            self.by.of(exchange, |who| self.names.iter().map(|named| named.used_here(who, windows)).collect());
        self.began(exchange, told, |at| all.get(at).map_or(&[][..], |used| &used[..]))
    }

    /// Tells both sides what is left, or refuses when something is used up.
    fn began<'a>(&self, exchange: &mut Exchange, told: bool, used: impl Fn(usize) -> &'a [u64]) -> Verdict {
        if self.block {
            let up = |(at, named): &(usize, &Named)| named.left(used(*at)).any(|left| left == 0);
            if let Some((_, named)) = self.names.iter().enumerate().find(up) {
                let message = format!("API rate limit exceeded for '{}'", named.name);
                return Verdict::Reply(Reply::message(NAME, 429, message));
            }
        }
        let mut digits = itoa::Buffer::new();
        for (at, named) in self.names.iter().enumerate() {
            let least = named.left(used(at)).min().unwrap_or(0);
            exchange.request.headers.replace(&named.upstream, digits.format(least));
            if !told {
                continue;
            }
            for ((limit, (line, remaining)), left) in named.limits.iter().zip(&named.lines).zip(named.left(used(at))) {
                exchange.added.add(line, digits.format(limit.most));
                exchange.added.add(remaining, digits.format(left));
            }
        }
        Verdict::Next
    }

    /// Counts all that an answer has cost, or nothing when one of its limits was reached before. Tells which, and what
    /// was used before, as Redis does.
    fn take_here(&self, who: &str, costs: &[u64], windows: &[Window; PERIODS]) -> (bool, Vec<u64>) {
        let full = |named: &Named, used: &[u64]| named.left(used).any(|left| left == 0);
        let mut before = Vec::new();
        let mut stop = false;
        for (named, n) in self.names.iter().zip(costs) {
            let used = named.used_here(who, windows);
            stop |= *n > 0 && full(named, &used);
            before.extend(used.iter().take(named.limits.len()));
        }
        if stop {
            return (true, before);
        }
        for (at, (named, n)) in self.names.iter().zip(costs).enumerate().filter(|(_, (_, n))| **n > 0) {
            let taken = limits::with(&named.place, who, |entry| entry.take(&named.limits, windows, *n));
            if taken.refused {
                // Others were faster in between.
                for (named, n) in self.names.iter().zip(costs).take(at).filter(|(_, n)| **n > 0) {
                    let back = |entry: &limits::Entry| entry.give_back(&named.limits, windows, *n);
                    limits::with(&named.place, who, back);
                }
                return (true, before);
            }
        }
        (false, before)
    }

    fn settle(
        &self,
        exchange: &mut Exchange,
        who: &str,
        costs: &[u64],
        windows: &[Window; PERIODS],
        answer: Result<(bool, Vec<u64>), Away>,
    ) -> After {
        let (stop, before) = match answer {
            Ok(answer) => answer,
            Err(away) => {
                // The command has run already: its answer is not thrown away because nobody could count it.
                limits::without(away);
                self.take_here(who, costs, windows)
            }
        };
        self.end(exchange, costs, stop, &before)
    }

    /// Tells the caller what is left after this answer, and holds it back when too much was used before.
    fn end(&self, exchange: &mut Exchange, costs: &[u64], stop: bool, before: &[u64]) -> After {
        let mut digits = itoa::Buffer::new();
        for (at, (named, cost)) in self.names.iter().zip(costs).enumerate() {
            for ((_, line), left) in named.lines.iter().zip(named.left(self.part(before, at))) {
                // Not there when callers are told nothing.
                if exchange.added.contains(line) {
                    exchange.added.replace(line, digits.format(left.saturating_sub(*cost)));
                }
            }
        }
        if stop { After::Reply(Reply::empty(NAME, 429, "the answer cost more than was left")) } else { After::Next }
    }

    /// The numbers of one name among those of all.
    fn part<'a>(&self, all: &'a [u64], at: usize) -> &'a [u64] {
        let from = self.names.iter().take(at).map(|named| named.limits.len()).sum::<usize>();
        let count = self.names.get(at).map_or(0, |named| named.limits.len());
        all.get(from..from + count).unwrap_or_default()
    }

    fn remember(&self, who: &str, windows: &[Window; PERIODS], used: &[u64]) {
        for (at, named) in self.names.iter().enumerate() {
            let used = self.part(used, at).iter().copied();
            limits::remember(&named.place, who, (&named.limits, windows), used);
        }
    }
}

#[cfg(test)]
mod tests;
