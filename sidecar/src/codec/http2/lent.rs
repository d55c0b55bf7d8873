//! A request's body on its way to an HTTP/2 instance, which may yet say that it did nothing with it.

use crate::codec::client::Cause;
use crate::exchange::{Body, BodyError, Stage};
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What is kept of a body until its answer begins; more than that is not given back.
const KEPT_MAX: usize = 64 << 10;

/// A body that is lent to the library, which takes it for good.
pub(super) struct Loan {
    inner: RefCell<Body>,
    /// What has passed; none when it can no longer be given back.
    passed: RefCell<Option<Vec<Bytes>>>,
    /// Why it broke off: the library only tells that the stream was reset, as an instance may do, too.
    broken: Cell<Option<Cause>>,
}

impl Loan {
    pub(super) fn new(body: Body) -> Rc<Self> {
        Rc::new(Loan { inner: RefCell::new(body), passed: RefCell::new(Some(Vec::new())), broken: Cell::new(None) })
    }

    /// What the library is given.
    pub(super) fn body(self: &Rc<Self>) -> Body {
        Body::staged(Box::new(Lent(self.clone())))
    }

    /// The instance has begun to answer: it will not be asked for again.
    pub(super) fn settle(&self) {
        *self.passed.borrow_mut() = None;
    }

    /// Why it broke off, if it did.
    pub(super) fn broken(&self) -> Option<Cause> {
        self.broken.take()
    }

    /// The body as it was, if it is still known.
    pub(super) fn take_back(&self) -> Option<Body> {
        let passed = self.passed.borrow_mut().take()?;
        let first = match passed.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut all = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
                many.iter().for_each(|piece| all.extend_from_slice(piece));
                all.freeze()
            }
        };
        Some(Body::resumed(first, self.inner.replace(Body::Empty)))
    }

    fn pass(&self, polled: &Poll<Option<Result<Frame<Bytes>, BodyError>>>) {
        let Poll::Ready(Some(passing)) = polled else { return };
        let mut passed = self.passed.borrow_mut();
        let data = match passing {
            Ok(frame) => frame.data_ref(),
            Err(error) => {
                self.broken.set(Some(of_body(error)));
                None
            }
        };
        match (data, passed.as_mut()) {
            (Some(data), Some(kept)) if kept.iter().map(Bytes::len).sum::<usize>() + data.len() <= KEPT_MAX => {
                kept.push(data.clone());
            }
            // Too much, or nothing that could be said twice.
            _ => *passed = None,
        }
    }
}

struct Lent(Rc<Loan>);

impl Stage for Lent {
    fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.inner.borrow_mut().poll_meanwhile(cx)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut *self.0.inner.borrow_mut()).poll_frame(cx);
        self.0.pass(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.inner.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.inner.borrow().size_hint()
    }
}

/// What a body's end says of its request.
pub(super) fn of_body(error: &BodyError) -> Cause {
    match error {
        BodyError::TooLarge(limit) => Cause::TooLarge(*limit),
        BodyError::Malformed(why) => Cause::BadBody((*why).to_owned()),
        _ => Cause::CallerGone,
    }
}
