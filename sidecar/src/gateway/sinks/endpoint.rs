//! Receivers as plugins name them.

use crate::exchange::base64;
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use crate::sink::kong::Place;
use serde_json::Value as Json;
use std::time::Duration;

/// Milliseconds that a plugin may wait at most.
const MILLIS_MAX: i64 = i32::MAX as i64 - 1;

/// `host` and `port`; without a host of its own the plugin needs one.
pub(super) fn place(fields: &mut Fields<'_>, host: Option<&str>, port: Option<u16>) -> Place {
    let host = match host {
        None => fields.required("host"),
        Some(usual) => fields.text("host").unwrap_or_else(|| usual.to_owned()),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if !host.chars().all(plain) {
        fields.wrong("host", format!("invalid value: {host}"), "write a host's name or address alone");
    }
    if port.is_none() && !fields.has("port") {
        fields.wrong("port", "required field missing", "add it");
    }
    let said = fields.integer("port", 0, i64::from(u16::MAX)).and_then(|n| u16::try_from(n).ok());
    Place { host: host.trim_matches(['[', ']']).to_owned(), port: said.or(port).unwrap_or_default() }
}

/// A number of milliseconds.
pub(super) fn millis(fields: &mut Fields<'_>, key: &'static str, usual: u64) -> Duration {
    let said = fields.number(key, 0.0, MILLIS_MAX as f64);
    said.map_or(Duration::from_millis(usual), |ms| Duration::from_secs_f64(ms / 1000.0))
}

/// A map of texts.
pub(super) fn texts(fields: &mut Fields<'_>, key: &'static str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, value) in fields.map(key).into_iter().flatten() {
        match value {
            Json::String(text) => all.push((name.clone(), text.clone())),
            Json::Number(_) | Json::Bool(_) if key == "resource_attributes" => {
                all.push((name.clone(), value.to_string()));
            }
            _ => fields.wrong(&format!("{key}.{name}"), "expected a string", "write a string, in quotes if need be"),
        }
    }
    all
}

/// A URL without its user and password, and the header that says them.
pub(super) fn url(fields: &mut Fields<'_>, key: &'static str, text: &str) -> (String, Option<(String, String)>) {
    let Some((scheme, rest)) = text.split_once("://").filter(|(s, r)| !s.is_empty() && !r.is_empty()) else {
        // It is not repeated: it may be a secret.
        fields.wrong(key, "missing host in url", "write http(s)://host[:port]/path");
        return (String::new(), None);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        None => (text.to_owned(), None),
        Some((user, host)) => {
            let basic = format!("Basic {}", base64(&decoded(user)));
            (format!("{scheme}://{host}{path}"), Some(("authorization".to_owned(), basic)))
        }
    }
}

/// What comes of the check of a plugin.
pub(super) fn finish<T>(fields: Fields<'_>, value: T) -> Result<T, Vec<Wrong>> {
    fields.finish().map(|()| value)
}

fn decoded(text: &str) -> Vec<u8> {
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
            _ => out.push(*first),
        }
    }
    out
}
