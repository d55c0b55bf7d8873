//! The two writings of a path: the one that rules are matched against, and the one that is sent.
//!
//! The codec keeps a path in the form that is sent: unreserved characters decoded, dot segments and double slashes
//! gone, all else escaped. Kong matches against a form that goes one step further: every escape is decoded unless
//! its byte is reserved in a URI, so that a rule says `john doe` and not `john%20doe`. Both functions here borrow
//! when there is nothing to do, which is nearly always.

use std::borrow::Cow;

const fn reserved(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'*'
            | b'\''
            | b'('
            | b')'
            | b';'
            | b':'
            | b'@'
            | b'&'
            | b'='
            | b'+'
            | b'$'
            | b','
            | b'/'
            | b'?'
            | b'%'
            | b'#'
            | b'['
            | b']'
    )
}

fn digit(byte: Option<&u8>) -> Option<u8> {
    byte.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok())
}

/// The form that rules are matched against. Escapes of reserved bytes stay, in upper case; broken ones stay as they
/// are, since the codec has refused them.
pub fn matching(path: &str) -> Cow<'_, [u8]> {
    let bytes = path.as_bytes();
    if memchr::memchr(b'%', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let escape = (byte == b'%').then(|| Some((digit(bytes.get(at))?, digit(bytes.get(at + 1))?))).flatten();
        let Some((high, low)) = escape else {
            out.push(byte);
            continue;
        };
        at += 2;
        match high << 4 | low {
            c if reserved(c) => push_escape(c, &mut out),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn push_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

const fn unsafe_in_uri(byte: u8) -> bool {
    matches!(byte, 0..=0x20 | 0x7f..=0xff | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// The form that is sent: what [`matching`] decoded is escaped again.
pub fn sent(path: &[u8]) -> Cow<'_, str> {
    if !path.iter().any(|b| unsafe_in_uri(*b)) {
        // Nothing outside ASCII is left, so nothing is lost.
        return String::from_utf8_lossy(path);
    }
    let mut out = Vec::with_capacity(path.len() + 8);
    for &byte in path {
        match byte {
            b if unsafe_in_uri(b) => push_escape(b, &mut out),
            b => out.push(b),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// What a written prefix has to look like to be found: the matching form without dot segments and double slashes.
pub(super) fn tidy(path: &str) -> Vec<u8> {
    let decoded = matching(path);
    let mut out = Vec::with_capacity(decoded.len());
    let mut directory = true;
    for segment in decoded.split(|b| *b == b'/').skip(1) {
        directory = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => {
                let parent = out.iter().rposition(|b| *b == b'/').unwrap_or(0);
                out.truncate(parent);
            }
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if directory {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (given, matched, back) in [
            ("/orders/7", "/orders/7", "/orders/7"),
            ("/john%20doe", "/john doe", "/john%20doe"),
            ("/a%2Fb%2fc", "/a%2Fb%2Fc", "/a%2Fb%2Fc"),
            ("/%C3%A9", "/é", "/%C3%A9"),
            ("/%25%22", "/%25\"", "/%25%22"),
            ("/%7e%zz%4", "/~%zz%4", "/~%zz%4"),
        ] {
            let form = matching(given);
            assert_eq!(form, matched.as_bytes(), "{given}");
            assert_eq!(sent(&form), back, "{given}");
        }
        assert!(matches!(matching("/plain"), Cow::Borrowed(_)));
        assert!(matches!(sent(b"/plain"), Cow::Borrowed(_)));
        assert_eq!(sent(&matching("/%FF%00")), "/%FF%00");
    }

    #[test]
    fn written_prefixes_are_tidied() {
        for (given, tidied) in [
            ("/", "/"),
            ("/a/./b", "/a/b"),
            ("/a/../b/", "/b/"),
            ("/a//b", "/a/b"),
            ("/a/..", "/"),
            ("/../a", "/a"),
            ("/%41%2f", "/A%2F"),
        ] {
            assert_eq!(String::from_utf8_lossy(&tidy(given)), tidied, "{given}");
        }
    }
}
