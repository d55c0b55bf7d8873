//! Whether an answer, and what the upstream saw, are as they must be.

use crate::table::{Expect, Up};
use crate::upstream::Seen;
use fourmi_tests::wire::Message;
use regex::Regex;
use serde_json::{Map, Value};

type Lines = [(String, String)];

/// What is wrong with an answer.
pub(crate) fn judge(expect: &Expect, answer: &Message, seen: &[Seen]) -> Vec<String> {
    let mut wrong = Vec::new();
    let status = expect.status.unwrap_or(200);
    if answer.status() != status {
        wrong.push(format!("status {} instead of {status}", answer.status()));
    }
    body(expect, answer, &mut wrong);
    headers("the answer", &expect.headers, &answer.headers, seen, &mut wrong);
    grpc(expect, answer, &mut wrong);
    reached(expect, seen, &mut wrong);
    if !wrong.is_empty() {
        wrong.push(format!("the answer: {} {:?} {}", answer.first, answer.headers, short(&answer.text())));
        wrong.extend(
            seen.iter()
                .map(|s| format!("seen by {}: {} {} {:?} {}", s.at, s.method, s.target, s.headers, short(&s.body))),
        );
    }
    wrong
}

fn short(text: &str) -> String {
    text.chars().take(500).collect()
}

fn body(expect: &Expect, answer: &Message, wrong: &mut Vec<String>) {
    let text = answer.text();
    if let Some(message) = &expect.message {
        let start = format!("{{\n  \"message\":{},\n  \"request_id\":\"", Value::from(message.as_str()));
        let id = text.strip_prefix(&start).and_then(|rest| rest.strip_suffix("\"\n}"));
        let is_id = |id: &str| id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !id.is_some_and(is_id) {
            wrong.push(format!("the body is not Kong's error {message:?}"));
        }
        is_json(answer, wrong);
    }
    if let Some(message) = &expect.compact {
        if text != format!("{{\"message\":{}}}", Value::from(message.as_str())) {
            wrong.push(format!("the body is not the compact message {message:?}"));
        }
        is_json(answer, wrong);
    }
    if let Some(whole) = &expect.body
        && text != *whole
    {
        wrong.push(format!("the body is not {whole:?}"));
    }
    if let Some(part) = &expect.contains
        && !text.contains(part)
    {
        wrong.push(format!("the body has no {part:?}"));
    }
    if let Some(json) = &expect.json {
        members("the answer's JSON", json, &text, wrong);
    }
}

fn is_json(answer: &Message, wrong: &mut Vec<String>) {
    if answer.header("content-type") != Some("application/json; charset=utf-8") {
        wrong.push(format!("Content-Type is {:?}", answer.header("content-type")));
    }
}

/// Whether a text is JSON with these members at least.
fn members(what: &str, expected: &Value, text: &str, wrong: &mut Vec<String>) {
    let Ok(found) = serde_json::from_str::<Value>(text) else {
        return wrong.push(format!("{what} is none: {:?}", short(text)));
    };
    let Some(expected) = expected.as_object() else {
        if *expected != found {
            wrong.push(format!("{what} is {found} instead of {expected}"));
        }
        return;
    };
    for (name, value) in expected {
        match (value, found.get(name)) {
            (Value::Null, None) => {}
            (Value::Null, Some(there)) => wrong.push(format!("{what} has {name:?}: {there}")),
            (value, there) if there == Some(value) => {}
            (value, there) => wrong.push(format!("{what} has {there:?} at {name:?} instead of {value}")),
        }
    }
}

fn all<'a>(lines: &'a Lines, name: &str) -> Vec<&'a str> {
    lines.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
}

fn headers(what: &str, expected: &Map<String, Value>, lines: &Lines, seen: &[Seen], wrong: &mut Vec<String>) {
    for (name, rule) in expected {
        let found = all(lines, name);
        if !header(rule, &found, lines, name, seen) {
            wrong.push(format!("{what} has {name}: {found:?}, which is not {rule}"));
        }
    }
}

/// A header's values against the rule of the row.
fn header(rule: &Value, found: &[&str], lines: &Lines, name: &str, seen: &[Seen]) -> bool {
    let joined = found.join(", ");
    let one = |expected: &str| found.len() == 1 && joined == expected;
    match rule {
        Value::Null => found.is_empty(),
        Value::Bool(there) => found.is_empty() != *there,
        Value::Number(number) => one(&number.to_string()),
        Value::String(text) => one(text),
        Value::Array(values) => {
            values.len() == found.len() && values.iter().zip(found).all(|(v, f)| v.as_str() == Some(f))
        }
        Value::Object(rules) => rules.iter().all(|(kind, value)| match kind.as_str() {
            "matches" => Regex::new(value.as_str().unwrap()).unwrap().is_match(&joined) && found.len() == 1,
            "from" => number(&joined) >= value.as_f64().unwrap(),
            "to" => number(&joined) <= value.as_f64().unwrap(),
            // Every one of these words, in whatever order and number of lines.
            "words" => {
                let mut words: Vec<&str> = joined.split(',').map(str::trim).collect();
                let mut expected: Vec<&str> = value.as_array().unwrap().iter().filter_map(Value::as_str).collect();
                words.sort_unstable();
                expected.sort_unstable();
                words == expected
            }
            "same_as" => one(&all(lines, value.as_str().unwrap()).join(", ")),
            "as_seen" => !joined.is_empty() && seen.first().is_some_and(|s| all(&s.headers, name) == found),
            other => panic!("no such rule: {other}"),
        }),
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

fn grpc(expect: &Expect, answer: &Message, wrong: &mut Vec<String>) {
    // A refusal is one block of headers, anything else has trailers.
    let found = |name| all(&answer.trailers, name).into_iter().chain(all(&answer.headers, name)).next();
    if let Some(status) = expect.grpc
        && found("grpc-status") != Some(status.to_string().as_str())
    {
        wrong.push(format!(
            "grpc-status {:?} instead of {status}; trailers {:?}",
            found("grpc-status"),
            answer.trailers
        ));
    }
    if let Some(message) = &expect.grpc_message
        && found("grpc-message") != Some(message)
    {
        wrong.push(format!("grpc-message {:?} instead of {message:?}", found("grpc-message")));
    }
}

fn reached(expect: &Expect, seen: &[Seen], wrong: &mut Vec<String>) {
    let refused = expect.message.is_some() || expect.compact.is_some() || expect.grpc.is_some_and(|s| s != 0);
    let asked = expect.at.is_some() || expect.up.is_some();
    let reached = expect.reached.unwrap_or(asked || !refused && expect.status.unwrap_or(200) == 200);
    if seen.len() != usize::from(reached) {
        wrong.push(format!("the upstream saw {} requests instead of {}", seen.len(), usize::from(reached)));
    }
    let Some(first) = seen.first() else { return };
    if let Some(at) = &expect.at
        && first.at != *at
    {
        wrong.push(format!("it went to {} instead of {at}", first.at));
    }
    if let Some(up) = &expect.up {
        seen_as(up, first, seen, wrong);
    }
}

fn seen_as(up: &Up, seen: &Seen, all: &[Seen], wrong: &mut Vec<String>) {
    let (path, query) = match seen.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (seen.target.as_str(), None),
    };
    for (what, expected, found) in [
        ("method", &up.method, Some(seen.method.as_str())),
        ("target", &up.target, Some(seen.target.as_str())),
        ("path", &up.path, Some(path)),
        ("query", &up.query, Some(query.unwrap_or(""))),
        ("body", &up.body, Some(seen.body.as_str())),
    ] {
        if let Some(expected) = expected
            && found != Some(expected)
        {
            wrong.push(format!("the upstream saw the {what} {:?} instead of {expected:?}", found.unwrap_or("")));
        }
    }
    if let Some(json) = &up.json {
        members("the JSON that the upstream saw", json, &seen.body, wrong);
    }
    headers("the upstream's request", &up.headers, &seen.headers, all, wrong);
}
