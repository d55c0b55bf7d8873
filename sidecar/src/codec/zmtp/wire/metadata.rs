//! Metadata: what peers tell each other about themselves at the end of the handshake.

use super::command::short;
use super::error::{Error, told};
use super::settings::Settings;
use super::socket::SocketType;
use bytes::Bytes;

/// Properties of a peer, at most.
const PROPERTIES: usize = 32;
/// Bytes of an identity, at most.
pub(super) const IDENTITY: usize = 255;

/// Properties that a peer sent beside its socket type and identity: those of an application begin with `X-`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, Bytes)>);

impl Metadata {
    /// The value of a property; the case of names does not matter.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All of them, in the order of the peer.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// What a peer said about itself. Nothing is kept of the buffer that it was read from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    socket_type: Option<Bytes>,
    pub(super) identity: Bytes,
    pub(super) metadata: Metadata,
}

impl About {
    pub(super) fn parse(mut data: &[u8]) -> Result<About, Error> {
        let mut about = About::default();
        let mut properties = 0;
        while !data.is_empty() {
            properties += 1;
            if properties > PROPERTIES {
                return Err(Error::TooManyProperties(PROPERTIES));
            }
            let (name, value, rest) = property(data).ok_or(Error::Malformed("metadata ends within a property"))?;
            let name = std::str::from_utf8(name).ok().filter(|name| named_well(name));
            let name = name.ok_or(Error::Malformed("a property's name in the metadata has other than its letters"))?;
            let value = Bytes::copy_from_slice(value);
            if name.eq_ignore_ascii_case("Socket-Type") {
                about.socket_type = Some(value);
            } else if name.eq_ignore_ascii_case("Identity") {
                if value.len() > IDENTITY {
                    return Err(Error::Malformed("the peer's identity has more than 255 bytes"));
                }
                about.identity = value;
            } else {
                about.metadata.0.push((name.to_owned(), value));
            }
            data = rest;
        }
        Ok(about)
    }

    /// The peer's kind of socket, if it may talk to ours.
    pub(super) fn socket_type(&self, ours: SocketType) -> Result<SocketType, Error> {
        let name = self.socket_type.as_ref().ok_or(Error::NoSocketType)?;
        let fits = SocketType::of(name).filter(|theirs| ours.talks_to(*theirs));
        fits.ok_or_else(|| Error::SocketType { ours, theirs: told(name) })
    }
}

fn property(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = short(data)?;
    let (size, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*size)).ok()?)?;
    Some((name, value, rest))
}

fn named_well(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+'))
}

/// Our own, as it goes into READY and INITIATE.
pub(super) fn ours(settings: &Settings) -> Vec<u8> {
    let kind = settings.socket_type;
    let mut data = Vec::with_capacity(40 + settings.identity.len());
    let mut put = |name: &str, value: &[u8]| {
        data.push(name.len() as u8);
        data.extend_from_slice(name.as_bytes());
        data.extend_from_slice(&(value.len() as u32).to_be_bytes());
        data.extend_from_slice(value);
    };
    put("Socket-Type", kind.name().as_bytes());
    if kind.has_identity() {
        put("Identity", &settings.identity);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::super::settings::Mechanism;
    use super::*;

    fn property(name: &str, value: &[u8]) -> Vec<u8> {
        let mut data = vec![name.len() as u8];
        data.extend(name.as_bytes());
        data.extend((value.len() as u32).to_be_bytes());
        data.extend(value);
        data
    }

    #[test]
    fn ours_is_read_back() {
        let mut settings = Settings::new(SocketType::Dealer, Mechanism::Null);
        settings.identity = Bytes::from_static(b"me");
        let about = About::parse(&ours(&settings)).unwrap();
        assert_eq!(about.socket_type(SocketType::Router), Ok(SocketType::Dealer));
        assert_eq!((&about.identity[..], about.metadata.iter().count()), (&b"me"[..], 0));
        settings.socket_type = SocketType::Rep;
        let about = About::parse(&ours(&settings)).unwrap();
        assert_eq!(about.socket_type(SocketType::Req), Ok(SocketType::Rep));
        assert!(about.identity.is_empty());
    }

    #[test]
    fn names_have_no_case_and_others_are_kept() {
        let data =
            [property("SOCKET-type", b"REQ"), property("X-Shop", b"\0\xff"), property("identity", b"i")].concat();
        let about = About::parse(&data).unwrap();
        assert_eq!(about.socket_type(SocketType::Router), Ok(SocketType::Req));
        assert_eq!(about.identity, "i");
        assert_eq!(about.metadata.get("x-shop").map(|value| &value[..]), Some(&b"\0\xff"[..]));
        assert_eq!(about.metadata.get("identity"), None);
    }

    #[test]
    fn what_is_cut_off_or_too_much_is_refused() {
        let data = property("Socket-Type", b"REQ");
        for cut in 1..data.len() {
            assert!(About::parse(&data[..cut]).is_err(), "{cut}");
        }
        assert_eq!(About::parse(b"\x01a\xff\xff\xff\xffx"), Err(Error::Malformed("metadata ends within a property")));
        assert!(About::parse(&property("", b"x")).is_err());
        assert!(About::parse(&property("a b", b"x")).is_err());
        assert!(About::parse(&property("Identity", &[b'x'; 256])).is_err());
        assert!(About::parse(&property("Identity", &[b'x'; 255])).is_ok());
        assert!(About::parse(&property("X-a", b"").repeat(32)).is_ok());
        assert_eq!(About::parse(&property("X-a", b"").repeat(33)), Err(Error::TooManyProperties(32)));
    }

    #[test]
    fn a_kind_that_does_not_fit() {
        let about = About::parse(b"").unwrap();
        assert_eq!(about.socket_type(SocketType::Router), Err(Error::NoSocketType));
        for name in ["SUB", "REP", "req", ""] {
            let about = About::parse(&property("Socket-Type", name.as_bytes())).unwrap();
            let theirs = name.to_owned();
            assert_eq!(
                about.socket_type(SocketType::Router),
                Err(Error::SocketType { ours: SocketType::Router, theirs })
            );
        }
    }
}
