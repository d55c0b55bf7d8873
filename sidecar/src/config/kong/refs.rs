//! Names: who is meant by a reference, which id an entity has, and what may not be there twice.

use super::check::shown;
use super::plugins::{NEAR_MAX, NO_CONSUMER};
use super::spec::{Kind, Type};
use super::{Few, Reader, Record};
use crate::config::near::nearest;
use crate::config::problem::PROBLEMS_MAX;
use crate::config::source::Span;
use crate::config::tree::{Node, Value};
use crate::gateway::Id;
use std::borrow::Cow;
use std::collections::HashMap;

/// A plugin that may not be of one consumer.
fn for_everybody(record: &Record) -> bool {
    record.node.get("name").and_then(Node::text).is_some_and(|n| NO_CONSUMER.contains(&n))
}

impl Reader<'_> {
    pub(super) fn names(&mut self) {
        self.own_names();
        self.references();
        self.computed_ids();
        self.unique();
    }

    /// Whether a consumer has that name or id.
    pub(super) fn is_consumer(&self, name: &str) -> bool {
        self.find(Kind::Consumer, name, &[]).is_some()
    }

    /// A text of the file as messages may repeat it.
    pub(super) fn shown(&self, node: &Node) -> String {
        match node.text() {
            Some(_) if self.referenced.contains(&node.span.start) => "…".to_owned(),
            Some(text) => shown(text),
            None => String::new(),
        }
    }

    /// Ids that are given, and those that follow from a name alone.
    fn own_names(&mut self) {
        for (index, record) in self.records.iter_mut().enumerate() {
            let spec = record.kind.spec();
            record.id = record.node.get("id").and_then(Node::text).and_then(|id| id.parse().ok());
            let name = spec.key.and_then(|key| record.node.get(key)).and_then(Node::text);
            let by_name = matches!(
                record.kind,
                Kind::Service | Kind::Route | Kind::Consumer | Kind::Upstream | Kind::Sni | Kind::ConsumerGroup
            );
            if record.id.is_none() && by_name {
                record.id = name.map(|name| Id::of(spec.list, name));
            }
            if !record.kind.is_referred_to() {
                continue;
            }
            if let Some(id) = record.id {
                self.ids.entry((record.kind, id)).or_insert(index);
            }
            if let Some(name) = name {
                self.names.entry((record.kind, name.into())).or_insert(index);
            }
        }
    }

    fn references(&mut self) {
        let mut records = std::mem::take(&mut self.records);
        let found: Vec<_> = records.iter().map(|record| self.references_of(record, &records)).collect();
        for (record, (refs, lists)) in records.iter_mut().zip(found) {
            (record.refs, record.lists) = (refs, lists);
        }
        self.records = records;
    }

    fn references_of(&mut self, record: &Record, records: &[Record]) -> super::References {
        let mut refs = Few::default();
        let mut lists = Few::default();
        for field in record.kind.spec().fields {
            let Some(node) = record.node.get(field.name) else { continue };
            if record.kind == Kind::Plugin && field.name.starts_with("consumer") && for_everybody(record) {
                // Reported as what may not be there at all.
                continue;
            }
            match &field.of {
                Type::Foreign(kind) => {
                    let Some(name) = node.text() else { continue };
                    let parent = record.other(field.name);
                    match (self.find(*kind, name, records), parent) {
                        (Some(found), Some(parent)) if found != parent => self.not_null(record, field.name, node),
                        (None, Some(_)) => self.not_null(record, field.name, node),
                        (Some(found), _) => {
                            refs.insert(field.name, found);
                        }
                        (None, None) if record.parent.is_some() => self.not_null(record, field.name, node),
                        (None, None) => self.nobody(record, field.name, *kind, node),
                    }
                }
                Type::List(Type::Foreign(kind)) => {
                    let mut all = Vec::new();
                    for item in node.items() {
                        let Some(name) = item.text() else { continue };
                        match self.find(*kind, name, records) {
                            Some(found) => all.push(found),
                            None => self.nobody(record, field.name, *kind, item),
                        }
                    }
                    lists.insert(field.name, all);
                }
                _ => {}
            }
        }
        (refs, lists)
    }

    /// Who is called so: by name or id; a certificate by one of its SNIs too.
    fn find(&self, kind: Kind, name: &str, records: &[Record]) -> Option<usize> {
        let found = |kind, name: &str| self.names.get(&(kind, name.into())).copied();
        let id = || name.parse::<Id>().ok().and_then(|id| self.ids.get(&(kind, id)).copied());
        found(kind, name).or_else(id).or_else(|| {
            let sni = found(Kind::Sni, name).filter(|_| kind == Kind::Certificate)?;
            records.get(sni)?.parent.map(|(_, certificate)| certificate)
        })
    }

    fn not_null(&mut self, record: &Record, field: &str, node: &Node) {
        let fix = match record.parent.iter().any(|(parent, _)| *parent == field) {
            true => "remove it; it stands inside the one that it belongs to".to_owned(),
            false => format!("correct it; no {field} of this file has that name"),
        };
        self.wrong(node.span, &format!("{}.{field}", record.path), "value must be null", fix);
    }

    fn nobody(&mut self, record: &Record, field: &str, kind: Kind, node: &Node) {
        // The search for the name that was meant looks at many.
        if self.problems.full() {
            return;
        }
        let spec = kind.spec();
        let at = format!("{}.{field}", record.path);
        let name = node.text().unwrap_or_default();
        let known = self.names.keys().filter(|(of, _)| *of == kind);
        // Keys are secrets, and are no names that anybody refers to.
        let fix = match nearest(name, known.take(NEAR_MAX).map(|(_, name)| &**name)) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("add the {} to `{}`, or correct the name", spec.one, spec.list),
        };
        let shown = self.shown(node);
        let message = format!("`{at}`: invalid reference '{field}: {shown}' (no such entry in '{}')", spec.list);
        self.problems.error(node.span, "unknown-reference", &at, message, fix);
    }

    /// Ids that follow from the ids of others.
    fn computed_ids(&mut self) {
        // Services, consumers and the like first: the others are named after them.
        for index in 0..self.records.len() {
            let Some(record) = self.records.get(index).filter(|r| r.id.is_none()) else { continue };
            if matches!(
                record.kind,
                Kind::Service | Kind::Route | Kind::Consumer | Kind::Certificate | Kind::CaCertificate
            ) {
                // Kong takes a random one; ours is the same after every load.
                let id = match record.node.get("cert").and_then(Node::text) {
                    Some(cert) => Id::of(record.kind.spec().list, cert),
                    None => Id::of(record.kind.spec().list, &record.path),
                };
                self.name(index, id);
            }
        }
        let mut nth: HashMap<(Kind, usize), usize> = HashMap::new();
        for index in 0..self.records.len() {
            let Some(record) = self.records.get(index) else { continue };
            let of = |field: &str| {
                record.other(field).and_then(|i| self.records.get(i)).and_then(|r| r.id).map(|i| i.to_string())
            };
            let of = |field: &str| of(field).unwrap_or_default();
            let text = |field: &str| record.node.get(field).and_then(Node::text).unwrap_or_default();
            let list = record.kind.spec().list;
            let key = match record.kind {
                Kind::Plugin => {
                    let group = of("consumer_group");
                    let group = if group.is_empty() { group } else { format!(":{group}") };
                    let (route, service, consumer) = (of("route"), of("service"), of("consumer"));
                    format!("{list}:*:{}:{route}:{service}:{consumer}{group}", text("name"))
                }
                Kind::Target => format!("{list}:*:{}:{}", of("upstream"), text("target")),
                Kind::Acl => format!("{list}:*:{}:{}", of("consumer"), text("group")),
                Kind::BasicAuth | Kind::HmacAuth => format!("{list}:*:{}", text("username")),
                Kind::Vault => format!("{list}:*:{}", text("prefix")),
                // Kong's are random. These stay the same, and tell nothing of the key.
                Kind::KeyAuth | Kind::Jwt => {
                    let consumer = record.other("consumer").unwrap_or(usize::MAX);
                    let n = nth.entry((record.kind, consumer)).or_default();
                    *n += 1;
                    format!("{list}:*:{}:{n}", of("consumer"))
                }
                _ => continue,
            };
            let several = matches!(record.kind, Kind::Plugin | Kind::Target | Kind::Acl);
            if several && self.whole(record) {
                self.once(index, &key);
            }
            if self.records.get(index).is_some_and(|r| r.id.is_none()) {
                self.name(index, Id::of(list, &key));
            }
        }
    }

    /// Whether everything that makes the key of an entity could be read.
    fn whole(&self, record: &Record) -> bool {
        !record.kind.spec().fields.iter().any(|f| {
            let bad = record.node.get(f.name).is_some_and(|n| n.value == Value::Bad);
            let lost =
                matches!(f.of, Type::Foreign(_)) && record.node.get(f.name).is_some() && record.other(f.name).is_none();
            let missing = f.required && record.node.get(f.name).is_none() && record.other(f.name).is_none();
            (bad && f.required) || lost || missing
        })
    }

    fn name(&mut self, index: usize, id: Id) {
        if let Some(record) = self.records.get_mut(index) {
            record.id = Some(id);
            if record.kind.is_referred_to() {
                self.ids.entry((record.kind, id)).or_insert(index);
            }
        }
    }

    /// Two entities of one scope and name: the second never does anything.
    fn once(&mut self, index: usize, key: &str) {
        let Some(record) = self.records.get(index) else { return };
        if let Some(first) = self.seen.insert((record.kind, key.to_owned()), index)
            && !self.problems.full()
            && let Some(other) = self.records.get(first)
        {
            let spec = record.kind.spec();
            let field = if record.kind == Kind::Plugin { "name" } else { spec.key.unwrap_or("group") };
            let node = record.node.get(field).unwrap_or(&record.node);
            let shown = self.shown(node);
            let message = format!(
                "`{}`: uniqueness violation: '{}' entity with {field} set to '{shown}' already declared for the same {}; first on line {}",
                record.path,
                spec.list,
                match record.kind {
                    Kind::Plugin => "scope",
                    Kind::Target => "upstream",
                    _ => "consumer",
                },
                self.line(other.node.span),
            );
            let (span, path) = (node.span, record.path.clone());
            self.problems.error(span, "conflict", &path, message, "keep one of them");
        }
    }

    fn line(&self, span: Span) -> usize {
        self.problems.sources.place(span).map_or(0, |p| p.line)
    }

    fn unique(&mut self) {
        let mut wrong = Vec::new();
        let mut first: HashMap<(Kind, &str, Cow<'_, str>), usize> = HashMap::new();
        for (index, record) in self.records.iter().enumerate() {
            let spec = record.kind.spec();
            let id = record.node.get("id").map(|n| ("id", n));
            let fields = spec.unique.iter().filter_map(|f| Some((*f, record.node.get(f)?))).chain(id);
            for (field, node) in fields {
                // Nobody reads more of them, and each costs a walk through the text.
                let Some(text) = node.text().filter(|_| wrong.len() < PROBLEMS_MAX) else { continue };
                let text = if field == "id" { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) };
                let key = (record.kind, field, text);
                let Some(other) = first.get(&key) else {
                    first.insert(key, index);
                    continue;
                };
                let secret = record.kind == Kind::KeyAuth && field == "key";
                let shown = if secret { "…".to_owned() } else { self.shown(node) };
                let called = if field == "id" { "primary key" } else { field };
                let line = self.records.get(*other).map_or(0, |r| self.line(r.node.get(field).unwrap_or(&r.node).span));
                let at = format!("{}.{field}", record.path);
                let message = format!(
                    "`{at}`: uniqueness violation: '{}' entity with {called} set to '{shown}' already declared; first on line {line}",
                    spec.list
                );
                wrong.push((node.span, at, message));
            }
        }
        for (span, at, message) in wrong {
            self.problems.error(span, "conflict", &at, message, "rename one of them, or remove it");
        }
    }
}
