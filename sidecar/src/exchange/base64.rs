//! Base64 (RFC 4648), as header lines, tokens, passwords and documents have it.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as text, with padding.
pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * at) & 63) as usize).copied().unwrap_or_default();
            out.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// In tokens: no padding, nothing else in between, one spelling for each value.
pub fn from_base64url(text: &[u8]) -> Option<Vec<u8>> {
    let (bytes, left) = read(text, |b| match b {
        b'-' => Some(62),
        b'_' => Some(63),
        _ => common(b),
    })?;
    (left == 0).then_some(bytes)
}

/// In header lines: padded or not.
pub fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let letter = |b| match b {
        b'+' => Some(62),
        b'/' => Some(63),
        _ => common(b),
    };
    Some(read(text, letter)?.0)
}

/// In shared secrets: either alphabet, padded or not.
pub fn from_base64any(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let letter = |b| match b {
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => common(b),
    };
    Some(read(text, letter)?.0)
}

fn common(b: u8) -> Option<u8> {
    match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        _ => None,
    }
}

/// The bytes, and the bits of the last letter that belong to none.
fn read(text: &[u8], letter: impl Fn(u8) -> Option<u8>) -> Option<(Vec<u8>, u32)> {
    if text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut held, mut bits) = (0_u32, 0);
    for b in text {
        held = held << 6 | u32::from(letter(*b)?);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits & 0xff) as u8);
        }
        held &= (1 << bits) - 1;
    }
    Some((out, held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_there_and_back() {
        // RFC 4648, 10.
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(from_base64(text.as_bytes()).unwrap(), bytes.as_bytes());
            let bare = text.trim_end_matches('=').as_bytes();
            assert_eq!(from_base64(bare).unwrap(), bytes.as_bytes());
            assert_eq!(from_base64url(bare).unwrap(), bytes.as_bytes());
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_base64(base64(&all).as_bytes()).unwrap(), all);
        assert_eq!(from_base64url(b"-_-_").unwrap(), from_base64(b"+/+/").unwrap());
        assert_eq!(from_base64any(b"-_+/").unwrap(), from_base64(b"+/+/").unwrap());
        for bad in ["Z", "Zg==", "Zm9vZ", "Zm 9v", "+/+/", "Zh", "Zm9", "\u{e9}mlk"] {
            assert_eq!(from_base64url(bad.as_bytes()), None, "{bad}");
        }
        for bad in ["Z", "=", "Zg=", "Z===", "Zm9v\n", "-_-_"] {
            let taken = from_base64(bad.as_bytes());
            // One sign of padding too few is as good as none.
            assert_eq!(taken.is_some(), matches!(bad, "=" | "Zg="), "{bad:?}");
        }
    }
}
