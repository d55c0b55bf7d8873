//! What is to be written: small frames gathered in one buffer, large ones as they are.

use super::error::Error;
use super::frame;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// From here on a frame is not copied: a place of its own in a vectored write costs less than moving so many bytes.
const LARGE: usize = 16 << 10;
/// Room that a buffer keeps when everything was written.
const KEPT: usize = 32 << 10;

/// Bytes on their way to the peer. A [`Buf`], so that it can be given to `write_buf` or `chunks_vectored` as it is.
#[derive(Default)]
pub struct Output {
    /// Before the tail, in this order.
    done: VecDeque<Bytes>,
    tail: BytesMut,
    waiting: usize,
    written: u64,
}

impl Output {
    /// Bytes that wait to be written.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether it lies in one piece.
    pub fn is_one(&self) -> bool {
        self.done.is_empty() || (self.done.len() == 1 && self.tail.is_empty())
    }

    /// Bytes that were ever written. Compared with [`Output::queued`] before and after a message was sent: has it left,
    /// in part or whole? What has not begun to leave may still be given to another worker.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that were ever put in.
    pub fn queued(&self) -> u64 {
        self.written.saturating_add(self.waiting as u64)
    }

    /// Lends a buffer to gather small frames in. Nothing happens while another one is in use.
    pub fn lend(&mut self, buffer: BytesMut) {
        if self.is_empty() && self.tail.capacity() < buffer.capacity() {
            self.tail = buffer;
            self.tail.clear();
        }
    }

    /// Takes the buffer out of an output that has nothing to write.
    pub fn take_back(&mut self) -> Option<BytesMut> {
        (self.is_empty() && self.tail.capacity() > 0).then(|| std::mem::take(&mut self.tail))
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
        self.waiting += bytes.len();
    }

    /// A frame in parts, copied.
    pub(super) fn parts(&mut self, flags: u8, parts: &[&[u8]]) {
        let size = parts.iter().map(|part| part.len()).fold(0, usize::saturating_add);
        let (head, len) = frame::head(flags, size);
        self.tail.reserve(len.saturating_add(size));
        self.raw(head.get(..len).unwrap_or_default());
        parts.iter().for_each(|part| self.raw(part));
    }

    /// A frame, copied only if it is small.
    pub(super) fn frame(&mut self, flags: u8, body: &Bytes) {
        if body.len() < LARGE {
            return self.parts(flags, &[body]);
        }
        let (head, len) = frame::head(flags, body.len());
        self.raw(head.get(..len).unwrap_or_default());
        self.whole(body.clone());
    }

    /// Bytes that are made where they are to lie: so many, added to a buffer.
    pub(super) fn gather(
        &mut self,
        size: usize,
        make: impl FnOnce(&mut BytesMut) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if size >= LARGE {
            let mut own = BytesMut::with_capacity(size);
            make(&mut own)?;
            self.whole(own.freeze());
            return Ok(());
        }
        self.tail.reserve(size);
        let before = self.tail.len();
        let made = make(&mut self.tail);
        if made.is_err() {
            self.tail.truncate(before);
        }
        self.waiting += self.tail.len() - before;
        made
    }

    /// Bytes that are not copied.
    pub(super) fn whole(&mut self, bytes: Bytes) {
        if !self.tail.is_empty() {
            let before = self.tail.split().freeze();
            self.done.push_back(before);
        }
        self.waiting += bytes.len();
        self.done.push_back(bytes);
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.waiting
    }

    fn chunk(&self) -> &[u8] {
        self.done.front().map_or(&self.tail[..], |first| &first[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.done.iter().map(|chunk| &chunk[..]).chain([&self.tail[..]]).filter(|chunk| !chunk.is_empty());
        slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    /// So many bytes were written; more than there are count as all of them.
    fn advance(&mut self, count: usize) {
        let mut left = count.min(self.waiting);
        self.waiting -= left;
        self.written = self.written.saturating_add(left as u64);
        while let Some(first) = self.done.front_mut() {
            if left < first.len() {
                first.advance(left);
                return;
            }
            left -= first.len();
            self.done.pop_front();
        }
        self.tail.advance(left.min(self.tail.len()));
        if self.tail.is_empty() {
            // A connection at rest holds no large buffer.
            if self.tail.capacity() > KEPT { self.tail = BytesMut::new() } else { self.tail.clear() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while output.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 4];
            let n = output.chunks_vectored(&mut slices);
            let seen: Vec<u8> = slices[..n].iter().flat_map(|slice| slice.to_vec()).take(step).collect();
            assert!(!seen.is_empty() && output.chunk()[0] == seen[0]);
            output.advance(seen.len());
            all.extend(seen);
        }
        all
    }

    #[test]
    fn small_frames_become_one_write_and_large_ones_are_not_copied() {
        for step in [1, 7, 4096, usize::MAX] {
            let large = Bytes::from(vec![b'x'; LARGE]);
            let mut output = Output::default();
            output.frame(frame::MORE, &Bytes::from_static(b"a"));
            output.frame(frame::MORE, &Bytes::new());
            output.frame(frame::MORE, &large);
            output.frame(0, &Bytes::from_static(b"b"));
            let chunks: Vec<_> = output.done.iter().map(|chunk| chunk.as_ptr()).collect();
            assert_eq!(chunks.len(), 2);
            assert_eq!(chunks[1], large.as_ptr());
            let size = 3 + 2 + 9 + LARGE + 3;
            assert_eq!((output.len(), output.queued(), output.written()), (size, size as u64, 0));
            let mut expected = b"\x01\x01a\x01\x00\x03\0\0\0\0\0\0\x40\0".to_vec();
            expected.extend(&large);
            expected.extend(b"\x00\x01b");
            assert_eq!(drain(&mut output, step), expected);
            assert!(output.is_empty());
            assert_eq!((output.queued(), output.written()), (size as u64, size as u64));
        }
    }

    #[test]
    fn a_buffer_is_lent_and_comes_back() {
        let mut output = Output::default();
        assert!(output.take_back().is_none());
        output.lend(BytesMut::with_capacity(4096));
        output.raw(b"abc");
        output.lend(BytesMut::with_capacity(8192));
        assert!(output.take_back().is_none());
        output.advance(99);
        assert!(output.take_back().is_some_and(|buffer| buffer.is_empty()));
        assert_eq!(output.written(), 3);
    }

    #[test]
    fn rest_holds_no_large_buffer() {
        let mut output = Output::default();
        let frame = Bytes::from(vec![0; LARGE - 1]);
        for _ in 0..8 {
            output.frame(0, &frame);
        }
        output.advance(usize::MAX);
        assert_eq!(output.tail.capacity(), 0);
    }
}
