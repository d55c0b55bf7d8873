//! The greeting: 64 bytes that both sides send at once.

use super::error::{Error, told};

/// Bytes of a greeting.
pub(super) const SIZE: usize = 64;
/// Where the mechanism's name is, filled up with zeros.
const MECHANISM: std::ops::Range<usize> = 12..32;
const AS_SERVER: usize = 32;

/// What a peer's greeting says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting {
    /// The minor version that both sides have: 0 is without heartbeats.
    pub(super) minor: u8,
    mechanism: [u8; 20],
    as_server: bool,
}

/// Our greeting. It goes out whole: a libzmq that sent its first eleven bytes waits for ours.
pub(super) fn ours(mechanism: &str, as_server: bool) -> [u8; SIZE] {
    let mut greeting = [0; SIZE];
    let version = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    let parts = version.iter().chain(mechanism.as_bytes().iter().take(MECHANISM.len()));
    greeting.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    greeting[AS_SERVER] = u8::from(as_server);
    greeting
}

/// Reads the peer's greeting from the first bytes of a connection; none while bytes are missing. What cannot become one
/// is refused as soon as it shows, because such a peer may wait for us for ever.
pub(super) fn parse(input: &[u8]) -> Result<Option<Greeting>, Error> {
    let Some(&first) = input.first() else { return Ok(None) };
    if first != 0xff {
        return Err(Error::NotZmtp(first));
    }
    // Before version 2, flags of a frame stood here, whose lowest bit was not set.
    if input.get(9).is_some_and(|signature| signature & 1 == 0) {
        return Err(Error::OldVersion("1.0"));
    }
    match input.get(10) {
        Some(0) => return Err(Error::OldVersion("1.0")),
        Some(1 | 2) => return Err(Error::OldVersion("2.0")),
        _ => {}
    }
    let Some(whole) = input.first_chunk::<SIZE>() else { return Ok(None) };
    let mut mechanism = [0; 20];
    mechanism.copy_from_slice(&whole[MECHANISM]);
    // A later version is one that still understands ours.
    let minor = if whole[10] > 3 { 1 } else { whole[11].min(1) };
    Ok(Some(Greeting { minor, mechanism, as_server: whole[AS_SERVER] == 1 }))
}

impl Greeting {
    /// Whether the peer fits to our side. `as-server` is only looked at where it contradicts us: libzmq never sets it.
    pub(super) fn check(&self, ours: &'static str, as_server: bool) -> Result<(), Error> {
        let end = self.mechanism.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        let name = self.mechanism.get(..end).unwrap_or_default();
        if name != ours.as_bytes() {
            return Err(Error::Mechanism { ours, theirs: told(name) });
        }
        if as_server && self.as_server {
            return Err(Error::BothServers(ours));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_read_back_however_it_is_cut() {
        let bytes = ours("PLAIN", true);
        for cut in 0..SIZE {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut}");
        }
        let greeting = parse(&bytes).unwrap().unwrap();
        assert_eq!(greeting.minor, 1);
        assert_eq!(greeting.check("PLAIN", false), Ok(()));
        assert_eq!(greeting.check("PLAIN", true), Err(Error::BothServers("PLAIN")));
        let theirs = "PLAIN".to_owned();
        assert_eq!(greeting.check("NULL", false), Err(Error::Mechanism { ours: "NULL", theirs }));
    }

    #[test]
    fn versions() {
        for (major, minor, has) in [(3, 0, 0), (3, 1, 1), (3, 7, 1), (4, 0, 1), (255, 255, 1)] {
            let mut bytes = ours("NULL", false);
            (bytes[10], bytes[11]) = (major, minor);
            assert_eq!(parse(&bytes).unwrap().unwrap().minor, has, "{major}.{minor}");
        }
        for (major, told) in [(0, "1.0"), (1, "2.0"), (2, "2.0")] {
            let mut bytes = ours("NULL", false);
            bytes[10] = major;
            assert_eq!(parse(&bytes[..11]), Err(Error::OldVersion(told)));
        }
    }

    #[test]
    fn others_are_refused_at_the_first_byte_that_shows_it() {
        assert_eq!(parse(b"GET / HTTP/1.1"), Err(Error::NotZmtp(b'G')));
        // ZMTP 1.0 with a long identity: length in eight bytes, then flags.
        assert_eq!(parse(&[0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0]), Err(Error::OldVersion("1.0")));
        // The padding means nothing.
        let mut bytes = ours("NULL", false);
        bytes[1..9].fill(0xaa);
        bytes[33..].fill(0xbb);
        assert!(parse(&bytes).unwrap().is_some());
    }

    #[test]
    fn a_mechanism_is_compared_whole() {
        let mut bytes = ours("NULL", false);
        bytes[17] = b'X';
        let greeting = parse(&bytes).unwrap().unwrap();
        let theirs = "NULL.X".to_owned();
        assert_eq!(greeting.check("NULL", false), Err(Error::Mechanism { ours: "NULL", theirs }));
        let unnamed = parse(&ours("", false)).unwrap().unwrap();
        assert!(unnamed.check("NULL", false).is_err());
    }
}
