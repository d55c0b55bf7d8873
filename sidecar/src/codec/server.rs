//! Connections of callers: HTTP/1 and HTTP/2 on one port, told apart by their first bytes.

use super::{LocalExecutor, Stream, normalize};
use crate::codec::stream::Socket;
use crate::exchange::{Answer, Body, Fault, FaultKind, Head, Headers, Limits, Protocol};
use http::{Request, Response, StatusCode, Version};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// How an HTTP/2 connection with prior knowledge begins (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams one HTTP/2 caller may have at once.
const STREAMS_MAX: u32 = 250;

/// What hyper allows without being told, on the stack; any other number costs it an allocation a request.
const HEADERS_BUILT_IN: usize = 100;

/// What a connection tells its keeper.
pub struct Life {
    reads: Arc<AtomicU64>,
    seen: Cell<u64>,
    in_flight: Cell<u32>,
    /// HTTP/2: a read may be a ping or a window update, and says nothing of a head.
    multiplexed: Cell<bool>,
    /// A second handle of the socket, only ever asked for its error: hyper does not read while it waits for an answer,
    /// so a caller that has reset the connection would not be noticed.
    errors: RefCell<Option<socket2::Socket>>,
    waiting_for_head: Cell<bool>,
    since: Cell<Instant>,
    end: Cell<End>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    No,
    /// Finish what runs, then close.
    Graceful,
    /// Close now.
    Now,
}

impl Life {
    /// A connection that has just been accepted.
    pub fn new() -> Rc<Self> {
        Rc::new(Life {
            reads: Arc::new(AtomicU64::new(0)),
            seen: Cell::new(0),
            in_flight: Cell::new(0),
            multiplexed: Cell::new(false),
            errors: RefCell::default(),
            waiting_for_head: Cell::new(true),
            since: Cell::new(Instant::now()),
            end: Cell::new(End::No),
            waker: RefCell::new(None),
        })
    }

    /// The counter that the stream feeds.
    pub fn reads(&self) -> Arc<AtomicU64> {
        self.reads.clone()
    }

    /// A request's head is complete.
    pub fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.waiting_for_head.set(false);
    }

    /// Its answer is complete or given up.
    pub fn finish(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.since.set(now);
        self.seen.set(self.reads.load(Ordering::Relaxed));
    }

    /// Asks the connection to end when what runs has ended.
    pub fn drain(&self) {
        if self.end.get() == End::No {
            self.finish_with(End::Graceful);
        }
    }

    /// Ends the connection now.
    pub fn close(&self) {
        self.finish_with(End::Now);
    }

    fn finish_with(&self, end: End) {
        self.end.set(end);
        if let Some(w) = self.waker.borrow_mut().take() {
            w.wake();
        }
    }

    /// Gives or takes the handle that is asked for errors.
    pub fn watch_errors(&self, socket: Option<socket2::Socket>) {
        *self.errors.borrow_mut() = socket;
    }

    /// Whether nothing of it is being served.
    pub fn is_idle(&self) -> bool {
        self.in_flight.get() == 0
    }

    /// Resolves when the connection is asked to end, before it is served.
    pub async fn ending(&self) {
        std::future::poll_fn(|cx| {
            if self.end.get() != End::No {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Asked now and then: closes the connection when its caller takes too long for a head or for the next request.
    pub fn check(&self, now: Instant, head: Duration, idle: Duration) {
        if self.end.get() == End::Now {
            return;
        }
        if self.in_flight.get() > 0 {
            let gone = self.errors.borrow().as_ref().is_some_and(|s| !matches!(s.take_error(), Ok(None)));
            if gone {
                self.close();
            }
            return;
        }
        if self.multiplexed.get() {
            // Streams count, pings do not; GOAWAY tells the caller that nothing was lost.
            if now.saturating_duration_since(self.since.get()) > idle {
                self.drain();
            }
            return;
        }
        if !self.waiting_for_head.get() && self.reads.load(Ordering::Relaxed) != self.seen.get() {
            self.waiting_for_head.set(true);
            self.since.set(now);
            return;
        }
        let limit = if self.waiting_for_head.get() { head } else { idle };
        if now.saturating_duration_since(self.since.get()) > limit {
            self.close();
        }
    }
}

/// One request as the codec hands it over.
pub struct Incoming {
    /// The head, or why it cannot be served.
    pub head: Result<Head, (Head, Fault)>,
    /// The body, still on the wire.
    pub body: Body,
    /// How it came.
    pub protocol: Protocol,
    /// The way to the connection's bytes, when another protocol is asked for.
    pub upgrade: Option<Upgrade>,
}

/// The way to the raw bytes of a connection, once both sides have agreed on another protocol.
pub struct Upgrade(hyper::upgrade::OnUpgrade);

impl Upgrade {
    /// From an answer of an instance.
    pub fn of_answer(answer: &mut Response<hyper::body::Incoming>) -> Self {
        Upgrade(hyper::upgrade::on(answer))
    }
}

/// Either side of a tunnel.
pub enum Far {
    /// An instance's upgraded connection.
    Upgraded(Upgrade),
    /// A fresh connection (CONNECT).
    Stream(Box<Stream>),
}

/// Relays bytes both ways until both have ended; returns how many went in and out.
pub async fn relay(near: Upgrade, far: Far) -> std::io::Result<(u64, u64)> {
    let near = near.0.await.map_err(std::io::Error::other)?;
    let mut near = TokioIo::new(near);
    match far {
        Far::Upgraded(far) => {
            let far = far.0.await.map_err(std::io::Error::other)?;
            tokio::io::copy_bidirectional(&mut near, &mut TokioIo::new(far)).await
        }
        Far::Stream(mut far) => tokio::io::copy_bidirectional(&mut near, &mut *far).await,
    }
}

fn split(request: Request<hyper::body::Incoming>) -> Incoming {
    let mut request = request;
    let wants_upgrade = request.method() == http::Method::CONNECT
        || (request.version() == Version::HTTP_11 && request.headers().contains_key(http::header::UPGRADE));
    let upgrade =
        (wants_upgrade && request.version() != Version::HTTP_2).then(|| Upgrade(hyper::upgrade::on(&mut request)));
    let (parts, body) = request.into_parts();
    let grpc = parts.version == Version::HTTP_2
        && parts.headers.get(http::header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    let protocol = match parts.version {
        Version::HTTP_2 if grpc => Protocol::Grpc,
        Version::HTTP_2 => Protocol::Http2,
        Version::HTTP_10 | Version::HTTP_09 => Protocol::Http10,
        _ if parts.method == http::Method::CONNECT => Protocol::Tunnel,
        _ => Protocol::Http11,
    };
    let body = if http_body::Body::is_end_stream(&body) { Body::Empty } else { Body::Incoming(body) };
    let mut head = Head {
        method: parts.method,
        path: String::new(),
        query: parts.uri.query().map(str::to_owned),
        authority: String::new(),
        headers: Headers::from_map(parts.headers),
        wire: None,
    };
    if protocol == Protocol::Http2 || grpc {
        join_cookies(&mut head.headers);
    }
    let head = match fill(&mut head, &parts.uri, protocol) {
        Ok(()) => Ok(head),
        Err(fault) => Err((head, fault)),
    };
    Incoming { head, body, protocol, upgrade }
}

/// HTTP/2 may send one cookie line in many fields (RFC 9113, 8.2.3); HTTP/1 has one.
fn join_cookies(headers: &mut Headers) {
    let mut crumbs = headers.get_all("cookie");
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let mut whole = [first, second].join(&b"; "[..]);
        for crumb in crumbs {
            whole.extend_from_slice(b"; ");
            whole.extend_from_slice(crumb);
        }
        headers.set("cookie", whole);
    }
}

fn fill(head: &mut Head, uri: &http::Uri, protocol: Protocol) -> Result<(), Fault> {
    let one = !matches!(protocol, Protocol::Http2 | Protocol::Grpc);
    if one && uri.scheme().is_some_and(|s| *s != http::uri::Scheme::HTTP) {
        return Err(Fault::new(FaultKind::BadRequest, "only http:// is forwarded; other schemes go through CONNECT"));
    }
    let raw = uri.path();
    if head.method == http::Method::CONNECT {
        head.path = "/".into();
    } else if raw == "*" {
        head.path = "*".into();
        head.wire = uri.path_and_query().cloned();
    } else {
        let path = normalize::path(raw)?;
        if matches!(path, std::borrow::Cow::Borrowed(p) if p.len() == raw.len()) {
            head.wire = uri.path_and_query().cloned();
        }
        head.path = path.into_owned();
    }
    if head.headers.contains("transfer-encoding") {
        // What is left of it here was understood as chunked; any other coding would be lost on the way (RFC 9112, 6.1).
        let mut codings = head.headers.get_all("transfer-encoding");
        let only = codings.next().is_some_and(|c| c.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        if !only || codings.next().is_some() {
            return Err(Fault::new(FaultKind::BadRequest, "a transfer coding other than chunked"));
        }
    }
    let mut hosts = head.headers.get_all("host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Fault::new(FaultKind::BadRequest, "more than one Host line"));
    }
    let authority = match (uri.authority(), host) {
        // The target wins over Host (RFC 9112, 3.2.2); Host is rewritten to it when it is forwarded.
        (Some(target), _) => target.as_str(),
        (None, Some(host)) => {
            std::str::from_utf8(host).map_err(|_| Fault::new(FaultKind::BadRequest, "the Host line is not text"))?
        }
        (None, None) if protocol == Protocol::Http11 => {
            return Err(Fault::new(FaultKind::BadRequest, "HTTP/1.1 without a Host line"));
        }
        (None, None) => "",
    };
    let authority = normalize::authority(authority)?.into_owned();
    drop(hosts);
    head.authority = authority;
    if uri.authority().is_some() {
        let authority = head.authority.clone();
        head.headers.set("host", authority);
    }
    Ok(())
}

fn join(answer: Answer) -> Response<Body> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = answer.headers.into_map();
    response
}

/// Why a connection of a caller ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    Well,
    /// What came is not HTTP; answered 400 where that was possible.
    Malformed,
    /// The header block was over the limit; answered 431.
    HeadTooLarge,
    /// The connection broke.
    Broken,
}

/// Serves a connection until it ends.
pub async fn serve<F, Fut>(socket: Socket, first: Vec<u8>, limits: &Limits, life: Rc<Life>, handle: F) -> Ended
where
    F: Fn(Incoming) -> Fut + 'static,
    Fut: Future<Output = Answer> + 'static,
{
    let two = first.starts_with(PREFACE);
    let io = TokioIo::new(Stream::new(socket, first, Some(life.reads())));
    let handle = Rc::new(handle);
    let service = hyper::service::service_fn(move |request| {
        // hyper moves a service's future several times; a box is moved cheaply.
        let answer = Box::pin(handle(split(request)));
        async move { Ok::<_, Infallible>(join(answer.await)) }
    });
    life.multiplexed.set(two);
    let ended = if two {
        let mut conn = pin!(
            http2::Builder::new(LocalExecutor)
                .max_concurrent_streams(STREAMS_MAX)
                .initial_stream_window_size(256 << 10)
                .initial_connection_window_size(1 << 20)
                .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
                .auto_date_header(false)
                .serve_connection(io, service)
        );
        watch(&life, conn.as_mut(), |c| c.graceful_shutdown()).await
    } else {
        let mut builder = http1::Builder::new();
        builder
            .half_close(true)
            .auto_date_header(false)
            .max_header_size(limits.head)
            .max_buf_size(limits.head.max(64 << 10));
        if limits.headers != HEADERS_BUILT_IN {
            builder.max_headers(limits.headers);
        }
        let mut conn = pin!(builder.serve_connection(io, service).with_upgrades());
        watch(&life, conn.as_mut(), |c| c.graceful_shutdown()).await
    };
    match ended {
        None | Some(Ok(())) => Ended::Well,
        Some(Err(e)) if e.is_parse_too_large() => Ended::HeadTooLarge,
        Some(Err(e)) if e.is_parse() => Ended::Malformed,
        Some(Err(_)) => Ended::Broken,
    }
}

/// Drives a connection and obeys its keeper.
async fn watch<C, G>(life: &Life, mut conn: Pin<&mut C>, graceful: G) -> Option<C::Output>
where
    C: Future,
    G: Fn(Pin<&mut C>),
{
    let mut told = false;
    std::future::poll_fn(|cx| {
        match life.end.get() {
            End::Now => return Poll::Ready(None),
            End::Graceful if !told => {
                told = true;
                graceful(conn.as_mut());
            }
            _ => {}
        }
        {
            let mut waker = life.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        conn.as_mut().poll(cx).map(Some)
    })
    .await
}
