//! The head of a frame: flags and size.

use super::error::Error;

/// Another frame of the same message follows.
pub(super) const MORE: u8 = 1;
/// The size has eight bytes.
const LONG: u8 = 2;
/// No part of a message, but something between the two codecs.
pub(super) const COMMAND: u8 = 4;

/// The head of a frame that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// [`MORE`] and [`COMMAND`].
    pub(super) flags: u8,
    /// What the peer says that it will send. It may be a lie: nothing is set aside for it before it was checked.
    pub(super) size: u64,
    /// Bytes of the head itself.
    pub(super) len: usize,
}

impl Head {
    /// None while bytes are missing.
    pub(super) fn parse(input: &[u8]) -> Result<Option<Head>, Error> {
        let Some((&wire, rest)) = input.split_first() else { return Ok(None) };
        let flags = check(wire, MORE | LONG | COMMAND)?;
        if flags & LONG == 0 {
            return Ok(rest.first().map(|size| Head { flags, size: u64::from(*size), len: 2 }));
        }
        let flags = flags & !LONG;
        Ok(rest.first_chunk().map(|size| Head { flags, size: u64::from_be_bytes(*size), len: 9 }))
    }
}

/// Refuses flags other than the known ones, and commands that would not be the last frame.
pub(super) fn check(flags: u8, known: u8) -> Result<u8, Error> {
    if flags & !known != 0 {
        return Err(Error::Flags(flags));
    }
    if flags & COMMAND != 0 && flags & MORE != 0 {
        return Err(Error::CommandMore(flags));
    }
    Ok(flags)
}

/// The head of a frame of ours: so many bytes of the array.
pub(super) fn head(flags: u8, size: usize) -> ([u8; 9], usize) {
    let mut head = [0; 9];
    let Ok(short) = u8::try_from(size) else {
        let [a, b, c, d, e, f, g, h] = (size as u64).to_be_bytes();
        return ([flags | LONG, a, b, c, d, e, f, g, h], 9);
    };
    head[0] = flags;
    head[1] = short;
    (head, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_as_they_were() {
        for flags in [0, MORE, COMMAND] {
            for size in [0, 1, 255, 256, 65_536, 1 << 40] {
                let (bytes, len) = head(flags, size);
                assert_eq!(len, if size < 256 { 2 } else { 9 });
                for cut in 0..len {
                    assert_eq!(Head::parse(&bytes[..cut]), Ok(None));
                }
                assert_eq!(Head::parse(&bytes), Ok(Some(Head { flags, size: size as u64, len })));
            }
        }
    }

    #[test]
    fn a_small_frame_may_have_a_long_size() {
        let bytes = [LONG, 0, 0, 0, 0, 0, 0, 0, 3, b'a'];
        assert_eq!(Head::parse(&bytes), Ok(Some(Head { flags: 0, size: 3, len: 9 })));
    }

    #[test]
    fn flags_without_a_meaning_are_refused_at_once() {
        for flags in 8..=255 {
            assert_eq!(Head::parse(&[flags]), Err(Error::Flags(flags)));
        }
        for flags in [5, 7] {
            assert_eq!(Head::parse(&[flags]), Err(Error::CommandMore(flags)));
        }
    }
}
