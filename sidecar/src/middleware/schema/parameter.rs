//! One parameter of a request: where it stands, how it is spelled (OpenAPI's styles), and what its value has to be.

use super::super::edit::pairs;
use crate::exchange::Exchange;
use jsonschema::Validator;
use serde_json::{Map, Number, Value as Json};

/// Values that are looked at of one parameter.
const VALUES_MAX: usize = 10_000;

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Place {
    /// In the query.
    Query,
    /// A header.
    Header,
    /// A group of the route's expression.
    Path,
}

/// How several values are put into one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Style {
    /// `name=a,b`, or `name=a&name=b` when exploded.
    Form,
    /// `name=a%20b`.
    Space,
    /// `name=a|b`.
    Pipe,
    /// `name[a]=1&name[b]=2`.
    Deep,
    /// `a,b`.
    Simple,
    /// `.a.b`.
    Label,
    /// `;name=a,b`.
    Matrix,
}

/// The words for styles, and where each may be.
pub(in super::super) const STYLES: [(&str, Style, &[Place]); 7] = [
    ("form", Style::Form, &[Place::Query]),
    ("spaceDelimited", Style::Space, &[Place::Query]),
    ("pipeDelimited", Style::Pipe, &[Place::Query]),
    ("deepObject", Style::Deep, &[Place::Query]),
    ("simple", Style::Simple, &[Place::Header, Place::Path]),
    ("label", Style::Label, &[Place::Path]),
    ("matrix", Style::Matrix, &[Place::Path]),
];

/// A parameter.
pub(in super::super) struct Parameter {
    /// Its name; of a header in lower case.
    pub(in super::super) name: String,
    /// Where it stands.
    pub(in super::super) place: Place,
    /// Whether it has to be there.
    pub(in super::super) required: bool,
    /// What its value has to be, if that is said.
    pub(in super::super) shape: Option<Shape>,
}

/// How the value of a parameter is spelled, and what it has to be.
pub(in super::super) struct Shape {
    pub(in super::super) style: Style,
    pub(in super::super) explode: bool,
    /// To know the types of what is inside.
    pub(in super::super) schema: Json,
    pub(in super::super) validator: Validator,
}

impl Parameter {
    /// What is wrong with it in a request; none: nothing is.
    pub(in super::super) fn wrong(&self, exchange: &Exchange) -> Option<String> {
        let place = match self.place {
            Place::Query => "query",
            Place::Header => "header",
            Place::Path => "path",
        };
        let said = match self.value(exchange) {
            None => self.required.then(|| "required parameter value not found".to_owned()),
            Some(value) => self.shape.as_ref().and_then(|shape| super::wrong(&shape.validator, &value)),
        };
        said.map(|said| format!("{place} '{}' validation failed, [error] {said}", self.name))
    }

    /// Its value; none: it is not there.
    fn value(&self, exchange: &Exchange) -> Option<Json> {
        match self.place {
            Place::Query => self.of_query(exchange.request.query().unwrap_or_default().as_bytes()),
            Place::Header => {
                let lines: Vec<&[u8]> = exchange.request.headers.get_all(&self.name).collect();
                if lines.is_empty() {
                    return None;
                }
                Some(self.of_text(&String::from_utf8_lossy(&lines.join(&b',')), |text| text.trim().to_owned()))
            }
            Place::Path => {
                let found = exchange.captures.iter().find(|(name, _)| name.as_deref() == Some(&self.name));
                let text = found.map(|(_, text)| text).filter(|text| !text.is_empty())?;
                let decoded = |text: &str| String::from_utf8_lossy(&pairs::unescaped(text.as_bytes())).into_owned();
                Some(self.of_text(text, decoded))
            }
        }
    }

    fn of_query(&self, query: &[u8]) -> Option<Json> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let decoded = |raw: &[u8]| text(&pairs::value(&[b"=", raw].concat()).unwrap_or_default());
        let raw = |pair: &'_ [u8]| pair.iter().position(|b| *b == b'=').map_or(0..0, |at| at + 1..pair.len());
        let ours = || pairs::split(query).filter(|pair| pairs::is(pair, self.name.as_bytes())).take(VALUES_MAX);
        let Some(shape) = &self.shape else { return ours().next().map(|_| Json::Null) };
        let schema = &shape.schema;
        let exploded = shape.explode && shape.style != Style::Deep;
        if is(schema, "object") && (exploded || shape.style == Style::Deep) {
            let mut map = Map::new();
            for pair in pairs::split(query).take(VALUES_MAX) {
                let name = text(&pairs::name(pair));
                let key = match shape.style {
                    Style::Deep => name.strip_prefix(&self.name).and_then(|n| n.strip_prefix('[')?.strip_suffix(']')),
                    _ => Some(name.as_str()).filter(|name| belongs(schema, name)),
                };
                if let Some(key) = key {
                    let value = scalar(member(schema, key), &decoded(pair.get(raw(pair)).unwrap_or_default()));
                    map.insert(key.to_owned(), value);
                }
            }
            return (!map.is_empty()).then_some(Json::Object(map));
        }
        let first = ours().next()?;
        if is(schema, "array") && exploded {
            let items = ours().map(|pair| scalar(items(schema), &decoded(pair.get(raw(pair)).unwrap_or_default())));
            return Some(Json::Array(items.collect()));
        }
        let value = first.get(raw(first)).unwrap_or_default();
        let separators: &[&str] = match shape.style {
            Style::Space => &["%20", "+"],
            Style::Pipe => &["%7C", "%7c", "|"],
            _ => &[","],
        };
        let value = String::from_utf8_lossy(value);
        let decoded = |text: &str| decoded(text.as_bytes());
        if !is(schema, "array") && !is(schema, "object") {
            return Some(scalar(Some(schema), &decoded(&value)));
        }
        let mut parts = vec![&*value];
        for separator in separators {
            parts = parts.into_iter().flat_map(|part| part.split(separator)).take(VALUES_MAX).collect();
        }
        Some(structured(schema, &parts, false, &decoded))
    }

    /// A header or a group of a path.
    fn of_text(&self, text: &str, decoded: impl Fn(&str) -> String) -> Json {
        let Some(shape) = &self.shape else { return Json::Null };
        let schema = &shape.schema;
        let several = is(schema, "array") || is(schema, "object");
        let named = format!("{}=", self.name);
        let (text, separator) = match shape.style {
            Style::Label => (text.strip_prefix('.').unwrap_or(text), if shape.explode { '.' } else { ',' }),
            Style::Matrix => {
                let text = text.strip_prefix(';').unwrap_or(text);
                let whole = shape.explode && several;
                let text = if whole { text } else { text.strip_prefix(&named).unwrap_or(text) };
                (text, if shape.explode { ';' } else { ',' })
            }
            _ => (text, ','),
        };
        if !several {
            return scalar(Some(schema), &decoded(text));
        }
        let repeated = shape.style == Style::Matrix && shape.explode && is(schema, "array");
        let part = |part: &'_ str| match repeated {
            true => part.strip_prefix(&named).unwrap_or(part).len(),
            false => part.len(),
        };
        let parts: Vec<&str> = text
            .split(separator)
            .take(VALUES_MAX)
            .map(|text| text.get(text.len() - part(text)..).unwrap_or_default())
            .collect();
        structured(schema, &parts, shape.explode, &decoded)
    }
}

/// An array, or an object: `k=v` each when exploded, else `k` and `v` in turn.
fn structured(schema: &Json, parts: &[&str], exploded: bool, decoded: &dyn Fn(&str) -> String) -> Json {
    if is(schema, "array") {
        return Json::Array(parts.iter().map(|part| scalar(items(schema), &decoded(part))).collect());
    }
    let mut map = Map::new();
    let mut put = |key: &str, value: &str| {
        let key = decoded(key);
        let value = scalar(member(schema, &key), &decoded(value));
        map.insert(key, value);
    };
    if exploded {
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            put(key, value);
        }
    } else {
        for two in parts.chunks(2) {
            put(two.first().unwrap_or(&""), two.get(1).unwrap_or(&""));
        }
    }
    Json::Object(map)
}

/// Whether a schema wants this type, perhaps among others.
fn is(schema: &Json, kind: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(one)) => one == kind,
        Some(Json::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// Whether an argument is a member of an object that is spread over the query.
fn belongs(schema: &Json, name: &str) -> bool {
    schema.get("properties").and_then(Json::as_object).is_none_or(|members| members.contains_key(name))
}

fn member<'s>(schema: &'s Json, name: &str) -> Option<&'s Json> {
    schema.get("properties")?.get(name)
}

fn items(schema: &Json) -> Option<&Json> {
    schema.get("items")
}

/// A text as a value of the type that is wanted; one that does not read as such stays a text, and is refused as one.
fn scalar(schema: Option<&Json>, text: &str) -> Json {
    let wants = |kind: &str| schema.is_some_and(|schema| is(schema, kind));
    if wants("number") || wants("integer") {
        let number = text.parse::<i64>().map(Number::from).ok();
        let number = number.or_else(|| serde_json::from_str::<Number>(text).ok());
        if let Some(number) = number {
            return Json::Number(number);
        }
    }
    match text {
        "true" | "false" if wants("boolean") => Json::Bool(text == "true"),
        "" if wants("null") => Json::Null,
        _ => Json::String(text.to_owned()),
    }
}
