//! `proxy-cache`: answers that were given before are given again, without asking the service.

mod control;
mod key;
mod kind;
mod store;

use super::plugin::{Plugin, Setup};
use super::{After, Hooks, Middleware, Verdict};
use crate::exchange::{AnswerHead, Cached, Exchange, Head, Headers, Protocol, Reply, Says, Seen, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use bytes::Bytes;
use control::Control;
use key::Parts;
use kind::Kind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use store::{BODY_MAX, Found, Kept, STORE};

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 100, build };

const NAME: &str = "proxy-cache";

/// Headers on which an answer may depend by its own word; one that names more is not kept.
const VARY_MAX: usize = 8;

const HIT: &str = "Hit";
const MISS: &str = "Miss";
const REFRESH: &str = "Refresh";
const BYPASS: &str = "Bypass";

struct ProxyCache {
    statuses: Vec<u16>,
    methods: Vec<String>,
    kinds: Vec<Kind>,
    parts: Parts,
    /// For how long an answer is fresh, unless it says so itself.
    fresh: Duration,
    /// For how long it is kept, when that is something else.
    keep: Option<Duration>,
    /// Whether requests and answers have a say.
    control: bool,
    shows: Shows,
}

/// What the caller is told.
struct Shows {
    age: bool,
    status: bool,
    key: bool,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    fields.required("strategy");
    fields.one_of("strategy", &["memory"], "memory");
    let statuses = fields.integers("response_code", 100, 900).unwrap_or_else(|| vec![200, 301, 404]);
    if setup.config.get("response_code").and_then(|codes| codes.as_array()).is_some_and(Vec::is_empty) {
        fields.wrong("response_code", "length must be at least 1", "write a status, or leave the field out");
    }
    let texts = |fields: &mut Fields<'_>, key, usual: &[&str]| {
        fields.texts(key).unwrap_or_else(|| usual.iter().map(|text| (*text).to_owned()).collect())
    };
    let methods = texts(&mut fields, "request_method", &["GET", "HEAD"]);
    const METHODS: [&str; 5] = ["HEAD", "GET", "POST", "PATCH", "PUT"];
    for (at, method) in methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            let message = format!("expected one of: {}", METHODS.join(", "));
            fields.wrong(&format!("request_method[{at}]"), message, "write a method in capitals");
        }
    }
    let mut kinds = Vec::new();
    for (at, text) in texts(&mut fields, "content_type", &["text/plain", "application/json"]).iter().enumerate() {
        match Kind::read(text) {
            Some(kind) => kinds.push(kind),
            None => fields.wrong(
                &format!("content_type[{at}]"),
                format!("invalid value: {text}"),
                "write a media type: application/json; charset=utf-8, or image/*",
            ),
        }
    }
    let seconds = |fields: &mut Fields<'_>, key| {
        let most = i64::from(i32::MAX);
        fields.integer(key, 1, most).and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs)
    };
    let fresh = seconds(&mut fields, "cache_ttl").unwrap_or(Duration::from_secs(300));
    let keep = seconds(&mut fields, "storage_ttl");
    let control = fields.flag("cache_control", false);
    let any_case = fields.flag("ignore_uri_case", false);
    fields.record("memory", |memory| memory.ignored(&["dictionary_name"]));
    let arguments = fields.texts("vary_query_params").filter(|names| !names.is_empty()).map(Vec::into_boxed_slice);
    let headers: Box<[String]> =
        fields.texts("vary_headers").unwrap_or_default().iter().map(|name| name.to_ascii_lowercase()).collect();
    let shows = fields.record("response_headers", |shown| Shows {
        age: shown.flag("age", true) && shown.flag("Age", true),
        status: shown.flag("X-Cache-Status", true),
        key: shown.flag("X-Cache-Key", true),
    });
    fields.finish()?;
    let statuses = statuses.into_iter().filter_map(|s| u16::try_from(s).ok()).collect();
    let parts = Parts { any_case, arguments, headers };
    Ok(Arc::new(ProxyCache { statuses, methods, kinds, parts, fresh, keep, control, shows }))
}

/// Whether a body may come that has to be part of what is asked for.
fn may_have_body(exchange: &Exchange) -> bool {
    let headers = &exchange.request.headers;
    match headers.get_bytes("content-length") {
        Some(length) => length != b"0",
        // Over HTTP/2 a body need not be announced.
        None => headers.contains("transfer-encoding") || exchange.protocol == Protocol::Http2,
    }
}

impl ProxyCache {
    /// Whether a request may be answered from here at all.
    fn takes(&self, request: &Head, control: &Control) -> bool {
        let personal = self.control && request.headers.contains("authorization");
        self.methods.iter().any(|m| *m == *request.method.as_str())
            && !control.no_store
            && !control.no_cache
            && !personal
    }

    /// Whether a kept answer will do for a request.
    fn will_do(&self, kept: &Kept, control: &Control, now: Instant) -> bool {
        if !self.control {
            return now.saturating_duration_since(kept.at) <= self.fresh;
        }
        let age = kept.age(now);
        let left = kept.fresh.saturating_sub(age);
        let over = age.saturating_sub(kept.fresh);
        let stale = !over.is_zero() && (kept.strict || control.max_stale.is_none_or(|most| over > most));
        !stale && control.max_age.is_none_or(|most| age <= most) && control.min_fresh.is_none_or(|least| left >= least)
    }

    fn hit(&self, kept: &Kept, now: Instant) -> Verdict {
        let mut headers = kept.headers.clone();
        if self.shows.age {
            headers.append("age", kept.age(now).as_secs().to_string());
        }
        let says = Says::Raw(kept.body.clone(), None);
        Verdict::Reply(Box::new(Reply { status: kept.status, says, headers, by: NAME, why: "from the cache".into() }))
    }

    /// Whether an answer may be kept, and for how long it is fresh.
    fn keeps(&self, answer: &AnswerHead) -> Option<(Duration, Control)> {
        let headers = &answer.headers;
        // A part is no answer to the next request, nor is "as you have it".
        let whole = !matches!(answer.status, 0..=199 | 206 | 304);
        if answer.own || !whole || !self.statuses.contains(&answer.status) || headers.contains("set-cookie") {
            return None;
        }
        let mut kinds = headers.get_all("content-type");
        let kind = kinds.next().and_then(|k| std::str::from_utf8(k).ok()).and_then(Kind::read)?;
        if kinds.next().is_some() || kind.is_endless() || !self.kinds.iter().any(|k| k.takes(&kind)) {
            return None;
        }
        let length = headers.get("content-length").and_then(|l| l.parse::<usize>().ok());
        if length.is_some_and(|l| l > BODY_MAX) || self.varies(headers).is_none() {
            return None;
        }
        if !self.control {
            return Some((self.fresh, Control::default()));
        }
        let control = Control::of(headers);
        let fresh = control.fresh(headers, SystemTime::now());
        let usable = !control.private && !control.no_store && !control.no_cache && fresh > control::age(headers);
        usable.then_some((fresh, control))
    }

    /// The headers on which an answer depends beside those of the key; none when it depends on too much.
    fn varies(&self, headers: &Headers) -> Option<Vec<Box<str>>> {
        let mut names: Vec<Box<str>> = Vec::new();
        for name in headers.get_all("vary").flat_map(|line| line.split(|b| *b == b',')).map(<[u8]>::trim_ascii) {
            let name = std::str::from_utf8(name).ok().filter(|n| *n != "*")?.to_ascii_lowercase();
            let known = matches!(&*name, "" | "authorization" | "cookie") || self.parts.headers.contains(&name);
            if !known && !names.iter().any(|n| **n == *name) {
                names.push(name.into());
            }
        }
        names.sort_unstable();
        (names.len() <= VARY_MAX).then_some(names)
    }
}

/// Whether a line of an answer is part of it, whoever asks. A body has its length anew.
fn is_kept(name: &str, exchange: &Exchange) -> bool {
    let connection = matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "trailers"
            | "transfer-encoding"
            | "upgrade"
            | "content-length"
    );
    let of_this_answer = matches!(name, "age" | "set-cookie" | "x-cache-status" | "x-cache-key")
        || ["x-kong-", "fourmi-"].iter().any(|begin| name.starts_with(begin))
        || ["ratelimit-remaining", "ratelimit-reset"].iter().any(|part| name.contains(part));
    !connection && !of_this_answer && !exchange.added.contains(name)
}

impl Middleware for ProxyCache {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, answer: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        if !matches!(exchange.protocol, Protocol::Http10 | Protocol::Http11 | Protocol::Http2) {
            return Verdict::Next;
        }
        let control = if self.control { Control::of(&exchange.request.headers) } else { Control::default() };
        let bypass = Some(Box::new(Cached { key: None, status: BYPASS }));
        if !self.takes(&exchange.request, &control) {
            exchange.cached = bypass;
            return Verdict::Next;
        }
        match exchange.seen {
            Seen::Not if may_have_body(exchange) => return Verdict::Body(BODY_MAX),
            Seen::TooLong => {
                exchange.cached = bypass;
                return Verdict::Next;
            }
            Seen::Not | Seen::Whole(_) => {}
        }
        let now = Instant::now();
        let key = self.parts.key(exchange);
        let found = match STORE.get(&key, now) {
            Some(Found::Varies(names)) => STORE.get(&key::varied(&key, &names, exchange), now),
            found => found,
        };
        let note = |status| Some(Box::new(Cached { key: Some(key), status }));
        match found {
            Some(Found::Answer(kept)) if self.will_do(&kept, &control, now) => {
                exchange.cached = note(HIT);
                self.hit(&kept, now)
            }
            // Asking would be against the caller's will.
            _ if control.only_if_cached => Verdict::Reply(Reply::empty(NAME, 504, "nothing fit is in the cache")),
            Some(Found::Answer(_)) => {
                exchange.cached = note(REFRESH);
                Verdict::Next
            }
            _ => {
                exchange.cached = note(MISS);
                Verdict::Next
            }
        }
    }

    fn on_answer(&self, exchange: &mut Exchange, answer: &mut AnswerHead) -> After {
        let Some(cached) = exchange.cached.as_mut() else { return After::Next };
        let shown = cached.key.filter(|_| self.shows.key);
        let keeps = !cached.is_hit() && cached.key.is_some() && self.keeps(answer).is_some();
        if !keeps && !cached.is_hit() {
            **cached = Cached { key: None, status: BYPASS };
        }
        if self.shows.status {
            answer.headers.set("x-cache-status", cached.status);
        }
        if let Some(key) = shown {
            answer.headers.set("x-cache-key", key::shown(&key));
        }
        match exchange.request.method {
            _ if !keeps => After::Next,
            // No body is to come that could be waited for.
            http::Method::HEAD => {
                self.on_answer_body(exchange, answer, Bytes::new());
                After::Next
            }
            _ => After::Body(BODY_MAX),
        }
    }

    fn on_answer_body(&self, exchange: &mut Exchange, answer: &mut AnswerHead, body: Bytes) -> Bytes {
        let key = exchange.cached.as_ref().and_then(|cached| cached.key);
        let (Some(key), Some((fresh, control)), Some(names)) = (key, self.keeps(answer), self.varies(&answer.headers))
        else {
            return body;
        };
        let mut headers = Headers::default();
        for (name, value) in answer.headers.iter().filter(|(name, _)| is_kept(name, exchange)) {
            headers.add(name, value);
        }
        // Where there is no body, its length is still told.
        if let Some(length) =
            answer.headers.get("content-length").filter(|_| exchange.request.method == http::Method::HEAD)
        {
            headers.append("content-length", length);
        }
        let at = Instant::now();
        let age = control::age(&answer.headers);
        let until =
            at + self.keep.unwrap_or_else(|| fresh.saturating_sub(if self.control { age } else { Duration::ZERO }));
        // A piece of a larger buffer would hold all of it.
        let copy = Bytes::copy_from_slice(&body);
        let kept = Kept { status: answer.status, headers, body: copy, at, age, fresh, strict: control.strict };
        if names.is_empty() {
            STORE.put(key, kept, until);
        } else {
            let own = key::varied(&key, &names, exchange);
            if STORE.put(own, kept, until) {
                STORE.varies(key, names.into(), until);
            }
        }
        body
    }

    fn explain(&self, exchange: &Exchange) -> String {
        let takes = self.methods.iter().any(|m| *m == *exchange.request.method.as_str());
        if takes { format!("kept for {} s", self.fresh.as_secs()) } else { String::new() }
    }
}

#[cfg(test)]
mod tests;
