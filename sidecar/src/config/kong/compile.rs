//! Entities without mistakes to what runs: the gateway, and the services behind it. What is wrong with a plugin's own
//! configuration only its middleware knows; here it gets its place in the file.

use super::spec::Kind;
use super::{Reader, Record, certificates, services};
use crate::config::plan::{GatewayPlan, Service};
use crate::config::source::Span;
use crate::config::tree::Node;
use crate::gateway::{Entities, entity, sinks};
use crate::pipeline::gateway::{Gateway, List, Mistake};
use std::sync::Arc;

/// What runs; none when something was wrong, which has been told.
pub(super) fn compiled(reader: &mut Reader<'_>, entities: &Entities) -> Option<GatewayPlan> {
    let mut all: Vec<Option<Service>> = Vec::with_capacity(entities.services.len());
    for (place, service) in entities.services.iter().enumerate() {
        all.push(services::service(entities, service).unwrap_or_else(|wrong| {
            told(reader, Kind::Service, place, "", &wrong.field, &wrong.message, &wrong.fix);
            None
        }));
    }
    let upstream = |s: &entity::Service| entities.upstreams.iter().find(|u| u.name == s.host).map(|u| u.name.clone());
    let upstreams = entities.services.iter().map(upstream).collect();
    let sinks = sinks::sinks(entities).unwrap_or_else(|all| {
        for (place, wrong) in all {
            told(reader, Kind::Plugin, place, "config.", &wrong.field, &wrong.message, &wrong.fix);
        }
        sinks::Sinks::default()
    });
    match Gateway::new(entities) {
        Ok(gateway) if !reader.problems.failed() => {
            let titled = certificates::titled(entities);
            let services = services::named_apart(all);
            Some(GatewayPlan { gateway: Arc::new(gateway), services, titled, upstreams, sinks })
        }
        Ok(_) => None,
        Err(mistakes) => {
            for Mistake { list, place, wrong } in mistakes {
                match list {
                    List::Routes => {
                        told(reader, Kind::Route, place, "", &wrong.field, &wrong.message, &wrong.fix);
                    }
                    List::Plugins => {
                        let inside = if wrong.field == "name" { "" } else { "config." };
                        told(reader, Kind::Plugin, place, inside, &wrong.field, &wrong.message, &wrong.fix);
                    }
                }
            }
            None
        }
    }
}

/// Tells what is wrong with the `place`-th entity of a kind.
fn told(reader: &mut Reader<'_>, kind: Kind, place: usize, inside: &str, field: &str, message: &str, fix: &str) {
    let Some(record) = reader.records.iter().filter(|r| r.kind == kind).nth(place) else { return };
    let (span, at) = at(record, inside, field);
    let later = message.contains("not supported yet");
    let code = if later { "not-supported" } else { "bad-value" };
    reader.problems.error(span, code, &at, format!("`{at}`: {message}"), fix);
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
