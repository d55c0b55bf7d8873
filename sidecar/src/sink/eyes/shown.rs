//! A command as JSON for people's tools: the words of a record, and what ties hops together.

use super::super::entry::Entry;
use super::super::fields::{Scratch, Value as Field, Visit, Who, walk};
use super::super::filter::Names;
use super::super::json::{STRING_MAX, cut};
use serde_json::{Map, Value, json};

#[derive(Default)]
struct Object(Map<String, Value>);

impl Visit for Object {
    fn field(&mut self, name: &str, value: Field<'_>) {
        let value = match value {
            Field::Text(text) => cut(text, STRING_MAX).0.into(),
            Field::Int(n) => n.into(),
            Field::Millis(d) => millis(d),
            Field::Ip(ip) => ip.to_string().into(),
            Field::TraceId(id) => format!("{id:032x}").into(),
            Field::SpanId(id) => format!("{id:016x}").into(),
        };
        self.0.insert(name.to_owned(), value);
    }
}

fn millis(d: std::time::Duration) -> Value {
    json!(d.as_micros() as f64 / 1e3)
}

/// All of a command that a record tells, `timestamp` its begin; `to` is the service that it went to.
pub(super) fn shown(entry: &Entry<'_>, who: &Who) -> Map<String, Value> {
    let mut object = Object::default();
    object.0.insert("timestamp".into(), json!(entry.wall as f64 / 1e6));
    object.0.insert("service".into(), who.service.as_str().into());
    object.0.insert("to".into(), entry.service.into());
    walk(entry, who, &Names::default(), &mut Scratch::default(), &mut object);
    let Object(mut object) = object;
    object.insert("hostname".into(), who.hostname.as_str().into());
    object.insert("level".into(), entry.level.into());
    object.insert("method".into(), entry.method.into());
    if entry.parent_span != 0 {
        object.insert("parent_span_id".into(), format!("{:016x}", entry.parent_span).into());
    }
    let tries: Vec<Value> = entry
        .attempts
        .iter()
        .map(|t| json!({"upstream": t.upstream, "at_ms": millis(t.at.duration()), "error": t.code, "detail": t.detail}))
        .collect();
    if !tries.is_empty() {
        object.insert("tries".into(), tries.into());
    }
    object
}
