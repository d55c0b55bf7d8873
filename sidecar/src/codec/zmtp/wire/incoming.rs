//! Frames off the input, each checked by what its head announces before anything is set aside for it.

use super::curve::OVERHEAD;
use super::error::Error;
use super::frame::{COMMAND, Head};
use super::settings::Limits;
use bytes::{Buf, BytesMut};

/// Bytes of a command during the handshake, at most: 32 properties of a usual size.
const HANDSHAKE_COMMAND: usize = 8 << 10;
/// What is asked for at most, whatever the peer announced.
const WANTED: usize = 1 << 20;

/// Up to here a frame is copied out of the buffer that it was read into.
const COPIED: usize = 1 << 10;

/// What may still come of a message.
pub(super) struct Room<'a> {
    pub(super) limits: &'a Limits,
    pub(super) frames: usize,
    pub(super) before: usize,
}

impl Room<'_> {
    pub(super) fn check(&self, flags: u8, size: u64) -> Result<(), Error> {
        if flags & COMMAND != 0 {
            return within(size, self.limits.command);
        }
        if self.frames >= self.limits.frames {
            return Err(Error::TooManyFrames(self.limits.frames));
        }
        self.fits(size, self.limits.message.saturating_sub(self.before))
    }

    /// From outside one cannot see whether it is a command.
    pub(super) fn check_sealed(&self, size: u64) -> Result<(), Error> {
        let most = self.limits.message.saturating_sub(self.before).max(self.limits.command);
        self.fits(size, most.saturating_add(OVERHEAD))
    }

    fn fits(&self, size: u64, room: usize) -> Result<(), Error> {
        if size > room as u64 {
            return Err(Error::MessageTooLong { size, before: self.before, max: self.limits.message });
        }
        Ok(())
    }
}

/// During the handshake: short commands only.
pub(super) fn early(head: &Head) -> Result<(), Error> {
    if head.flags & COMMAND == 0 {
        return Err(Error::EarlyMessage);
    }
    within(head.size, HANDSHAKE_COMMAND)
}

fn within(size: u64, max: usize) -> Result<(), Error> {
    if size > max as u64 { Err(Error::CommandTooLong { size, max }) } else { Ok(()) }
}

/// Cuts a whole frame off the input. Whether it is allowed is asked as soon as its head is there.
pub(super) fn frame(
    input: &mut BytesMut,
    wanted: &mut usize,
    allowed: impl FnOnce(&Head) -> Result<(), Error>,
) -> Result<Option<(Head, BytesMut)>, Error> {
    let Some(head) = Head::parse(input)? else {
        *wanted = 2;
        return Ok(None);
    };
    allowed(&head)?;
    let size = usize::try_from(head.size).unwrap_or(usize::MAX);
    let missing = size.saturating_add(head.len).saturating_sub(input.len());
    if missing > 0 {
        *wanted = missing.min(WANTED);
        return Ok(None);
    }
    input.advance(head.len);
    // A part of the buffer would keep all of it from being used again.
    let body = match size <= COPIED {
        true => {
            let body = BytesMut::from(input.get(..size).unwrap_or_default());
            input.advance(size);
            body
        }
        false => input.split_to(size),
    };
    Ok(Some((head, body)))
}
