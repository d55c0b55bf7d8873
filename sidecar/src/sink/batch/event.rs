//! What the JSON of several receivers has in common.

use crate::sink::entry::{Entry, What};
use crate::sink::fields::Value;
use crate::sink::filter::LEVELS;
use crate::sink::json::{STRING_MAX, escaped, hex, millis, number};
use crate::sink::record::{address, message};
use std::io::Write;

/// Bytes that each text may have when the whole event would be too large otherwise.
const STRING_SMALL: usize = 256;

/// How long texts of one event may be, in bytes before escaping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// A field's.
    pub(crate) text: usize,
    /// A worker's line.
    pub(crate) message: usize,
}

/// Writes an event of at most `max` bytes: whole, or if that is too long, with its texts cut. An event that is still
/// too long stays so: the receiver, or our buffer, will refuse it and it is counted there.
pub(crate) fn fitting(out: &mut Vec<u8>, max: usize, mut write: impl FnMut(&mut Vec<u8>, Room)) {
    let start = out.len();
    write(out, Room { text: STRING_MAX, message: max });
    if out.len() - start > max {
        out.truncate(start);
        // An escape makes up to six bytes of one.
        write(out, Room { text: STRING_SMALL, message: max / 8 });
    }
}

/// Appends a time as ISO 8601 in UTC with microseconds, in quotes.
pub(crate) fn iso_8601(out: &mut Vec<u8>, micros: u64) {
    let at = i64::try_from(micros).ok().and_then(|n| jiff::Timestamp::from_microsecond(n).ok()).unwrap_or_default();
    // Writing to a Vec cannot fail.
    let _ = write!(out, "\"{at:.6}\"");
}

/// The word for an entry's level.
pub(crate) fn level(entry: &Entry<'_>) -> &'static str {
    LEVELS[usize::from(entry.level.min(7))]
}

/// Appends an entry's message in quotes; true when it was cut.
pub(crate) fn text(out: &mut Vec<u8>, entry: &Entry<'_>, room: Room) -> bool {
    out.push(b'"');
    let cut = match entry.what {
        What::Line => escaped(out, entry.message, room.message),
        _ => message(out, entry, room.text),
    };
    out.push(b'"');
    cut
}

/// Appends a value as text, in quotes.
pub(crate) fn quoted(out: &mut Vec<u8>, value: Value<'_>, max: usize) -> bool {
    out.push(b'"');
    let cut = match value {
        Value::Text(text) => escaped(out, text, max),
        Value::Int(n) => {
            number(out, n);
            false
        }
        Value::Millis(d) => {
            millis(out, d);
            false
        }
        Value::Ip(ip) => {
            address(out, ip);
            false
        }
        Value::TraceId(id) => {
            hex(out, &id.to_be_bytes());
            false
        }
        Value::SpanId(id) => {
            hex(out, &id.to_be_bytes());
            false
        }
    };
    out.push(b'"');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_long_texts() {
        let mut out = Vec::new();
        iso_8601(&mut out, 1_700_000_000_125_000);
        assert_eq!(out, b"\"2023-11-14T22:13:20.125000Z\"");
        let long = "\u{1}".repeat(10_000);
        let entry = Entry::line(6, 1, &long, Vec::new());
        let mut out = Vec::new();
        let mut cut = false;
        fitting(&mut out, 8000, |out, room| cut = text(out, &entry, room));
        assert!(cut && out.len() <= 8000 && out.len() > 5000, "{}", out.len());
        assert!(serde_json::from_slice::<String>(&out).is_ok());
    }
}
