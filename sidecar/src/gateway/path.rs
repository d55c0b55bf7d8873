//! The form in which paths are compared: escapes of ordinary characters undone, dots walked, slashes merged.

/// Escapes of these characters stay escapes.
const RESERVED: &[u8] = b"!*'();:@&=+$,/?%#[]";

/// A path without its query, normalised as Kong does before it looks for a route.
#[must_use]
pub fn normalized(path: &str) -> String {
    let decoded = decoded(path.as_bytes());
    let mut out: Vec<u8> = Vec::with_capacity(decoded.len());
    let mut segments = decoded.split(|b| *b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." | b"" => {}
            b".." => {
                let parent = out.iter().rposition(|b| *b == b'/').unwrap_or(0);
                out.truncate(parent);
            }
            other => {
                out.push(b'/');
                out.extend_from_slice(other);
                continue;
            }
        }
        // What ends in a slash or in dots names a directory.
        if last {
            out.push(b'/');
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escape = after.first_chunk::<2>().and_then(|two| Some(hex(two[0])? << 4 | hex(two[1])?));
        match (first, escape) {
            (b'%', Some(byte)) => {
                rest = after.get(2..).unwrap_or_default();
                if RESERVED.contains(&byte) {
                    out.extend_from_slice(format!("%{byte:02X}").as_bytes());
                } else {
                    out.push(byte);
                }
            }
            _ => out.push(*first),
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::normalized;

    #[test]
    fn paths_take_one_form() {
        for (from, to) in [
            ("/", "/"),
            ("", "/"),
            ("/a/./b", "/a/b"),
            ("/a/../b//c", "/b/c"),
            ("/../..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a//", "/a/"),
            ("/%61%2f%2E%2e", "/a%2F.."),
            ("/%6Aohn%20doe", "/john doe"),
            ("/100%", "/100%"),
            ("/%zz%e9", "/%zz\u{fffd}"),
        ] {
            assert_eq!(normalized(from), to, "{from}");
        }
    }
}
