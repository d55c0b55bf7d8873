//! Bodies stream: nothing here collects one.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// An instance's HTTP/2 stream or connection was lost.
    #[error("{0}")]
    Codec(#[from] hyper::Error),
    /// A caller's was.
    #[error("{0}")]
    Stream(#[from] h2::Error),
    /// Its framing is broken.
    #[error("{0}")]
    Malformed(&'static str),
    /// The connection ended before it.
    #[error("the connection ended before the body did")]
    Closed,
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] std::io::Error),
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

/// A body that is read from its connection as it is asked for.
pub trait Source {
    /// The next piece.
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;
    /// Whether nothing more will come.
    fn is_end_stream(&self) -> bool;
    /// How much is to come.
    fn size_hint(&self) -> SizeHint;
    /// Whether it was asked for more and its sender has not sent it yet.
    fn is_awaited(&self) -> bool {
        false
    }
}

/// A body that ends more than itself: it counts, gives connections back, tells the sinks.
pub trait Stage: HttpBody<Data = Bytes, Error = BodyError> + Unpin {
    /// Asked while nobody takes pieces: goes on with what needs no taker, and is ready when the body has to end now.
    fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }
    /// Nobody reads on; its memory may be kept for the next one.
    fn leave(self: Box<Self>) {}
}

/// A [`Stage`] that is left when it is dropped.
pub struct Staged(Option<Box<dyn Stage>>);

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(stage) = self.0.take() {
            stage.leave();
        }
    }
}

/// A request's or answer's body.
pub enum Body {
    /// No body.
    Empty,
    /// One piece that we hold.
    Full(Bytes),
    /// Of a connection or stream, as it comes.
    Source(Rc<dyn Source>),
    /// Anything that wraps another body.
    Staged(Staged),
}

impl Body {
    /// A wrapped body.
    pub fn staged(stage: Box<dyn Stage>) -> Self {
        Body::Staged(Staged(Some(stage)))
    }

    /// A body of which a piece has been read already.
    pub fn resumed(first: Bytes, rest: Body) -> Self {
        if first.is_empty() {
            return rest;
        }
        Body::staged(Box::new(Resumed { first: Some(first), rest }))
    }

    /// Whether nothing will come.
    pub fn is_empty(&self) -> bool {
        self.is_end_stream()
    }

    /// To be asked while its pieces cannot be passed on; ready when it has to end now.
    pub fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Body::Staged(Staged(Some(stage))) => stage.poll_meanwhile(cx),
            _ => Poll::Pending,
        }
    }

    /// The next piece.
    pub async fn frame(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await
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
            Body::Source(source) => source.poll_frame(cx),
            Body::Staged(Staged(Some(stage))) => Pin::new(&mut **stage).poll_frame(cx),
            Body::Staged(Staged(None)) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Source(source) => source.is_end_stream(),
            Body::Staged(Staged(stage)) => stage.as_ref().is_none_or(|s| s.is_end_stream()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Source(source) => source.size_hint(),
            Body::Staged(Staged(stage)) => stage.as_ref().map_or_else(|| SizeHint::with_exact(0), |s| s.size_hint()),
        }
    }
}

/// What was read already, then the rest.
struct Resumed {
    first: Option<Bytes>,
    rest: Body,
}

impl Stage for Resumed {}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.first.as_ref().map_or(0, |f| f.len() as u64);
        match self.rest.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(read + rest),
            None => SizeHint::new(),
        }
    }
}
