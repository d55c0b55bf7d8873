//! A connection of ZeroMQ: its socket, and what is on its way in and out.

use super::wire::Machine;
use crate::codec::Socket;
use crate::codec::buffer::{self, LARGE, SMALL};
use bytes::{Buf, BytesMut};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt, AsyncWrite};

/// A room smaller than this is not worth a system call.
const ROOM_MIN: usize = SMALL / 4;

/// Pieces that are written at once.
const SLICES: usize = 16;

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
            let output = self.machine.output();
            // Nearly always it is one piece, and then a plain write costs less.
            let written = match output.is_one() {
                true => ready!(Pin::new(&mut self.socket).poll_write(cx, output.chunk()))?,
                false => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = output.chunks_vectored(&mut slices);
                    let slices = slices.get(..count).unwrap_or_default();
                    ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, slices))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(written);
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

    /// Bytes that wait on either side, and those that are set aside for what was announced.
    pub(super) fn held(&mut self) -> usize {
        self.input.len() + self.machine.wanted() + self.machine.output().len()
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
