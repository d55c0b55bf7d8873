//! A CloudEvents batch: a JSON array whose elements are passed on byte for byte, so no number loses digits.

use super::{BATCH_MAX, Element};
use bytes::Bytes;
use serde_json::Value;

/// The elements of a batch; none if the body is no JSON array. Over the limit nothing of it is accepted, because a
/// caller cannot see which part was left out.
pub(super) fn split(body: &[u8]) -> Option<Vec<Element>> {
    let Ok(Value::Array(values)) = serde_json::from_slice::<Value>(body) else { return None };
    if values.len() > BATCH_MAX {
        return Some(vec![Element::Invalid(format!("{} events: a batch holds at most {BATCH_MAX}", values.len()))]);
    }
    let slices = slices(body);
    // Both read the same checked text; if they ever disagreed, passing the whole on is the safe way.
    if slices.len() != values.len() {
        return None;
    }
    let elements = values.iter().zip(slices).map(|(value, slice)| match fault(value) {
        None => Element::Event(Bytes::copy_from_slice(slice)),
        Some(why) => Element::Invalid(why),
    });
    Some(elements.collect())
}

/// Why a value is no event; none if it is one.
fn fault(value: &Value) -> Option<String> {
    let Value::Object(fields) = value else { return Some("not a JSON object".to_owned()) };
    for name in ["specversion", "id", "source", "type"] {
        match fields.get(name) {
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(_) => return Some(format!("'{name}' is not a non-empty string")),
            None => return Some(format!("'{name}' is missing")),
        }
    }
    None
}

/// The text of each element of an array that is known to be JSON.
fn slices(body: &[u8]) -> Vec<&[u8]> {
    let mut out = Vec::new();
    let (mut depth, mut start, mut text, mut escaped) = (0_usize, 0, false, false);
    for (i, &b) in body.iter().enumerate() {
        if text {
            match b {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => text = false,
                _ => {}
            }
            continue;
        }
        match b {
            b'"' => text = true,
            b'[' | b'{' => {
                depth += 1;
                if depth == 1 {
                    start = i + 1;
                }
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    let last = body[start..i].trim_ascii();
                    if !last.is_empty() {
                        out.push(last);
                    }
                }
            }
            b',' if depth == 1 => {
                out.push(body[start..i].trim_ascii());
                start = i + 1;
            }
            _ => {}
        }
    }
    out
}
