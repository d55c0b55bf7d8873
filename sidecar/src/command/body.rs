//! What the body says: a structured CloudEvent, a framework's envelope, JSON pointers.

use super::head::Media;
use super::{BODY_MAX, Batch, Codec, Rules, batch, cloudevents, id, name, tags};
use crate::exchange::{Command, Exchange};
use serde_json::Value;
use std::borrow::Cow;

impl Codec {
    /// Pointers of the name, best first.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            // The header in transports that keep headers inside the message, then a plain field.
            Codec::Symfony => &["/headers/type", "/type"],
            Codec::Laravel => &["/displayName"],
            Codec::Prooph => &["/message_name"],
            Codec::Bernard => &["/name", "/class"],
            Codec::SimpleBus => &["/message_type"],
        }
    }

    /// Whether its envelope carries an id, which is then `/uuid`.
    pub(super) fn has_id(self) -> bool {
        matches!(self, Codec::Laravel | Codec::Prooph)
    }
}

/// Identifies a command by its body, where [`from_head`](super::from_head) asked for it: fills what the head left
/// open and never changes what it said. A body that cannot be read changes nothing.
pub fn from_body(rules: &Rules, ex: &mut Exchange, body: &[u8]) -> Batch {
    if body.is_empty() || body.len() > BODY_MAX {
        return Batch::One;
    }
    let media = Media::named(ex.request.media_type().as_bytes());
    if media == Media::Batch {
        return batch::split(body).map_or(Batch::One, Batch::Many);
    }
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return Batch::One };
    let command = &mut ex.command;
    if media == Media::Event {
        fill_name(command, document.get("type").and_then(Value::as_str));
        if let (Some(source), Some(id)) =
            (document.get("source").and_then(Value::as_str), document.get("id").and_then(Value::as_str))
        {
            fill_id(command, &cloudevents::joined(source, id));
        }
    }
    if let Some(codec) = rules.codec {
        for pointer in codec.names() {
            fill_name(command, document.pointer(pointer).and_then(Value::as_str));
        }
        if codec.has_id() {
            fill_id(command, document.get("uuid").and_then(Value::as_str).unwrap_or_default());
        }
    }
    if let Some(found) = rules.name.as_deref().and_then(|p| scalar(document.pointer(p)?)) {
        fill_name(command, Some(&found));
    }
    if let Some(found) = rules.id.as_deref().and_then(|p| scalar(document.pointer(p)?)) {
        fill_id(command, &found);
    }
    if command.key.is_none()
        && let Some(found) = rules.key.as_deref().and_then(|p| scalar(document.pointer(p)?))
    {
        command.key = id::given(&found);
    }
    for (key, pointer) in &rules.tags {
        if let Some(found) = document.pointer(pointer).and_then(scalar) {
            tags::fill(&mut command.tags, key, &found);
        }
    }
    Batch::One
}

fn fill_name(command: &mut Command, found: Option<&str>) {
    if command.name.is_empty()
        && let Some(found) = found.and_then(name::normalized)
    {
        command.name = found;
    }
}

fn fill_id(command: &mut Command, found: &str) {
    if command.id.is_empty()
        && let Some(found) = id::given(found)
    {
        command.id = found;
        command.id_given = true;
    }
}

/// Text, numbers and booleans name things; lists, objects and null do not.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        _ => None,
    }
}
