//! The table as a JSON Schema (draft 2020-12), for editors and checkers.

use super::keys::ROOT;
use super::tree::{self, Node, Value};
use super::{problem::Problems, source::Origin};
use crate::section::{Fallback, Key, Kind, Shape};
use serde_json::{Map, Value as Json, json};

/// The schema of the whole configuration.
pub fn schema() -> Json {
    let mut out = section(ROOT);
    if let Json::Object(map) = &mut out {
        let head = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Fourmi's configuration (fourmi.yaml)",
        });
        if let Json::Object(mut head) = head {
            head.append(map);
            *map = head;
        }
    }
    out
}

fn section(keys: &[Key]) -> Json {
    let properties: Map<String, Json> = keys.iter().map(|k| (k.name.to_owned(), property(k))).collect();
    let required: Vec<&str> = keys.iter().filter(|k| k.required).map(|k| k.name).collect();
    let mut out = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    out
}

fn property(key: &Key) -> Json {
    if let Fallback::Elsewhere(fix) = key.fallback {
        return json!({ "not": {}, "description": format!("Does not belong here: {fix}.") });
    }
    if !key.supported {
        return json!({ "not": {}, "description": format!("{} Not supported yet.", key.doc) });
    }
    let mut out = kind(&key.kind);
    // `${NAME}` may stand for any scalar, and an empty key is as good as none.
    if let Json::Object(map) = &mut out {
        map.insert("description".into(), key.doc.into());
        if let Fallback::Yaml(yaml) = key.fallback {
            map.insert("default".into(), literal(yaml));
        }
    }
    out
}

pub(super) fn kind(kind: &Kind) -> Json {
    match kind {
        Kind::Any => json!({}),
        Kind::Text(shape) => text(*shape),
        Kind::Flag => json!({ "anyOf": [{ "type": "boolean" }, variable()] }),
        Kind::Count { min, max, word } => {
            let mut any = vec![json!({ "type": "integer", "minimum": min, "maximum": max }), variable()];
            any.extend(word.iter().flat_map(|words| words.iter()).map(|w| json!({ "const": w })));
            json!({ "anyOf": any })
        }
        Kind::Duration { off, .. } => {
            let unit = r"^(([0-9.]+(us|µs|ms|s|m|h|d))+|0|.*\$\{.*)$";
            let mut any = vec![json!({ "type": "string", "pattern": unit }), json!({ "const": 0 })];
            if *off {
                any.push(json!({ "enum": ["off", "false", false] }));
            }
            json!({ "anyOf": any })
        }
        Kind::Seconds { max } => {
            let unit = r"^(([0-9.]+(us|µs|ms|s|m|h|d))+|[0-9.]+|.*\$\{.*)$";
            let number = json!({ "type": "number", "minimum": 0, "maximum": max.as_secs() });
            json!({ "anyOf": [number, { "type": "string", "pattern": unit }] })
        }
        Kind::Bytes { min, max } => {
            let unit = r"^([0-9]+ *([KMGTkmgt][iI]?)?[bB]?|.*\$\{.*)$";
            json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, { "type": "string", "pattern": unit }] })
        }
        Kind::Share => json!({ "anyOf": [{ "type": "number", "minimum": 0, "maximum": 1 }, variable()] }),
        Kind::Word(words) => {
            let known: Vec<&str> = words.iter().filter(|w| w.supported).map(|w| w.name).collect();
            json!({ "anyOf": [{ "enum": known }, variable()] })
        }
        Kind::List(of) => json!({ "type": "array", "items": self::kind(of) }),
        Kind::OneOrMany(of) => {
            json!({ "anyOf": [self::kind(of), { "type": "array", "minItems": 1, "items": self::kind(of) }] })
        }
        Kind::Section(keys) => nullable(section(keys)),
        Kind::Short(long, keys) => {
            let short = keys.iter().find(|k| k.name == *long).map_or(json!({}), |k| self::kind(&k.kind));
            json!({ "anyOf": [short, section(keys)] })
        }
        Kind::OrOff(keys) => json!({ "anyOf": [section(keys), { "enum": ["off", "false", false] }] }),
        Kind::Named(shape, of) => {
            json!({ "type": "object", "propertyNames": text(*shape), "additionalProperties": self::kind(of) })
        }
        Kind::Choice(keys) => {
            let names: Vec<&str> = keys.iter().filter(|k| k.supported).map(|k| k.name).collect();
            let mut one = section(keys);
            one["minProperties"] = json!(1);
            one["maxProperties"] = json!(1);
            json!({ "anyOf": [{ "enum": names }, one] })
        }
    }
}

/// `- prometheus:` with nothing behind it is a section with nothing in it.
fn nullable(mut section: Json) -> Json {
    section["type"] = json!(["object", "null"]);
    section
}

fn variable() -> Json {
    json!({ "type": "string", "pattern": r"\$\{" })
}

fn text(shape: Shape) -> Json {
    let pattern = match shape {
        // YAML reads `tags: {zone: 5}` as a number; it is taken as the text it was written as.
        Shape::Free | Shape::Prefix => return json!({ "type": ["string", "number", "boolean"] }),
        Shape::Target => r"^((https?|h2c?)://|unix:|h2c\+unix:|.*\$\{)",
        Shape::Listen(_) => r"^(https?://|unix:|.*\$\{)",
        Shape::Socket => r":[0-9]+/?$|\$\{",
        Shape::Receiver(schemes, _) => {
            let all: Vec<String> = schemes
                .iter()
                .map(|s| if s.starts_with("unix") { format!("{s}:") } else { format!("{s}://") })
                .collect();
            return json!({ "type": "string", "pattern": format!(r"^({}|.*\$\{{)", all.join("|")) });
        }
        Shape::Header => r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
        Shape::File | Shape::Secret => return json!({ "type": ["string", "number", "boolean"] }),
        Shape::Field => r"^[A-Za-z0-9_.-]{1,128}$",
        Shape::DnsName => r"^[0-9a-zA-Z_.-]+$|\$\{",
        Shape::Network => r"^[0-9a-fA-F:.]+(/[0-9]+)?$|\$\{",
        Shape::Pointer | Shape::Path => r"^/|\$\{",
        Shape::TagKey => r"^[A-Za-z0-9_.-]{1,64}$",
        Shape::ServiceName => r"^[A-Za-z0-9_-]{1,63}$",
    };
    json!({ "type": "string", "pattern": pattern })
}

/// A default as JSON.
fn literal(yaml: &str) -> Json {
    fn plain(node: &Node) -> Json {
        match &node.value {
            Value::List(items) => items.iter().map(plain).collect(),
            Value::Map(entries) => Json::Object(entries.iter().map(|e| (e.key.to_string(), plain(&e.value))).collect()),
            Value::Scalar { text, plain: true } if text == "true" || text == "false" => Json::Bool(text == "true"),
            Value::Scalar { text, plain: true } => {
                text.parse::<u64>().map_or_else(|_| Json::from(text.as_str()), Json::from)
            }
            Value::Scalar { text, .. } => Json::from(text.as_str()),
            Value::Null | Value::Bad => Json::Null,
        }
    }
    let mut problems = Problems::new();
    let source = problems.sources.add("built-in", yaml, Origin::Default);
    tree::parse(source, &mut problems).map_or(Json::Null, |n| plain(&n))
}
