//! The envelope of a command: what a REQ puts before its frames, and wants back before the answer's.
//!
//! It ends with the first empty frame. Before that there may be a number of the caller's (`REQ_CORRELATE`) and
//! identities of routers on the way. Empty frames behind it are the command's own.

use super::message::Message;
use bytes::Bytes;

/// How many frames the envelope has, the empty one included; none if there is no empty frame.
pub fn len(frames: &[Bytes]) -> Option<usize> {
    frames.iter().position(Bytes::is_empty).map(|at| at + 1)
}

/// What stood before the frames of a command, and stands before those of its answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Envelope {
    /// Nothing: it is of a DEALER that writes no empty frame, and wants none back.
    #[default]
    Missing,
    /// The empty frame alone, as a REQ writes it.
    Bare,
    /// Others before it.
    Full(Box<Message>),
}

/// The empty frame.
static BARE: [Bytes; 1] = [Bytes::new()];

impl Envelope {
    /// Its frames. To answer, send them and then the answer's: `machine.send(envelope.frames().iter().chain(&answer))`.
    pub fn frames(&self) -> &[Bytes] {
        match self {
            Envelope::Missing => &[],
            Envelope::Bare => &BARE,
            Envelope::Full(frames) => frames,
        }
    }
}

/// Envelope and body.
pub fn open(mut message: Message) -> (Envelope, Message) {
    match len(&message) {
        None => (Envelope::Missing, message),
        Some(1) => {
            message.drop_first(1);
            (Envelope::Bare, message)
        }
        Some(at) => {
            let first = message.iter().take(at).cloned().collect();
            message.drop_first(at);
            (Envelope::Full(Box::new(first)), message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(frames: &[&'static str]) -> Message {
        frames.iter().map(|frame| Bytes::from_static(frame.as_bytes())).collect()
    }

    #[test]
    fn the_first_empty_frame_ends_it() {
        for (frames, at) in [
            (&["", "a"][..], 1),
            (&["id", "", "a", "", "b"], 2),
            (&["router", "id", "", "a"], 3),
            (&["", ""], 1),
            (&[""], 1),
            (&["id", ""], 2),
        ] {
            let whole = message(frames);
            let (envelope, body) = open(whole.clone());
            assert_eq!((envelope.frames(), &body[..]), whole.split_at(at));
            assert_eq!(envelope == Envelope::Bare, at == 1);
        }
    }

    #[test]
    fn without_an_empty_frame_there_is_none() {
        assert_eq!(open(message(&["a", "b"])), (Envelope::Missing, message(&["a", "b"])));
        assert_eq!(open(Message::new()), (Envelope::Missing, Message::new()));
    }
}
