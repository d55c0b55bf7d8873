//! CURVE after the handshake: every frame is in a box of its own, its flags too.

use super::super::error::Error;
use super::super::frame;
use super::super::output::Output;
use super::{TAG, counted, open_in_place, seal_in_place};
use bytes::{Buf, BufMut, BytesMut};
use crypto_box::SalsaBox;

const NAME: &[u8; 8] = b"\x07MESSAGE";
const CLIENT: &[u8; 16] = b"CurveZMQMESSAGEC";
const SERVER: &[u8; 16] = b"CurveZMQMESSAGES";
/// What stands before the content: name, number, tag.
const BEFORE: usize = NAME.len() + 8 + TAG;
/// What an encrypted frame is longer than its content: the flags are in the box.
pub(in super::super) const OVERHEAD: usize = BEFORE + 1;
/// Flags within a box: MORE as outside, a command has another bit than there.
const MORE: u8 = 1;
const COMMAND: u8 = 2;

/// Encrypts what we send, and decrypts what comes.
pub(in super::super) struct Cipher {
    session: SalsaBox,
    /// Purpose and next number of what we send.
    ours: (&'static [u8; 16], u64),
    /// Purpose and last number of what came. Numbers only grow, so nothing can be sent a second time.
    theirs: (&'static [u8; 16], u64),
}

impl Cipher {
    pub(super) fn of_server(session: SalsaBox, next: u64, last: u64) -> Cipher {
        Cipher { session, ours: (SERVER, next), theirs: (CLIENT, last) }
    }

    pub(super) fn of_client(session: SalsaBox, next: u64, last: u64) -> Cipher {
        Cipher { session, ours: (CLIENT, next), theirs: (SERVER, last) }
    }

    /// Flags and content of a frame, decrypted where it lies.
    pub(in super::super) fn open(&mut self, mut body: BytesMut) -> Result<(u8, BytesMut), Error> {
        if body.len() < OVERHEAD || !body.starts_with(NAME) {
            return Err(Error::Sealed("a frame came that is not encrypted"));
        }
        body.advance(NAME.len());
        let number = body.get_u64();
        if number <= self.theirs.1 {
            return Err(Error::Sealed("an encrypted frame has a number that was used before"));
        }
        open_in_place(&self.session, &counted(self.theirs.0, number), &mut body)
            .ok_or(Error::Sealed("an encrypted frame is not from the peer: it was changed on the way"))?;
        self.theirs.1 = number;
        body.advance(TAG);
        let flags = match body.get_u8() {
            flags if flags & !(MORE | COMMAND) != 0 => return Err(Error::Flags(flags)),
            flags => flags & MORE | if flags & COMMAND != 0 { frame::COMMAND } else { 0 },
        };
        Ok((frame::check(flags, frame::MORE | frame::COMMAND)?, body))
    }

    /// Writes a frame that consists of these parts. To the outside it is a frame without flags, as libzmq has it.
    pub(in super::super) fn seal(&mut self, flags: u8, parts: &[&[u8]], out: &mut Output) -> Result<(), Error> {
        let (purpose, number) = self.ours;
        self.ours.1 = number.checked_add(1).ok_or(Error::Closed)?;
        let size = parts.iter().map(|part| part.len()).fold(OVERHEAD, usize::saturating_add);
        let (head, len) = frame::head(0, size);
        let head = head.get(..len).unwrap_or_default();
        let flags = flags & frame::MORE | if flags & frame::COMMAND != 0 { COMMAND } else { 0 };
        out.gather(size.saturating_add(len), |buffer| {
            let start = buffer.len();
            buffer.put_slice(head);
            buffer.put_slice(NAME);
            buffer.put_u64(number);
            buffer.put_bytes(0, TAG);
            buffer.put_u8(flags);
            parts.iter().for_each(|part| buffer.put_slice(part));
            let sealed = buffer.get_mut(start.saturating_add(head.len() + NAME.len() + 8)..).unwrap_or_default();
            seal_in_place(&self.session, &counted(purpose, number), sealed)
        })
    }
}
