//! Frames between "ours to send" and "the other side has it".

use std::collections::VecDeque;

/// Memory that an empty window keeps.
const KEEP: usize = 64 << 10;

struct Frame {
    length: usize,
    /// Where it ends in the connection's bytes; none until it was handed over wholly.
    end: Option<u64>,
}

/// Frames in order: first those handed to the connection, then those that are not.
#[derive(Default)]
pub(super) struct Window {
    bytes: VecDeque<u8>,
    frames: VecDeque<Frame>,
    /// Bytes at the front that the connection took.
    handed: usize,
    /// Frames at the front whose end on the wire is known, and their bytes.
    marked: usize,
    marked_bytes: usize,
}

impl Window {
    /// Takes frames; `ends` are where each ends in `bytes`, rising. Bytes after the last end are no frame.
    pub(super) fn push(&mut self, bytes: &[u8], ends: &[usize]) {
        let mut start = 0;
        for end in ends {
            let Some(frame) = bytes.get(start..*end) else { break };
            self.bytes.extend(frame);
            self.frames.push_back(Frame { length: frame.len(), end: None });
            start = *end;
        }
    }

    /// Frames that are not confirmed.
    pub(super) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the connection took everything.
    pub(super) fn is_handed(&self) -> bool {
        self.handed == self.bytes.len()
    }

    /// What the connection did not take yet, or the first part of it.
    pub(super) fn rest(&self) -> &[u8] {
        let (front, back) = self.bytes.as_slices();
        match front.get(self.handed..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => back.get(self.handed - front.len()..).unwrap_or_default(),
        }
    }

    /// The connection took `n` more bytes.
    pub(super) fn handed(&mut self, n: usize) {
        self.handed = (self.handed + n).min(self.bytes.len());
    }

    /// Everything handed over has gone out by the connection's byte `taken`. If `exact`, bytes here are bytes
    /// there, so each frame's own end is known.
    pub(super) fn mark(&mut self, taken: u64, exact: bool) {
        while let Some(frame) = self.frames.get_mut(self.marked) {
            let end = self.marked_bytes + frame.length;
            if end > self.handed {
                break;
            }
            frame.end = Some(if exact { taken.saturating_sub((self.handed - end) as u64) } else { taken });
            self.marked += 1;
            self.marked_bytes = end;
        }
    }

    /// Lets go of the frames that end at or before the connection's byte `arrived`; how many they are.
    pub(super) fn confirm(&mut self, arrived: u64) -> u64 {
        let mut n = 0;
        let mut length = 0;
        while let Some(frame) = self.frames.front() {
            if frame.end.is_none_or(|end| end > arrived) {
                break;
            }
            length += frame.length;
            n += 1;
            self.frames.pop_front();
        }
        self.bytes.drain(..length.min(self.bytes.len()));
        self.handed -= length;
        self.marked -= n as usize;
        self.marked_bytes -= length;
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP {
            self.bytes.shrink_to(KEEP);
        }
        n
    }

    /// The connection is gone: every frame is to be handed over again, whole.
    pub(super) fn rewind(&mut self) {
        self.handed = 0;
        self.marked = 0;
        self.marked_bytes = 0;
        for frame in &mut self.frames {
            frame.end = None;
        }
    }

    /// Forgets everything; how many frames that were.
    pub(super) fn clear(&mut self) -> u64 {
        let n = self.frames.len() as u64;
        *self = Window::default();
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_when_their_last_byte_arrived() {
        let mut window = Window::default();
        window.push(b"one.three.fi", &[4, 10]);
        assert_eq!((window.frames(), window.bytes(), window.rest()), (2, 10, &b"one.three."[..]));
        window.handed(7);
        window.mark(107, true);
        assert_eq!((window.confirm(103), window.confirm(104)), (0, 1), "ends where its own bytes end");
        assert_eq!(window.rest(), b"ee.");
        assert_eq!(window.confirm(u64::MAX), 0, "not handed over wholly");
        // A new connection: whole again.
        window.rewind();
        assert_eq!(window.rest(), b"three.");
        window.push(b"5.", &[2]);
        while !window.is_handed() {
            let n = window.rest().len();
            window.handed(n);
        }
        // Encrypted: only the end of everything is known.
        window.mark(50, false);
        assert_eq!((window.confirm(49), window.confirm(50)), (0, 2));
        assert_eq!((window.frames(), window.bytes(), window.rest().len()), (0, 0, 0));
        window.push(b"a.b.", &[2, 4]);
        assert_eq!((window.clear(), window.frames()), (2, 0));
    }
}
