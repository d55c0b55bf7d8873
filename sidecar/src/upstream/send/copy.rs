//! A body that is kept so that it can be sent again.

use super::{Failure, Patience};
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Body, BodyError, Fault, FaultKind, Stage};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// Reads a body of known length that is not too long, so that it can be sent twice.
pub(super) async fn copied(body: &mut Body, most: usize, by: Instant) -> Result<Option<Copy>, Failure> {
    let fits = body.size_hint().exact().is_some_and(|n| n <= most as u64);
    if !fits {
        return Ok(None);
    }
    let (mut all, mut trailers) = (BytesMut::new(), None);
    loop {
        match until(by, body.frame()).await {
            Err(Elapsed) => return Err(Failure::Late(Patience::Callers)),
            Ok(None) => break,
            Ok(Some(Err(_))) => {
                return Err(Fault::new(FaultKind::ClientGone, "the request's body broke off").into());
            }
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => all.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
        }
    }
    let copy = Copy { data: all.freeze(), trailers };
    *body = copy.body();
    Ok(Some(copy))
}

/// A body that can be sent more than once.
#[derive(Clone)]
pub(super) struct Copy {
    data: Bytes,
    /// Only HTTP/2 has some behind a known length.
    trailers: Option<HeaderMap>,
}

impl Copy {
    /// Once more.
    pub(super) fn body(&self) -> Body {
        match self.trailers {
            None => Body::from(self.data.clone()),
            Some(_) => Body::staged(Box::new(self.clone())),
        }
    }
}

impl Stage for Copy {}

impl HttpBody for Copy {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}
