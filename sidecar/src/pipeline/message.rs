//! Messages of ZeroMQ at the beginning of the road.

use super::lane::Door;
use super::road::Road;
use crate::codec::server::Asked;
use crate::command::frames;
use crate::exchange::{Body, Exchange, Fault, FaultKind, Head};

/// The share of its caller's patience after which a command is answered, whatever has come of it by then: the answer
/// has its own way to go.
const SHARE: f64 = 0.8;

/// The head and body that a message stands for.
pub(super) fn head(road: &Road, door: &Door, asked: &Asked) -> (Result<Head, (Head, Fault)>, Body) {
    let inlet = &door.inlet;
    let (head, body) = frames::request(inlet, &road.rules, &road.limits, &asked.proved, &asked.frames);
    if !asked.bare {
        return (head, body);
    }
    let why = "the message has no empty frame before it, as a REQ's has; where a DEALER sends none, set \
               zmq.envelope: raw";
    let (Ok(head) | Err((head, _))) = head;
    (Err((head, Fault::new(FaultKind::BadRequest, why))), body)
}

/// A caller is answered before its patience is over.
pub(super) fn patience(door: &Door, ex: &mut Exchange) {
    if let Some(patience) = door.inlet.patience {
        let by = ex.timings.start + patience.mul_f64(SHARE);
        ex.deadline = Some(ex.deadline.map_or(by, |deadline| deadline.min(by)));
    }
}
