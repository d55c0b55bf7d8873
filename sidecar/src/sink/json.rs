//! Just enough JSON writing for records: no allocation, no intermediate value.

use std::time::Duration;

/// The most bytes of one string: Lucene, and so Graylog, refuses a keyword over 32,766.
pub(crate) const STRING_MAX: usize = 32_000;

/// Appends the text as the inside of a JSON string, cut at `max` bytes on a character's border. True when it was cut.
pub(crate) fn escaped(out: &mut Vec<u8>, text: &str, max: usize) -> bool {
    let (text, cut) = cut(text, max);
    let mut rest = text.as_bytes();
    loop {
        let clean = clean_run(rest);
        out.extend_from_slice(&rest[..clean]);
        let Some(&byte) = rest.get(clean) else { return cut };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                hex(out, &[byte]);
            }
        }
        rest = &rest[clean + 1..];
    }
}

/// The text's beginning whose escaped form has at most `room` bytes, and whether that is less than all.
pub(crate) fn fitting(text: &str, room: usize) -> (&str, bool) {
    // Nothing needs more than six bytes.
    if text.len() <= room / 6 {
        return (text, false);
    }
    let mut used = 0;
    for (at, byte) in text.bytes().enumerate() {
        used += match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
            0..0x20 => 6,
            _ => 1,
        };
        if used > room {
            return cut(text, at);
        }
    }
    (text, false)
}

/// The text's beginning of at most `max` bytes, and whether that is less than all.
pub(crate) fn cut(text: &str, max: usize) -> (&str, bool) {
    if text.len() <= max {
        return (text, false);
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], true)
}

/// How many leading bytes need no escape. Eight at a time: most strings have none.
fn clean_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The usual trick for "has a byte below n / equal to n"; bytes above 127 are masked out.
    let dirty = |word: u64| {
        let low = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let slash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        (low | quote | slash) & !word & HIGHS != 0
    };
    let mut at = 0;
    while let Some(word) = bytes.get(at..at + 8).and_then(|b| <[u8; 8]>::try_from(b).ok()) {
        if dirty(u64::from_le_bytes(word)) {
            break;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|b| **b >= 0x20 && **b != b'"' && **b != b'\\').count()
}

/// Appends a whole number.
pub(crate) fn number(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Appends milliseconds with one to three decimals, never without a point and never with an exponent: an index
/// that saw `5` first would take the field for a whole number for ever.
pub(crate) fn millis(out: &mut Vec<u8>, d: Duration) {
    let micros = u64::try_from(d.as_nanos().saturating_add(500) / 1000).unwrap_or(u64::MAX);
    number(out, micros / 1000);
    let rest = micros % 1000;
    out.push(b'.');
    out.push(b'0' + (rest / 100) as u8);
    if rest % 100 != 0 {
        out.push(b'0' + (rest / 10 % 10) as u8);
        if rest % 10 != 0 {
            out.push(b'0' + (rest % 10) as u8);
        }
    }
}

/// Appends bytes as hexadecimal digits.
pub(crate) fn hex<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [[0; 2]; N];
    for (pair, byte) in text.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    out.extend_from_slice(text.as_flattened());
}

/// Appends a number with leading zeros, at most eight digits.
pub(crate) fn padded(out: &mut Vec<u8>, mut n: u64, digits: usize) {
    let mut text = [b'0'; 8];
    let text = &mut text[..digits.min(8)];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_as_they_were() {
        let long = "x".repeat(100);
        for text in
            ["", "plain", "a\nb\"c\\d\te\u{0}\u{1f}\r", "é€😀 and more text behind it \"", "\u{7f}\u{80}", &long]
        {
            for shift in 0..9 {
                let text = format!("{}{text}", "y".repeat(shift));
                let mut out = vec![b'"'];
                assert!(!escaped(&mut out, &text, STRING_MAX));
                out.push(b'"');
                assert!(!out.contains(&0));
                assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            }
        }
        let mut out = Vec::new();
        assert!(escaped(&mut out, "aaa😀", 5));
        assert_eq!(out, b"aaa");
    }

    #[test]
    fn what_fits_fits_exactly() {
        for (text, room, expected) in
            [("abc", 3, "abc"), ("abc", 2, "ab"), ("a\n\u{1}b", 9, "a\n\u{1}"), ("a\u{1}b", 6, "a"), ("😀😀", 7, "😀")]
        {
            let (part, less) = fitting(text, room);
            assert_eq!((part, less), (expected, part.len() < text.len()));
            let mut out = Vec::new();
            escaped(&mut out, part, usize::MAX);
            assert!(out.len() <= room);
        }
    }

    #[test]
    fn milliseconds_always_have_a_point() {
        let show = |nanos| {
            let mut out = Vec::new();
            millis(&mut out, Duration::from_nanos(nanos));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(show(5_000_000), "5.0");
        assert_eq!(show(12_340_000), "12.34");
        assert_eq!(show(400_000), "0.4");
        assert_eq!(show(1_500), "0.002");
        assert_eq!(show(0), "0.0");
        assert_eq!(show(12_005_000), "12.005");
    }
}
