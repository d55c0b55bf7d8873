//! Kong's own form of a schema: a list of fields, each with its type and what its value has to fulfil.

use super::pattern::Pattern;
use jsonschema::Validator;
use serde_json::{Map, Value as Json};

/// How deep records, maps and arrays may be nested.
const DEPTH_MAX: usize = 32;

/// What a value has to be.
struct Field {
    kind: Kind,
    required: bool,
    checks: Vec<Check>,
}

enum Kind {
    Text,
    Number,
    Integer,
    Truth,
    Map(Box<(Field, Field)>),
    Array(Box<Field>),
    Set(Box<Field>),
    Record(Record),
}

/// Fields by their names; others are unknown.
pub(in super::super) struct Record {
    fields: Vec<(Box<str>, Field)>,
}

enum Check {
    Between(f64, f64),
    Least(usize),
    Most(usize),
    Length(usize),
    Match(Pattern),
    NotMatch(Pattern),
    MatchAll(Pattern),
    MatchNone(Pattern),
    MatchAny(Pattern),
    StartsWith(Box<str>),
    OneOf(Vec<Json>),
    Timestamp,
    Uuid,
    Above(f64),
    Format(Box<Validator>),
}

/// Where a mistake is, and what.
type Bad = String;

impl Record {
    /// Reads a list of fields.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in super::super) fn new(schema: &Json) -> Result<Record, Bad> {
        record(schema, 0)
    }

    /// What is wrong with a value, and where: `length must be at least 1: name`. None: nothing is.
    pub(in super::super) fn wrong(&self, value: &Json) -> Option<String> {
        let mut place = Vec::new();
        let said = self.look(value, &mut place).err()?;
        place.reverse();
        Some(if place.is_empty() { said } else { format!("{said}: {}", place.join(".")) })
    }

    /// The places are told from the inside to the outside.
    fn look(&self, value: &Json, place: &mut Vec<String>) -> Result<(), String> {
        let Some(map) = value.as_object() else { return Err("expected a record".into()) };
        for (name, field) in &self.fields {
            let found = map.get(&**name).filter(|value| !value.is_null());
            let result = match found {
                None if field.required => Err("required field missing".into()),
                None => Ok(()),
                Some(value) => field.look(value, place),
            };
            result.inspect_err(|_| place.push(name.to_string()))?;
        }
        let known = |name: &str| self.fields.iter().any(|(known, _)| **known == *name);
        match map.keys().find(|name| !known(name)) {
            Some(name) => {
                place.push(name.clone());
                Err("unknown field".into())
            }
            None => Ok(()),
        }
    }
}

fn record(schema: &Json, depth: usize) -> Result<Record, Bad> {
    let list = schema.as_array().ok_or("expected a list of fields")?;
    let mut fields: Vec<(Box<str>, Field)> = Vec::new();
    for item in list {
        let mut entries = item.as_object().into_iter().flatten();
        let (Some((name, spec)), None) = (entries.next(), entries.next()) else {
            return Err("every field is a record with one key, its name".into());
        };
        if fields.iter().any(|(known, _)| **known == **name) {
            return Err(format!("{name}: is there twice"));
        }
        let spec = spec.as_object().ok_or_else(|| format!("{name}: expected a record"))?;
        fields.push((name.as_str().into(), field(spec, depth + 1).map_err(|why| format!("{name}: {why}"))?));
    }
    Ok(Record { fields })
}

fn field(spec: &Map<String, Json>, depth: usize) -> Result<Field, Bad> {
    if depth > DEPTH_MAX {
        return Err(format!("nested more than {DEPTH_MAX} deep"));
    }
    let inner = |key: &str| {
        let spec = spec.get(key).and_then(Json::as_object).ok_or_else(|| format!("{key}: required field missing"))?;
        field(spec, depth + 1).map_err(|why| format!("{key}: {why}"))
    };
    let name = spec.get("type").and_then(Json::as_str).ok_or("type: required field missing")?;
    let (kind, own): (Kind, &[&str]) = match name {
        "string" => (Kind::Text, &[]),
        "number" => (Kind::Number, &[]),
        "integer" => (Kind::Integer, &[]),
        "boolean" => (Kind::Truth, &[]),
        "map" => (Kind::Map(Box::new((inner("keys")?, inner("values")?))), &["keys", "values"]),
        "array" => (Kind::Array(Box::new(inner("elements")?)), &["elements"]),
        "set" => (Kind::Set(Box::new(inner("elements")?)), &["elements"]),
        "record" => {
            let fields = spec.get("fields").ok_or("fields: required field missing")?;
            (Kind::Record(record(fields, depth)?), &["fields"])
        }
        other => {
            return Err(format!(
                "type: {other}: expected one of: string, number, integer, boolean, map, array, set, record"
            ));
        }
    };
    let required = match spec.get("required") {
        None | Some(Json::Null) => false,
        Some(value) => value.as_bool().ok_or("required: expected a boolean")?,
    };
    let mut checks = Vec::new();
    for (key, value) in spec.iter().filter(|(key, _)| !own.contains(&key.as_str())) {
        if let Some(check) = check(key, value).map_err(|why| format!("{key}: {why}"))? {
            checks.push(check);
        }
    }
    Ok(Field { kind, required, checks })
}

fn check(key: &str, value: &Json) -> Result<Option<Check>, Bad> {
    let pattern = || Pattern::new(value.as_str().ok_or("expected a string")?);
    let count = || value.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or("expected a number that is not negative");
    let flag = |check: Check| value.as_bool().ok_or("expected a boolean").map(|on| on.then_some(check));
    Ok(Some(match key {
        "type" | "required" | "description" => return Ok(None),
        "between" => match value.as_array().map(Vec::as_slice) {
            Some([from, to]) => {
                Check::Between(from.as_f64().ok_or("expected two numbers")?, to.as_f64().ok_or("expected two numbers")?)
            }
            _ => return Err("expected two numbers".into()),
        },
        "gt" => Check::Above(value.as_f64().ok_or("expected a number")?),
        "len_eq" => Check::Length(count()?),
        "len_min" => Check::Least(count()?),
        "len_max" => Check::Most(count()?),
        "match" => Check::Match(pattern()?),
        "not_match" => Check::NotMatch(pattern()?),
        "match_all" => Check::MatchAll(pattern()?),
        "match_none" => Check::MatchNone(pattern()?),
        "match_any" => Check::MatchAny(pattern()?),
        "starts_with" => Check::StartsWith(value.as_str().ok_or("expected a string")?.into()),
        "one_of" => Check::OneOf(value.as_array().ok_or("expected an array")?.clone()),
        "timestamp" => return Ok(flag(Check::Timestamp)?),
        "uuid" => return Ok(flag(Check::Uuid)?),
        "format" => {
            let name = value.as_str().filter(|name| super::FORMATS.contains(name));
            let name = name.ok_or_else(|| format!("expected one of: {}", super::FORMATS.join(", ")))?;
            let schema = serde_json::json!({ "format": name });
            Check::Format(Box::new(super::compile(&schema, jsonschema::Draft::Draft7)?))
        }
        _ => return Err("unknown field".into()),
    }))
}

impl Field {
    fn look(&self, value: &Json, place: &mut Vec<String>) -> Result<(), String> {
        let expected = |fits: bool, what: &str| if fits { Ok(()) } else { Err(format!("expected {what}")) };
        match &self.kind {
            Kind::Text => expected(value.is_string(), "a string")?,
            Kind::Number => expected(value.is_number(), "a number")?,
            Kind::Integer => expected(is_whole(value), "an integer")?,
            Kind::Truth => expected(value.is_boolean(), "a boolean")?,
            Kind::Record(record) => record.look(value, place)?,
            Kind::Map(of) => {
                let map = value.as_object().ok_or("expected a map")?;
                for (key, value) in map {
                    let key_fits = of.0.look(&Json::String(key.clone()), place);
                    key_fits.and_then(|()| of.1.look(value, place)).inspect_err(|_| place.push(key.clone()))?;
                }
            }
            Kind::Array(of) | Kind::Set(of) => {
                let list = value.as_array().ok_or("expected an array")?;
                for (at, value) in list.iter().enumerate() {
                    of.look(value, place).inspect_err(|_| place.push((at + 1).to_string()))?;
                }
                let set = matches!(self.kind, Kind::Set(_));
                if set && !all_differ(list) {
                    return Err("values must be unique".into());
                }
            }
        }
        // Kong takes an empty text for none, unless the schema says that it may be empty.
        if value.as_str() == Some("") && !self.checks.iter().any(|c| matches!(c, Check::Least(0))) {
            return Err("length must be at least 1".into());
        }
        self.checks.iter().try_for_each(|check| check.look(value))
    }
}

fn is_whole(value: &Json) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// Compared as texts, so that many are no matter.
fn all_differ(list: &[Json]) -> bool {
    let mut seen = std::collections::HashSet::new();
    list.iter().all(|value| seen.insert(value.to_string()))
}

fn length(value: &Json) -> Option<usize> {
    match value {
        Json::String(text) => Some(text.len()),
        Json::Array(list) => Some(list.len()),
        Json::Object(map) => Some(map.len()),
        _ => None,
    }
}

impl Check {
    fn look(&self, value: &Json) -> Result<(), String> {
        let hold = |holds: bool, said: &dyn Fn() -> String| if holds { Ok(()) } else { Err(said()) };
        let number = value.as_f64();
        let long = |fits: &dyn Fn(usize) -> bool| length(value).is_none_or(fits);
        let text = |fits: &dyn Fn(&str) -> bool| value.as_str().is_none_or(fits);
        let texts = value.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::as_bytes);
        let invalid = || "invalid value".to_owned();
        match self {
            Check::Between(from, to) => hold(number.is_none_or(|n| (*from..=*to).contains(&n)), &|| {
                format!("value should be between {from} and {to}")
            }),
            Check::Above(than) => {
                hold(number.is_none_or(|n| n > *than), &|| format!("value must be greater than {than}"))
            }
            Check::Length(wanted) => hold(long(&|l| l == *wanted), &|| format!("length must be {wanted}")),
            Check::Least(least) => hold(long(&|l| l >= *least), &|| format!("length must be at least {least}")),
            Check::Most(most) => hold(long(&|l| l <= *most), &|| format!("length must be at most {most}")),
            Check::Match(pattern) => hold(text(&|t| pattern.is_in(t.as_bytes())), &invalid),
            Check::NotMatch(pattern) => hold(text(&|t| !pattern.is_in(t.as_bytes())), &invalid),
            Check::MatchAll(pattern) => hold(texts.into_iter().all(|t| pattern.is_in(t)), &invalid),
            Check::MatchNone(pattern) => hold(!texts.into_iter().any(|t| pattern.is_in(t)), &invalid),
            Check::MatchAny(pattern) => hold(texts.into_iter().any(|t| pattern.is_in(t)), &invalid),
            Check::StartsWith(start) => {
                hold(text(&|t| t.starts_with(&**start)), &|| format!("should start with: {start}"))
            }
            Check::OneOf(words) => hold(words.contains(value), &|| {
                let words: Vec<String> =
                    words.iter().map(|w| w.as_str().map_or_else(|| w.to_string(), str::to_owned)).collect();
                format!("expected one of: {}", words.join(", "))
            }),
            Check::Timestamp => hold(number.is_some_and(|n| n > 0.0), &|| "expected a valid timestamp".into()),
            Check::Uuid => hold(text(&is_uuid), &|| "expected a valid UUID".into()),
            Check::Format(validator) => hold(validator.is_valid(value), &invalid),
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()))
}
