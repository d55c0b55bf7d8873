//! Every value that holds, with who gave it: `fourmi config show`.

use super::source::{Origin, Sources};
use super::tree::{Node, Value};
use super::walk::join;
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;

/// The whole configuration after all defaults and overrides.
#[derive(Debug, Clone)]
pub struct Shown {
    root: Node,
    sources: Sources,
}

/// What stands in place of a secret.
const HIDDEN: &str = "(hidden)";

/// Keys whose values are shown to nobody, wherever they stand.
const SECRETS: [&str; 4] = ["token", "api_key", "password", "secret"];

/// Replaces secrets, so that nothing that shows the configuration can show them.
fn hide(node: &mut Node, secret: bool) {
    match &mut node.value {
        Value::Scalar { text, plain } if secret => (*text, *plain) = (HIDDEN.to_owned(), false),
        Value::Map(entries) => entries.iter_mut().for_each(|e| {
            // What is sent in headers may be one.
            let headers = e.key == "headers" && matches!(e.value.value, Value::Map(_));
            let hidden = secret || headers || SECRETS.contains(&e.key.as_str());
            hide(&mut e.value, hidden);
        }),
        Value::List(items) => items.iter_mut().for_each(|n| hide(n, secret)),
        _ => {}
    }
}

impl Shown {
    pub(crate) fn new(mut root: Node, sources: Sources) -> Self {
        hide(&mut root, false);
        Shown { root, sources }
    }

    /// YAML that is itself a configuration; each line says in a comment where its value comes from.
    pub fn yaml(&self) -> String {
        let mut out = String::new();
        self.write(&self.root, 0, &mut out);
        out
    }

    /// `{"values": …, "origins": {"PATH": {"from": "default" | "file" | "env", …}}}`.
    pub fn json(&self) -> Json {
        let mut origins = Map::new();
        self.origins(&self.root, "", &mut origins);
        json!({ "values": value(&self.root), "origins": origins })
    }

    fn origin(&self, node: &Node) -> String {
        match self.sources.origin(node.span) {
            Origin::Default => "default".into(),
            Origin::Env => format!("env {}", self.sources.name(node.span).trim_start_matches('$')),
            Origin::File => {
                let line = self.sources.place(node.span).map_or(0, |p| p.line);
                format!("{}:{line}", self.sources.name(node.span))
            }
        }
    }

    fn origins(&self, node: &Node, path: &str, out: &mut Map<String, Json>) {
        match &node.value {
            Value::Map(entries) => entries.iter().for_each(|e| self.origins(&e.value, &join(path, &e.key), out)),
            Value::List(items) if !items.is_empty() => {
                items.iter().enumerate().for_each(|(i, n)| self.origins(n, &format!("{path}[{i}]"), out));
            }
            _ => {
                let entry = match self.sources.origin(node.span) {
                    Origin::Default => json!({"from": "default"}),
                    Origin::Env => json!({"from": "env", "name": self.sources.name(node.span).trim_start_matches('$')}),
                    Origin::File => {
                        let line = self.sources.place(node.span).map_or(0, |p| p.line);
                        json!({"from": "file", "file": self.sources.name(node.span), "line": line})
                    }
                };
                out.insert(path.to_owned(), entry);
            }
        }
    }

    fn write(&self, node: &Node, depth: usize, out: &mut String) {
        let pad = "  ".repeat(depth);
        for entry in node.entries() {
            let key = quoted(&entry.key, false);
            match &entry.value.value {
                Value::Map(inner) if !inner.is_empty() => {
                    let _ = writeln!(out, "{pad}{key}:");
                    self.write(&entry.value, depth + 1, out);
                }
                Value::List(items) if !items.is_empty() => {
                    let _ = writeln!(out, "{pad}{key}:");
                    items.iter().for_each(|item| self.item(item, depth + 1, out));
                }
                Value::Null | Value::Bad => {}
                // An empty section says nothing unless it is the point, as in `- prometheus: {}`.
                Value::Map(_) if depth == 0 => {}
                _ => {
                    let _ = writeln!(out, "{pad}{key}: {}  # {}", flat(&entry.value), self.origin(&entry.value));
                }
            }
        }
    }

    fn item(&self, item: &Node, depth: usize, out: &mut String) {
        let pad = "  ".repeat(depth);
        match &item.value {
            Value::Map(entries) if !entries.is_empty() => {
                let mut inner = String::new();
                self.write(item, depth + 1, &mut inner);
                // The first line of the section carries the dash.
                out.push_str(&pad);
                out.push_str("- ");
                out.push_str(inner.get(pad.len() + 2..).unwrap_or_default());
            }
            _ => {
                let _ = writeln!(out, "{pad}- {}  # {}", flat(item), self.origin(item));
            }
        }
    }
}

fn flat(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, plain } => quoted(text, *plain),
        Value::List(_) => "[]".into(),
        _ => "{}".into(),
    }
}

/// Text that reads back as the same text.
fn quoted(text: &str, plain: bool) -> String {
    let word = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./:+".contains(&b));
    let safe = word
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && !text.contains(": ")
        && !text.ends_with(':');
    let typed = text.parse::<f64>().is_ok()
        || matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if safe && (plain || !typed) { text.to_owned() } else { Json::from(text).to_string() }
}

fn value(node: &Node) -> Json {
    match &node.value {
        Value::Null | Value::Bad => Json::Null,
        Value::List(items) => items.iter().map(value).collect(),
        Value::Map(entries) => Json::Object(entries.iter().map(|e| (e.key.to_string(), value(&e.value))).collect()),
        Value::Scalar { text, plain: true } => match text.as_str() {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            _ => text.parse::<u64>().map_or_else(|_| Json::from(text.as_str()), Json::from),
        },
        Value::Scalar { text, .. } => Json::from(text.as_str()),
    }
}
