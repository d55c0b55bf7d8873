//! A body as its framing says it comes.

use super::chunked::{Chunked, Found};
use super::io::Io;
use super::{Length, Refusal};
use crate::codec::buffer::LARGE;
use crate::exchange::BodyError;
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use std::task::{Context, Poll, ready};

/// Reads one body out of a connection's buffer.
#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes are left.
    Known(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Decoder {
    /// Nothing to read.
    pub(super) const NONE: Decoder = Decoder::Known(0);

    pub(super) fn new(length: Length) -> Self {
        match length {
            Length::Known(n) => Decoder::Known(n),
            Length::Chunked => Decoder::Chunked(Chunked::new()),
            Length::UntilClose => Decoder::UntilClose,
        }
    }

    /// Whether all of it was read.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Decoder::Known(left) => *left == 0,
            Decoder::Chunked(chunked) => chunked.is_done(),
            Decoder::UntilClose => false,
        }
    }

    /// How many bytes are left, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Decoder::Known(left) => Some(*left),
            Decoder::Chunked(chunked) => chunked.is_done().then_some(0),
            Decoder::UntilClose => None,
        }
    }

    /// Whether more is coming than a small buffer holds.
    pub(super) fn is_large(&self) -> bool {
        match self {
            Decoder::Known(left) => *left > super::super::buffer::SMALL as u64,
            Decoder::Chunked(chunked) => chunked.expected() > super::super::buffer::SMALL as u64,
            Decoder::UntilClose => true,
        }
    }

    /// Takes the next piece, reading more where it has not come yet. Behind the last one no buffer is kept.
    pub(super) fn poll_frame(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let found = self.decode(&mut io.read);
            if self.is_done() {
                io.release();
            }
            match found {
                Ok(Found::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Found::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Found::End) => return Poll::Ready(None),
                Ok(Found::More) => {}
                Err(Refusal::Malformed(why)) => return Poll::Ready(Some(Err(BodyError::Malformed(why)))),
                Err(Refusal::TooLarge) => return Poll::Ready(Some(Err(BodyError::Malformed("too large")))),
            }
            match ready!(io.poll_fill(cx, self.is_large())) {
                Ok(0) if matches!(self, Decoder::UntilClose) => {
                    *self = Decoder::NONE;
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(BodyError::Closed))),
                Ok(_) => {}
                Err(e) => return Poll::Ready(Some(Err(BodyError::Io(e)))),
            }
        }
    }

    /// Takes the next piece out of the buffer.
    pub(super) fn decode(&mut self, buf: &mut BytesMut) -> Result<Found, Refusal> {
        let most = match self {
            Decoder::Known(0) => return Ok(Found::End),
            Decoder::Known(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            Decoder::Chunked(chunked) => return chunked.decode(buf),
            Decoder::UntilClose => LARGE,
        };
        if buf.is_empty() {
            return Ok(Found::More);
        }
        let n = most.min(buf.len());
        if let Decoder::Known(left) = self {
            *left -= n as u64;
        }
        Ok(Found::Data(buf.split_to(n).freeze()))
    }
}
