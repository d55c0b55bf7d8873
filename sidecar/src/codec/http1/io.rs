//! A connection's reading side: a buffer only while there is something to read.

use crate::codec::buffer::{self, LARGE, SMALL};
use crate::codec::stream::Socket;
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
}

impl Io {
    pub(super) fn new(socket: Socket, first: &[u8]) -> Self {
        let mut read = BytesMut::new();
        if !first.is_empty() {
            read = buffer::take(first.len() > SMALL);
            read.extend_from_slice(first);
        }
        Io { socket, read }
    }

    /// Reads what is there, 0 bytes at the end. Waiting holds no buffer.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, large: bool) -> Poll<io::Result<usize>> {
        if self.read.is_empty() {
            if self.read.capacity() == 0 {
                ready!(self.socket.poll_read_ready(cx))?;
                self.read = buffer::take(large);
            } else if (large && self.read.capacity() < LARGE / 2) || self.read.capacity() < ROOM_MIN {
                self.release();
                self.read = buffer::take(large);
            }
        } else if self.read.capacity() - self.read.len() < ROOM_MIN {
            self.read.reserve(if large { LARGE } else { SMALL });
        }
        let read = pin!(self.socket.read_buf(&mut self.read)).poll(cx);
        if !matches!(read, Poll::Ready(Ok(1..))) && self.read.is_empty() {
            self.release();
        }
        read
    }

    /// Gives the buffer back if nothing is in it.
    pub(super) fn release(&mut self) {
        if self.read.is_empty() && self.read.capacity() > 0 {
            buffer::give(std::mem::take(&mut self.read));
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.read.clear();
        self.release();
    }
}
