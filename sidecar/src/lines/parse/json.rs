//! Objects of JSON loggers: Monolog, pino, bunyan, winston, python-json-logger, structlog, zap, zerolog, slog, Serilog,
//! logback, ECS, OpenTelemetry; and GELF, which is one of them with rules of its own.

use super::{FIELDS_MAX, Parsed, VALUE_MAX, level};
use serde_json::{Map, Value};

/// Keys that hold the message, the best first.
const MESSAGES: [&str; 9] = ["message", "msg", "short_message", "event", "@m", "@mt", "text", "log", "body"];
/// Keys that hold the severity, the best first.
const LEVELS: [&str; 11] = [
    "level_name",
    "levelname",
    "severity",
    "severity_text",
    "log.level",
    "level",
    "lvl",
    "loglevel",
    "@l",
    "levelno",
    "severity_number",
];
/// Keys that hold the time.
const TIMES: [&str; 7] = ["timestamp", "time", "ts", "@timestamp", "datetime", "@t", "timeUnixNano"];
/// How deep nested values are made fields.
const DEPTH_MAX: usize = 6;

/// An object; none when the text is no JSON object. Its message is empty when no key holds one.
pub(super) fn object(text: &str) -> Option<Parsed> {
    let Value::Object(mut map) = serde_json::from_str::<Value>(text).ok()? else { return None };
    if map.contains_key("version") && map.get("short_message").is_some_and(Value::is_string) {
        return Some(gelf(map));
    }
    let mut parsed = Parsed { message: String::new(), ..Parsed::default() };
    for key in LEVELS {
        if parsed.level.is_none() {
            parsed.level = map.get(key).and_then(|v| severity(key, v));
        }
    }
    if parsed.level.is_none() {
        parsed.level = map.get("log").and_then(|l| l.get("level")).and_then(|v| severity("level", v));
    }
    parsed.time = TIMES.iter().find_map(|key| map.get(*key).and_then(time));
    let key = MESSAGES.iter().find(|key| map.get(**key).is_some_and(|v| v.as_str().is_some_and(|s| !s.is_empty())));
    if let Some(Value::String(message)) = key.and_then(|key| map.shift_remove(*key)) {
        parsed.message = message;
    }
    for key in LEVELS.iter().chain(&TIMES) {
        // A word that says no severity is a field like any other.
        if parsed.level.is_some() || !LEVELS.contains(key) {
            map.shift_remove(*key);
        }
    }
    flatten(&map, &mut parsed.fields);
    Some(parsed)
}

/// GELF 1.1: `_fields`, `short_message`, `full_message`, syslog's levels, seconds since 1970.
fn gelf(mut map: Map<String, Value>) -> Parsed {
    let text = |map: &mut Map<String, Value>, key: &str| match map.shift_remove(key) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let short = text(&mut map, "short_message");
    let full = text(&mut map, "full_message");
    map.shift_remove("version");
    let parsed = Parsed {
        level: map.shift_remove("level").and_then(|v| severity("level", &v)),
        time: map.shift_remove("timestamp").and_then(|v| time(&v)),
        message: match (full.is_empty(), full.starts_with(&short)) {
            (true, _) => short,
            (false, true) => full,
            (false, false) => format!("{short}\n{full}"),
        },
        ..Parsed::default()
    };
    let plain: Map<String, Value> =
        map.into_iter().map(|(key, value)| (key.strip_prefix('_').map(str::to_owned).unwrap_or(key), value)).collect();
    let mut parsed = parsed;
    flatten(&plain, &mut parsed.fields);
    parsed
}

fn severity(key: &str, value: &Value) -> Option<u8> {
    match value {
        // slog writes WARN+2.
        Value::String(text) => {
            let word = text.trim().split('+').next().unwrap_or("");
            level::word(word).or_else(|| text.parse().ok().and_then(|n| numbered(key, n)))
        }
        Value::Number(n) => numbered(key, n.as_i64()?),
        _ => None,
    }
}

fn numbered(key: &str, n: i64) -> Option<u8> {
    match key {
        "levelno" => level::python(n),
        "severity_number" => level::open_telemetry(n),
        _ => level::number(n),
    }
}

/// A time in microseconds since 1970: RFC 3339, or a number of seconds, milli-, micro- or nanoseconds by its size.
pub(super) fn time(value: &Value) -> Option<u64> {
    let number = match value {
        Value::String(text) => {
            let text = text.trim();
            if let Ok(at) = text.parse::<jiff::Timestamp>() {
                return u64::try_from(at.as_microsecond()).ok();
            }
            text.parse::<f64>().ok()?
        }
        Value::Number(n) => n.as_f64()?,
        _ => return None,
    };
    let micros = match number {
        n if n < 1e8 => return None,
        n if n < 1e11 => n * 1e6,
        n if n < 1e14 => n * 1e3,
        n if n < 1e17 => n,
        n if n < 1e20 => n / 1e3,
        _ => return None,
    };
    Some(micros as u64)
}

/// Nested objects as names with dots, lists as JSON. Keys that name the command are taken even when there are too
/// many.
pub(super) fn flatten(map: &Map<String, Value>, into: &mut Vec<(String, String)>) {
    nested(map, "", 0, into);
}

fn nested(map: &Map<String, Value>, prefix: &str, depth: usize, into: &mut Vec<(String, String)>) {
    for (key, value) in map {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let text = match value {
            Value::Null => continue,
            Value::Object(inner) if depth < DEPTH_MAX => {
                nested(inner, &name, depth + 1, into);
                continue;
            }
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        add(into, name, text);
    }
}

/// Adds a field, within the limits.
pub(super) fn add(into: &mut Vec<(String, String)>, name: String, mut text: String) {
    if text.is_empty() || text == "[]" || text == "{}" {
        return;
    }
    super::cut(&mut text, VALUE_MAX);
    if into.len() < FIELDS_MAX {
        into.push((name, text));
    } else if crate::sink::names_command(&name)
        && let Some(last) = into.iter_mut().rev().find(|(n, _)| !crate::sink::names_command(n))
    {
        *last = (name, text);
    }
}
