//! The fields of a record, once for all sinks: which there are, in which order, of which type. A sink says how it
//! writes one.
//!
//! Types are fixed for every field, because a search index keeps the type that it saw first: tags are always text,
//! durations are always decimal.

use super::entry::{Entry, What};
use super::filter::Names;
use super::json::cut;
use crate::exchange::Identity;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The longest key of a tag.
const KEY_MAX: usize = 128;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A whole number.
    Int(u64),
    /// Milliseconds with decimals.
    Millis(Duration),
    /// An address, as text.
    Ip(IpAddr),
    /// A trace id, as 32 hexadecimal digits.
    TraceId(u128),
    /// A span id, as 16.
    SpanId(u64),
}

/// Takes one field after the other.
pub(crate) trait Visit {
    /// A field that the sink's filter lets through.
    fn field(&mut self, name: &str, value: Value<'_>);
}

/// The fields that are ours. The order is that of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Field {
    Facility,
    Env,
    Service,
    Hostname,
    Command,
    CommandId,
    Tags,
    Direction,
    Protocol,
    Route,
    Consumer,
    Status,
    Outcome,
    DurationMs,
    UpstreamMs,
    OverheadMs,
    Attempt,
    BytesIn,
    BytesOut,
    Client,
    ClientIdentity,
    Upstream,
    TraceId,
    SpanId,
    Error,
}

/// Their names, in the order of [`Field`].
pub(crate) const FIELDS: [&str; 25] = [
    "facility",
    "env",
    "service",
    "hostname",
    "command",
    "command_id",
    "tags",
    "direction",
    "protocol",
    "route",
    "consumer",
    "status",
    "outcome",
    "duration_ms",
    "upstream_ms",
    "overhead_ms",
    "attempt",
    "bytes_in",
    "bytes_out",
    "client",
    "client_identity",
    "upstream",
    "trace_id",
    "span_id",
    "error",
];

/// Who speaks: what is the same in all records of one configuration.
#[derive(Debug, Default)]
pub(crate) struct Who {
    /// No two are alike.
    pub(crate) number: u64,
    pub(crate) env: String,
    pub(crate) service: String,
    /// Never blank.
    pub(crate) hostname: String,
    /// The configuration's tags with their field names, each name once.
    tags: Vec<Tag>,
    /// Tags whose names became another's, so that only one of them is in the record.
    pub(crate) collisions: AtomicU64,
}

#[derive(Debug)]
struct Tag {
    key: String,
    field: String,
    value: String,
}

impl Who {
    /// Whoever the configuration says.
    pub(crate) fn new(identity: &Identity) -> Who {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let mut tags: Vec<Tag> = Vec::new();
        for (key, value) in &identity.tags {
            if !value.is_empty() && !key.is_empty() && tags.iter().all(|t| !same_key(&t.key, key)) {
                let mut field = String::new();
                tag_field(&mut field, key);
                tags.push(Tag { key: key.to_string(), field, value: value.to_string() });
            }
        }
        let hostname = if identity.hostname.trim().is_empty() { "unknown" } else { &identity.hostname };
        Who {
            number: NUMBER.fetch_add(1, Relaxed),
            env: identity.env.to_string(),
            service: identity.service.to_string(),
            hostname: hostname.to_owned(),
            tags,
            collisions: AtomicU64::new(0),
        }
    }

    /// The value of one of the configuration's tags.
    pub(crate) fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|t| t.key == key).map(|t| t.value.as_str())
    }

    /// The fields that are the same in every record.
    pub(crate) fn constant(&self, names: &Names, visit: &mut impl Visit) {
        for (field, value) in [
            (Field::Facility, &self.env),
            (Field::Env, &self.env),
            (Field::Service, &self.service),
            (Field::Hostname, &self.hostname),
        ] {
            if let Some(name) = names.of(field) {
                visit.field(name, Value::Text(value));
            }
        }
    }

    /// The configuration's tags and the entry's own, which win: key, field name, value. A key that comes twice has
    /// its first value.
    pub(crate) fn tags<'a>(&'a self, entry: &'a Entry<'_>, mut each: impl FnMut(&'a str, Option<&'a str>, &'a str)) {
        let own = &entry.tags;
        for tag in &self.tags {
            if own.len() == 0 || !own.iter().any(|(k, _)| same_key(k, &tag.key)) {
                each(&tag.key, Some(&tag.field), &tag.value);
            }
        }
        for (i, (key, value)) in own.iter().enumerate() {
            if key.is_empty() || value.is_empty() {
                continue;
            }
            match own.iter().take(i).find(|(k, _)| same_key(k, key)) {
                None => each(key, None, value),
                Some((other, _)) if other != key => {
                    self.collisions.fetch_add(1, Relaxed);
                }
                Some(_) => {}
            }
        }
    }
}

/// A byte of a key as a field name may have it: Graylog drops fields with any other.
fn key_char(c: char) -> char {
    if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' }
}

fn clean_key(key: &str) -> impl Iterator<Item = char> + '_ {
    cut(key, KEY_MAX).0.chars().map(key_char)
}

/// Whether two keys become the same field. A character of several bytes becomes one `_`.
fn same_key(a: &str, b: &str) -> bool {
    if a.len() != b.len() && a.is_ascii() && b.is_ascii() && a.len().min(b.len()) < KEY_MAX {
        return false;
    }
    a == b || clean_key(a).eq(clean_key(b))
}

/// Makes `out` the name of a tag's field.
pub(crate) fn tag_field(out: &mut String, key: &str) {
    out.clear();
    out.push_str("tag_");
    out.extend(clean_key(key));
}

/// Makes `out` the name of another field, which is never one of ours.
fn shown_field(out: &mut String, key: &str) {
    out.clear();
    out.extend(clean_key(key));
    if out.is_empty()
        || out == "id"
        || out.starts_with("tag_")
        || FIELDS.contains(&out.as_str())
        || ["version", "host", "timestamp", "level", "short_message", "full_message", "message", "source", "truncated"]
            .contains(&out.as_str())
    {
        out.insert_str(0, "line_");
    }
}

/// Memory for names and joined tags that is used again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    name: String,
    joined: String,
}

/// The fields of an entry behind [`Who::constant`], without time, level and message, which every sink has its own
/// place for.
pub(crate) fn walk(entry: &Entry<'_>, who: &Who, names: &Names, scratch: &mut Scratch, visit: &mut impl Visit) {
    let text = |visit: &mut dyn FnMut(&str, Value<'_>), field: Field, value: &str| {
        if let Some(name) = names.of(field).filter(|_| !value.is_empty()) {
            visit(name, Value::Text(value));
        }
    };
    let mut put = |name: &str, value: Value<'_>| visit.field(name, value);
    text(&mut put, Field::Command, entry.command);
    text(&mut put, Field::CommandId, entry.id);
    tags(entry, who, names, scratch, &mut put);
    text(&mut put, Field::Direction, entry.direction.map_or("", |d| d.as_str()));
    text(&mut put, Field::Protocol, entry.protocol.map_or("", |p| p.as_str()));
    text(&mut put, Field::Route, entry.route);
    text(&mut put, Field::Consumer, entry.consumer);
    let mut other = |field: Field, value: Value<'_>| {
        if let Some(name) = names.of(field) {
            put(name, value);
        }
    };
    if entry.status != 0 {
        other(Field::Status, Value::Int(u64::from(entry.status)));
    }
    if entry.outcome.is_some() {
        other(Field::Outcome, Value::Text(entry.outcome()));
    }
    if entry.what == What::Command {
        other(Field::DurationMs, Value::Millis(entry.total.duration()));
        other(Field::UpstreamMs, Value::Millis(entry.upstream_time.duration()));
        other(Field::OverheadMs, Value::Millis(entry.overhead.duration()));
        other(Field::Attempt, Value::Int(u64::from(entry.attempt)));
        // What is beyond a signed 64-bit number is not a number to a receiver's index.
        other(Field::BytesIn, Value::Int(entry.bytes_in.min(i64::MAX as u64)));
        other(Field::BytesOut, Value::Int(entry.bytes_out.min(i64::MAX as u64)));
    }
    if let Some(client) = entry.client {
        other(Field::Client, Value::Ip(client));
    }
    if !entry.client_identity.is_empty() {
        other(Field::ClientIdentity, Value::Text(entry.client_identity));
    }
    if !entry.upstream.is_empty() {
        other(Field::Upstream, Value::Text(entry.upstream));
    }
    if entry.trace_id != 0 {
        other(Field::TraceId, Value::TraceId(entry.trace_id));
        other(Field::SpanId, Value::SpanId(entry.span_id));
    }
    if !entry.fault.is_empty() && names.of(Field::Error).is_some() {
        let error = &mut scratch.joined;
        error.clear();
        error.push_str(entry.fault);
        if !entry.detail.is_empty() {
            error.push_str(": ");
            error.push_str(entry.detail);
        }
        other(Field::Error, Value::Text(error));
    }
    for (key, value) in entry.shown.iter().filter(|(_, v)| !v.is_empty()) {
        shown_field(&mut scratch.name, key);
        if let Some(name) = names.of_name(&scratch.name) {
            put(name, Value::Text(value));
        }
    }
}

/// `tags` and the `tag_…`.
fn tags(entry: &Entry<'_>, who: &Who, names: &Names, scratch: &mut Scratch, put: &mut impl FnMut(&str, Value<'_>)) {
    let Scratch { name, joined } = scratch;
    if let Some(field) = names.of(Field::Tags) {
        joined.clear();
        who.tags(entry, |key, _, value| {
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(cut(key, KEY_MAX).0);
            joined.push('=');
            joined.push_str(value);
        });
        if !joined.is_empty() {
            put(field, Value::Text(joined));
        }
    }
    who.tags(entry, |key, field, value| {
        let field = match field {
            Some(field) => field,
            None => {
                tag_field(name, key);
                name.as_str()
            }
        };
        if let Some(name) = names.of_name(field) {
            put(name, Value::Text(value));
        }
    });
}
