//! Messages of ZeroMQ at the beginning of the road.

use super::road::Road;
use crate::codec::server::Asked;
use crate::command::frames;
use crate::exchange::frames::{Inlet, Part};
use crate::exchange::{Body, Exchange, Fault, FaultKind, Head, Headers};
use crate::names::header as word;
use std::sync::Arc;

/// The share of its caller's patience after which a command is answered, whatever has come of it by then: the answer
/// has its own way to go.
const SHARE: f64 = 0.8;

/// The head and body that a message stands for.
pub(super) fn head(road: &Road, asked: &Asked) -> (Result<Head, (Head, Fault)>, Body) {
    let (head, body) = frames::request(&asked.inlet, &road.rules, &road.limits, &asked.proved, &asked.frames);
    if !asked.bare {
        return (head, body);
    }
    let why = "the message has no empty frame before it, as a REQ's has; where a DEALER sends none, set \
               zmq.envelope: raw";
    let (Ok(head) | Err((head, _))) = head;
    (Err((head, Fault::new(FaultKind::BadRequest, why))), body)
}

/// How it was read is known to all that follows, and its caller is answered before its patience is over.
pub(super) fn taken(inlet: Arc<Inlet>, ex: &mut Exchange) {
    if let Some(patience) = inlet.patience {
        let by = ex.timings.start + patience.mul_f64(SHARE);
        ex.deadline = Some(ex.deadline.map_or(by, |deadline| deadline.min(by)));
    }
    ex.inlet = Some(inlet);
}

/// Says in the answer which command it is of, where its caller gets that as a frame.
pub(super) fn named(ex: &Exchange, headers: &mut Headers) {
    if ex.inlet.as_ref().is_some_and(|inlet| inlet.reply.contains(&Part::Id)) {
        headers.set(word::ID, &ex.command.id);
    }
}
