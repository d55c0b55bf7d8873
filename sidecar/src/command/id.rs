//! Ids of commands: the caller's, if it can travel in logs, URLs and headers; else a UUIDv7 of ours.

use std::time::{SystemTime, UNIX_EPOCH};

/// Longest id that a caller may give.
const ID_MAX: usize = 256;

/// A caller's id, without the quotes of a structured field (RFC 9651).
pub(super) fn given(raw: &str) -> Option<String> {
    let raw = raw.trim();
    let bare = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')).unwrap_or(raw);
    let legal = !bare.is_empty() && bare.len() <= ID_MAX && bare.bytes().all(|b| b.is_ascii_graphic());
    legal.then(|| bare.to_owned())
}

/// A new UUIDv7 (RFC 9562, 5.7): sorts by time.
pub(super) fn new() -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let random = fastrand::u128(..);
    let bits = (ms & 0xFFFF_FFFF_FFFF) << 80
        | 7 << 76
        | (random >> 64 & 0xFFF) << 64
        | 0b10 << 62
        | random & (u128::MAX >> 66);
    let mut out = [b'-'; 36];
    let mut at = 0;
    for i in 0..32 {
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        out[at] = HEX[(bits >> (124 - 4 * i)) as usize & 15];
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let id = new();
        assert_eq!((id.len(), &id[14..15]), (36, "7"));
        assert!("89ab".contains(&id[19..20]) && id != new());
        assert_eq!(given("\"8e03\"").as_deref(), Some("8e03"));
        assert_eq!(given("8e03").as_deref(), Some("8e03"));
        for bad in ["", "\"\"", "a b", "é", &"x".repeat(257)] {
            assert_eq!(given(bad), None);
        }
    }
}
