//! Defaults, laid under what was written: afterwards the tree says everything that holds.

use super::keys::ROOT;
use super::problem::Problems;
use super::source::{BUILT_IN, Origin, Span};
use super::tree::{self, Node, Value};
use crate::names::port;
use crate::section::{Fallback, Key, Kind};

pub(crate) fn fill(root: &mut Node, hostname: &str, problems: &mut Problems) {
    if !matches!(root.value, Value::Map(_)) {
        root.value = Value::Map(Vec::new());
    }
    absent(root, "hostname", || Node::scalar(hostname, Span::BUILT_IN));
    let host = root.get("hostname").and_then(Node::text).unwrap_or(hostname).to_owned();
    absent(root, "service", || Node::scalar(host, Span::BUILT_IN));
    if (root.get("worker").is_some() || root.get("gateway").is_some()) && root.get("inbound").is_none() {
        let mut listener = Node::map(Span::BUILT_IN);
        listener.set(
            "listen",
            Span::BUILT_IN,
            Node::scalar(format!("http://0.0.0.0:{}", port::INBOUND), Span::BUILT_IN),
        );
        root.set("inbound", Span::BUILT_IN, Node { value: Value::List(vec![listener]), span: Span::BUILT_IN });
    }
    section(root, ROOT, problems);
}

fn absent(node: &mut Node, key: &str, make: impl FnOnce() -> Node) {
    if node.get(key).is_none() {
        node.set(key, Span::BUILT_IN, make());
    }
}

pub(super) fn section(node: &mut Node, keys: &'static [Key], problems: &mut Problems) {
    for key in keys.iter().filter(|k| k.supported) {
        if node.get(key.name).is_none() {
            match (&key.fallback, key.kind.keys()) {
                (Fallback::Yaml(yaml), _) => {
                    if let Some(value) = built_in(yaml, problems) {
                        node.set(key.name, Span::BUILT_IN, value);
                    }
                }
                // A section that can do without any key of its own is there, so that its defaults are.
                (Fallback::None, Some(inner)) if !key.required && inner.iter().all(|k| !k.required) => {
                    node.set(key.name, Span::BUILT_IN, Node::map(Span::BUILT_IN));
                }
                _ => {}
            }
        }
        if let Value::Map(entries) = &mut node.value
            && let Some(entry) = entries.iter_mut().find(|e| e.key == key.name)
        {
            inside(&mut entry.value, &key.kind, problems);
        }
    }
}

fn inside(node: &mut Node, kind: &Kind, problems: &mut Problems) {
    match (kind, &mut node.value) {
        (Kind::Section(keys) | Kind::Short(_, keys) | Kind::OrOff(keys), Value::Map(_)) => {
            section(node, keys, problems)
        }
        (Kind::List(of) | Kind::OneOrMany(of), Value::List(items)) => {
            items.iter_mut().for_each(|n| inside(n, of, problems))
        }
        (Kind::Named(_, of), Value::Map(entries)) => {
            entries.iter_mut().for_each(|e| inside(&mut e.value, of, problems))
        }
        (Kind::Choice(keys), Value::Map(entries)) => {
            for entry in entries {
                if let Some(key) = keys.iter().find(|k| k.name == entry.key) {
                    inside(&mut entry.value, &key.kind, problems);
                }
            }
        }
        _ => {}
    }
}

fn built_in(yaml: &str, problems: &mut Problems) -> Option<Node> {
    // Most are one plain word, which needs no parser; starting fast is a promise.
    if yaml.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Some(Node { value: Value::Scalar { text: yaml.to_owned(), plain: true }, span: Span::BUILT_IN });
    }
    let source = problems.sources.add("built-in", yaml, Origin::Default);
    let mut node = tree::parse(source, problems)?;
    unplaced(&mut node);
    Some(node)
}

/// Built-in values have no place that a user could look at.
fn unplaced(node: &mut Node) {
    node.span = Span { source: BUILT_IN, start: 0, end: 0 };
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(unplaced),
        Value::Map(entries) => entries.iter_mut().for_each(|e| {
            e.key_span = Span::BUILT_IN;
            unplaced(&mut e.value);
        }),
        _ => {}
    }
}
