//! What leaves a connection: staged bytes, then a large piece of a body, then what closes it.

use super::Length;
use crate::codec::buffer;
use crate::codec::stream::Socket;
use bytes::Bytes;
use http::HeaderMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// A piece up to this size is copied beside the head: cheaper than having the kernel gather it.
const GATHERED: usize = 2 << 10;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Writer {
    staged: Vec<u8>,
    piece: Bytes,
    tail: &'static [u8],
    written: usize,
    /// Bytes that the socket took, of this message.
    total: u64,
    /// What had left the socket before this message.
    before: u64,
    /// Something was staged since all had left.
    waits: bool,
}

impl Writer {
    /// Where a head is written.
    pub(super) fn stage(&mut self) -> &mut Vec<u8> {
        self.waits = true;
        if self.staged.capacity() == 0 {
            self.staged = buffer::take_out();
        }
        &mut self.staged
    }

    /// A new message begins.
    pub(super) fn begin(&mut self) -> &mut Vec<u8> {
        self.total = 0;
        self.stage()
    }

    /// Whether nothing of this message has left.
    pub(super) fn is_untouched(&self) -> bool {
        self.total == 0
    }

    /// Whether everything has left, the socket's own buffer included.
    pub(super) fn is_done(&self) -> bool {
        !self.waits
    }

    /// Whether another piece can be taken without holding more than one.
    pub(super) fn takes_more(&self) -> bool {
        self.piece.is_empty() && self.staged.len() < GATHERED
    }

    fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Whether a piece of a body, in the framing of this message.
    pub(super) fn data(&mut self, length: Length, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let chunked = length == Length::Chunked;
        let staged = self.stage();
        if chunked {
            write_hex(staged, data.len());
            staged.extend_from_slice(b"\r\n");
        }
        let tail: &'static [u8] = if chunked { b"\r\n" } else { b"" };
        if staged.len() + data.len() <= GATHERED {
            staged.extend_from_slice(&data);
            staged.extend_from_slice(tail);
        } else {
            self.piece = data;
            self.tail = tail;
        }
    }

    /// The end of a chunked body.
    pub(super) fn end(&mut self, trailers: Option<&HeaderMap>) {
        // Behind a piece that waits, its end may be joined to it.
        if !self.piece.is_empty() && trailers.is_none() && self.tail == b"\r\n" {
            self.tail = b"\r\n0\r\n\r\n";
            return;
        }
        let staged = self.stage();
        staged.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            staged.extend_from_slice(name.as_str().as_bytes());
            staged.extend_from_slice(b": ");
            staged.extend_from_slice(value.as_bytes());
            staged.extend_from_slice(b"\r\n");
        }
        staged.extend_from_slice(b"\r\n");
    }

    /// Writes until nothing is left.
    pub(super) fn poll_flush(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.total == 0 {
            self.before = socket.left();
        }
        let written = self.poll_write(socket, cx);
        if matches!(written, Poll::Ready(Err(_))) {
            // An encrypted socket fails for what it took in the same moment, of which a part may have left.
            self.total += socket.left().saturating_sub(self.before);
        }
        ready!(written)?;
        ready!(Pin::new(&mut *socket).poll_flush(cx))?;
        self.waits = false;
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let first = self.staged.get(self.written..).unwrap_or_default();
            let n = if self.piece.is_empty() && self.tail.is_empty() {
                ready!(Pin::new(&mut *socket).poll_write(cx, first))?
            } else {
                let all = [io::IoSlice::new(first), io::IoSlice::new(&self.piece), io::IoSlice::new(self.tail)];
                let from = usize::from(first.is_empty());
                ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &all[from..]))?
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.total += n as u64;
            self.advance(n);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut n: usize) {
        let staged = n.min(self.staged.len() - self.written);
        self.written += staged;
        n -= staged;
        if self.written == self.staged.len() {
            self.staged.clear();
            self.written = 0;
        }
        let piece = n.min(self.piece.len());
        if piece == self.piece.len() {
            self.piece = Bytes::new();
        } else {
            bytes::Buf::advance(&mut self.piece, piece);
        }
        n -= piece;
        self.tail = self.tail.get(n..).unwrap_or_default();
    }

    /// The message is over, or given up: what was staged goes, and the buffer back to its thread.
    pub(super) fn rest(&mut self) {
        self.piece = Bytes::new();
        self.tail = b"";
        self.written = 0;
        buffer::give_out(std::mem::take(&mut self.staged));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.rest();
    }
}

/// A chunk's size.
fn write_hex(out: &mut Vec<u8>, n: usize) {
    let digits = (usize::BITS - n.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        let digit = u32::try_from(n >> (4 * i) & 15).unwrap_or(0);
        out.push(char::from_digit(digit, 16).map_or(b'0', |c| c as u8));
    }
}
