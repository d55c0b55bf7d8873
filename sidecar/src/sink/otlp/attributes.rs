//! Attributes of one message after the other, in memory that is used again: a sink writes the same two dozen for every
//! command.

use crate::sink::fields::Value as Field;
use crate::sink::json::{STRING_MAX, cut};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use std::fmt::Write;

/// Attributes of one record; more are counted as dropped. It is the SDK's own default
/// (`OTEL_ATTRIBUTE_COUNT_LIMIT`).
const ATTRIBUTES_MAX: usize = 128;
/// A text that grew beyond this is let go.
const TEXT_KEPT: usize = 4 << 10;

/// The attributes of the message that is being written, and memory of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// Those of now.
    pub(super) list: Vec<KeyValue>,
    /// How many found no room.
    pub(super) dropped: u32,
    spare: Vec<KeyValue>,
}

impl Attributes {
    /// Begins with none.
    pub(super) fn clear(&mut self) {
        // In reverse, so that each comes back to the place where it had this type and length.
        self.spare.extend(self.list.drain(..).rev());
        self.dropped = 0;
    }

    fn slot(&mut self, key: &str) -> Option<&mut Option<Value>> {
        if self.list.len() >= ATTRIBUTES_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        let mut slot = self.spare.pop().unwrap_or_default();
        slot.key.clear();
        slot.key.push_str(key);
        self.list.push(slot);
        let slot = self.list.last_mut()?;
        Some(&mut slot.value.get_or_insert_with(AnyValue::default).value)
    }

    fn empty_text(&mut self, key: &str) -> Option<&mut String> {
        let value = self.slot(key)?;
        match value {
            Some(Value::StringValue(text)) if text.capacity() <= TEXT_KEPT => text.clear(),
            _ => *value = Some(Value::StringValue(String::new())),
        }
        match value {
            Some(Value::StringValue(text)) => Some(text),
            _ => None,
        }
    }

    /// A text, cut where a search index would refuse it.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        if let Some(text) = self.empty_text(key) {
            text.push_str(cut(value, STRING_MAX).0);
        }
    }

    /// A list with one text.
    pub(super) fn texts(&mut self, key: &str, value: &str) {
        if let Some(slot) = self.slot(key) {
            let value = Value::StringValue(cut(value, STRING_MAX).0.to_owned());
            *slot = Some(Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(value) }] }));
        }
    }

    /// Something that is shown as text.
    pub(super) fn shown(&mut self, key: &str, value: impl std::fmt::Display) {
        if let Some(text) = self.empty_text(key) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{value}");
        }
    }

    /// A whole number.
    pub(super) fn int(&mut self, key: &str, value: u64) {
        if let Some(slot) = self.slot(key) {
            *slot = Some(Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
        }
    }

    /// A decimal.
    pub(super) fn double(&mut self, key: &str, value: f64) {
        if let Some(slot) = self.slot(key) {
            *slot = Some(Value::DoubleValue(value));
        }
    }

    /// A field of a record, in its type.
    pub(super) fn field(&mut self, key: &str, value: Field<'_>) {
        match value {
            Field::Text(text) => self.text(key, text),
            Field::Int(n) => self.int(key, n),
            Field::Millis(d) => self.double(key, (d.as_nanos() as f64) / 1e6),
            Field::Ip(ip) => self.shown(key, ip),
            Field::TraceId(id) => self.shown(key, format_args!("{id:032x}")),
            Field::SpanId(id) => self.shown(key, format_args!("{id:016x}")),
        }
    }
}

/// One attribute by itself.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(cut(value, STRING_MAX).0.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}
