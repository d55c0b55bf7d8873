//! Bodies stream: nothing here collects one.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The codec below gave up: connection lost, broken framing.
    #[error("{0}")]
    Codec(#[from] hyper::Error),
    /// More bytes than the limit allows.
    #[error("the body is larger than {0} bytes")]
    TooLarge(u64),
    /// A deadline passed while it streamed.
    #[error("no end of the body in time")]
    Timeout,
}

impl From<Infallible> for BodyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A request's or answer's body.
pub enum Body {
    /// No body.
    Empty,
    /// One piece that we hold.
    Full(Bytes),
    /// From a connection, as it comes.
    Incoming(hyper::body::Incoming),
    /// Anything that wraps another body: counting, limits, giving connections back.
    Wrapped(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>),
}

impl Body {
    /// Whether nothing will come.
    pub fn is_empty(&self) -> bool {
        self.is_end_stream()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Full(_) => match std::mem::replace(&mut *self, Body::Empty) {
                Body::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            Body::Incoming(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            Body::Wrapped(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Incoming(body) => body.is_end_stream(),
            Body::Wrapped(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Incoming(body) => body.size_hint(),
            Body::Wrapped(body) => body.size_hint(),
        }
    }
}
