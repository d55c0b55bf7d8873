//! The PROXY protocol, versions 1 and 2: whom a balancer in front of us serves (haproxy's `proxy-protocol.txt`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, with its line end.
const V1_MAX: usize = 107;
/// The longest address block of version 2 that is read, TLVs included. The format itself allows 64 KiB.
const V2_MAX: usize = 4096;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// No PROXY header.
    NotProxy,
    /// Perhaps one; more bytes are needed.
    Partial,
    /// One that cannot be right: close.
    Invalid(&'static str),
    /// A whole one.
    Done {
        /// Its bytes: what follows is the command.
        len: usize,
        /// The caller; none for health checks of the balancer (LOCAL, UNKNOWN) and unix sockets.
        source: Option<SocketAddr>,
    },
}

/// Reads a header from the first bytes of a connection. Nothing is read twice: call it again with more bytes after
/// [`Parsed::Partial`].
pub fn parse(buf: &[u8]) -> Parsed {
    match buf.first() {
        None => Parsed::Partial,
        Some(b'P') => v1(buf),
        Some(b'\r') => v2(buf),
        Some(_) => Parsed::NotProxy,
    }
}

fn begins(buf: &[u8], with: &[u8]) -> Option<Parsed> {
    let n = buf.len().min(with.len());
    if buf[..n] != with[..n] {
        return Some(Parsed::NotProxy);
    }
    (n < with.len()).then_some(Parsed::Partial)
}

fn v1(buf: &[u8]) -> Parsed {
    if let Some(early) = begins(buf, b"PROXY ") {
        return early;
    }
    let window = &buf[..buf.len().min(V1_MAX)];
    let Some(end) = window.windows(2).position(|w| w == b"\r\n") else {
        return if window.len() == V1_MAX { Parsed::Invalid("no line end in 107 bytes") } else { Parsed::Partial };
    };
    let Ok(line) = std::str::from_utf8(&window[6..end]) else { return Parsed::Invalid("not ASCII") };
    let len = end + 2;
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Parsed::Done { len, source: None };
    }
    let (Some(source), Some(destination), Some(source_port), Some(destination_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Parsed::Invalid("not two addresses and two ports");
    };
    let (Some(source_port), Some(_)) = (port(source_port), port(destination_port)) else {
        return Parsed::Invalid("a port is no number up to 65535");
    };
    let ip = match family {
        "TCP4" => source.parse::<Ipv4Addr>().ok().zip(destination.parse::<Ipv4Addr>().ok()).map(|(s, _)| IpAddr::V4(s)),
        "TCP6" => source.parse::<Ipv6Addr>().ok().zip(destination.parse::<Ipv6Addr>().ok()).map(|(s, _)| IpAddr::V6(s)),
        _ => return Parsed::Invalid("a family other than TCP4, TCP6, UNKNOWN"),
    };
    match ip {
        Some(ip) => Parsed::Done { len, source: Some(SocketAddr::new(ip, source_port)) },
        None => Parsed::Invalid("an address is not of its family"),
    }
}

fn port(text: &str) -> Option<u16> {
    if text.len() > 5 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn v2(buf: &[u8]) -> Parsed {
    if let Some(early) = begins(buf, V2_SIGNATURE) {
        return early;
    }
    let Some(&[version_command, family, high, low]) = buf.get(12..16) else { return Parsed::Partial };
    if version_command >> 4 != 2 {
        return Parsed::Invalid("a version other than 2");
    }
    let size = usize::from(u16::from_be_bytes([high, low]));
    if size > V2_MAX {
        return Parsed::Invalid("more than 4096 bytes of addresses");
    }
    let len = 16 + size;
    let Some(block) = buf.get(16..len) else { return Parsed::Partial };
    let source = match (version_command & 15, family) {
        (0, _) | (1, 0x00) => None,
        (1, 0x11) => match block.first_chunk::<12>() {
            Some(&[a, b, c, d, _, _, _, _, high, low, _, _]) => {
                Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes([high, low])))
            }
            None => return Parsed::Invalid("the address block is too short"),
        },
        (1, 0x21) => match (block.len() >= 36).then(|| block.first_chunk::<16>().zip(block.get(32..34))).flatten() {
            Some((ip, port)) => {
                Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(*ip)), u16::from_be_bytes([port[0], port[1]])))
            }
            None => return Parsed::Invalid("the address block is too short"),
        },
        (1, 0x31) if block.len() >= 216 => None,
        (1, 0x31) => return Parsed::Invalid("the address block is too short"),
        (1, _) => return Parsed::Invalid("a family that is no stream"),
        _ => return Parsed::Invalid("a command other than LOCAL and PROXY"),
    };
    Parsed::Done { len, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn two(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([version_command, family]);
        bytes.extend((block.len() as u16).to_be_bytes());
        bytes.extend(block);
        bytes
    }

    fn samples() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        six[32..34].copy_from_slice(&4711_u16.to_be_bytes());
        let tlv = [&[192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80][..], &[4, 0, 1, 9]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(), Some("192.0.2.1:4711")),
            (b"PROXY TCP6 2001:db8::1 ::1 65535 443\r\n".to_vec(), Some("[2001:db8::1]:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN anything here\r\n".to_vec(), None),
            (two(0x21, 0x11, &tlv), Some("192.0.2.1:4711")),
            (two(0x21, 0x21, &six), Some("[2001:db8::1]:4711")),
            (two(0x21, 0x31, &[0; 216]), None),
            (two(0x20, 0x00, &[]), None),
            (two(0x20, 0x11, &[1, 2, 3]), None),
            (two(0x21, 0x00, &[1]), None),
        ]
    }

    #[test]
    fn whole_headers_and_every_prefix_of_them() {
        for (bytes, source) in samples() {
            let source = source.map(|s| s.parse().unwrap());
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Parsed::Partial, "{bytes:?} cut at {cut}");
            }
            let len = bytes.len();
            let more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&bytes), Parsed::Done { len, source });
            assert_eq!(parse(&more), Parsed::Done { len, source });
        }
    }

    #[test]
    fn others_and_wrong_ones() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"POST /", b"PRI * HTTP/2.0", b"\r\nGET /", b"\xff\0", b"PROXX "] {
            assert_eq!(parse(bytes), Parsed::NotProxy, "{bytes:?}");
        }
        let long = [&b"PROXY UNKNOWN "[..], &[b'a'; 100]].concat();
        let mut huge = two(0x21, 0x11, &[]);
        huge[14..16].copy_from_slice(&4097_u16.to_be_bytes());
        for bytes in [
            &b"PROXY TCP4 1.2.3.4 1.2.3.4 80\r\n"[..],
            b"PROXY TCP4 1.2.3.4 1.2.3.4 80 80 80\r\n",
            b"PROXY TCP4 ::1 ::1 80 80\r\n",
            b"PROXY TCP6 1.2.3.4 ::1 80 80\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 80\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 80\r\n",
            b"PROXY UDP4 1.2.3.4 1.2.3.4 1 80\r\n",
            b"PROXY \xff\r\n",
            &long,
            &huge,
            &two(0x11, 0x11, &[0; 12]),
            &two(0x22, 0x11, &[0; 12]),
            &two(0x21, 0x12, &[0; 12]),
            &two(0x21, 0x11, &[0; 11]),
            &two(0x21, 0x21, &[0; 35]),
            &two(0x21, 0x31, &[0; 215]),
        ] {
            assert!(matches!(parse(bytes), Parsed::Invalid(_)), "{bytes:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_break_it(which in 0..10_usize, at in 0..60_usize, to: u8, tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (mut bytes, _) = samples().swap_remove(which);
            bytes.extend(&tail);
            let n = bytes.len();
            bytes[at % n] = to;
            for cut in 0..=n {
                if let Parsed::Done { len, .. } = parse(&bytes[..cut]) {
                    prop_assert!(len <= cut);
                }
            }
            parse(&tail);
        }
    }
}
