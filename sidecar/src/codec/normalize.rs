//! One reading of a path and of an authority, for routing, access, logs and forwarding alike.
//!
//! Hops that read a path differently are how rules are walked around: what is decided here is what the worker
//! gets. What can honestly be read in two ways is refused, not guessed. RFC 3986 section 6.2.2.

use crate::exchange::{Fault, FaultKind};
use std::borrow::Cow;
use std::net::Ipv6Addr;

/// What a byte of a path asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stays as it is.
    Plain,
    /// Not legal in a URI, but meant: written as an escape.
    Encode,
    /// The beginning of an escape.
    Escape,
    /// Never in a path.
    Refuse,
}

const CLASSES: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = match i as u8 {
            0..=0x20 | 0x7f | b'?' | b'#' => Class::Refuse,
            b'%' => Class::Escape,
            0x80..=0xff | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => Class::Encode,
            _ => Class::Plain,
        };
        i += 1;
    }
    table
};

fn bad_path(why: &'static str) -> Fault {
    Fault::new(FaultKind::BadPath, why)
}

/// The one form of a path: unreserved characters decoded, other escapes in upper case, dot segments removed
/// (escaped ones too), slashes merged. `/` for an empty path; `*` stays. Normalising twice changes nothing.
///
/// # Errors
/// [`FaultKind::BadPath`] for control bytes, broken escapes, `%00`, a path that does not begin with `/`, and for
/// dot segments that only some servers see: `..;x`, `..%2F`, `..%5C`.
pub fn path(raw: &str) -> Result<Cow<'_, str>, Fault> {
    let bytes = raw.as_bytes();
    if bytes.first() != Some(&b'/') {
        return match raw {
            "" => Ok(Cow::Borrowed("/")),
            "*" => Ok(Cow::Borrowed(raw)),
            _ => Err(bad_path("the path does not begin with a slash")),
        };
    }
    let mut after_slash = false;
    for &b in bytes {
        if CLASSES[usize::from(b)] != Class::Plain || (after_slash && matches!(b, b'/' | b'.' | b';')) {
            return rewrite(&raw[1..]).map(Cow::Owned);
        }
        after_slash = b == b'/';
    }
    Ok(Cow::Borrowed(raw))
}

/// The slow way: `rest` is what follows the first slash.
fn rewrite(rest: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(rest.len() + 8);
    let mut directory = false;
    for segment in rest.split('/') {
        let start = out.len();
        out.push('/');
        write_segment(segment, &mut out)?;
        directory = true;
        match &out[start + 1..] {
            "" | "." => out.truncate(start),
            ".." => {
                out.truncate(start);
                let parent = out.rfind('/').unwrap_or(0);
                out.truncate(parent);
            }
            other => {
                refuse_hidden_dots(other)?;
                directory = false;
            }
        }
    }
    if directory {
        out.push('/');
    }
    Ok(out)
}

fn write_segment(segment: &str, out: &mut String) -> Result<(), Fault> {
    let bytes = segment.as_bytes();
    let mut i = 0;
    while let Some(&b) = bytes.get(i) {
        i += 1;
        match CLASSES[usize::from(b)] {
            Class::Plain => out.push(char::from(b)),
            Class::Encode => push_escape(b, out),
            Class::Refuse => return Err(bad_path("the path holds a blank, a control byte, '?' or '#'")),
            Class::Escape => {
                let (Some(high), Some(low)) = (hex(bytes.get(i)), hex(bytes.get(i + 1))) else {
                    return Err(bad_path("the path holds a broken % escape"));
                };
                i += 2;
                match high << 4 | low {
                    0 => return Err(bad_path("the path holds %00")),
                    c if c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~') => out.push(char::from(c)),
                    c => push_escape(c, out),
                }
            }
        }
    }
    Ok(())
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    match byte? {
        b @ b'0'..=b'9' => Some(b - b'0'),
        b @ b'a'..=b'f' => Some(b - b'a' + 10),
        b @ b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

fn push_escape(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Servlet containers cut `;x` off a segment, and some servers decode `%2F` or `%5C` before they resolve dots:
/// for them these are dot segments, for others they are names.
fn refuse_hidden_dots(segment: &str) -> Result<(), Fault> {
    // For the same servers these are no segments at all, and what follows stands at another place.
    if segment.starts_with(';') || segment.starts_with("%2F") || segment.starts_with("%5C") {
        return Err(bad_path("the path holds a segment that is empty for some servers and a name for others"));
    }
    if segment.starts_with('.') {
        let rest = segment.trim_start_matches('.');
        if segment.len() - rest.len() <= 2 && (rest.starts_with(';') || rest.starts_with("%3B")) {
            return Err(bad_path("a dot segment carries a parameter"));
        }
    }
    if segment.contains("..") && segment.contains('%') {
        for part in segment.split("%2F").flat_map(|p| p.split("%5C")) {
            if part == ".." || part.starts_with("..;") || part.starts_with("..%3B") {
                return Err(bad_path("an escaped slash stands beside a dot segment"));
            }
        }
    }
    Ok(())
}

/// The one form of an authority: lower case, `host`, `host:port`, `[v6]` or `[v6]:port`. Empty stays empty; an empty
/// port is cut.
///
/// # Errors
/// [`FaultKind::BadRequest`] for user information, slashes, blanks, bad ports and anything else that is no host.
pub fn authority(raw: &str) -> Result<Cow<'_, str>, Fault> {
    if raw.is_empty() {
        return Ok(Cow::Borrowed(raw));
    }
    let (host, port) = if raw.starts_with('[') {
        let end = raw.find(']').ok_or_else(|| bad_authority("the host's bracket is not closed"))?;
        if raw[1..end].parse::<Ipv6Addr>().is_err() {
            return Err(bad_authority("the host in brackets is no IPv6 address"));
        }
        match &raw[end + 1..] {
            "" => (raw, None),
            rest => {
                let port =
                    rest.strip_prefix(':').ok_or_else(|| bad_authority("something follows the host's bracket"))?;
                (&raw[..=end], Some(port))
            }
        }
    } else {
        let (host, port) = match raw.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (raw, None),
        };
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        if host.is_empty() || !host.bytes().all(legal) {
            return Err(bad_authority("the host holds characters that no host has"));
        }
        (host, port)
    };
    let whole = match port {
        None | Some("") => host,
        Some(p) if p.len() <= 5 && p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|n| n > 0) => {
            raw
        }
        Some(_) => return Err(bad_authority("the port is not a number from 1 to 65535")),
    };
    if whole.bytes().any(|b| b.is_ascii_uppercase()) {
        return Ok(Cow::Owned(whole.to_ascii_lowercase()));
    }
    Ok(Cow::Borrowed(whole))
}

fn bad_authority(why: &'static str) -> Fault {
    Fault::new(FaultKind::BadRequest, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_form_of_a_path() {
        for (raw, expected) in [
            ("", "/"),
            ("*", "*"),
            ("/", "/"),
            ("/orders/7", "/orders/7"),
            ("/orders/", "/orders/"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/info/../private", "/private"),
            ("/info/%2e%2E/private", "/private"),
            ("/info/.%2e/private", "/private"),
            ("/a/./b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/../../etc", "/etc"),
            ("/..", "/"),
            ("//a///b//", "/a/b/"),
            ("/a//../b", "/b"),
            ("/%63onfigs", "/configs"),
            ("/a%2fb", "/a%2Fb"),
            ("/%7euser", "/~user"),
            ("/%252e%252e/x", "/%252e%252e/x"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b", "/a..b"),
            ("/é", "/%C3%A9"),
            ("/App\\Cmd", "/App%5CCmd"),
            ("/a|b", "/a%7Cb"),
            ("/a:b@c,d=e", "/a:b@c,d=e"),
        ] {
            assert_eq!(path(raw).unwrap(), expected, "{raw}");
        }
        assert!(matches!(path("/plain/path"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn paths_that_hops_read_differently_are_refused() {
        for raw in [
            "a",
            "http://a/",
            "/%",
            "/%4",
            "/%zz",
            "/%00",
            "/a b",
            "/a\tb",
            "/a\u{7f}",
            "/a?b",
            "/a#b",
            "/v1/..;/internal/x",
            "/v1/..;a=b/x",
            "/v1/.;/x",
            "/v1/%2e%2e;/x",
            "/v1/..%3b/x",
            "/v1/..%2fadmin",
            "/v1/a%2f..%2fadmin",
            "/v1/..%5cadmin",
            "/v1/..\\admin",
            "/a%5c..",
        ] {
            assert_eq!(path(raw).map_err(|f| f.kind), Err(FaultKind::BadPath), "{raw}");
        }
    }

    #[test]
    fn one_form_of_an_authority() {
        for (raw, expected) in [
            ("", ""),
            ("Stock.Service.Fourmi", "stock.service.fourmi"),
            ("a:8080", "a:8080"),
            ("a:", "a"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
            ("[::1]", "[::1]"),
            ("my_host-1", "my_host-1"),
        ] {
            assert_eq!(authority(raw).unwrap(), expected, "{raw}");
        }
        for raw in [
            "a/admin",
            "u@a",
            "u:p@a",
            "a b",
            " a",
            "a:0",
            "a:65536",
            "a:80x",
            "a:1:2",
            ":80",
            "[::1",
            "[::1]x",
            "[x]",
            "[fe80::1%eth0]",
            "::1",
            "a,b",
            "a%2fb",
            "é",
            "a:+80",
            "a\\b",
            "a?b",
        ] {
            assert_eq!(authority(raw).map_err(|f| f.kind), Err(FaultKind::BadRequest), "{raw}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn normalising_twice_changes_nothing(parts in proptest::collection::vec(proptest::sample::select(vec![
            "/", "//", ".", "..", "%2e", "%2E", "%2f", "%5c", "%25", "a", "Z", "%41", ";", "\\", "é", "%00", "%", "~", "{",
        ]), 0..24)) {
            let raw = format!("/{}", parts.concat());
            if let Ok(once) = path(&raw) {
                prop_assert!(once.starts_with('/'));
                prop_assert!(!once.contains("//"));
                prop_assert!(once.split('/').all(|s| s != "." && s != ".."));
                prop_assert_eq!(path(&once).unwrap(), once.clone());
            }
        }
    }
}
