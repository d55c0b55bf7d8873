//! The last rules: what nothing named gets a name, an id and a trace of ours.

use super::name::{self, NAME_MAX};
use super::{id, trace};
use crate::exchange::{Exchange, Protocol};
use std::sync::Arc;

/// Fills what identification left empty: the name (the route's, else method and path template), the id (a
/// UUIDv7), the trace. After it none of them is empty.
pub fn settle(ex: &mut Exchange, route_name: Option<&Arc<str>>) {
    if ex.command.name.is_empty() {
        match route_name.and_then(of_route) {
            Some(name) => {
                ex.command.name = name;
                ex.command.named_by_route = true;
            }
            // A message has neither method nor path of its own.
            None if ex.protocol == Protocol::Zmq => ex.command.name = name::normalized("message").unwrap_or_default(),
            None => ex.command.name = name::template(ex.request.method.as_str(), ex.request.path()),
        }
    }
    if ex.command.id.is_empty() {
        ex.command.id = id::uuid_v7(ex.timings.wall);
        ex.command.id_given = false;
    }
    if ex.trace.trace_id == 0 {
        ex.trace = trace::begin(trace::Sampler::default());
    } else if ex.trace.span_id == 0 {
        ex.trace.span_id = trace::span();
    }
}

fn of_route(route: &Arc<str>) -> Option<Arc<str>> {
    let bytes = route.as_bytes();
    let legal = matches!(bytes.first(), Some(b) if *b != b'.') && bytes.len() <= NAME_MAX;
    if legal && bytes.iter().all(|b| name::is_legal(*b)) { Some(route.clone()) } else { name::normalized(route) }
}
