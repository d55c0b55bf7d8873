//! A connection of ZeroMQ: its socket, and what is on its way in and out.

use super::wire::Machine;
use crate::codec::Socket;
use crate::codec::buffer::{self, LARGE, SMALL};
use bytes::BytesMut;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A room smaller than this is not worth a system call.
const ROOM_MIN: usize = SMALL / 4;

/// A socket and the state of what is spoken over it.
pub(super) struct Wire {
    pub(super) socket: Socket,
    pub(super) machine: Machine,
    pub(super) input: BytesMut,
}

impl Wire {
    /// A connection of which `first` was read already.
    pub(super) fn new(socket: Socket, machine: Machine, first: &[u8]) -> Wire {
        let mut input = BytesMut::new();
        if !first.is_empty() {
            input = buffer::take(first.len() > SMALL);
            input.extend_from_slice(first);
        }
        Wire { socket, machine, input }
    }

    /// Writes what is to be written; ready when that is all.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.machine.output().is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.machine.output().is_empty() {
            let written = pin!(self.socket.write_buf(self.machine.output())).poll(cx);
            if ready!(written)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Reads what is there, 0 bytes at the end. Waiting holds no buffer, but for half a message.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.is_empty() && self.input.capacity() < ROOM_MIN {
            ready!(self.socket.poll_read_ready(cx))?;
            self.release();
            self.input = buffer::take(false);
        }
        let wanted = self.machine.wanted();
        if self.input.capacity() - self.input.len() < wanted.max(ROOM_MIN) {
            // What was announced is believed only so far: at most 1 MiB ahead of what has come.
            self.input.reserve(wanted.max(SMALL));
        }
        let read = pin!(self.socket.read_buf(&mut self.input)).poll(cx);
        if !matches!(read, Poll::Ready(Ok(1..))) {
            self.release();
        }
        read
    }

    /// Gives the buffer back if nothing is in it.
    fn release(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            let buffer = std::mem::take(&mut self.input);
            if buffer.capacity() <= LARGE {
                buffer::give(buffer, false);
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.input.clear();
        self.release();
    }
}
