//! One attempt: a connection, the request out, the answer's head in.

use super::message;
use super::{Sent, idempotent};
use crate::codec::client::{Cause, SendError};
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Body, Early, Fault, FaultKind, Head, Retry, Timeouts};
use crate::upstream::endpoint::Awaited;
use crate::upstream::{Endpoint, InFlight};
use std::rc::Rc;
use std::time::Instant;

/// What bounds an attempt.
pub(super) struct Going<'a> {
    pub(super) timeouts: &'a Timeouts,
    /// When the answer's head must be there.
    pub(super) limit: Instant,
    pub(super) early: &'a Early,
    pub(super) now: Instant,
    /// Whether it may go over a connection that was kept, and so may meet one that has died meanwhile.
    pub(super) kept: bool,
}

/// Why an attempt brought no answer.
pub(super) enum Failed {
    /// No connection; the request is whole.
    NotConnected(String),
    /// This machine has no room for a connection, which says nothing of the instance.
    NoRoom(String),
    /// The connection died before a byte was written; the request is whole.
    Unsent,
    /// A kept connection died under a request that may run twice and has no body.
    Stale,
    /// The time was over; whether the request may have been begun by then.
    Late { begun: bool },
    /// This happened, when the request may have run.
    Fault(Box<Fault>),
}

/// Sends once.
pub(super) async fn once(
    endpoint: &Rc<Endpoint>,
    in_flight: InFlight,
    head: &Head,
    body: &mut Body,
    going: &Going<'_>,
) -> Result<Sent, Failed> {
    let Going { timeouts, limit, early, now, kept } = *going;
    let connect = limit.min(now + timeouts.connect);
    endpoint.reserve(now, now + timeouts.connect);
    let _awaited = Awaited::new(endpoint, now);
    if endpoint.speaks_two() {
        return Box::pin(once_shared(endpoint, in_flight, head, body, going)).await;
    }
    if endpoint.speaks_zmq() {
        return Box::pin(message::once(endpoint, in_flight, head, body, going)).await;
    }
    let free = if kept { endpoint.free() } else { None };
    let reused = free.is_some();
    let mut conn = match free {
        Some(conn) => conn,
        None => connected(until(connect, Box::pin(endpoint.fresh())).await, going)?,
    };
    endpoint.reached();
    // A kept connection may die under our hands; what may run twice and has no body gets one more try.
    let again = reused && idempotent(&head.method) && body.is_empty();
    match until(limit, conn.send(head, body, early)).await {
        Ok(Ok(received)) => Ok(Sent::own(received, conn, endpoint, in_flight)),
        Ok(Err(e)) => Err(failed(endpoint, *e, again)),
        Err(Elapsed) => Err(Failed::Late { begun: true }),
    }
}

async fn once_shared(
    endpoint: &Rc<Endpoint>,
    in_flight: InFlight,
    head: &Head,
    body: &mut Body,
    going: &Going<'_>,
) -> Result<Sent, Failed> {
    let shared = endpoint.shared();
    let reused = going.kept && shared.is_some();
    let mut conn = match shared {
        Some(conn) => conn,
        None => {
            let by = going.limit.min(Instant::now() + going.timeouts.connect);
            connected(until(by, endpoint.fresh_shared()).await, going)?
        }
    };
    endpoint.reached();
    if head.authority.is_empty() {
        let why = "an HTTP/2 instance needs to know the host, and the request names none";
        return Err(Failed::Fault(Box::new(Fault::new(FaultKind::BadRequest, why))));
    }
    let empty = body.is_empty();
    match until(going.limit, conn.send(head, body)).await {
        Ok(Ok((received, incoming))) => Ok(Sent::shared(received, incoming, endpoint, in_flight)),
        Ok(Err(e)) => Err(failed(endpoint, *e, reused && empty && idempotent(&head.method))),
        Err(Elapsed) => Err(Failed::Late { begun: true }),
    }
}

/// Whether the request is still whole, or can be sent again as it is: `stale` if the connection's end was that of one
/// kept too long.
pub(super) fn failed(endpoint: &Endpoint, error: SendError, stale: bool) -> Failed {
    match error.cause {
        // Another session would fail of the same.
        Cause::Tls(_) => Failed::Fault(Box::new(fault_of(endpoint, error.cause))),
        _ if error.unsent => Failed::Unsent,
        Cause::Ended if stale => Failed::Stale,
        cause => Failed::Fault(Box::new(fault_of(endpoint, cause))),
    }
}

pub(super) fn connected<C>(result: Result<std::io::Result<C>, Elapsed>, going: &Going<'_>) -> Result<C, Failed> {
    match result {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(e)) if is_ours(&e) => Err(Failed::NoRoom(e.to_string())),
        Ok(Err(e)) => Err(Failed::NotConnected(e.to_string())),
        Err(Elapsed) if Instant::now() >= going.limit => Err(Failed::Late { begun: false }),
        Err(Elapsed) => Err(Failed::NotConnected(no_time(going.timeouts))),
    }
}

/// Out of descriptors, ports or memory.
fn is_ours(error: &std::io::Error) -> bool {
    use nix::libc::{EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | EADDRNOTAVAIL | ENOBUFS | ENOMEM))
}

fn no_time(timeouts: &Timeouts) -> String {
    format!("no connection within {:?} (timeouts.connect)", timeouts.connect)
}

fn fault_of(endpoint: &Endpoint, cause: Cause) -> Fault {
    let label = &endpoint.label;
    match cause {
        Cause::TooLarge(limit) => Fault::new(FaultKind::BodyTooLarge, format!("more than {limit} bytes (limits.body)")),
        Cause::CallerGone => Fault::new(FaultKind::ClientGone, "the request's body broke off"),
        Cause::BadBody(why) => Fault::new(FaultKind::BadRequest, format!("the request's body: {why}")),
        Cause::Refused => Fault::new(FaultKind::Broken, format!("{label} refused the stream")).retry(Retry::Safe),
        Cause::Nonsense(why) => Fault::new(FaultKind::BadAnswer, format!("{label}: {why}")),
        Cause::Tls(e) => {
            let words = crate::tls::in_words(label, e);
            Fault::new(FaultKind::Broken, words.to_string()).retry(Retry::IfIdempotent)
        }
        Cause::Ended => Fault::new(FaultKind::Broken, format!("{label} closed the connection before its answer"))
            .retry(Retry::IfIdempotent),
    }
}
