//! A connection's reading side: a buffer only while there is something to read.

use crate::codec::buffer::{self, LARGE, SMALL};
use crate::codec::stream::{Socket, Stream};
use bytes::BytesMut;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncReadExt;

/// A room smaller than this is not worth a system call.
const ROOM_MIN: usize = SMALL / 4;

/// A socket with what was read from it and not used yet.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) socket: Socket,
    pub(super) read: BytesMut,
    /// Whether the buffer is a large one; none if there is no buffer.
    large: Option<bool>,
}

impl Io {
    pub(super) fn new(socket: Socket, first: &[u8]) -> Self {
        let mut io = Io { socket, read: BytesMut::new(), large: None };
        if !first.is_empty() {
            io.take(first.len() > SMALL);
            io.read.extend_from_slice(first);
        }
        io
    }

    /// Reads what is there, 0 bytes at the end. Waiting holds no buffer.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, large: bool) -> Poll<io::Result<usize>> {
        if self.read.is_empty() {
            if self.read.capacity() == 0 {
                self.release();
                ready!(self.socket.poll_read_ready(cx))?;
                self.take(large);
            } else if (large && self.read.capacity() < LARGE / 2) || self.read.capacity() < ROOM_MIN {
                self.release();
                self.take(large);
            }
        } else if self.read.capacity() - self.read.len() < ROOM_MIN {
            self.read.reserve(if large { LARGE } else { SMALL });
            if self.read.capacity() >= LARGE {
                self.large = Some(true);
            }
        }
        let read = pin!(self.socket.read_buf(&mut self.read)).poll(cx);
        if !matches!(read, Poll::Ready(Ok(1..))) && self.read.is_empty() {
            self.release();
        }
        read
    }

    fn take(&mut self, large: bool) {
        self.read = buffer::take(large);
        self.large = Some(large);
    }

    /// Gives the buffer back if nothing is in it, even if all of its room is lent out.
    pub(super) fn release(&mut self) {
        if self.read.is_empty()
            && let Some(large) = self.large.take()
        {
            buffer::give(std::mem::take(&mut self.read), large);
        }
    }

    /// The bytes of a connection that has changed its protocol, those included that were read already.
    pub(super) fn stream(&mut self) -> Stream {
        let first = self.read.to_vec();
        Stream::new(Socket::take(&mut self.socket), first)
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.read.clear();
        self.release();
    }
}
