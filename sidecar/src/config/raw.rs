//! A checked and filled section as plain values, for the part that it belongs to.

use super::tree::{Node, Value};
use super::value;
use crate::section::{Key, Kind};
use serde_json::{Map, Value as Json, json};

/// The values of a section: durations as `{secs, nanos}`, sizes in bytes, `off` as null, text always as text.
pub(crate) fn section(node: &Node, keys: &[Key]) -> Json {
    let known = keys.iter().filter(|k| k.supported);
    let entries = known.filter_map(|key| {
        let value = match (node.get(key.name), &key.kind) {
            (Some(node), kind) => one(node, kind),
            (None, Kind::Named(..)) => json!({}),
            (None, Kind::List(_)) => json!([]),
            (None, _) => return None,
        };
        Some((key.name.to_owned(), value))
    });
    Json::Object(entries.collect())
}

fn one(node: &Node, kind: &Kind) -> Json {
    if node.value == Value::Bad || node.value == Value::Null {
        return Json::Null;
    }
    let text = || node.text().unwrap_or_default();
    match kind {
        Kind::Any | Kind::Text(_) | Kind::Word(_) => node.text().map_or(Json::Null, |t| Json::from(t.trim())),
        Kind::Flag => Json::Bool(text() == "true"),
        Kind::Count { .. } => text().parse::<u64>().map_or_else(|_| Json::from(text()), Json::from),
        Kind::Share => text().parse::<f64>().map_or(Json::Null, Json::from),
        Kind::Duration { .. } => match value::duration(text()) {
            Ok(d) => json!({ "secs": d.as_secs(), "nanos": d.subsec_nanos() }),
            Err(_) => Json::Null,
        },
        Kind::Seconds { .. } => match value::seconds(text()) {
            Ok(d) => json!({ "secs": d.as_secs(), "nanos": d.subsec_nanos() }),
            Err(_) => Json::Null,
        },
        Kind::Bytes { .. } => value::bytes(text()).map_or(Json::Null, Json::from),
        Kind::List(of) => node.items().iter().map(|n| one(n, of)).collect(),
        Kind::OneOrMany(of) => match &node.value {
            Value::List(items) => items.iter().map(|n| one(n, of)).collect(),
            _ => Json::Array(vec![one(node, of)]),
        },
        Kind::Section(keys) => section(node, keys),
        Kind::Short(name, keys) => match &node.value {
            Value::Map(_) => section(node, keys),
            _ => {
                let kind = keys.iter().find(|k| k.name == *name).map(|k| one(node, &k.kind));
                Json::Object(Map::from_iter([((*name).to_owned(), kind.unwrap_or(Json::Null))]))
            }
        },
        Kind::OrOff(keys) => match &node.value {
            Value::Map(_) => section(node, keys),
            _ => Json::Null,
        },
        Kind::Named(_, of) => {
            Json::Object(node.entries().iter().map(|e| (e.key.to_string(), one(&e.value, of))).collect())
        }
        Kind::Choice(keys) => section(node, keys),
    }
}
