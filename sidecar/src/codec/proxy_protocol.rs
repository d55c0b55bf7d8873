//! The PROXY protocol, versions 1 and 2 (HAProxy's doc/proxy-protocol.txt): who a trusted balancer's caller is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, CR LF included.
const V1_MAX: usize = 107;
/// Longest body of version 2 that we read: addresses and a generous number of extensions.
const V2_MAX: usize = 4096;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// No such header.
    NotProxy,
    /// Perhaps one: more bytes will tell.
    Partial,
    /// One that cannot be understood.
    Invalid(&'static str),
    /// One.
    Done {
        /// Bytes that it takes.
        len: usize,
        /// The caller; none when the balancer speaks for itself or the family is unknown.
        source: Option<SocketAddr>,
    },
}

/// Looks at the first bytes; may be asked again with more of them.
pub fn parse(bytes: &[u8]) -> Parsed {
    let begins = |magic: &[u8]| {
        let n = bytes.len().min(magic.len());
        bytes[..n] == magic[..n]
    };
    if begins(V2_SIGNATURE) {
        return if bytes.len() < 16 { Parsed::Partial } else { v2(bytes) };
    }
    if begins(b"PROXY ") {
        return if bytes.len() < 6 { Parsed::Partial } else { v1(bytes) };
    }
    Parsed::NotProxy
}

fn v1(bytes: &[u8]) -> Parsed {
    let window = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = window.windows(2).position(|w| w == b"\r\n") else {
        let whole = bytes.len() >= V1_MAX;
        return if whole { Parsed::Invalid("a PROXY line longer than 107 bytes") } else { Parsed::Partial };
    };
    let len = end + 2;
    let Ok(line) = std::str::from_utf8(&bytes[6..end]) else {
        return Parsed::Invalid("a PROXY line that is not text");
    };
    let fields: Vec<&str> = line.split(' ').collect();
    match fields.as_slice() {
        ["UNKNOWN", ..] => Parsed::Done { len, source: None },
        [family @ ("TCP4" | "TCP6"), source, target, port, target_port] => {
            let ip = source.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == (*family == "TCP4"));
            let other = target.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == (*family == "TCP4"));
            match (ip, other, port.parse::<u16>(), target_port.parse::<u16>()) {
                (Some(ip), Some(_), Ok(port), Ok(_)) => Parsed::Done { len, source: Some(SocketAddr::new(ip, port)) },
                _ => Parsed::Invalid("a PROXY line with a bad address"),
            }
        }
        _ => Parsed::Invalid("a PROXY line of unknown form"),
    }
}

fn v2(bytes: &[u8]) -> Parsed {
    let (command, family) = (bytes[12], bytes[13]);
    let body = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if command >> 4 != 2 {
        return Parsed::Invalid("a PROXY header of unknown version");
    }
    if body > V2_MAX {
        return Parsed::Invalid("a PROXY header longer than 4096 bytes");
    }
    let len = 16 + body;
    let Some(rest) = bytes.get(16..len) else { return Parsed::Partial };
    match command & 0x0F {
        // LOCAL: the balancer's own check.
        0 => return Parsed::Done { len, source: None },
        1 => {}
        _ => return Parsed::Invalid("a PROXY header with an unknown command"),
    }
    let port = |at: usize| rest.get(at..at + 2).map(|p| u16::from_be_bytes([p[0], p[1]]));
    let source = match family >> 4 {
        1 => {
            rest.get(..4).and_then(|a| <[u8; 4]>::try_from(a).ok()).map(|a| IpAddr::V4(Ipv4Addr::from(a))).zip(port(8))
        }
        2 => rest
            .get(..16)
            .and_then(|a| <[u8; 16]>::try_from(a).ok())
            .map(|a| IpAddr::V6(Ipv6Addr::from(a)))
            .zip(port(32)),
        // Unix sockets and unspecified: nobody that has an address.
        0 | 3 => return Parsed::Done { len, source: None },
        _ => return Parsed::Invalid("a PROXY header of unknown family"),
    };
    match source {
        Some((ip, port)) => Parsed::Done { len, source: Some(SocketAddr::new(ip.to_canonical(), port)) },
        None => Parsed::Invalid("a PROXY header shorter than its addresses"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = V2_SIGNATURE.to_vec();
        header.extend([0x20 | command, family]);
        header.extend((body.len() as u16).to_be_bytes());
        header.extend(body);
        header
    }

    #[test]
    fn both_versions_and_their_errors() {
        let source = |s: &str| Some(s.parse::<SocketAddr>().unwrap());
        let line = b"PROXY TCP4 1.2.3.4 10.0.0.1 5555 80\r\nGET /";
        assert_eq!(parse(line), Parsed::Done { len: 37, source: source("1.2.3.4:5555") });
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Parsed::Done { len: 15, source: None });
        assert!(matches!(parse(b"PROXY TCP4 ::1 10.0.0.1 5 80\r\n"), Parsed::Invalid(_)));
        assert!(matches!(parse(&[b"PROXY ".as_slice(), &[b'x'; 120]].concat()), Parsed::Invalid(_)));
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Parsed::NotProxy);
        let four = v2_header(1, 0x11, &[1, 2, 3, 4, 10, 0, 0, 1, 0x15, 0xB3, 0, 80]);
        assert_eq!(parse(&four), Parsed::Done { len: 28, source: source("1.2.3.4:5555") });
        assert_eq!(parse(&v2_header(0, 0, &[])), Parsed::Done { len: 16, source: None });
        assert!(matches!(parse(&v2_header(1, 0x11, &[1, 2])), Parsed::Invalid(_)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn never_panics_and_a_beginning_is_never_the_end(junk in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&junk);
            let whole = v2_header(1, 0x21, &junk);
            for cut in 0..whole.len() {
                prop_assert_eq!(parse(&whole[..cut]), Parsed::Partial);
            }
        }
    }
}
