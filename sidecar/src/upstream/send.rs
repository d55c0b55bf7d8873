//! Pick an instance, send, and send again only what cannot have run.

use super::{Cluster, Endpoint, InFlight};
use crate::codec::client::{Cause, Http1, Http1Body, Received, SendError};
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Body, Fault, FaultKind, Retry, Tell, Timeouts};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often one command may meet a connection that died before a byte of it was written.
const UNSENT_MAX: u32 = 8;
/// How long to wait before looking for an available instance again, when none says when it can be tried.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// What is to be sent.
pub struct Wire {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: PathAndQuery,
    /// The host it is for.
    pub authority: String,
    /// Header lines without hop-by-hop ones.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

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
    /// The answer's body, giving the connection back at its end.
    pub fn into_body(self) -> (http::response::Parts, Body, InFlight) {
        let (parts, incoming) = self.response.into_parts();
        let body = match self.conn {
            Some(conn) => {
                let home = self.endpoint;
                Body::Wrapped(Box::pin(Http1Body::new(incoming, conn, Box::new(move |c| home.give_back(c)))))
            }
            None => Body::Incoming(incoming),
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
/// instance where there is one.
pub async fn send(
    cluster: &Cluster,
    wire: Wire,
    start: Instant,
    timeouts: &Timeouts,
    tell: &dyn Tell,
    chosen: &mut dyn FnMut(&Rc<Endpoint>),
) -> Result<Sent, Fault> {
    let Wire { method, target, authority, headers, body } = wire;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = headers;
    let mut tried: Vec<Rc<Endpoint>> = Vec::new();
    let mut unsent = 0;
    let mut last: Option<Fault> = None;
    loop {
        let Some(endpoint) = cluster.pick(Instant::now(), &tried) else {
            wait_for_one(cluster, start, timeouts, last.take()).await?;
            tried.clear();
            continue;
        };
        if last.is_some() {
            tell.retried("connect");
        }
        chosen(&endpoint);
        let in_flight = InFlight::new(&endpoint);
        shape(&mut request, endpoint.speaks_two(), &authority)?;
        match once(&endpoint, request, timeouts, in_flight).await {
            Ok(sent) => return Ok(sent),
            Err(Failed::NotConnected(again, error)) => {
                endpoint.failed(Instant::now());
                last =
                    Some(Fault::new(FaultKind::Unreachable, format!("{}: {error}", endpoint.label)).retry(Retry::Safe));
                tried.push(endpoint);
                request = again;
            }
            Err(Failed::Unsent(again)) if unsent < UNSENT_MAX => {
                unsent += 1;
                tell.retried("stale");
                request = again;
            }
            Err(Failed::Unsent(_)) => {
                return Err(Fault::new(FaultKind::Unreachable, format!("{} closes every connection", endpoint.label)));
            }
            Err(Failed::Fault(fault)) => return Err(fault),
        }
    }
}

enum Failed {
    /// No connection; the request is whole.
    NotConnected(Request<Body>, String),
    /// The connection died before a byte was written.
    Unsent(Request<Body>),
    /// Final.
    Fault(Fault),
}

async fn wait_for_one(
    cluster: &Cluster,
    start: Instant,
    timeouts: &Timeouts,
    last: Option<Fault>,
) -> Result<(), Fault> {
    let now = Instant::now();
    let give_up = start + timeouts.hold;
    if !cluster.holds || now >= give_up {
        let why = last.map(|f| f.detail);
        if !cluster.holds {
            return Err(Fault::new(FaultKind::Unreachable, why.unwrap_or("no instance".into())));
        }
        let detail = why.unwrap_or("no instance is ready".into());
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
    request: Request<Body>,
    timeouts: &Timeouts,
    in_flight: InFlight,
) -> Result<Sent, Failed> {
    let now = Instant::now();
    endpoint.reserve(now + timeouts.connect);
    if endpoint.speaks_two() {
        let mut conn = match endpoint.shared() {
            Some(conn) => conn,
            None => match until(now + timeouts.connect, endpoint.fresh_shared()).await {
                Ok(Ok(conn)) => conn,
                Ok(Err(e)) => return Err(Failed::NotConnected(request, e.to_string())),
                Err(Elapsed) => return Err(Failed::NotConnected(request, no_time(timeouts))),
            },
        };
        endpoint.reached();
        return match conn.send(request).await {
            Ok(response) => Ok(Sent { response, endpoint: endpoint.clone(), conn: None, in_flight }),
            Err(SendError { unsent: Some(again), .. }) => Err(Failed::Unsent(again)),
            Err(SendError { cause, .. }) => Err(Failed::Fault(fault_of(endpoint, cause))),
        };
    }
    let free = endpoint.free().await;
    let reused = free.is_some();
    let mut conn = match free {
        Some(conn) => conn,
        None => match until(now + timeouts.connect, endpoint.fresh()).await {
            Ok(Ok(conn)) => conn,
            Ok(Err(e)) => return Err(Failed::NotConnected(request, e.to_string())),
            Err(Elapsed) => return Err(Failed::NotConnected(request, no_time(timeouts))),
        },
    };
    endpoint.reached();
    // A kept connection may die under our hands; what may run twice and has no body is kept for one more try.
    let spare = (reused && idempotent(request.method()) && request.body().is_empty()).then(|| copy(&request));
    match conn.send(request).await {
        Ok(response) => Ok(Sent { response, endpoint: endpoint.clone(), conn: Some(conn), in_flight }),
        Err(SendError { unsent, cause }) => match unsent.or(if matches!(cause, Cause::Ended) { spare } else { None }) {
            Some(again) => Err(Failed::Unsent(again)),
            None => Err(Failed::Fault(fault_of(endpoint, cause))),
        },
    }
}

fn no_time(timeouts: &Timeouts) -> String {
    format!("no connection within {:?} (timeouts.connect)", timeouts.connect)
}

fn fault_of(endpoint: &Endpoint, cause: Cause) -> Fault {
    let label = &endpoint.label;
    match cause {
        Cause::TooLarge(limit) => Fault::new(FaultKind::BodyTooLarge, format!("more than {limit} bytes (limits.body)")),
        Cause::CallerGone => Fault::new(FaultKind::ClientGone, "the request's body broke off"),
        Cause::Nonsense(why) => Fault::new(FaultKind::BadAnswer, format!("{label}: {why}")),
        Cause::Ended => Fault::new(FaultKind::Broken, format!("{label} closed the connection before its answer"))
            .retry(Retry::IfIdempotent),
    }
}
