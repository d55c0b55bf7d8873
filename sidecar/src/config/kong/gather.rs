//! From the tree of a file to a flat list of entities, each with its place: nesting, shorthands, and what deck adds.

use super::spec::{IGNORED, IGNORED_INSIDE, INFO, Kind, SPECS};
use super::{Few, Reader, Record};
use crate::config::near::nearest;
use crate::config::source::Span;
use crate::config::tree::{Entry, Node, Value};

/// The versions of the format.
const VERSIONS: [&str; 3] = ["1.1", "2.1", "3.0"];

/// What holds for all entities of a kind (`_info.defaults`), and configurations of plugins under names.
#[derive(Default)]
struct Shared {
    defaults: Vec<(Kind, Node)>,
    plugin_configs: Option<Node>,
    /// Paths are of the old kind: what looks like a regular expression is one.
    old: bool,
}

impl Reader<'_> {
    /// Every entity of a file.
    pub(super) fn gather(&mut self, root: Node) {
        let mut shared = Shared::default();
        if let Some(version) = root.entry("_format_version") {
            shared.old = self.version(&version.value);
        }
        if let Some(info) = root.get("_info") {
            self.info(info, &mut shared);
        }
        shared.plugin_configs = root.get("_plugin_configs").cloned();
        let Value::Map(entries) = root.value else { return };
        for entry in entries {
            let key = entry.key.as_str();
            match key {
                "_format_version" | "_info" | "_plugin_configs" | "_ignore" => {}
                "_comment" => {
                    self.string(&entry.value, "_comment");
                }
                "_transform" => match self.boolean(&entry.value, "_transform") {
                    Some(false) => self.transform = false,
                    _ => self.transform = true,
                },
                _ => match Kind::of_list(key) {
                    Some(kind) => self.list(kind, entry.value, key.to_owned(), &[], &shared),
                    None if IGNORED.contains(&key) => self.ignored(entry.key_span, key),
                    None => {
                        let known = SPECS.iter().map(|s| s.list).chain(["_format_version", "_transform", "_info"]);
                        self.unknown(&entry, "", known);
                    }
                },
            }
        }
    }

    /// Whether paths are of the old kind.
    fn version(&mut self, node: &Node) -> bool {
        let fix = |text: &str| match VERSIONS.contains(&text) {
            true => format!("write _format_version: \"{text}\""),
            false => "write _format_version: \"3.0\"".to_owned(),
        };
        match &node.value {
            Value::Scalar { text, plain: false } if VERSIONS.contains(&text.as_str()) => text != "3.0",
            Value::Scalar { text, plain: true } => {
                let number = text.parse::<f64>().is_ok();
                let words = if number { "expected a string" } else { "expected one of: 1.1, 2.1, 3.0" };
                match number {
                    true => self.mistyped(node.span, "_format_version", words, fix(text)),
                    false => self.wrong(node.span, "_format_version", words, fix(text)),
                }
                false
            }
            Value::Scalar { .. } => {
                self.wrong(node.span, "_format_version", "expected one of: 1.1, 2.1, 3.0", fix(""));
                false
            }
            Value::Null => {
                self.wrong(node.span, "_format_version", "required field missing", fix(""));
                false
            }
            _ => {
                self.wrong(node.span, "_format_version", "expected a string", fix(""));
                false
            }
        }
    }

    fn info(&mut self, info: &Node, shared: &mut Shared) {
        for entry in info.entries() {
            match entry.key.as_str() {
                "defaults" => {
                    for defaults in entry.value.entries() {
                        match SPECS.iter().find(|s| s.one == defaults.key) {
                            Some(spec) => shared.defaults.push((spec.kind, defaults.value.clone())),
                            None => {
                                let known = ["service", "route", "upstream", "target", "consumer", "plugin"];
                                self.unknown(defaults, "_info.defaults", known.into_iter());
                            }
                        }
                    }
                }
                key if INFO.contains(&key) => self.ignored(entry.key_span, &format!("_info.{key}")),
                _ => self.unknown(entry, "_info", INFO.iter().copied()),
            }
        }
    }

    fn ignored(&mut self, span: Span, key: &str) {
        if self.warned.insert(key.to_owned()) {
            let message = format!("`{key}` has no effect here");
            self.problems.warning(
                span,
                "ignored",
                key,
                message,
                "remove it, or leave it for the others that read this file",
            );
        }
    }

    pub(super) fn unknown<'k>(&mut self, entry: &Entry, path: &str, known: impl Iterator<Item = &'k str>) {
        let key: String = entry.key.chars().take(60).collect();
        let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let known: Vec<&str> = known.collect();
        let (hint, fix) = match nearest(&entry.key, known.iter().copied()) {
            Some(near) => (format!(", did you mean `{near}`?"), format!("rename it to {near}")),
            None => (String::new(), "remove it, or put it under `_ignore`".to_owned()),
        };
        self.problems.error(entry.key_span, "unknown-key", &at, format!("`{at}`: unknown field{hint}"), fix);
    }

    fn list(&mut self, kind: Kind, node: Node, path: String, parents: &[(&'static str, usize)], shared: &Shared) {
        match node.value {
            Value::Null | Value::Bad => {}
            Value::List(items) => {
                for (i, item) in items.into_iter().enumerate() {
                    self.item(kind, item, format!("{path}[{i}]"), parents, shared);
                }
            }
            _ => self.mistyped(node.span, &path, "expected an array", "begin every entry with `- `".to_owned()),
        }
    }

    fn item(&mut self, kind: Kind, mut node: Node, path: String, parents: &[(&'static str, usize)], shared: &Shared) {
        // A list of names alone is how some tools write certificates' SNIs.
        if kind == Kind::Sni && !parents.is_empty() && matches!(node.value, Value::Scalar { .. }) {
            let span = node.span;
            let name = std::mem::replace(&mut node, Node::map(span));
            node.set("name", span, name);
        }
        if !matches!(node.value, Value::Map(_)) {
            let fix = format!("write the fields of a {}", kind.spec().one);
            return self.mistyped(node.span, &path, "expected a record", fix);
        }
        let written = (kind == Kind::Service).then(|| node.clone());
        for (_, defaults) in shared.defaults.iter().filter(|(of, _)| *of == kind) {
            fill(&mut node, defaults);
        }
        let span = node.span;
        match kind {
            Kind::Service => self.url(&mut node, written.as_ref().unwrap_or(&Node::map(span)), &path),
            Kind::Plugin => self.named_config(&mut node, &path, shared),
            Kind::Route if shared.old && (parents.is_empty() || self.in_top_service(parents)) => old_paths(&mut node),
            _ => {}
        }
        let mut children = Vec::new();
        let spec = kind.spec();
        if let Value::Map(entries) = &mut node.value {
            let whole = std::mem::take(entries);
            let mut kept = Vec::with_capacity(whole.len());
            for entry in whole {
                let child = spec.children.iter().find(|(child, _)| child.spec().list == entry.key);
                match child {
                    Some(child) => children.push((*child, entry)),
                    None if IGNORED_INSIDE.contains(&(kind, entry.key.as_str())) => {
                        let key = format!("{}[].{}", spec.list, entry.key);
                        self.ignored(entry.key_span, &key);
                    }
                    None => kept.push(entry),
                }
            }
            *entries = kept;
        }
        let index = self.records.len();
        self.records.push(Record {
            kind,
            node,
            path: path.as_str().into(),
            parent: parents.first().copied(),
            refs: Few::default(),
            lists: Few::default(),
            id: None,
        });
        for ((child, field), entry) in children {
            self.list(child, entry.value, format!("{path}.{}", entry.key), &[(field, index)], shared);
        }
    }

    fn in_top_service(&self, parents: &[(&'static str, usize)]) -> bool {
        parents.iter().any(|(_, p)| self.records.get(*p).is_some_and(|r| r.kind == Kind::Service && r.parent.is_none()))
    }

    /// `url` stands for four fields.
    fn url(&mut self, node: &mut Node, written: &Node, path: &str) {
        let Value::Map(entries) = &mut node.value else { return };
        let Some(at) = entries.iter().position(|e| e.key == "url") else { return };
        let Entry { key_span, value, .. } = entries.remove(at);
        if value.value == Value::Null {
            return;
        }
        let at = format!("{path}.url");
        let Some(mut text) = self.string(&value, &at) else { return self.taken(node, value.span) };
        if text.starts_with("{vault://") {
            match self.resolved(&text) {
                Ok(found) => text = found,
                Err(wrong) => {
                    self.unresolved(value.span, &at, wrong);
                    return self.taken(node, value.span);
                }
            }
        }
        let parts = text.split_once("://").and_then(|(scheme, rest)| {
            let (authority, path) = rest.find('/').map_or((rest, ""), |i| rest.split_at(i));
            let path = path.split(['?', '#']).next().unwrap_or_default();
            let colon = authority.rfind(':').filter(|i| !authority.get(*i..).unwrap_or_default().contains(']'));
            let (host, port) = colon.map_or((authority, ""), |i| (&authority[..i], &authority[i + 1..]));
            (!host.is_empty()).then(|| (scheme.to_owned(), host.to_owned(), port.to_owned(), path.to_owned()))
        });
        let Some((scheme, host, port, path)) = parts else {
            self.wrong(value.span, &at, "missing host in url", "write http://host:port/path".to_owned());
            return self.taken(node, value.span);
        };
        for key in ["protocol", "host", "port", "path"].into_iter().filter(|k| written.get(k).is_some()) {
            let message = format!("`{at}` says what `{key}` says too, and wins");
            self.problems.warning(
                key_span,
                "doubtful",
                &at,
                message,
                format!("keep `url`, or remove it and keep `{key}`"),
            );
        }
        let port = match (port.as_str(), scheme.as_str()) {
            ("", "https" | "grpcs" | "tls") => "443",
            ("", _) => "80",
            (port, _) => port,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        node.set("protocol", key_span, Node::scalar(scheme, value.span));
        node.set("host", key_span, Node::scalar(host, value.span));
        let port = Value::Scalar { text: port.to_owned(), plain: true };
        node.set("port", key_span, Node { value: port, span: value.span });
        if !path.is_empty() {
            node.set("path", key_span, Node::scalar(path, value.span));
        }
    }

    /// What has been reported as `url` is not missed as `host`.
    fn taken(&mut self, node: &mut Node, span: Span) {
        node.set("host", span, Node { value: Value::Bad, span });
    }

    /// `_config` names a configuration that several plugins share.
    fn named_config(&mut self, node: &mut Node, path: &str, shared: &Shared) {
        let Value::Map(entries) = &mut node.value else { return };
        let Some(at) = entries.iter().position(|e| e.key == "_config") else { return };
        let entry = entries.remove(at);
        let at = format!("{path}._config");
        let Some(name) = self.string(&entry.value, &at) else { return };
        let Some(config) = shared.plugin_configs.as_ref().and_then(|c| c.get(&name)) else {
            let known = shared.plugin_configs.as_ref().map(Node::entries).unwrap_or_default();
            let near = nearest(&name, known.iter().map(|e| e.key.as_str()));
            let fix = near.map_or("add it under `_plugin_configs`".to_owned(), |n| format!("write {n}"));
            let message = format!("`{at}`: invalid reference '{name}' (no such entry in '_plugin_configs')");
            return self.problems.error(entry.value.span, "unknown-reference", &at, message, fix);
        };
        let mut whole = node.get("config").cloned().unwrap_or_else(|| Node::map(entry.value.span));
        fill(&mut whole, config);
        node.set("config", entry.key_span, whole);
    }
}

/// Adds what is not there.
fn fill(node: &mut Node, from: &Node) {
    let Value::Map(entries) = &mut node.value else { return };
    for entry in from.entries() {
        match entries.iter_mut().find(|e| e.key == entry.key) {
            Some(there) => fill(&mut there.value, &entry.value),
            None => entries.push(entry.clone()),
        }
    }
}

/// Before format 3.0 a path with characters beyond the plain ones was a regular expression.
fn old_paths(node: &mut Node) {
    let Value::Map(entries) = &mut node.value else { return };
    let Some(paths) = entries.iter_mut().find(|e| e.key == "paths") else { return };
    let Value::List(paths) = &mut paths.value.value else { return };
    for path in paths {
        if let Value::Scalar { text, .. } = &mut path.value {
            let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~/%-".contains(&b));
            *text = match plain {
                true if text.starts_with('/') => crate::gateway::path::normalized(text),
                true => continue,
                false if text.starts_with('~') => continue,
                false => format!("~{text}"),
            };
        }
    }
}
