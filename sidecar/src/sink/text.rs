//! One exchange as one line for people.

use super::json::{cut, millis, number, padded};
use super::record::{level, name_of};
use crate::exchange::Exchange;
use std::time::UNIX_EPOCH;

/// Bytes that one value may take in a line.
const VALUE_MAX: usize = 200;
/// Width of the column of names.
const NAME_WIDTH: usize = 24;

/// Writes aligned lines, with colours or without.
#[derive(Debug, Clone)]
pub(crate) struct TextEncoder {
    colour: bool,
}

impl TextEncoder {
    /// An encoder; colours are for terminals whose user did not ask for none.
    pub(crate) fn new(colour: bool) -> TextEncoder {
        TextEncoder { colour }
    }

    /// Appends the line, its end included.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, x: &Exchange) {
        // The time of the day, UTC.
        let since = x.timings.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs() % 86_400;
        self.paint(out, "2");
        padded(out, second / 3600, 2);
        out.push(b':');
        padded(out, second / 60 % 60, 2);
        out.push(b':');
        padded(out, second % 60, 2);
        out.push(b'.');
        padded(out, u64::from(since.subsec_millis()), 3);
        self.paint(out, "0");
        out.push(b' ');
        self.paint(
            out,
            match level(x) {
                0..=3 => "31",
                4 => "33",
                5 => "36",
                _ => "32",
            },
        );
        match x.status {
            0 => out.extend_from_slice(b"---"),
            status => padded(out, u64::from(status), 3),
        }
        self.paint(out, "0");
        out.extend_from_slice(if x.direction.as_str() == "inbound" { b" in  " } else { b" out " });
        self.paint(out, "1");
        column(out, NAME_WIDTH, |out| value(out, name_of(x)));
        self.paint(out, "0");
        let start = out.len();
        millis(out, x.timings.total());
        out.extend_from_slice(b" ms");
        // Right-aligned: the padding goes in front.
        let missing = 12usize.saturating_sub(out.len() - start);
        out.splice(start..start, std::iter::repeat_n(b' ', missing));
        out.push(b' ');
        column(out, 12, |out| value(out, x.outcome().as_str()));
        column(out, 16, |out| value(out, &x.service));
        if x.attempt > 1 {
            out.extend_from_slice(b"attempt=");
            number(out, u64::from(x.attempt));
            out.push(b' ');
        }
        out.extend_from_slice(b"id=");
        value(out, &x.command.id);
        for (key, tag) in x.command.tags.iter().filter(|(_, v)| !v.is_empty()) {
            out.push(b' ');
            value(out, key);
            out.push(b'=');
            value(out, tag);
        }
        if let Some(fault) = &x.fault {
            out.push(b' ');
            self.paint(out, "31");
            out.extend_from_slice(fault.kind.code().as_bytes());
            out.extend_from_slice(b": ");
            value(out, &fault.detail);
            self.paint(out, "0");
        }
        out.push(b'\n');
    }

    fn paint(&self, out: &mut Vec<u8>, code: &str) {
        if self.colour {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(code.as_bytes());
            out.push(b'm');
        }
    }
}

/// A value of the outside: control characters could end the line or command the terminal.
fn value(out: &mut Vec<u8>, text: &str) {
    let mut buffer = [0; 4];
    for c in cut(text, VALUE_MAX).0.chars() {
        let c = if c.is_control() { '?' } else { c };
        out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    }
}

/// Fills up with spaces to the width, and one more.
fn column(out: &mut Vec<u8>, width: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let shown = out[start..].iter().filter(|b| **b & 0xc0 != 0x80).count();
    out.resize(out.len() + width.saturating_sub(shown) + 1, b' ');
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{identity, sample};
    use super::*;

    #[test]
    fn a_line_is_one_aligned_line() {
        let mut x = sample(&identity(&[("team", "orders")]));
        x.command.tags.push(("evil".into(), "a\nb\u{1b}[31m".into()));
        let mut out = Vec::new();
        TextEncoder::new(false).encode(&mut out, &x);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "22:13:20.125 200 in  CreateOrder                  12.34 ms success      order            id=42 shop=7 evil=a?b?[31m\n"
        );
        let mut out = Vec::new();
        TextEncoder::new(true).encode(&mut out, &x);
        assert!(String::from_utf8(out).unwrap().contains("\u{1b}[32m200\u{1b}[0m"));
    }
}
