//! A request as the frames that an instance gets, and its frames as an answer.

use crate::codec::client::Received;
use crate::codec::zmtp::wire::Message;
use crate::exchange::frames::{Compare, FRAMES_MAX, Outlet, Part, When, joined, split};
use crate::exchange::{Head, Headers};
use crate::names::header as word;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// A larger answer is not looked into.
const LOOKED_INTO: usize = 256 << 10;

/// The frames of a request, and how many of them come before its body.
pub(crate) fn message(outlet: &Outlet, head: &Head, body: Bytes) -> (Message, usize) {
    let mut frames = Message::new();
    match &outlet.frames {
        None => frames.extend(head.headers.get(word::BEFORE).and_then(unhex).unwrap_or_default()),
        Some(layout) => frames.extend(layout.iter().filter_map(|part| frame(*part, head))),
    }
    let before = frames.len();
    split(head.headers.get(word::FRAMES), body, &mut frames);
    (frames, before)
}

/// The body of a message again.
pub(crate) fn body(message: &Message, before: usize) -> Bytes {
    joined(message.get(before..).unwrap_or_default()).1
}

/// A frame before the body.
fn frame(part: Part, head: &Head) -> Option<Bytes> {
    let line = |name: &str| Some(Bytes::copy_from_slice(head.headers.get_bytes(name).unwrap_or_default()));
    match part {
        Part::Name => line(word::COMMAND),
        Part::Id => line(word::ID),
        Part::ApiKey => line("apikey"),
        Part::Headers => {
            let text = |value: &[u8]| Value::from(String::from_utf8_lossy(value).into_owned());
            let kept = head.headers.iter().filter(|(name, _)| !matches!(*name, word::FRAMES | word::BEFORE));
            let lines: Map<String, Value> = kept.map(|(name, value)| (name.to_owned(), text(value))).collect();
            serde_json::to_vec(&lines).ok().map(Bytes::from)
        }
        Part::Status | Part::Body => None,
    }
}

/// Frames that a header line carries.
fn unhex(line: &str) -> Option<Vec<Bytes>> {
    let nibble = |b: u8| char::from(b).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(nibble(*high)? * 16 + nibble(*low)?).ok(),
        _ => None,
    };
    let frame = |text: &str| text.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>().map(Bytes::from);
    line.split(',').map(frame).collect()
}

/// An instance's frames as an answer.
///
/// # Errors
/// What about them is not as `zmq.reply` says.
pub(crate) fn answer(outlet: &Outlet, frames: &[Bytes]) -> Result<(Received, Bytes), String> {
    let before = outlet.reply.len().saturating_sub(1);
    if frames.len() <= before || frames.len() > FRAMES_MAX {
        return Err(format!(
            "its answer has {} frames, and {} to {FRAMES_MAX} are expected (zmq.reply)",
            frames.len(),
            before + 1
        ));
    }
    let (first, rest) = frames.split_at(before);
    let (line, body) = joined(rest);
    let mut headers = Headers::recycled();
    let mut status = None;
    for (part, frame) in outlet.reply.iter().zip(first) {
        match part {
            Part::Status => {
                status = std::str::from_utf8(frame).ok().and_then(|t| valid(t.trim().parse().ok()?));
                if status.is_none() {
                    return Err("the frame with the status of its answer holds none of 200 to 599 (zmq.reply)".into());
                }
            }
            // An empty frame says nothing.
            Part::Headers if frame.is_empty() => {}
            Part::Headers => {
                let Ok(Value::Object(lines)) = serde_json::from_slice::<Value>(frame) else {
                    return Err("the frame with the headers of its answer is no JSON object (zmq.reply)".into());
                };
                status = status.or_else(|| valid(lines.get("status")?.as_u64()?));
                for (name, value) in &lines {
                    let name = name.to_ascii_lowercase();
                    if name == "status" || name == "content-length" || name == "transfer-encoding" {
                        continue;
                    }
                    match value {
                        Value::String(text) => drop(headers.add(&name, text)),
                        Value::Number(number) => drop(headers.add(&name, number.to_string())),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let status = status.or_else(|| failure(outlet.error_when.as_ref()?, &body)).unwrap_or(200);
    if !headers.contains("content-type") && !body.is_empty() {
        let json = matches!(body.first(), Some(b'{' | b'['));
        headers.set("content-type", if json { "application/json" } else { "application/octet-stream" });
    }
    headers.set("content-length", itoa::Buffer::new().format(body.len()));
    match line {
        Some(line) => drop(headers.set(word::FRAMES, line)),
        None => drop(headers.remove(word::FRAMES)),
    }
    Ok((Received { status, headers }, body))
}

fn valid(status: u64) -> Option<u16> {
    u16::try_from(status).ok().filter(|s| (200..=599).contains(s))
}

/// The status that stands for a failure, if the answer tells of one: the number that was looked at, where it is one of
/// HTTP's, else 500.
fn failure(when: &When, body: &[u8]) -> Option<u16> {
    if body.len() > LOOKED_INTO {
        return None;
    }
    let document = serde_json::from_slice::<Value>(body).ok()?;
    let found = document.pointer(&when.pointer);
    let holds = match (&when.compare, found) {
        (None, found) => !matches!(found, None | Some(Value::Null | Value::Bool(false))),
        (Some((Compare::Other, value)), found) => found.is_none_or(|found| !is_same(found, value)),
        (Some(_), None) => false,
        (Some((Compare::Same, value)), Some(found)) => is_same(found, value),
        (Some((compare, value)), Some(found)) => {
            let order = number(found).zip(number(value)).and_then(|(a, b)| a.partial_cmp(&b));
            match compare {
                Compare::Less => order == Some(Ordering::Less),
                Compare::NotMore => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                Compare::More => order == Some(Ordering::Greater),
                Compare::NotLess => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                Compare::Same | Compare::Other => false,
            }
        }
    };
    let status = || found?.as_u64().and_then(valid).filter(|s| *s >= 400);
    holds.then(|| status().unwrap_or(500))
}

fn is_same(a: &Value, b: &Value) -> bool {
    a == b || number(a).is_some_and(|n| number(b) == Some(n))
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn frames(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|t| Bytes::from_static(t.as_bytes())).collect()
    }

    #[test]
    fn a_request_as_frames() {
        let mut head = Head::default();
        head.headers.set(word::COMMAND, "Place");
        head.headers.set(word::ID, "7");
        let body = Bytes::from_static(b"ab");
        assert_eq!(message(&Outlet::default(), &head, body.clone()).0[..], frames(&["ab"]));
        head.headers.set(word::FRAMES, "1,0,1");
        assert_eq!(message(&Outlet::default(), &head, body.clone()).0[..], frames(&["a", "", "b"]));
        head.headers.set(word::BEFORE, "6e616d65,");
        assert_eq!(message(&Outlet::default(), &head, body.clone()).0[..], frames(&["name", "", "a", "", "b"]));
        let layout = |parts: &[Part]| Outlet { frames: Some(parts.into()), ..Outlet::default() };
        let named = layout(&[Part::Name, Part::Id, Part::ApiKey, Part::Body]);
        assert_eq!(message(&named, &head, body.clone()).0[..], frames(&["Place", "7", "", "a", "", "b"]));
        let all = message(&layout(&[Part::Headers, Part::Body]), &head, body).0;
        let lines: Value = serde_json::from_slice(&all[0]).unwrap();
        assert_eq!(lines, serde_json::json!({"fourmi-command": "Place", "fourmi-id": "7"}));
        for wrong in ["6", "zz", "6e6"] {
            assert_eq!(unhex(wrong), None);
        }
    }

    fn answered(outlet: &Outlet, frames: &[Bytes]) -> (Received, Bytes) {
        answer(outlet, frames).unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn frames_as_an_answer() {
        let plain = Outlet::default();
        let (received, body) = answered(&plain, &frames(&["{\"a\":1}"]));
        assert_eq!((received.status, &body[..]), (200, &b"{\"a\":1}"[..]));
        assert_eq!(received.headers.get("content-type"), Some("application/json"));
        let (received, body) = answered(&plain, &frames(&["a", "bc"]));
        assert_eq!((received.headers.get(word::FRAMES), &body[..]), (Some("1,2"), &b"abc"[..]));
        let reply = |parts: &[Part]| Outlet { reply: parts.into(), ..Outlet::default() };
        let (received, body) = answered(&reply(&[Part::Status, Part::Body]), &frames(&["422", "no"]));
        assert_eq!((received.status, &body[..]), (422, &b"no"[..]));
        let headers = reply(&[Part::Headers, Part::Body]);
        let (received, _) =
            answered(&headers, &frames(&["{\"status\":503,\"Retry-After\":7,\"content-length\":1}", "no"]));
        assert_eq!((received.status, received.headers.get("retry-after")), (503, Some("7")));
        assert_eq!(received.headers.get("content-length"), Some("2"));
        let none = answered(&headers, &frames(&["", "yes"]));
        assert_eq!((none.0.status, &none.1[..]), (200, &b"yes"[..]));
        // What does not fit is no answer.
        let many = vec!["x"; FRAMES_MAX + 1];
        for odd in [&["999", "x"][..], &["x", "y"], &["1"], &["200"], &[], &many] {
            assert!(answer(&reply(&[Part::Status, Part::Body]), &frames(odd)).is_err(), "{odd:?}");
        }
        assert!(answer(&headers, &frames(&["[]", "no"])).is_err() && answer(&plain, &frames(&many)).is_err());
    }

    #[test]
    fn failures_are_told_by_a_condition() {
        use serde_json::json;
        let when = |pointer: &str, compare| When { pointer: pointer.into(), compare };
        for (condition, body, status) in [
            (when("/status", Some((Compare::NotLess, json!(400)))), json!({"status": 422}), Some(422)),
            (when("/status", Some((Compare::NotLess, json!(400)))), json!({"status": 200}), None),
            (when("/status", Some((Compare::NotLess, json!(400)))), json!({"status": "500"}), Some(500)),
            (when("/status", Some((Compare::NotLess, json!(400)))), json!({}), None),
            (when("/ok", Some((Compare::Other, json!(true)))), json!({"ok": false}), Some(500)),
            (when("/ok", Some((Compare::Other, json!(true)))), json!({"ok": true}), None),
            (when("/ok", Some((Compare::Other, json!(true)))), json!({}), Some(500)),
            (when("/error", None), json!({"error": "x"}), Some(500)),
            (when("/error", None), json!({"error": null}), None),
            (when("/state", Some((Compare::Same, json!("failed")))), json!({"state": "failed"}), Some(500)),
        ] {
            assert_eq!(failure(&condition, body.to_string().as_bytes()), status, "{condition:?} {body}");
        }
        assert_eq!(failure(&when("/error", None), b"no json"), None);
        let outlet = Outlet { error_when: Some(when("/e", None)), reply: Arc::new([Part::Body]), ..Outlet::default() };
        assert_eq!(answered(&outlet, &frames(&["{\"e\":1}"])).0.status, 500);
    }
}
