//! Entities to what runs: the gateway, and the services behind it. What is wrong with a plugin's own configuration only
//! its middleware knows; here it gets its place in the file, also when other things are wrong, but nothing is told twice.

use super::spec::Kind;
use super::{Reader, Record, certificates, services};
use crate::config::plan::{GatewayPlan, Service};
use crate::config::source::Span;
use crate::config::tree::Node;
use crate::gateway::{Entities, Wrong, entity, sinks};
use crate::pipeline::gateway::{Gateway, List, Mistake};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What runs; none when something was wrong, which has been told.
pub(super) fn compiled(reader: &mut Reader<'_>, entities: &Entities) -> Option<GatewayPlan> {
    let told = Told::before(reader);
    let mut mistakes = Vec::new();
    let mut all: Vec<Option<Service>> = Vec::with_capacity(entities.services.len());
    for (place, service) in entities.services.iter().enumerate() {
        all.push(services::service(entities, service).unwrap_or_else(|wrong| {
            mistakes.push((Kind::Service, place, wrong));
            None
        }));
    }
    let upstream = |s: &entity::Service| entities.upstreams.iter().find(|u| u.name == s.host).map(|u| u.name.clone());
    let upstreams = entities.services.iter().map(upstream).collect();
    let sinks = sinks::sinks(entities).unwrap_or_else(|all| {
        mistakes.extend(all.into_iter().map(|(place, wrong)| (Kind::Plugin, place, wrong)));
        sinks::Sinks::default()
    });
    let gateway = match Gateway::new(entities) {
        Ok(gateway) => Some(gateway),
        Err(all) => {
            mistakes.extend(all.into_iter().map(|Mistake { list, place, wrong }| match list {
                List::Routes => (Kind::Route, place, wrong),
                List::Plugins => (Kind::Plugin, place, wrong),
            }));
            None
        }
    };
    let fine = mistakes.is_empty() && !reader.problems.failed();
    told.tell(reader, mistakes);
    let gateway = gateway.filter(|_| fine)?;
    let titled = certificates::titled(entities);
    let services = services::named_apart(all);
    Some(GatewayPlan { gateway: Arc::new(gateway), services, titled, upstreams, sinks })
}

/// What had been told before anything was compiled: keys of the file.
struct Told(BTreeSet<String>);

impl Told {
    fn before(reader: &Reader<'_>) -> Told {
        Told(reader.problems.wrong_keys().map(str::to_owned).collect())
    }

    /// Whether something was wrong at a key or below it.
    fn within(&self, path: &str) -> bool {
        let below =
            |k: &String| k.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        self.0.range(path.to_owned()..).take_while(|k| k.starts_with(path)).any(below)
    }

    /// Whether a mistake of an entity may be one that is known, or come of it.
    fn covers(&self, kind: Kind, path: &str, at: &str) -> bool {
        let lacks = |field: &str| self.within(&format!("{path}.{field}"));
        match kind {
            // A name that is none has no configuration, and half of one has too few fields.
            Kind::Plugin => {
                let above = at.char_indices().filter(|(_, c)| matches!(c, '.' | '['));
                lacks("name")
                    || lacks("_config")
                    || above.map(|(end, _)| &at[..end]).any(|above| above.len() > path.len() && self.0.contains(above))
                    || self.within(at)
            }
            // These refer to others, in which the cause may lie.
            Kind::Service if at.ends_with(".protocol") => self.within(at),
            Kind::Service => !self.0.is_empty(),
            _ => self.within(path),
        }
    }

    /// Tells the rest.
    fn tell(&self, reader: &mut Reader<'_>, mistakes: Vec<(Kind, usize, Wrong)>) {
        if mistakes.is_empty() {
            return;
        }
        let mut places: HashMap<Kind, Vec<usize>> = HashMap::new();
        for (index, record) in reader.records.iter().enumerate() {
            places.entry(record.kind).or_default().push(index);
        }
        // Where a field of the same entity stands that is unknown: a typo is why another is missed.
        let mut typo: Option<(usize, Span)> = None;
        for (kind, place, wrong) in mistakes {
            let index = places.get(&kind).and_then(|all| all.get(place)).copied();
            let Some((index, record)) = index.and_then(|i| Some((i, reader.records.get(i)?))) else { continue };
            let inside = if kind == Kind::Plugin && wrong.field != "name" { "config." } else { "" };
            let (mut span, at) = at(record, inside, &wrong.field);
            if self.covers(kind, &record.path, &at) {
                continue;
            }
            match (wrong.message.as_str(), wrong.field.as_str(), typo) {
                ("unknown field", ..) => typo = Some((index, span)),
                (_, "@entity", Some((of, there))) if of == index => span = there,
                _ => {}
            }
            let later = wrong.message.contains("not supported yet");
            let code = if later { "not-supported" } else { "bad-value" };
            reader.problems.error(span, code, &at, format!("`{at}`: {}", wrong.message), wrong.fix);
        }
    }
}

/// Where a field stands, as near as there is something in the file.
fn at(record: &Record, inside: &str, field: &str) -> (Span, String) {
    if field == "@entity" {
        let node = record.node.get("name").unwrap_or(&record.node);
        return (
            begin(node.span),
            format!("{}.{}", record.path, inside.trim_end_matches('.')).trim_end_matches('.').to_owned(),
        );
    }
    let whole = format!("{inside}{field}");
    let mut span = begin(record.node.get("name").unwrap_or(&record.node).span);
    let mut node: Option<&Node> = Some(&record.node);
    for step in whole.split(['.', '[']) {
        let step = step.trim_end_matches(']');
        node = node.and_then(|n| match step.parse::<usize>() {
            Ok(number) if !n.items().is_empty() => n.items().get(number),
            _ => n.entry(step).map(|e| {
                span = e.key_span;
                &e.value
            }),
        });
        if let Some(node) = node {
            span = begin(node.span);
        }
    }
    (span, format!("{}.{whole}", record.path))
}

/// Of a section, its first line.
fn begin(span: Span) -> Span {
    Span { end: span.end.min(span.start + 200), ..span }
}
