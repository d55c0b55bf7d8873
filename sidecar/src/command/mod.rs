//! Which command is this? Name, id, tags and parent, from headers, CloudEvents, framework codecs,
//! JSON pointers or the route.
//!
//! The order, first found wins: `Fourmi-*` headers, CloudEvents, the framework's codec, JSON pointers, the route, and
//! at last method and path. Of tags, the last writer in the reverse of that order wins.

mod document;
mod id;
mod name;
mod tags;
mod trace;

pub use document::{Batch, Element, from_body};

use crate::exchange::{Exchange, Headers};
use crate::names::header;
use std::sync::Arc;

/// How commands are identified; compiled once from `commands.identify`.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// JSON pointer of the name (RFC 6901).
    pub name: Option<String>,
    /// JSON pointer of the id.
    pub id: Option<String>,
    /// Tag key -> JSON pointer.
    pub tags: Vec<(Arc<str>, String)>,
    /// The envelope of a framework.
    pub codec: Option<Codec>,
}

/// Envelopes of PHP frameworks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Symfony Messenger: header `type`.
    Symfony,
    /// Laravel queue: `/displayName`, `/uuid`.
    Laravel,
    /// prooph: `/message_name`, `/uuid`.
    Prooph,
    /// Bernard: `/name` or `/class`.
    Bernard,
    /// SimpleBus: `message_type`.
    SimpleBus,
}

/// Largest body that is read to identify a command; of a larger one, the next rule decides.
pub const BODY_MAX: usize = 256 << 10;

/// Whether the head said enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It did.
    Done,
    /// The body must be read.
    NeedsBody,
}

impl Rules {
    fn read_the_body(&self) -> bool {
        self.name.is_some()
            || self.id.is_some()
            || !self.tags.is_empty()
            || self.codec.is_some_and(|c| c != Codec::Symfony)
    }
}

/// Identifies from the head. Of untrusted peers, `Fourmi-*`, `ce-*` and trace headers are taken away first.
pub fn from_head(rules: &Rules, ex: &mut Exchange) -> Step {
    let headers = &mut ex.request.headers;
    if !ex.trusted {
        headers.retain(|n| !n.starts_with(header::PREFIX) && !n.starts_with("ce-"));
    }
    ex.trace = trace::continue_or_begin(headers, ex.trusted);
    let event = headers.contains("ce-specversion");
    if let Some(name) = headers.get(header::COMMAND).and_then(name::normal) {
        ex.command.name = name;
    } else if event && let Some(name) = headers.get("ce-type").and_then(|t| name::normal(&decoded(t))) {
        ex.command.name = name;
    } else if rules.codec == Some(Codec::Symfony)
        && let Some(name) = headers.get("type").and_then(name::normal)
    {
        ex.command.name = name;
    }
    let given = headers
        .get(header::ID)
        .and_then(id::given)
        .or_else(|| headers.get(header::IDEMPOTENCY_KEY).and_then(id::given))
        .or_else(|| match (event, headers.get("ce-source"), headers.get("ce-id")) {
            (true, Some(source), Some(id)) => id::given(&format!("{}#{}", decoded(source), decoded(id))),
            _ => None,
        });
    if let Some(id) = given {
        ex.command.id = id;
        ex.command.id_given = true;
    }
    let wanted = document::wanted(rules, &ex.request);
    if !wanted {
        header_tags(ex);
        return Step::Done;
    }
    Step::NeedsBody
}

/// Tags of the header come after those of the body, and win.
fn header_tags(ex: &mut Exchange) {
    for line in ex.request.headers.get_all(header::TAGS) {
        if let Ok(line) = std::str::from_utf8(line) {
            tags::read(&mut ex.command.tags, line);
        }
    }
}

/// Undoes the percent-encoding of CloudEvents header values (HTTP binding, 3.1.3.2).
fn decoded(value: &str) -> String {
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    if !value.contains('%') {
        return value.to_owned();
    }
    let mut out = Vec::with_capacity(value.len());
    let bytes = value.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%').then(|| value.get(i + 1..i + 3)).flatten();
        if let Some(byte) = escaped.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            out.push(byte);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Fills what nobody said: the name from the route or from method and path, the id by one of ours.
pub fn settle(ex: &mut Exchange, route_name: Option<&Arc<str>>) {
    if ex.command.name.is_empty() {
        ex.command.named_by_route = route_name.is_some();
        ex.command.name = match route_name.and_then(|r| name::normal(r)) {
            Some(name) => name,
            None => name::of_path(ex.request.method.as_str(), &ex.request.path),
        };
    }
    if ex.command.id.is_empty() {
        ex.command.id = id::new();
    }
    if ex.trace.span_id == 0 {
        ex.trace = trace::continue_or_begin(&mut Headers::default(), false);
    }
}

/// Tells the next hop which command this is.
pub fn give(ex: &Exchange, headers: &mut Headers) {
    headers.set(header::COMMAND, ex.command.name.as_bytes());
    headers.set(header::ID, &ex.command.id);
    if ex.command.tags.is_empty() {
        headers.remove(header::TAGS);
    } else {
        headers.set(header::TAGS, tags::write(&ex.command.tags));
    }
    if ex.attempt > 1 {
        let mut digits = itoa::Buffer::new();
        headers.set(header::ATTEMPT, digits.format(ex.attempt));
    }
    headers.set(header::TRACEPARENT, trace::line(&ex.trace));
}

/// The worker's own `Fourmi-Tags` extend the record, and end here.
pub fn from_answer(ex: &mut Exchange, answer: &mut Headers) {
    if !answer.contains(header::TAGS) {
        return;
    }
    for line in answer.get_all(header::TAGS) {
        if let Ok(line) = std::str::from_utf8(line) {
            tags::read(&mut ex.command.tags, line);
        }
    }
    answer.remove(header::TAGS);
}

#[cfg(test)]
mod tests;
