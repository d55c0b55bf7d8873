//! Pick an instance, send, and send again only what cannot have run.

use super::{Cluster, Endpoint, InFlight};
use crate::codec::client::{Cause, Http1, Http1Body, Received, ReceivedBody, SendError};
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Body, Exchange, Fault, FaultKind, Retry, Tell, Timeouts};
use http::{HeaderValue, Method, Request, Uri, Version, header};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often one command may meet a connection that died before a byte of it was written.
const UNSENT_MAX: u32 = 8;
/// How long to wait before looking for an available instance again, when none says when it can be tried.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// An answer's head, with the instance and connection that it came over.
pub struct Sent {
    /// The answer.
    pub response: Received,
    /// Who answered.
    pub endpoint: Rc<Endpoint>,
    /// The connection, when it is this exchange's own.
    pub conn: Option<Http1>,
    /// Counts the command at the instance.
    pub in_flight: InFlight,
}

impl Sent {
    /// The answer's head and its body, which gives the connection back at its end.
    pub fn into_parts(self) -> (http::response::Parts, ReceivedBody, InFlight) {
        let (parts, incoming) = self.response.into_parts();
        let body = match self.conn {
            Some(conn) => ReceivedBody::Own(Http1Body::new(incoming, conn, self.endpoint)),
            None => ReceivedBody::Shared(incoming),
        };
        (parts, body, self.in_flight)
    }
}

fn idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

/// Gives the request the form that the instance's protocol wants.
fn shape(request: &mut Request<Body>, two: bool, authority: &str) -> Result<(), Fault> {
    let bad = |_| Fault::new(FaultKind::BadRequest, "the target cannot be forwarded");
    if two {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        if parts.authority.is_none() {
            parts.authority = Some(authority.parse().map_err(|_| {
                Fault::new(
                    FaultKind::BadRequest,
                    "an HTTP/2 instance needs to know the host, and the request names none",
                )
            })?);
        }
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| bad(()))?;
        request.headers_mut().remove(header::HOST);
        *request.version_mut() = Version::HTTP_2;
    } else {
        if !request.headers().contains_key(header::HOST)
            && let Ok(host) = HeaderValue::from_str(authority)
        {
            request.headers_mut().insert(header::HOST, host);
        }
        *request.version_mut() = Version::HTTP_11;
    }
    Ok(())
}

/// Sends one command; returns with the answer's head, or the fault. What cannot have run is sent again, to another
/// instance where there is one. The request stays in the caller's hands until it is written, since moving it through
/// every future on the way costs more than it looks. The exchange learns whom it is given to, when, and who failed.
pub async fn send(
    cluster: &Cluster,
    request: &mut Option<Request<Body>>,
    ex: &mut Exchange,
    timeouts: &Timeouts,
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
        if let Some(request) = request {
            shape(request, endpoint.speaks_two(), &ex.request.authority)?;
        }
        match once(&endpoint, request, timeouts, now).await {
            Ok(sent) => return Ok(sent),
            Err(Failed::NotConnected(error)) => {
                let now = Instant::now();
                endpoint.failed(now);
                let detail = format!("{}: {error}", endpoint.label);
                ex.attempt_failed(&endpoint.label, now, FaultKind::Unreachable, error);
                last = Some(Fault::new(FaultKind::Unreachable, detail).retry(Retry::Safe));
                tried.push(endpoint);
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

/// Copies what is needed to send a request without a body again.
fn copy(request: &Request<Body>) -> Request<Body> {
    let mut again = Request::new(Body::Empty);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    *again.version_mut() = request.version();
    again
}

async fn once(
    endpoint: &Rc<Endpoint>,
    slot: &mut Option<Request<Body>>,
    timeouts: &Timeouts,
    now: Instant,
) -> Result<Sent, Failed> {
    let in_flight = InFlight::new(endpoint);
    endpoint.reserve(now, now + timeouts.connect);
    if endpoint.speaks_two() {
        return Box::pin(once_shared(endpoint, slot, timeouts, in_flight)).await;
    }
    let free = endpoint.free().await;
    let reused = free.is_some();
    let mut conn = match free {
        Some(conn) => conn,
        None => connected(until(now + timeouts.connect, Box::pin(endpoint.fresh())).await, timeouts)?,
    };
    endpoint.reached();
    let Some(request) = slot.take() else { return Err(gone()) };
    // A kept connection may die under our hands; what may run twice and has no body is kept for one more try.
    let spare = (reused && idempotent(request.method()) && request.body().is_empty()).then(|| Box::new(copy(&request)));
    match conn.send(request).await {
        Ok(response) => Ok(Sent { response, endpoint: endpoint.clone(), conn: Some(conn), in_flight }),
        Err(e) => {
            let SendError { unsent, cause } = *e;
            *slot = unsent.or(if matches!(cause, Cause::Ended) { spare.map(|s| *s) } else { None });
            if slot.is_some() { Err(Failed::Unsent) } else { Err(Failed::Fault(Box::new(fault_of(endpoint, cause)))) }
        }
    }
}

async fn once_shared(
    endpoint: &Rc<Endpoint>,
    slot: &mut Option<Request<Body>>,
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
    let Some(request) = slot.take() else { return Err(gone()) };
    let again = request.body().is_empty().then(|| Box::new(copy(&request)));
    let twice = idempotent(request.method());
    match conn.send(request).await {
        Ok(response) => Ok(Sent { response, endpoint: endpoint.clone(), conn: None, in_flight }),
        Err(e) => {
            let SendError { unsent, cause } = *e;
            let safe = matches!(cause, Cause::Refused) || (twice && matches!(cause, Cause::Ended));
            *slot = unsent.or(if safe { again.map(|a| *a) } else { None });
            if slot.is_some() { Err(Failed::Unsent) } else { Err(Failed::Fault(Box::new(fault_of(endpoint, cause)))) }
        }
    }
}

fn connected<C>(result: Result<std::io::Result<C>, Elapsed>, timeouts: &Timeouts) -> Result<C, Failed> {
    match result {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(e)) => Err(Failed::NotConnected(e.to_string())),
        Err(Elapsed) => Err(Failed::NotConnected(no_time(timeouts))),
    }
}

fn gone() -> Failed {
    Failed::Fault(Box::new(Fault::new(FaultKind::Internal, "the request was sent twice")))
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
        Cause::Ended => Fault::new(FaultKind::Broken, format!("{label} closed the connection before its answer"))
            .retry(Retry::IfIdempotent),
    }
}

#[cfg(test)]
mod tests;
