//! A command as Kong's log object, written from the entry with no value in between.

use super::known::{Known, number};
use crate::sink::entry::{Entry, Pairs, What, Whole};
use crate::sink::json::{STRING_MAX, escaped, hex, number as int};
use crate::sink::record::address;
use std::borrow::Cow;
use std::sync::Arc;

/// Bytes that each text may have when the object would be too large otherwise.
const STRING_SMALL: usize = 256;
/// Header lines and parameters of one object, as Kong's limits are by default.
const LINES_MAX: usize = 100;
/// The one workspace of a file, under the id that Kong gives it.
pub(super) const WORKSPACE: &str = "0dc6f45b-8f8d-40d2-a504-473544ee190b";
/// Its name.
pub(super) const WORKSPACE_NAME: &str = "default";

/// Milliseconds of a command as Kong tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Latencies {
    /// All.
    pub(super) request: u64,
    /// Until the instance's answer began; none when there was none.
    pub(super) proxy: Option<u64>,
    /// Everything else.
    pub(super) kong: u64,
    /// From there to the answer's last byte.
    pub(super) receive: u64,
}

impl Latencies {
    pub(super) fn of(entry: &Entry<'_>) -> Latencies {
        let millis = |nanos: u64| nanos / 1_000_000;
        let request = millis(entry.total.0);
        let answered = entry.whole.as_ref().is_some_and(|w| w.answered);
        let proxy = answered.then(|| millis(entry.upstream_time.0).min(request));
        let before = millis(entry.overhead.0 + entry.upstream_time.0);
        Latencies {
            request,
            proxy,
            kong: request - proxy.unwrap_or(0),
            receive: if answered { request.saturating_sub(before) } else { 0 },
        }
    }
}

/// Bytes of the whole request and of the whole answer.
pub(super) fn sizes(entry: &Entry<'_>, whole: &Whole<'_>) -> (u64, u64) {
    (whole.head_in + entry.bytes_in, whole.head_out + entry.bytes_out)
}

/// The status that the caller got; 499 when it left before.
pub(super) fn status(entry: &Entry<'_>) -> u16 {
    if entry.status == 0 { 499 } else { entry.status }
}

/// Writes objects of at most so many bytes.
pub(super) struct Object {
    pub(super) known: Arc<Known>,
    pub(super) max: usize,
}

/// One object on its way.
struct Writing<'a> {
    out: &'a mut Vec<u8>,
    /// The most bytes of one text.
    text: usize,
    /// Whether something was cut.
    cut: bool,
}

impl Writing<'_> {
    fn name(&mut self, name: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.quoted(name);
        self.out.push(b':');
    }

    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        self.cut |= escaped(self.out, text, self.text);
        self.out.push(b'"');
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.quoted(text);
    }

    fn int(&mut self, name: &str, n: u64) {
        self.name(name);
        int(self.out, n);
    }

    fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
    }

    fn open(&mut self, name: &str) {
        self.name(name);
        self.out.push(b'{');
    }

    fn close(&mut self) {
        self.out.push(b'}');
    }

    /// Names and values; a name that comes several times has a list of them.
    fn pairs<'p>(&mut self, name: &str, pairs: impl Iterator<Item = (Cow<'p, str>, Option<Cow<'p, str>>)>) {
        let all: Vec<_> = pairs.take(LINES_MAX).collect();
        self.open(name);
        for (at, (key, _)) in all.iter().enumerate() {
            if all.iter().take(at).any(|(k, _)| k == key) {
                continue;
            }
            let same = || all.iter().skip(at).filter(|(k, _)| k == key).map(|(_, value)| value);
            self.name(key);
            let many = same().nth(1).is_some();
            if many {
                self.out.push(b'[');
            }
            for (i, value) in same().enumerate() {
                if i > 0 {
                    self.out.push(b',');
                }
                match value {
                    Some(value) => self.quoted(value),
                    None => self.out.extend_from_slice(b"true"),
                }
            }
            if many {
                self.out.push(b']');
            }
        }
        self.close();
    }
}

impl Object {
    /// Appends the object of a command; false for what is none.
    pub(super) fn write(&self, out: &mut Vec<u8>, entry: &Entry<'_>) -> bool {
        let Some(whole) = entry.whole.as_ref().filter(|_| entry.what == What::Command) else { return false };
        let start = out.len();
        self.fields(&mut Writing { out, text: STRING_MAX, cut: false }, entry, whole, true);
        if out.len() - start > self.max {
            out.truncate(start);
            self.fields(&mut Writing { out, text: STRING_SMALL, cut: true }, entry, whole, false);
        }
        true
    }

    /// `lines`: header lines and parameters, which may be large, too.
    fn fields(&self, to: &mut Writing<'_>, entry: &Entry<'_>, whole: &Whole<'_>, lines: bool) {
        to.out.push(b'{');
        self.request(to, entry, whole, lines);
        to.text("upstream_uri", &self.target(whole.sent));
        to.name("upstream_status");
        to.out.push(b'"');
        if whole.answered {
            int(to.out, entry.status.into());
        }
        to.out.push(b'"');
        to.open("response");
        to.int("status", status(entry).into());
        self.headers(to, &whole.answer, None, lines);
        to.int("size", sizes(entry, whole).1);
        to.close();
        let Latencies { request, proxy, kong, receive } = Latencies::of(entry);
        to.open("latencies");
        to.int("kong", kong);
        match proxy {
            Some(proxy) => to.int("proxy", proxy),
            None => to.raw("proxy", "-1"),
        }
        to.int("request", request);
        to.int("receive", receive);
        to.close();
        tries(to, entry, whole);
        if !whole.credential.is_empty() {
            to.open("authenticated_entity");
            to.text("id", whole.credential);
            to.text("consumer_id", whole.consumer);
            to.close();
        }
        let Known { services, routes, consumers, .. } = &*self.known;
        for (name, all, id) in [
            ("route", routes, whole.route),
            ("service", services, whole.service),
            ("consumer", consumers, whole.consumer),
        ] {
            if let Some(entity) = all.get(&number(id)).filter(|_| !id.is_empty()) {
                to.raw(name, &entity.json);
            }
        }
        if let Some(client) = entry.client {
            to.name("client_ip");
            to.out.push(b'"');
            address(to.out, client);
            to.out.push(b'"');
        }
        to.int("started_at", entry.wall / 1000);
        to.text("source", if whole.answered { "upstream" } else { "kong" });
        to.text("workspace", WORKSPACE);
        to.text("workspace_name", WORKSPACE_NAME);
        self.more(to, entry, whole);
        if to.cut {
            to.raw("truncated", "true");
        }
        to.close();
    }

    fn request(&self, to: &mut Writing<'_>, entry: &Entry<'_>, whole: &Whole<'_>, lines: bool) {
        let target = self.target(whole.target);
        to.open("request");
        // As the gateway's own answers tell it: the trace's.
        to.name("id");
        to.out.push(b'"');
        hex(to.out, &entry.trace_id.to_be_bytes());
        to.out.push(b'"');
        to.text("method", entry.method);
        to.text("uri", &target);
        to.name("url");
        to.out.push(b'"');
        to.out.extend_from_slice(if whole.secure { b"https://" } else { b"http://" });
        to.cut |= escaped(to.out, host(whole.authority), to.text);
        to.out.push(b':');
        int(to.out, whole.port.into());
        to.cut |= escaped(to.out, &target, to.text);
        to.out.push(b'"');
        let query = target.split_once('?').map_or("", |(_, query)| query).to_owned();
        to.pairs("querystring", parameters(if lines { &query } else { "" }));
        self.headers(to, &whole.headers, Some(whole.authority), lines);
        to.int("size", sizes(entry, whole).0);
        if whole.secure {
            let [version, cipher] = whole.tls;
            to.open("tls");
            to.text("version", version);
            to.text("cipher", cipher);
            to.text("client_verify", if entry.client_identity.is_empty() { "NONE" } else { "SUCCESS" });
            to.close();
        }
        to.close();
    }

    /// `host`: what the caller said, which a route may have changed since.
    fn headers(&self, to: &mut Writing<'_>, pairs: &Pairs<'_>, host: Option<&str>, lines: bool) {
        let redactor = &self.known.redactor;
        let shown = pairs.iter().map(|(name, value)| {
            let value = host.filter(|_| name == "host").unwrap_or(value);
            (Cow::Borrowed(name), Some(redactor.header(name, value)))
        });
        to.pairs("headers", shown.take(if lines { usize::MAX } else { 0 }));
    }

    /// What only some objects have.
    fn more(&self, to: &mut Writing<'_>, entry: &Entry<'_>, whole: &Whole<'_>) {
        let correlation = &self.known.correlation;
        let found = whole.headers.iter().find(|(name, _)| correlation.iter().any(|c| c == name));
        if let Some((_, id)) = found {
            to.text("correlation_id", id);
        }
        if entry.trace_id != 0 {
            to.open("trace_id");
            to.name("w3c");
            to.out.push(b'"');
            hex(to.out, &entry.trace_id.to_be_bytes());
            to.out.push(b'"');
            to.close();
        }
    }

    /// Path and query as they may be shown.
    fn target<'t>(&self, target: &'t str) -> Cow<'t, str> {
        let redactor = &self.known.redactor;
        match target.split_once('?') {
            None => redactor.text(target),
            Some((path, query)) => match (redactor.text(path), redactor.query(query)) {
                (Cow::Borrowed(_), Cow::Borrowed(_)) => Cow::Borrowed(target),
                (path, query) => Cow::Owned(format!("{path}?{query}")),
            },
        }
    }
}

/// The authority without its port.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// The parameters of a query, their escapes undone; none stands for one without a value.
fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Option<Cow<'_, str>>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, value)) => (unescaped(name), Some(unescaped(value))),
        None => (unescaped(pair), None),
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        rest = after;
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*first),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Every try: those that failed, and the last one.
fn tries(to: &mut Writing<'_>, entry: &Entry<'_>, whole: &Whole<'_>) {
    to.name("tries");
    to.out.push(b'[');
    let mut start = entry.wall;
    for failed in entry.attempts.iter() {
        one_try(to, start, failed.upstream, Some(code(failed.code)));
        start = entry.wall.saturating_add(failed.at.0 / 1000);
    }
    if !entry.upstream.is_empty() {
        one_try(to, start, entry.upstream, (!whole.answered).then(|| status(entry)));
    }
    to.out.push(b']');
}

/// `start` in microseconds since 1970; `code` of one that failed.
fn one_try(to: &mut Writing<'_>, start: u64, upstream: &str, code: Option<u16>) {
    if to.out.last() != Some(&b'[') {
        to.out.push(b',');
    }
    let (ip, port) = place(upstream);
    to.out.push(b'{');
    to.int("balancer_start", start / 1000);
    to.int("balancer_start_ns", start.saturating_mul(1000));
    to.int("balancer_latency", 0);
    to.int("balancer_latency_ns", 0);
    to.text("ip", ip);
    to.int("port", port.into());
    if let Some(code) = code {
        to.text("state", "failed");
        to.int("code", code.into());
    }
    to.close();
}

/// What a gateway would have answered.
fn code(fault: &str) -> u16 {
    if fault.contains("timeout") { 504 } else { 502 }
}

/// A target without its query.
pub(super) fn path(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// Address and port of `http://10.0.0.1:8080`.
pub(super) fn place(upstream: &str) -> (&str, u16) {
    let (scheme, rest) = upstream.split_once("://").unwrap_or(("", upstream));
    let usual = if scheme == "https" { 443 } else { 80 };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (host, port.parse()),
        _ => (rest, Ok(usual)),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port.unwrap_or(usual))
}

#[cfg(test)]
mod tests;
