//! Our own answers.

use super::answer::Ending;
use super::told::Told;
use crate::codec::problem;
use crate::exchange::deadline::until;
use crate::exchange::{Answer, Body, Fault, FaultKind, Outcome, Protocol};
use http_body::Body as _;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// How much of a refused body is read, and for how long, so that the caller gets to read the answer instead of
/// meeting a reset connection.
const LINGER_BYTES: u64 = 16 << 20;
const LINGER: Duration = Duration::from_secs(5);

/// Answers with a fault; what the caller still sends is read and thrown away, within bounds.
pub(super) fn refuse(mut told: Box<Told>, fault: Fault, body: Body) -> Answer {
    let mut answer = problem::answer(&fault, Some(&told.ex));
    let one = matches!(told.ex.protocol, Protocol::Http10 | Protocol::Http11);
    if one && fault.kind == FaultKind::BadRequest {
        // Who misunderstands one message may misunderstand where the next begins.
        answer.headers.set("connection", "close");
    }
    told.ex.status = fault.kind.status();
    if answer.status == 200 {
        told.ex.grpc_status = Some(fault.kind.grpc_status());
    }
    if fault.kind.outcome() == Outcome::Rejected {
        told.rejected(fault.kind.code());
    }
    told.ex.fault = Some(fault);
    // Who waits for 100 Continue has not sent a body, and is not to be asked for one.
    let waits = told.ex.request.headers.contains("expect");
    if !body.is_empty() && !waits {
        tokio::task::spawn_local(until(Instant::now() + LINGER, drain(body)));
    }
    Answer { body: Body::Wrapped(Box::pin(Ending::ours(answer.body, told))), ..answer }
}

async fn drain(mut body: Body) {
    let mut read = 0;
    while read < LINGER_BYTES {
        match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, |d| d.len() as u64),
            _ => return,
        }
    }
}
