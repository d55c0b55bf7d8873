//! A request's body, as its stream brings it.

use crate::exchange::{BodyError, Source};
use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};
use std::cell::RefCell;
use std::task::{Context, Poll, ready};

/// What a caller sends. Whoever reads it opens the window for more, so a slow instance slows its caller down.
pub(super) struct Upload(RefCell<Parts>);

struct Parts {
    stream: RecvStream,
    /// Of the length that was announced.
    left: Option<u64>,
    /// Only trailers may follow.
    read: bool,
}

impl Upload {
    pub(super) fn new(stream: RecvStream, length: Option<u64>) -> Self {
        Upload(RefCell::new(Parts { stream, left: length, read: false }))
    }
}

impl Source for Upload {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let parts = &mut *self.0.borrow_mut();
        while !parts.read {
            match ready!(parts.stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    // It fails only for more than was received.
                    let _ = parts.stream.flow_control().release_capacity(data.len());
                    parts.left = parts.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // Whatever its reason: a reset never stands for the end of a request.
                Some(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
                None => parts.read = true,
            }
        }
        let trailers = ready!(parts.stream.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
