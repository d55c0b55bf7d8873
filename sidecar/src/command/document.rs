//! What a JSON body says of the command in it: CloudEvents, framework envelopes, JSON pointers.

use super::{BODY_MAX, Codec, Rules, header_tags, id, name, tags};
use crate::exchange::{Exchange, Head};
use bytes::Bytes;
use serde_json::Value;

/// Elements of one batch; more are refused each by itself.
const ELEMENTS_MAX: usize = 1000;

/// How many commands a body holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Batch {
    /// One, the exchange's own.
    One,
    /// A CloudEvents batch.
    Many(Vec<Element>),
}

/// One element of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Element {
    /// A structured event, as bytes of its own.
    Event(Bytes),
    /// Not an event, and why.
    Invalid(String),
}

#[derive(PartialEq)]
enum Kind {
    Event,
    Batch,
    Json,
    Other,
}

fn kind(head: &Head) -> Kind {
    let media = head.media_type();
    let is = |wanted: &str| media.eq_ignore_ascii_case(wanted);
    if is("application/json") {
        Kind::Json
    } else if is("application/cloudevents+json") {
        Kind::Event
    } else if is("application/cloudevents-batch+json") {
        Kind::Batch
    } else if media.len() > 5 && media.as_bytes()[media.len() - 5..].eq_ignore_ascii_case(b"+json") {
        Kind::Json
    } else {
        Kind::Other
    }
}

/// Whether the body has something to say and is small enough to be asked.
pub(super) fn wanted(rules: &Rules, head: &Head) -> bool {
    let kind = kind(head);
    if kind == Kind::Other || (kind == Kind::Json && !rules.read_the_body()) {
        return false;
    }
    match head.headers.get("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) => length > 0 && length <= BODY_MAX,
        Some(Err(_)) => false,
        None => !matches!(head.method, http::Method::GET | http::Method::HEAD),
    }
}

/// Identifies from the body. One that cannot be parsed is never an error: the next rule decides.
pub fn from_body(rules: &Rules, ex: &mut Exchange, body: &[u8]) -> Batch {
    let kind = kind(&ex.request);
    let Ok(document) = serde_json::from_slice::<Value>(body) else {
        header_tags(ex);
        return Batch::One;
    };
    if kind == Kind::Batch
        && let Value::Array(elements) = document
    {
        return Batch::Many(elements.into_iter().enumerate().map(element).collect());
    }
    let text = |pointer: &str| scalar(document.pointer(pointer)?);
    let mut found_name = None;
    let mut found_id = None;
    if kind == Kind::Event {
        found_name = text("/type");
        if let (Some(source), Some(id)) = (text("/source"), text("/id")) {
            found_id = Some(format!("{source}#{id}"));
        }
    }
    if let Some(codec) = rules.codec {
        let (names, ids): (&[&str], &[&str]) = match codec {
            Codec::Symfony => (&[], &[]),
            Codec::Laravel => (&["/displayName", "/data/commandName"], &["/uuid"]),
            Codec::Prooph => (&["/message_name"], &["/uuid"]),
            Codec::Bernard => (&["/name", "/class"], &[]),
            Codec::SimpleBus => (&["/message_type"], &[]),
        };
        found_name = found_name.or_else(|| names.iter().find_map(|p| text(p)));
        found_id = found_id.or_else(|| ids.iter().find_map(|p| text(p)));
    }
    found_name = found_name.or_else(|| rules.name.as_deref().and_then(text));
    found_id = found_id.or_else(|| rules.id.as_deref().and_then(text));
    if ex.command.name.is_empty()
        && let Some(name) = found_name.as_deref().and_then(name::normal)
    {
        ex.command.name = name;
    }
    if !ex.command.id_given
        && let Some(id) = found_id.as_deref().and_then(id::given)
    {
        ex.command.id = id;
        ex.command.id_given = true;
    }
    for (key, pointer) in &rules.tags {
        if let Some(value) = text(pointer) {
            tags::set(&mut ex.command.tags, key, &value);
        }
    }
    header_tags(ex);
    Batch::One
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(s) if !s.is_empty() => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

/// An element must have what every CloudEvent has (CloudEvents 1.0, 3.1).
fn element((index, value): (usize, Value)) -> Element {
    if index >= ELEMENTS_MAX {
        return Element::Invalid(format!("more than {ELEMENTS_MAX} elements"));
    }
    if value.get("specversion").and_then(Value::as_str) != Some("1.0") {
        return Element::Invalid("specversion is not \"1.0\"".into());
    }
    for required in ["id", "source", "type"] {
        if value.get(required).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Element::Invalid(format!("{required} is missing"));
        }
    }
    Element::Event(Bytes::from(value.to_string()))
}
