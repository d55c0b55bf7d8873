//! Our own answers.

use super::gated;
use super::message;
use super::told::Told;
use crate::codec::{date, plain, problem};
use crate::exchange::deadline::until;
use crate::exchange::{Answer, Body, Fault, FaultKind, Outcome, Protocol, Reply};
use std::time::{Duration, Instant, SystemTime};

/// How much of a refused body is read, and for how long, so that the caller gets to read the answer instead of
/// meeting a reset connection.
const LINGER_BYTES: u64 = 16 << 20;
const LINGER: Duration = Duration::from_secs(5);

/// Answers with a fault; what the caller still sends is read and thrown away, within bounds.
pub(super) fn refuse(mut told: Told, mut fault: Fault, body: Body) -> Answer {
    let bound = told.ex.body_max.filter(|most| fault.kind == FaultKind::BodyTooLarge && *most < told.road.limits.body);
    if let Some(most) = bound {
        fault.detail = format!("more than {most} bytes (request-size-limiting)").into();
    }
    let mut answer = match told.is_gateways() {
        true if bound.is_some() => {
            let reply = Reply::message("request-size-limiting", 413, "Request size limit exceeded");
            plain::answer(&reply, &told.ex)
        }
        true => plain::answer(&plain::reply(&fault), &told.ex),
        false => problem::answer(&fault, Some(&told.ex)),
    };
    let two = matches!(told.ex.protocol, Protocol::Http2 | Protocol::Grpc);
    if !two && fault.kind == FaultKind::BadRequest {
        // Who misunderstands one message may misunderstand where the next begins.
        answer.headers.set("connection", "close");
    }
    if fault.kind == FaultKind::ClientGone && !two {
        // 499 is for records; should the caller still be reading, its request is the one that is wrong.
        answer.status = FaultKind::BadRequest.status();
        answer.headers.set("connection", "close");
    }
    told.ex.status = fault.kind.status();
    if answer.status == 200 {
        told.ex.grpc_status = Some(fault.kind.grpc_status());
    }
    if fault.kind.outcome() == Outcome::Rejected || fault.kind == FaultKind::Deadline {
        told.rejected(fault.kind.code());
    }
    told.ex.fault = Some(fault);
    leave(told, answer, body, 0)
}

/// Answers what a middleware says.
pub(super) fn reply(told: Told, reply: Reply, body: Body) -> Answer {
    replied(told, reply, body, 0)
}

/// The same in place of an instance's answer, which the first `from` middlewares have seen.
pub(super) fn reply_after(told: Told, reply: Reply, from: usize) -> Answer {
    replied(told, reply, Body::Empty, from)
}

fn replied(mut told: Told, reply: Reply, body: Body, from: usize) -> Answer {
    let answer = plain::answer(&reply, &told.ex);
    told.ex.status = reply.status;
    if told.ex.protocol == Protocol::Grpc {
        told.ex.grpc_status = Some(plain::grpc_status(reply.status));
    }
    // What a service has answered before is no refusal of ours.
    let again = told.ex.cached.as_ref().is_some_and(|cached| cached.is_hit());
    if reply.refuses() && !again {
        told.rejected(reply.by);
        told.ex.fault = Some(Fault::new(FaultKind::Refused, format!("{}: {}", reply.by, reply.why)));
    }
    leave(told, answer, body, from)
}

/// An answer of our own on its way out, past the middlewares of its route.
pub(super) fn leave(mut told: Told, mut answer: Answer, body: Body, from: usize) -> Answer {
    if let Some(routed) = told.routed.clone().filter(|r| r.gate.line.looks_at_answers()) {
        answer = gated::own_answer(&mut told, &routed, from, answer);
    }
    if !told.ex.added.is_empty() {
        answer.headers.extend(&std::mem::take(&mut told.ex.added));
    }
    // HTTP/1 does the same by itself.
    if matches!(told.ex.protocol, Protocol::Http2 | Protocol::Grpc) && !body.is_empty() {
        tokio::task::spawn_local(until(Instant::now() + LINGER, drain(body)));
    }
    date::add(&mut answer.headers, SystemTime::now());
    message::named(&told.ex, &mut answer.headers);
    told.answered(&answer.headers, true);
    answer.body = told.with_body(answer.body);
    answer
}

async fn drain(mut body: Body) {
    let mut read = 0;
    while read < LINGER_BYTES {
        match body.frame().await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, |d| d.len() as u64),
            _ => return,
        }
    }
}
