//! Shared connections to instances that speak HTTP/2: with prior knowledge, or agreed on in the TLS handshake.

use super::{CONNECTION_WINDOW, LocalExecutor, STREAM_WINDOW, fleeting, of_connection};
use crate::codec::client::{Cause, Received, SendError};
use crate::codec::stream::{Failed, Socket, Stream};
use crate::exchange::{Body, BodyError, Counted, Head, Headers, Stage};
use crate::tls;
use bytes::Bytes;
use http::uri::{Parts, PathAndQuery, Scheme};
use http::{Request, Uri, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The largest head of an answer.
const HEAD_MAX: u32 = 256 << 10;

/// One HTTP/2 connection; clones share it.
#[derive(Clone)]
pub struct Http2 {
    sender: http2::SendRequest<Body>,
    scheme: Scheme,
    /// What the session failed of; hyper only tells that the connection is gone.
    failed: Failed,
}

impl Http2 {
    /// Takes a connected socket.
    pub async fn handshake(socket: Socket, counted: Counted) -> io::Result<Self> {
        let failed = socket.failed();
        let scheme = if socket.is_secure() { Scheme::HTTPS } else { Scheme::HTTP };
        let (sender, driver) = http2::Builder::new(LocalExecutor)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_MAX)
            .handshake(TokioIo::new(Stream::new(socket, Vec::new())))
            .await
            .map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            let _ = driver.await;
            drop(counted);
        });
        Ok(Http2 { sender, scheme, failed })
    }

    /// Whether it has ended (GOAWAY included).
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the answer's head. The body is taken, and given back if it was not sent.
    pub async fn send(&mut self, head: &Head, body: &mut Body) -> Result<(Received, Incoming), Box<SendError>> {
        let session = self.failed.clone();
        let failed = |unsent, cause| {
            let why = session.borrow().as_ref().and_then(|e| tls::failure(e));
            let cause = if let (Cause::Ended, Some(why)) = (&cause, why) { Cause::Tls(why) } else { cause };
            Box::new(SendError { unsent, cause })
        };
        let Some(mut request) = request(head, self.scheme.clone()) else {
            return Err(failed(false, Cause::BadBody("the target cannot be told over HTTP/2".to_owned())));
        };
        if let Err(error) = self.sender.ready().await {
            return Err(failed(true, cause_of(&error)));
        }
        // The library says of a body that broke off only that the stream was reset, as an instance may do, too.
        let broken: Broken = Rc::default();
        *request.body_mut() = match std::mem::replace(body, Body::Empty) {
            ours @ (Body::Empty | Body::Full(_)) => ours,
            inner => Body::staged(Box::new(Watched { inner, broken: broken.clone() })),
        };
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                let (parts, incoming) = response.into_parts();
                let headers = Headers::from_map(&parts.headers);
                Ok((Received { status: parts.status.as_u16(), headers }, incoming))
            }
            Err(mut e) => {
                let unsent = e.take_message().map(|message| *body = message.into_body()).is_some();
                Err(failed(unsent, broken.take().unwrap_or_else(|| cause_of(e.error()))))
            }
        }
    }
}

/// A head as HTTP/2 has it: `:authority` instead of `Host` (RFC 9113, 8.3.1), nothing that speaks of the connection.
fn request(head: &Head, scheme: Scheme) -> Option<Request<Body>> {
    let mut request = Request::new(Body::Empty);
    let mut parts = Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(head.authority.parse().ok()?);
    parts.path_and_query = Some(head.target().parse::<PathAndQuery>().ok()?);
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.method_mut() = head.method.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = head.headers.to_map(|n| n != "host" && !of_connection(n), fleeting)?;
    Some(request)
}

/// What became of a request's body, if it broke off.
type Broken = Rc<Cell<Option<Cause>>>;

/// A request's body that tells why it broke off.
struct Watched {
    inner: Body,
    broken: Broken,
}

impl Stage for Watched {
    fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_meanwhile(cx)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled {
            self.broken.set(Some(of_body(error)));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn of_body(error: &BodyError) -> Cause {
    match error {
        BodyError::TooLarge(limit) => Cause::TooLarge(*limit),
        BodyError::Malformed(why) => Cause::BadBody((*why).to_owned()),
        _ => Cause::CallerGone,
    }
}

/// Whether the other side says that it did nothing with the stream: in so many words, or by a GOAWAY whose last stream
/// is an earlier one (RFC 9113, 8.7). Streams that it did take are told of its end otherwise.
fn is_refusal(error: &h2::Error) -> bool {
    error.reason() == Some(h2::Reason::REFUSED_STREAM) || (error.is_go_away() && error.is_remote())
}

fn cause_of(error: &hyper::Error) -> Cause {
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        match e.downcast_ref::<BodyError>() {
            Some(error) => return of_body(error),
            None if e.downcast_ref::<h2::Error>().is_some_and(is_refusal) => return Cause::Refused,
            None => source = e.source(),
        }
    }
    if error.is_parse() { Cause::Nonsense(error.to_string()) } else { Cause::Ended }
}
