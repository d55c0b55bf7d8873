//! Pick an instance, send, and send again only what cannot have run.

use super::{Cluster, Endpoint, InFlight};
use crate::codec::Stream;
use crate::codec::client::{Cause, Http1, OwnBody, Received, ReceivedBody, SendError};
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Body, Counted, Early, Exchange, Fault, FaultKind, Head, Headers, Retry, Tell, Timeouts};
use http::Method;
use hyper::body::Incoming;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often one command may meet a connection that died before a byte of it was written.
const UNSENT_MAX: u32 = 8;
/// How long to wait before looking for an available instance again, when none says when it can be tried.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// An answer's head, with the instance and connection that it came over.
pub struct Sent {
    /// HTTP status.
    pub status: u16,
    /// Header lines.
    pub headers: Headers,
    /// Counts the command at the instance.
    pub in_flight: InFlight,
    endpoint: Rc<Endpoint>,
    over: Over,
}

/// What an answer comes over.
enum Over {
    /// A connection of the exchange's own.
    Own(Box<Http1>),
    /// A stream of a shared one.
    Shared(Incoming),
}

impl Sent {
    fn new(received: Received, over: Over, endpoint: &Rc<Endpoint>, in_flight: InFlight) -> Self {
        let Received { status, headers } = received;
        Sent { status, headers, in_flight, endpoint: endpoint.clone(), over }
    }

    /// The answer's head and its body, which gives the connection back at its end.
    pub fn into_parts(self) -> (u16, Headers, ReceivedBody, InFlight) {
        let body = match self.over {
            Over::Own(conn) => ReceivedBody::Own(OwnBody::new(conn, self.endpoint)),
            Over::Shared(incoming) => ReceivedBody::Shared(incoming),
        };
        (self.status, self.headers, body, self.in_flight)
    }

    /// The answer's lines and the connection itself, which speaks another protocol now; none on a shared one.
    pub fn into_stream(self) -> (Headers, Option<(Stream, Counted)>, InFlight) {
        let stream = match self.over {
            Over::Own(conn) => Some(conn.into_stream()),
            Over::Shared(_) => None,
        };
        (self.headers, stream, self.in_flight)
    }
}

fn idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

/// Sends one command, whose head is the exchange's; returns with the answer's head, or the fault. What cannot have run
/// is sent again, to another instance where there is one. The exchange learns whom it is given to, when, and who failed;
/// `early` gets the informational answers.
pub async fn send(
    cluster: &Cluster,
    body: &mut Body,
    ex: &mut Exchange,
    timeouts: &Timeouts,
    early: &Early,
    tell: &dyn Tell,
) -> Result<Sent, Fault> {
    let mut tried: Vec<Rc<Endpoint>> = Vec::new();
    let mut unsent = 0;
    let mut last: Option<Fault> = None;
    loop {
        let now = Instant::now();
        let Some(endpoint) = cluster.pick(now, &tried) else {
            Box::pin(wait_for_one(cluster, ex.timings.start, timeouts, last.as_ref())).await?;
            tried.clear();
            continue;
        };
        if last.is_some() {
            tell.retried("connect");
        }
        ex.upstream = Some(endpoint.label.clone());
        ex.timings.sent = Some(now);
        match once(&endpoint, &ex.request, body, timeouts, early, now).await {
            Ok(sent) => return Ok(sent),
            Err(Failed::NotConnected(error)) => {
                let now = Instant::now();
                endpoint.failed(now);
                let detail = format!("{}: {error}", endpoint.label);
                ex.attempt_failed(&endpoint.label, now, FaultKind::Unreachable, error);
                last = Some(Fault::new(FaultKind::Unreachable, detail).retry(Retry::Safe));
                tried.push(endpoint);
            }
            Err(Failed::NoRoom(error)) => {
                let detail = format!("no connection to {}: {error}", endpoint.label);
                return Err(Fault::new(FaultKind::Overloaded, detail).retry(Retry::Safe).retry_after(1));
            }
            Err(Failed::Unsent) if unsent < UNSENT_MAX => {
                unsent += 1;
                let why = "the connection ended without an answer";
                ex.attempt_failed(&endpoint.label, Instant::now(), FaultKind::Broken, why);
                tell.retried("stale");
            }
            Err(Failed::Unsent) => {
                return Err(Fault::new(FaultKind::Unreachable, format!("{} closes every connection", endpoint.label)));
            }
            Err(Failed::Fault(fault)) => return Err(*fault),
        }
    }
}

enum Failed {
    /// No connection; the request is whole.
    NotConnected(String),
    /// This machine has no room for a connection, which says nothing of the instance.
    NoRoom(String),
    /// The connection died before a byte was written; the request is whole.
    Unsent,
    /// Final.
    Fault(Box<Fault>),
}

async fn wait_for_one(
    cluster: &Cluster,
    start: Instant,
    timeouts: &Timeouts,
    last: Option<&Fault>,
) -> Result<(), Fault> {
    let now = Instant::now();
    let give_up = start + timeouts.hold;
    if !cluster.holds || now >= give_up {
        let why = last.map(|f| f.detail.clone());
        if !cluster.holds {
            return Err(Fault::new(FaultKind::Unreachable, why.unwrap_or("no instance".into())));
        }
        let detail = why.unwrap_or_else(|| {
            let all: Vec<&str> = cluster.endpoints.iter().map(|e| &*e.label).collect();
            format!("no instance is ready: {}", all.join(", ")).into()
        });
        return Err(Fault::new(FaultKind::NotReady, detail).retry(Retry::Safe).retry_after(1));
    }
    let next = cluster.next_try().map_or(LOOK_AGAIN, |at| at.saturating_duration_since(now));
    let pause = next.clamp(Duration::from_millis(1), LOOK_AGAIN).min(give_up.saturating_duration_since(now));
    tokio::time::sleep(pause).await;
    Ok(())
}

async fn once(
    endpoint: &Rc<Endpoint>,
    head: &Head,
    body: &mut Body,
    timeouts: &Timeouts,
    early: &Early,
    now: Instant,
) -> Result<Sent, Failed> {
    let in_flight = InFlight::new(endpoint);
    endpoint.reserve(now, now + timeouts.connect);
    if endpoint.speaks_two() {
        return Box::pin(once_shared(endpoint, head, body, timeouts, in_flight)).await;
    }
    let free = endpoint.free();
    let reused = free.is_some();
    let mut conn = match free {
        Some(conn) => conn,
        None => connected(until(now + timeouts.connect, Box::pin(endpoint.fresh())).await, timeouts)?,
    };
    endpoint.reached();
    // A kept connection may die under our hands; what may run twice and has no body gets one more try.
    let again = reused && idempotent(&head.method) && body.is_empty();
    match conn.send(head, body, early).await {
        Ok(received) => Ok(Sent::new(received, Over::Own(conn), endpoint, in_flight)),
        Err(e) => Err(failed(endpoint, *e, |cause| again && matches!(cause, Cause::Ended))),
    }
}

async fn once_shared(
    endpoint: &Rc<Endpoint>,
    head: &Head,
    body: &mut Body,
    timeouts: &Timeouts,
    in_flight: InFlight,
) -> Result<Sent, Failed> {
    let mut conn = match endpoint.shared() {
        Some(conn) => conn,
        None => {
            let by = Instant::now() + timeouts.connect;
            connected(until(by, endpoint.fresh_shared()).await, timeouts)?
        }
    };
    endpoint.reached();
    if head.authority.is_empty() {
        let why = "an HTTP/2 instance needs to know the host, and the request names none";
        return Err(Failed::Fault(Box::new(Fault::new(FaultKind::BadRequest, why))));
    }
    let empty = body.is_empty();
    match conn.send(head, body).await {
        Ok((received, incoming)) => Ok(Sent::new(received, Over::Shared(incoming), endpoint, in_flight)),
        Err(e) => Err(failed(endpoint, *e, |cause| {
            let twice = matches!(cause, Cause::Ended) && idempotent(&head.method);
            empty && (twice || matches!(cause, Cause::Refused))
        })),
    }
}

/// Whether the request is still whole, or can be sent again as it is.
fn failed(endpoint: &Endpoint, error: SendError, again: impl Fn(&Cause) -> bool) -> Failed {
    // Another session would fail of the same.
    let session = matches!(error.cause, Cause::Tls(_));
    if (error.unsent && !session) || again(&error.cause) {
        Failed::Unsent
    } else {
        Failed::Fault(Box::new(fault_of(endpoint, error.cause)))
    }
}

fn connected<C>(result: Result<std::io::Result<C>, Elapsed>, timeouts: &Timeouts) -> Result<C, Failed> {
    match result {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(e)) if is_ours(&e) => Err(Failed::NoRoom(e.to_string())),
        Ok(Err(e)) => Err(Failed::NotConnected(e.to_string())),
        Err(Elapsed) => Err(Failed::NotConnected(no_time(timeouts))),
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

#[cfg(test)]
mod tests;
