//! A connection in memory: what is read arrives piece by piece, what is written is kept.

use hyper::rt::{Read, ReadBufCursor, Write};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Polls without an end in sight that are allowed: more than any input needs.
const POLLS_MAX: usize = 100_000;

/// The far end of a connection.
pub(super) struct Pieces {
    pieces: std::vec::IntoIter<Vec<u8>>,
    current: Vec<u8>,
    read: usize,
    /// Nothing arrives before something was written.
    gated: bool,
    /// The next read waits once, so that a piece is seen alone.
    waits: bool,
    out: Rc<RefCell<Vec<u8>>>,
}

impl Pieces {
    pub(super) fn new(pieces: &[&[u8]], gated: bool) -> (Self, Rc<RefCell<Vec<u8>>>) {
        let out = Rc::new(RefCell::new(Vec::new()));
        let pieces: Vec<_> = pieces.iter().map(|p| p.to_vec()).collect();
        let this =
            Pieces { pieces: pieces.into_iter(), current: Vec::new(), read: 0, gated, waits: false, out: out.clone() };
        (this, out)
    }
}

impl Read for Pieces {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gated && this.out.borrow().is_empty() || std::mem::take(&mut this.waits) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.read == this.current.len() {
            this.read = 0;
            this.current = this.pieces.next().unwrap_or_default();
        }
        let rest = &this.current[this.read..];
        let n = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..n]);
        this.read += n;
        this.waits = this.read == this.current.len();
        Poll::Ready(Ok(()))
    }
}

impl Write for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.out.borrow_mut().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs what needs nothing but such a connection; none if it comes to no end.
pub(super) fn run<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
            return Some(done);
        }
    }
    None
}
