//! Connections to instances: what both versions of HTTP have in common.

pub use super::http1::client::{Http1, OwnBody};
pub use super::http2::client::Http2;

use crate::exchange::{BodyError, Headers};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// An answer's head.
#[derive(Debug)]
pub struct Received {
    /// HTTP status.
    pub status: u16,
    /// Header lines.
    pub headers: Headers,
}

/// Why sending failed.
pub struct SendError {
    /// The request is whole: not one byte of it was written, or the instance says that it did nothing with it.
    pub unsent: bool,
    /// What happened.
    pub cause: Cause,
}

/// What happened to a request that got no answer.
pub enum Cause {
    /// Its body went over the limit.
    TooLarge(u64),
    /// Its body broke off: the caller left.
    CallerGone,
    /// What came back is not HTTP.
    Nonsense(String),
    /// Its body is not what its head promised.
    BadBody(String),
    /// The instance says that it has not touched it (HTTP/2 REFUSED_STREAM; RFC 9113, 8.7).
    Refused,
    /// The session failed: often the instance's word on our client certificate, which TLS 1.3 brings after the
    /// handshake.
    Tls(std::io::Error),
    /// The connection ended.
    Ended,
}

/// Where a connection goes when it can take another request.
pub trait Home {
    /// Takes it.
    fn give_back(&self, conn: Box<Http1>);
}

/// The body of an answer: of a connection of its own, or of a stream of a shared one.
pub enum ReceivedBody {
    /// HTTP/1.
    Own(OwnBody),
    /// HTTP/2.
    Shared(hyper::body::Incoming),
    /// All of it is there already.
    Whole(Bytes),
}

impl ReceivedBody {
    /// Goes on with the request while nobody takes the answer. (HTTP/2 does that by itself.)
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let ReceivedBody::Own(body) = self {
            body.poll_upload(cx);
        }
    }
}

impl HttpBody for ReceivedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            ReceivedBody::Own(body) => Pin::new(body).poll_frame(cx),
            ReceivedBody::Shared(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            ReceivedBody::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReceivedBody::Own(body) => body.is_end_stream(),
            ReceivedBody::Shared(body) => body.is_end_stream(),
            ReceivedBody::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReceivedBody::Own(body) => body.size_hint(),
            ReceivedBody::Shared(body) => body.size_hint(),
            ReceivedBody::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}
