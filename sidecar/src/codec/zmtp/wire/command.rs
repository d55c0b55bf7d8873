//! Commands: what two codecs say to each other beside the messages.

use super::error::{Error, told};
use super::frame::COMMAND;
use super::output::Output;
use std::time::Duration;

/// Bytes that the peer may want back with a PONG.
pub(super) const CONTEXT: usize = 16;

/// How libzmq up to 4.3.5 begins an ERROR of PLAIN: in its source a hexadecimal number swallows the first letter. Such
/// a client does not know the true name either, but stays away all the same.
const LIBZMQ_ERROR: &[u8] = b"\x5eRROR";

/// A command that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command<'a> {
    pub(super) name: &'a [u8],
    pub(super) data: &'a [u8],
}

impl<'a> Command<'a> {
    /// Reads the body of a frame that is a command.
    pub(super) fn parse(body: &'a [u8]) -> Result<Command<'a>, Error> {
        if let Some(data) = body.strip_prefix(LIBZMQ_ERROR) {
            return Ok(Command { name: b"ERROR", data });
        }
        let (name, data) = short(body).ok_or(Error::Malformed("a command is shorter than its name"))?;
        if name.is_empty() {
            return Err(Error::Malformed("a command has no name"));
        }
        Ok(Command { name, data })
    }

    /// The error of a command that came at the wrong time; what the peer says went wrong, if it is an ERROR.
    pub(super) fn unexpected(&self, wanted: &'static str) -> Error {
        if self.name == b"ERROR" {
            // Its reason is for people: as much as there is.
            return Error::Peer(told(short(self.data).map_or(self.data, |(reason, _)| reason)));
        }
        Error::Unexpected { got: told(self.name), wanted }
    }
}

/// Cuts off what one byte of length stands before.
pub(super) fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(len))
}

/// Writes a command; the name with its length before it.
pub(super) fn write(out: &mut Output, name: &'static [u8], data: &[&[u8]]) {
    out.parts(COMMAND, &parts(name, data));
}

/// A command of at most four pieces of data as one list.
pub(super) fn parts<'a>(name: &'static [u8], data: &[&'a [u8]]) -> [&'a [u8]; 5] {
    debug_assert!(data.len() <= 4 && name.first().is_some_and(|len| usize::from(*len) + 1 == name.len()));
    let mut parts: [&[u8]; 5] = [name, &[], &[], &[], &[]];
    parts.iter_mut().skip(1).zip(data).for_each(|(part, data)| *part = data);
    parts
}

/// Tells the peer why it is not wanted. It does not come back with the same credentials.
pub(super) fn write_error(out: &mut Output, reason: &str) {
    let reason = reason.as_bytes();
    let reason = reason.get(..usize::from(u8::MAX)).unwrap_or(reason);
    write(out, b"\x05ERROR", &[&[reason.len() as u8], reason]);
}

/// A PING's time and what its PONG must repeat.
pub(super) fn ping(data: &[u8]) -> Result<(Option<Duration>, &[u8]), Error> {
    let (ttl, context) = data.split_first_chunk().ok_or(Error::Malformed("a PING has no time to live"))?;
    if context.len() > CONTEXT {
        return Err(Error::Malformed("a PING has more than 16 bytes of context"));
    }
    let tenths = u64::from(u16::from_be_bytes(*ttl));
    Ok(((tenths > 0).then(|| Duration::from_millis(tenths * 100)), context))
}

/// A time in tenths of a second, as much as fits; zero is none.
pub(super) fn tenths(ttl: Option<Duration>) -> [u8; 2] {
    let tenths = ttl.map_or(0, |ttl| ttl.as_millis() / 100);
    u16::try_from(tenths).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    #[test]
    fn names_and_data() {
        assert_eq!(Command::parse(b"\x04PING\0\0"), Ok(Command { name: b"PING", data: b"\0\0" }));
        assert_eq!(Command::parse(b"\x05READY"), Ok(Command { name: b"READY", data: b"" }));
        for body in [&b""[..], b"\0", b"\0abc", b"\x05REA", b"\xff"] {
            assert!(matches!(Command::parse(body), Err(Error::Malformed(_))), "{body:?}");
        }
    }

    #[test]
    fn an_error_of_the_peers_is_told_however_it_is_written() {
        for (body, reason) in [
            (&b"\x05ERROR\x03400"[..], "400"),
            (b"\x05ERROR\x00", ""),
            (b"\x05ERROR", ""),
            (b"\x05ERRORInvalid", "Invalid"),
            (b"^RROR\x03400", "400"),
        ] {
            let error = Command::parse(body).unwrap().unexpected("READY");
            assert_eq!(error, Error::Peer(reason.into()));
        }
        let error = Command::parse(b"\x05HELLO").unwrap().unexpected("READY");
        assert_eq!(error.to_string(), "the command \"HELLO\" came where READY was expected");
    }

    #[test]
    fn times_of_pings() {
        assert_eq!(ping(b"\0\0"), Ok((None, &b""[..])));
        assert_eq!(ping(b"\0\x0fabc"), Ok((Some(Duration::from_millis(1500)), &b"abc"[..])));
        assert_eq!(ping(b"\xff\xff0123456789abcdef").unwrap().0, Some(Duration::from_millis(6_553_500)));
        assert!(ping(b"\0").is_err() && ping(b"\0\x000123456789abcdefg").is_err());
        assert_eq!(tenths(None), [0, 0]);
        assert_eq!(tenths(Some(Duration::from_millis(1599))), [0, 15]);
        assert_eq!(tenths(Some(Duration::MAX)), [255, 255]);
    }

    #[test]
    fn a_reason_is_cut_where_it_does_not_fit() {
        let mut out = Output::default();
        write_error(&mut out, &"x".repeat(300));
        let bytes = out.copy_to_bytes(out.remaining());
        assert_eq!(bytes.len(), 9 + 6 + 1 + 255);
        let command = Command::parse(&bytes[9..]).unwrap();
        assert_eq!(command.name, b"ERROR");
        assert_eq!(short(command.data).map(|(reason, rest)| (reason.len(), rest.len())), Some((255, 0)));
    }
}
