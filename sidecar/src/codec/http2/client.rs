//! Shared connections to instances that speak HTTP/2: with prior knowledge, or agreed on in the TLS handshake.

use super::lent::{Loan, of_body};
use super::{CONNECTION_WINDOW, LocalExecutor, STREAM_WINDOW, fleeting, of_connection};
use crate::codec::client::{Cause, Received, SendError};
use crate::codec::stream::{Failed, Socket, Stream};
use crate::exchange::{Body, BodyError, Counted, Head, Headers};
use crate::tls;
use http::uri::{Parts, PathAndQuery, Scheme};
use http::{Request, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use std::io;

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
        let loan = (!body.is_empty()).then(|| Loan::new(std::mem::replace(body, Body::Empty)));
        if let Some(loan) = &loan {
            *request.body_mut() = loan.body();
        }
        let loan = loan.as_deref();
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                loan.inspect(|loan| loan.settle());
                let (parts, incoming) = response.into_parts();
                let headers = Headers::from_map(&parts.headers);
                Ok((Received { status: parts.status.as_u16(), headers }, incoming))
            }
            Err(mut e) => {
                let unsent = e.take_message().is_some();
                let cause = loan.and_then(Loan::broken).unwrap_or_else(|| cause_of(e.error()));
                // Whoever wants nothing of it has not touched it.
                let back = if unsent || matches!(cause, Cause::Refused) { loan.map(Loan::take_back) } else { None };
                let whole = match back {
                    Some(Some(ours)) => {
                        *body = ours;
                        true
                    }
                    Some(None) => false,
                    None => loan.is_none(),
                };
                Err(failed(whole && (unsent || matches!(cause, Cause::Refused)), cause))
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
