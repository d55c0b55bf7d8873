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

/// Envelope and body. To answer, send the frames of the envelope and then the answer's:
/// `machine.send(envelope.iter().chain(&answer))`. An envelope without frames belongs to a message without an empty
/// one, from a DEALER that writes none and wants none back.
pub fn open(message: Message) -> (Message, Message) {
    let at = len(&message).unwrap_or(0);
    message.split(at)
}

/// One message again.
pub fn close(mut envelope: Message, body: &Message) -> Message {
    envelope.extend(body.iter().cloned());
    envelope
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
            assert_eq!((&envelope[..], &body[..]), whole.split_at(at));
            assert_eq!(close(envelope, &body), whole);
        }
    }

    #[test]
    fn without_an_empty_frame_there_is_none() {
        assert_eq!(open(message(&["a", "b"])), (Message::new(), message(&["a", "b"])));
        assert_eq!(open(Message::new()), (Message::new(), Message::new()));
    }
}
