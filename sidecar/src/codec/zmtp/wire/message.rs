//! The frames of one message.

use bytes::Bytes;
use std::fmt;
use std::ops::Deref;

/// A command from a REQ has two frames, on its way to a worker three; these need no allocation.
const FEW: usize = 4;

/// The frames of one message, at least one when it came from a peer. Reads like a slice of [`Bytes`].
///
/// Frames that came from a peer are parts of the buffer that they were read into. To keep a small message for long
/// without keeping that buffer, see [`Message::detach`].
#[derive(Clone)]
pub struct Message(Frames);

#[derive(Clone)]
enum Frames {
    Few { frames: [Bytes; FEW], len: usize },
    Many(Vec<Bytes>),
}

impl Message {
    /// One without frames.
    pub const fn new() -> Message {
        Message(Frames::Few { frames: [const { Bytes::new() }; FEW], len: 0 })
    }

    /// Adds a frame behind the others.
    pub fn push(&mut self, frame: Bytes) {
        match &mut self.0 {
            Frames::Few { frames, len } => {
                if let Some(place) = frames.get_mut(*len) {
                    *place = frame;
                    *len += 1;
                    return;
                }
                let mut many = Vec::with_capacity(FEW * 2);
                many.extend(frames.iter_mut().map(std::mem::take));
                many.push(frame);
                self.0 = Frames::Many(many);
            }
            Frames::Many(many) => many.push(frame),
        }
    }

    /// Takes so many frames away from the front.
    pub fn drop_first(&mut self, count: usize) {
        match &mut self.0 {
            Frames::Few { frames, len } => {
                let count = count.min(*len);
                frames.rotate_left(count);
                frames.iter_mut().rev().take(count).for_each(|frame| *frame = Bytes::new());
                *len -= count;
            }
            Frames::Many(many) => drop(many.drain(..count.min(many.len()))),
        }
    }

    /// Gives frames that are smaller than this memory of their own, the first ones left out.
    pub(super) fn own_small(&mut self, first: usize, below: usize) {
        let frames = match &mut self.0 {
            Frames::Few { frames, len } => frames.get_mut(..*len).unwrap_or_default(),
            Frames::Many(many) => many,
        };
        let small = frames.iter_mut().skip(first).filter(|frame| !frame.is_empty() && frame.len() < below);
        small.for_each(|frame| *frame = Bytes::copy_from_slice(frame));
    }

    /// Bytes of all frames together.
    pub fn size(&self) -> usize {
        self.iter().map(Bytes::len).fold(0, usize::saturating_add)
    }

    /// The same message in memory of its own, as much as it needs and no more: for messages that wait.
    pub fn detach(&self) -> Message {
        let mut all = Vec::with_capacity(self.size());
        self.iter().for_each(|frame| all.extend_from_slice(frame));
        let mut rest = Bytes::from(all);
        self.iter().map(|frame| rest.split_to(frame.len())).collect()
    }
}

impl Default for Message {
    fn default() -> Message {
        Message::new()
    }
}

impl Deref for Message {
    type Target = [Bytes];

    fn deref(&self) -> &[Bytes] {
        match &self.0 {
            Frames::Few { frames, len } => frames.get(..*len).unwrap_or_default(),
            Frames::Many(many) => many,
        }
    }
}

impl Extend<Bytes> for Message {
    fn extend<T: IntoIterator<Item = Bytes>>(&mut self, frames: T) {
        frames.into_iter().for_each(|frame| self.push(frame));
    }
}

impl FromIterator<Bytes> for Message {
    fn from_iter<T: IntoIterator<Item = Bytes>>(frames: T) -> Message {
        let mut message = Message::new();
        message.extend(frames);
        message
    }
}

impl<'a> IntoIterator for &'a Message {
    type Item = &'a Bytes;
    type IntoIter = std::slice::Iter<'a, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Message) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Message {}

/// Sizes only: what is in a message belongs into no log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message")?;
        f.debug_list().entries(self.iter().map(Bytes::len)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u8) -> Message {
        (0..n).map(|i| Bytes::from(vec![i; usize::from(i)])).collect()
    }

    #[test]
    fn few_and_many() {
        for n in 0..10 {
            let message = message(n);
            assert_eq!(message.len(), usize::from(n));
            assert!(message.iter().enumerate().all(|(i, frame)| frame.len() == i));
            assert_eq!(message.size(), usize::from(n) * usize::from(n).saturating_sub(1) / 2);
            assert_eq!(message.detach(), message);
            for at in 0..=12 {
                let mut rest = message.clone();
                rest.drop_first(at);
                assert_eq!(rest[..], message[at.min(message.len())..]);
                rest.push(Bytes::from_static(b"x"));
                assert_eq!(rest.last().map(|frame| &frame[..]), Some(&b"x"[..]));
            }
        }
    }

    #[test]
    fn small_frames_leave_the_buffer() {
        let buffer = Bytes::from(vec![7; 10_000]);
        let sizes = [10, 20, 0, 4096, 4095, 30];
        let whole: Message = sizes.iter().map(|size| buffer.slice(..*size)).collect();
        let mut own = whole.clone();
        own.own_small(1, 4096);
        assert_eq!(own, whole);
        let held: Vec<bool> = own.iter().map(|frame| frame.as_ptr() == buffer.as_ptr()).collect();
        assert_eq!((held[0], held[1], held[3], held[4], held[5]), (true, false, true, false, false));
    }

    #[test]
    fn debug_shows_sizes_only() {
        let message: Message = [Bytes::new(), Bytes::from_static(b"secret")].into_iter().collect();
        assert_eq!(format!("{message:?}"), "Message[0, 6]");
    }
}
