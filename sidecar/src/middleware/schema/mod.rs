//! Schemas that requests are held against: JSON Schema, and the form in which Kong describes its own entities.

pub(super) mod kong;
pub(super) mod parameter;
mod pattern;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value as Json;

/// Steps back that an expression of a schema may take. Past them a text does not match.
const BACKTRACK_MAX: usize = 10_000;
/// As large may an expression be when it is compiled.
const REGEX_BYTES: usize = 1 << 20;
/// The longest sentence about what is wrong.
const MESSAGE_MAX: usize = 512;

/// Those that Kong looks at; others are words for people there.
const FORMATS: [&str; 3] = ["date", "date-time", "time"];

/// What other drafts know.
const UNCHECKED: [&str; 16] = [
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "uri-template",
    "iri",
    "iri-reference",
    "uuid",
    "json-pointer",
    "relative-json-pointer",
    "regex",
    "duration",
];

/// The word for a draft, and the draft.
pub(super) const DRAFTS: [(&str, Draft); 5] = [
    ("draft4", Draft::Draft4),
    ("draft6", Draft::Draft6),
    ("draft7", Draft::Draft7),
    ("draft201909", Draft::Draft201909),
    ("draft202012", Draft::Draft202012),
];

/// Compiles a schema. Nothing is fetched for it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn compile(schema: &Json, draft: Draft) -> Result<Validator, String> {
    let patterns = PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_MAX).size_limit(REGEX_BYTES);
    let mut options =
        jsonschema::options().with_draft(draft).with_pattern_options(patterns).should_validate_formats(true);
    for format in UNCHECKED {
        options = options.with_format(format, |_: &str| true);
    }
    options.build(schema).map_err(|error| placed(error.instance_path().to_string(), error.to_string()))
}

/// What is wrong with a value, in a sentence that does not repeat it; none: nothing is.
pub(super) fn wrong(validator: &Validator, value: &Json) -> Option<String> {
    let error = validator.validate(value).err()?;
    Some(placed(error.instance_path().to_string(), error.masked().to_string()))
}

/// A sentence with the place that it is about, as a JSON pointer.
fn placed(place: String, said: String) -> String {
    cut(if place.is_empty() { said } else { format!("{place}: {said}") })
}

fn cut(mut text: String) -> String {
    if text.len() > MESSAGE_MAX {
        let end = (0..=MESSAGE_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A schema as the file has it: a JSON text, or written out in the file itself.
///
/// # Errors
/// What is wrong with it.
pub(super) fn given(value: &Json) -> Result<std::borrow::Cow<'_, Json>, String> {
    match value {
        Json::String(text) => serde_json::from_str(text)
            .map(std::borrow::Cow::Owned)
            .map_err(|error| format!("failed decoding schema: {error}")),
        Json::Object(_) | Json::Array(_) => Ok(std::borrow::Cow::Borrowed(value)),
        _ => Err("expected a string".into()),
    }
}

#[cfg(test)]
mod tests;
