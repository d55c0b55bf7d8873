//! Every field of every entity against the table.

use super::Reader;
use super::spec::{Field, Kind, Type};
use crate::config::near::nearest;
use crate::config::source::Span;
use crate::config::tree::{Node, Value};
use crate::gateway::times;

/// Longer texts are not repeated in a message.
const SHOWN_MAX: usize = 60;

/// What YAML 1.1, which Kong reads, takes for a truth value.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// What YAML takes for a number; `inf` and `nan` are words.
fn numeric(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

/// A whole number; `5.0` is one.
pub(super) fn whole(text: &str) -> Option<i64> {
    let number = |t: &str| t.parse::<i64>().ok();
    let zero = |t: &str| t.trim_start_matches('-').len() > 1 && t.trim_start_matches('-').starts_with('0');
    match text.split_once('.') {
        Some((whole, rest)) if !rest.is_empty() && rest.bytes().all(|b| b == b'0') => number(whole),
        Some(_) => None,
        None if zero(text) => None,
        None => number(text),
    }
}

impl Reader<'_> {
    pub(super) fn check(&mut self) {
        let mut records = std::mem::take(&mut self.records);
        for record in &mut records {
            let spec = record.kind.spec();
            let given: Vec<&str> = record.parent.iter().map(|(field, _)| *field).collect();
            self.fields(&mut record.node, spec.fields, &record.path, &given, Some(record.kind));
        }
        self.records = records;
    }

    fn fields(&mut self, node: &mut Node, fields: &[Field], path: &str, given: &[&str], kind: Option<Kind>) {
        let span = node.span;
        let Value::Map(entries) = &mut node.value else {
            let fix = fields.first().map(|f| format!("write a section such as {{{}: …}}", f.name)).unwrap_or_default();
            if !matches!(node.value, Value::Null | Value::Bad) {
                self.mistyped(span, path, "expected a record", fix);
            }
            return;
        };
        for entry in &mut *entries {
            let at = format!("{path}.{}", entry.key);
            match fields.iter().find(|f| f.name == entry.key) {
                Some(field) => self.value(&mut entry.value, &field.of, &at),
                None if kind == Some(Kind::Route) && ["expression", "priority"].contains(&entry.key.as_str()) => {
                    let message = format!("`{at}`: routes by expression are not supported yet");
                    let fix = "write hosts, paths, methods, headers or snis";
                    self.problems.error(entry.key_span, "not-supported", &at, message, fix);
                }
                None => self.unknown(entry, path, fields.iter().map(|f| f.name)),
            }
        }
        let missing = |f: &&Field| {
            f.required
                && !given.contains(&f.name)
                && !entries.iter().any(|e| e.key == f.name && e.value.value != Value::Null)
        };
        let missing: Vec<&str> = fields.iter().filter(missing).map(|f| f.name).collect();
        for name in missing {
            let at = format!("{path}.{name}");
            let message = format!("`{at}`: required field missing");
            self.problems.error(span, "missing-key", &at, message, format!("add `{name}`"));
        }
    }

    fn value(&mut self, node: &mut Node, of: &Type, path: &str) {
        let span = node.span;
        if matches!(node.value, Value::Null | Value::Bad) {
            return;
        }
        let fine = match of {
            Type::Tree => true,
            Type::Bool => self.boolean(node, path).is_some(),
            Type::Int(low, high) => match self.number(node, path, "expected an integer", whole) {
                Some(n) if !(*low..=*high).contains(&n) => self.out_of_range(span, path, low, high),
                other => other.is_some(),
            },
            Type::OneInt(known) => match self.number(node, path, "expected an integer", whole) {
                Some(n) if !known.contains(&n) => {
                    let words: Vec<String> = known.iter().map(i64::to_string).collect();
                    let words = format!("expected one of: {}", words.join(", "));
                    self.wrong(span, path, &words, "write one of them".into());
                    false
                }
                other => other.is_some(),
            },
            Type::Number(low, high) => {
                let parse = |t: &str| t.parse::<f64>().ok().filter(|n| n.is_finite());
                match self.number(node, path, "expected a number", parse) {
                    Some(n) if !(*low..=*high).contains(&n) => self.out_of_range(span, path, low, high),
                    other => other.is_some(),
                }
            }
            Type::Text(shape) => match self.string(node, path) {
                None => false,
                Some(text) => match shape(&text) {
                    Ok(()) => true,
                    Err((message, fix)) => {
                        let (message, fix) = self.discreet(node, &text, message, fix);
                        self.wrong(span, path, &message, fix);
                        false
                    }
                },
            },
            Type::Secret(shape) => match &node.value {
                // A number is a fine secret for people, and no string for Kong.
                Value::Scalar { text, plain: true } if numeric(text) || truth(text).is_some() => {
                    self.mistyped(span, path, "expected a string", "put it in quotes".into());
                    false
                }
                _ => match self.string(node, path).map(|t| shape(&t)) {
                    Some(Err((message, fix))) => {
                        self.wrong(span, path, &message, fix);
                        false
                    }
                    other => other.is_some(),
                },
            },
            Type::Word(known) => match self.string(node, path) {
                Some(text) if !known.contains(&text.as_str()) => {
                    let words = format!("expected one of: {}", known.join(", "));
                    let fix = match nearest(&text, known.iter().copied()) {
                        Some(near) => format!("write {near}"),
                        None => "write one of them".to_owned(),
                    };
                    self.wrong(span, path, &words, fix);
                    false
                }
                other => other.is_some(),
            },
            Type::List(inner) | Type::Set(inner) => self.items(node, inner, path, matches!(of, Type::Set(_))),
            Type::Map(name, of) => self.pairs(node, *name, of, path),
            Type::Record(fields) => {
                self.fields(node, fields, path, &[], None);
                matches!(node.value, Value::Map(_))
            }
            Type::Foreign(kind) => self.foreign(node, *kind, path),
        };
        if !fine {
            node.value = Value::Bad;
        }
    }

    fn items(&mut self, node: &mut Node, of: &Type, path: &str, set: bool) -> bool {
        let span = node.span;
        match &mut node.value {
            Value::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    let at = format!("{path}[{i}]");
                    if item.value == Value::Null {
                        self.mistyped(
                            item.span,
                            &at,
                            "required field missing",
                            "write a value, or remove the entry".into(),
                        );
                        item.value = Value::Bad;
                    }
                    self.value(item, of, &at);
                }
                true
            }
            other => {
                let words = if set { "expected a set" } else { "expected an array" };
                let referenced = self.referenced.contains(&span.start);
                let fix = match other {
                    Value::Scalar { .. } if referenced => "let it be a list".to_owned(),
                    Value::Scalar { text, .. } => format!("write [{}]", shown(text)),
                    _ => "begin every entry with `- `".to_owned(),
                };
                self.mistyped(span, path, words, fix);
                false
            }
        }
    }

    fn pairs(
        &mut self,
        node: &mut Node,
        name: fn(&str) -> Result<(), super::scalar::Wrong>,
        of: &Type,
        path: &str,
    ) -> bool {
        let span = node.span;
        let Value::Map(entries) = &mut node.value else {
            self.mistyped(span, path, "expected a map", "write name: [value]".into());
            return false;
        };
        for entry in entries {
            let at = format!("{path}.{}", entry.key);
            if let Err((message, fix)) = name(&entry.key) {
                self.wrong(entry.key_span, &at, &message, fix);
            }
            if entry.value.value == Value::Null {
                let fix = "write [value]".to_owned();
                self.mistyped(entry.key_span, &at, "expected an array", fix);
            }
            self.value(&mut entry.value, of, &at);
        }
        true
    }

    /// A name or an id; `{id: …}` and `{name: …}` are taken too.
    fn foreign(&mut self, node: &mut Node, kind: Kind, path: &str) -> bool {
        let span = node.span;
        match &node.value {
            Value::Scalar { .. } => self.string(node, path).is_some(),
            Value::Map(entries) => {
                let key = |e: &&crate::config::tree::Entry| ["id", "name", "username"].contains(&e.key.as_str());
                match entries.iter().find(key).map(|e| e.value.clone()) {
                    Some(inner @ Node { value: Value::Scalar { .. }, .. }) => {
                        *node = inner;
                        self.string(node, path).is_some()
                    }
                    _ => {
                        let fix = format!("write the name or the id of the {}", kind.spec().one);
                        self.mistyped(span, path, "invalid foreign entity", fix);
                        false
                    }
                }
            }
            _ => {
                let fix = format!("write the name or the id of the {}", kind.spec().one);
                self.mistyped(span, path, "expected a string", fix);
                false
            }
        }
    }

    fn number<T>(&mut self, node: &Node, path: &str, words: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let found = match &node.value {
            Value::Scalar { text, plain: true } => parse(text),
            // From the environment everything comes as text.
            Value::Scalar { text, .. } if self.referenced.contains(&node.span.start) => parse(text),
            _ => None,
        };
        if found.is_none() {
            let usual = "write a number".to_owned();
            let fix = match &node.value {
                Value::Scalar { text, plain: false } if parse(text).is_some() => format!("write {text} without quotes"),
                Value::Scalar { text, .. } => times::instead(text, times::unit_of_entity(path)).unwrap_or(usual),
                _ => usual,
            };
            self.mistyped(node.span, path, words, fix);
        }
        found
    }

    pub(super) fn boolean(&mut self, node: &Node, path: &str) -> Option<bool> {
        let found = match &node.value {
            Value::Scalar { text, plain: true } => truth(text),
            Value::Scalar { text, .. } if self.referenced.contains(&node.span.start) => truth(text),
            _ => None,
        };
        if found.is_none() && node.value != Value::Null {
            self.mistyped(node.span, path, "expected a boolean", "write true or false".into());
        }
        found
    }

    /// A text; numbers and truth values without quotes are none, as in Kong.
    pub(super) fn string(&mut self, node: &Node, path: &str) -> Option<String> {
        let referenced = self.referenced.contains(&node.span.start);
        match &node.value {
            Value::Scalar { text, plain } => {
                let other = *plain && !referenced && (numeric(text) || truth(text).is_some());
                if other {
                    self.mistyped(node.span, path, "expected a string", format!("write \"{}\"", shown(text)));
                }
                (!other).then(|| text.clone())
            }
            Value::Null | Value::Bad => None,
            _ => {
                self.mistyped(node.span, path, "expected a string", "write a text".into());
                None
            }
        }
    }

    /// What the environment says is not told to whoever reads the messages.
    fn discreet(&self, node: &Node, text: &str, message: String, fix: String) -> (String, String) {
        if !self.referenced.contains(&node.span.start) && text.len() <= SHOWN_MAX * 4 {
            return (message, fix);
        }
        if text.is_empty() {
            return (message, "let the variable have a value".to_owned());
        }
        (message.replace(text, "…"), if fix.contains(text) { "correct it".to_owned() } else { fix })
    }

    pub(super) fn wrong(&mut self, span: Span, path: &str, message: &str, fix: String) {
        self.problems.error(span, "bad-value", path, format!("`{path}`: {message}"), fix);
    }

    /// Always false: the value is not fine.
    fn out_of_range<T: std::fmt::Display>(&mut self, span: Span, path: &str, low: &T, high: &T) -> bool {
        let message = format!("value should be between {low} and {high}");
        self.wrong(span, path, &message, format!("write a number from {low} to {high}"));
        false
    }

    pub(super) fn mistyped(&mut self, span: Span, path: &str, message: &str, fix: String) {
        // Of a section, its first line.
        let span = Span { end: span.end.min(span.start + 200), ..span };
        self.problems.error(span, "wrong-type", path, format!("`{path}`: {message}"), fix);
    }
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}
