//! Loggly's HTTP(S) endpoints as a strict stub. What Loggly would take and then not find, it refuses with 400.
//! <https://documentation.solarwinds.com/en/success_center/loggly/content/admin/http-bulk-endpoint.htm>

use super::http_sink::{Answer, Heard, HttpSink};
use crate::net::free_port;
use crate::patience::eventually;
use rustls::ServerConfig;
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// The longest event, bytes.
pub const EVENT_LIMIT: usize = 1 << 20;
/// The longest body of the bulk endpoint, bytes.
pub const BULK_LIMIT: usize = 5 << 20;

/// One event that was taken.
#[derive(Debug, Clone)]
pub struct Event {
    /// As it came: one line.
    pub text: String,
    /// The same as JSON, if it is an object.
    pub json: Option<Value>,
    /// The tags of its request.
    pub tags: Vec<String>,
}

/// The receiver.
pub struct Loggly {
    /// What it heard, and what befalls it.
    pub sink: HttpSink,
    token: &'static str,
    events: Arc<Mutex<Vec<Event>>>,
}

const TOKEN: &str = "0f0c1f9a-6a1e-4d2a-8f6e-3d1f5a7b9c11";

impl Loggly {
    /// Over HTTP.
    pub fn start() -> Self {
        Self::with(None)
    }
    /// Over HTTPS if there is a server for it.
    pub fn with(tls: Option<Arc<ServerConfig>>) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let all = events.clone();
        let sink = HttpSink::start_on(free_port(), tls, move |heard| match take(heard) {
            Ok(events) => {
                all.lock().unwrap().extend(events);
                Answer::new(200, r#"{"response" : "ok"}"#).with("content-type", "application/json")
            }
            Err((status, why)) => Answer::new(status, why),
        });
        Loggly { sink, token: TOKEN, events }
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.sink.port()
    }
    /// The token that it takes.
    pub fn token(&self) -> &str {
        self.token
    }
    /// Every event that it took, in order.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
    /// Waits until it took so many events.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Event> {
        eventually(&format!("Loggly took {count} events, it has {}", self.events().len()), || {
            Some(self.events()).filter(|e| e.len() >= count)
        })
    }
}

type Refused = (u16, &'static str);

fn take(heard: &Heard) -> Result<Vec<Event>, Refused> {
    let parts: Vec<&str> = heard.path.trim_matches('/').split('/').collect();
    let (bulk, token, in_path) = match parts.as_slice() {
        ["inputs", token] => (false, *token, ""),
        ["inputs", token, "tag", tags] => (false, *token, *tags),
        ["bulk", token] => (true, *token, ""),
        ["bulk", token, "tag", tags] => (true, *token, *tags),
        _ => return Err((404, "no such endpoint")),
    };
    if heard.method != "POST" {
        return Err((405, "only POST"));
    }
    if token != TOKEN {
        return Err((403, "unknown token"));
    }
    let kind = heard.header("content-type").unwrap_or("text/plain").split(';').next().unwrap_or_default().trim();
    if !["text/plain", "application/json", "application/x-www-form-urlencoded"].contains(&kind) {
        return Err((415, "the type must be text/plain or application/json"));
    }
    let body = heard.plain().ok_or((400, "the content coding is not gzip, or a lie"))?;
    let body = String::from_utf8(body).map_err(|_| (400, "not UTF-8"))?;
    if body.trim().is_empty() {
        return Err((400, "no event"));
    }
    if body.len() > if bulk { BULK_LIMIT } else { EVENT_LIMIT } {
        return Err((413, "too long"));
    }
    let tags = tags(in_path, heard.header("x-loggly-tag"))?;
    let texts: Vec<&str> = if bulk { body.lines().filter(|l| !l.is_empty()).collect() } else { vec![&body] };
    let event = |text: &str| {
        if text.len() > EVENT_LIMIT {
            return Err((413, "an event is too long"));
        }
        Ok(Event { text: text.to_owned(), json: json(text, kind)?, tags: tags.clone() })
    };
    texts.into_iter().map(event).collect()
}

/// The tags of the path and of the header: each starts with a letter or a digit, then `-`, `.`, `_` as well.
fn tags(in_path: &str, in_header: Option<&str>) -> Result<Vec<String>, Refused> {
    let all = in_path.split(',').chain(in_header.unwrap_or_default().split(','));
    let tags: Vec<String> = all.map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect();
    let good = |tag: &String| {
        tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            && tag.as_bytes()[0].is_ascii_alphanumeric()
    };
    if tags.iter().all(good) { Ok(tags) } else { Err((400, "a tag starts with a letter or digit, then - . _ too")) }
}

/// An event that looks like JSON, or is said to be, must be JSON; its `timestamp` must be ISO 8601.
fn json(text: &str, kind: &str) -> Result<Option<Value>, Refused> {
    let value: Option<Value> = serde_json::from_str(text).ok().filter(Value::is_object);
    if value.is_none() && (kind == "application/json" || text.starts_with('{')) {
        return Err((400, "not a JSON object"));
    }
    match value.as_ref().and_then(|v| v.get("timestamp")) {
        None => Ok(value),
        Some(Value::String(time)) if iso_8601(time) => Ok(value),
        Some(_) => Err((400, "the timestamp is not ISO 8601")),
    }
}

/// `2026-01-31T12:00:00`, at most six decimals, then `Z` or an offset.
fn iso_8601(text: &str) -> bool {
    let shape = |text: &str, like: &str| {
        text.len() == like.len()
            && text.bytes().zip(like.bytes()).all(|(c, l)| if l == b'0' { c.is_ascii_digit() } else { c == l })
    };
    let Some((moment, rest)) = text.split_at_checked(19) else { return false };
    let zone = match rest.strip_prefix('.') {
        None => rest,
        Some(decimals) => {
            let end = decimals.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(decimals.len());
            if !(1..=6).contains(&end) {
                return false;
            }
            &decimals[end..]
        }
    };
    shape(moment, "0000-00-00T00:00:00") && (zone == "Z" || shape(zone, "+00:00") || shape(zone, "-00:00"))
}
