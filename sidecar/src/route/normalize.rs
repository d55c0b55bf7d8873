//! One form of path and host for routing, access, logs and forwarding, so that no two hops read one differently.

use crate::exchange::{Fault, FaultKind};
use std::borrow::Cow;

fn bad(why: &'static str) -> Fault {
    Fault::new(FaultKind::BadPath, why)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The normal form of a path: escapes of unreserved characters undone, others in upper case (RFC 3986, 6.2.2), dot
/// segments resolved, repeated slashes merged. `%2F` stays: it is no separator here, and must not become one.
///
/// # Errors
/// A path that hops would read differently: bad escapes, control bytes, `%00`, dot segments with parameters (`..;`).
pub fn path(raw: &str) -> Result<Cow<'_, str>, Fault> {
    let bytes = raw.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(bad("the path does not begin with a slash"));
    }
    // Nearly every path is in normal form already: one scan tells.
    let mut plain = true;
    let mut before = 0;
    for &b in bytes {
        match b {
            0..=0x20 | 0x7F => return Err(bad("a control byte or blank in the path")),
            b'\\' => return Err(bad("a backslash in the path")),
            b'%' => plain = false,
            b'/' | b'.' if before == b'/' => plain = false,
            _ => {}
        }
        before = b;
    }
    if plain {
        return Ok(Cow::Borrowed(raw));
    }
    resolve(&decode(bytes)?).map(Cow::Owned)
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&b) = rest.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let pair = (rest.next().copied().and_then(hex), rest.next().copied().and_then(hex));
        let (Some(high), Some(low)) = pair else { return Err(bad("a bad escape in the path")) };
        match high << 4 | low {
            0 => return Err(bad("an escaped NUL in the path")),
            b if unreserved(b) => out.push(b),
            b => out.extend(format!("%{b:02X}").bytes()),
        }
    }
    Ok(out)
}

fn resolve(decoded: &[u8]) -> Result<String, Fault> {
    let mut out: Vec<u8> = Vec::with_capacity(decoded.len());
    let mut segments = decoded[1..].split(|b| *b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let name = segment.split(|b| *b == b';').next().unwrap_or_default();
        if name.len() < segment.len() && matches!(name, b"." | b"..") {
            return Err(bad("a dot segment with parameters"));
        }
        match segment {
            b"" | b"." if !last => continue,
            b".." => {
                let parent = out.iter().rposition(|b| *b == b'/').unwrap_or(0);
                out.truncate(parent);
                if !last {
                    continue;
                }
                out.push(b'/');
            }
            b"" | b"." => out.push(b'/'),
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    String::from_utf8(out).map_err(|_| bad("the path is not UTF-8"))
}

/// The normal form of a host with an optional port: lower case, nothing else but a name, an address and digits.
///
/// # Errors
/// User information, a slash, blanks, a bad port, or characters that no host has.
pub fn authority(raw: &str) -> Result<Cow<'_, str>, Fault> {
    let bad = |why| Err(Fault::new(FaultKind::BadRequest, why));
    if raw.is_empty() {
        return Ok(Cow::Borrowed(raw));
    }
    let (host, port) = match raw.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((ip, port)) if ip.parse::<std::net::Ipv6Addr>().is_ok() => (ip, port),
            _ => return bad("a bad IPv6 address as host"),
        },
        None => match raw.find(':') {
            Some(colon) => (&raw[..colon], &raw[colon..]),
            None => (raw, ""),
        },
    };
    let known = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.'
                    | b'_'
                    | b':'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
                    | b'%'
            )
    };
    if host.is_empty() || !host.bytes().all(known) {
        return bad("a host with characters that no host has");
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => {}
        Some(digits)
            if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok() => {}
        _ => return bad("a bad port in the host"),
    }
    if raw.bytes().any(|b| b.is_ascii_uppercase()) {
        return Ok(Cow::Owned(raw.to_ascii_lowercase()));
    }
    Ok(Cow::Borrowed(raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_form() {
        for (raw, normal) in [
            ("/", "/"),
            ("/info", "/info"),
            ("/info/../private", "/private"),
            ("/info/%2e%2E/private", "/private"),
            ("/../../etc", "/etc"),
            ("/a/./b/", "/a/b/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/%63onfigs", "/configs"),
            ("/a%2fb", "/a%2Fb"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a/.hidden", "/a/.hidden"),
            ("/a;v=1/b", "/a;v=1/b"),
        ] {
            assert_eq!(path(raw).unwrap(), normal, "{raw}");
        }
        assert!(matches!(path("/orders/42"), Ok(Cow::Borrowed(_))));
        for raw in
            ["/v1/..;/internal", "/v1/.;x/y", "/v1/%2e%2e;/x", "/a%00", "/a%zz", "/a%4", "/a b", "a", "", "/a\\..\\b"]
        {
            assert_eq!(path(raw).unwrap_err().kind, FaultKind::BadPath, "{raw}");
        }
    }

    #[test]
    fn hosts() {
        for (raw, normal) in
            [("Shop.Example:80", "shop.example:80"), ("[::1]:8080", "[::1]:8080"), ("", ""), ("a_b", "a_b")]
        {
            assert_eq!(authority(raw).unwrap(), normal);
        }
        for raw in ["a/b", "u@a", "a b", "a:", "a:99999", "a:8x", "[::1", "[zz]", ":80", "a\tb"] {
            assert!(authority(raw).is_err(), "{raw}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_normal_form_is_its_own(raw in "/([a-c./;]|%2[eEfF]|%6[0-9]){0,16}") {
            if let Ok(once) = path(&raw) {
                prop_assert_eq!(path(&once).unwrap(), once.clone());
                prop_assert!(!once.split('/').any(|s| s == ".." || s == "."));
            }
        }
    }
}
