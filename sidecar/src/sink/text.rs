//! One entry as one line for people.

use super::entry::{Entry, What};
use super::json::{cut, millis, number, padded};
use crate::exchange::Direction;

/// Bytes that one value may take in a line.
const VALUE_MAX: usize = 200;
/// Bytes that a worker's own line may take.
const MESSAGE_MAX: usize = 8 << 10;
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
    pub(crate) fn line(&self, out: &mut Vec<u8>, entry: &Entry<'_>) {
        // The time of the day, UTC.
        let second = entry.wall / 1_000_000 % 86_400;
        self.paint(out, "2");
        padded(out, second / 3600, 2);
        out.push(b':');
        padded(out, second / 60 % 60, 2);
        out.push(b':');
        padded(out, second % 60, 2);
        out.push(b'.');
        padded(out, entry.wall / 1000 % 1000, 3);
        self.paint(out, "0");
        out.push(b' ');
        self.paint(
            out,
            match entry.level {
                0..=3 => "31",
                4 => "33",
                5 => "36",
                _ => "32",
            },
        );
        match (entry.what, entry.status) {
            (What::Line, _) => out.extend_from_slice(b"log"),
            (_, 0) => out.extend_from_slice(b"---"),
            (_, status) => padded(out, u64::from(status), 3),
        }
        self.paint(out, "0");
        out.extend_from_slice(match entry.direction {
            Some(Direction::Outbound) => b" out ",
            Some(Direction::Inbound) => b" in  ",
            None => b"     ",
        });
        self.paint(out, "1");
        let name = if entry.what == What::Line && entry.command.is_empty() { "" } else { entry.name() };
        column(out, NAME_WIDTH, |out| value(out, name, VALUE_MAX));
        self.paint(out, "0");
        if entry.what == What::Line {
            value(out, entry.message, MESSAGE_MAX);
            if entry.id.is_empty() {
                return out.push(b'\n');
            }
            out.push(b' ');
        } else {
            self.end(out, entry);
        }
        out.extend_from_slice(b"id=");
        value(out, entry.id, VALUE_MAX);
        for (key, tag) in entry.tags.iter().filter(|(_, v)| !v.is_empty()) {
            out.push(b' ');
            value(out, key, VALUE_MAX);
            out.push(b'=');
            value(out, tag, VALUE_MAX);
        }
        if !entry.fault.is_empty() {
            out.push(b' ');
            self.paint(out, "31");
            out.extend_from_slice(entry.fault.as_bytes());
            out.extend_from_slice(b": ");
            value(out, entry.detail, VALUE_MAX);
            self.paint(out, "0");
        }
        out.push(b'\n');
    }

    /// How a command ended.
    fn end(&self, out: &mut Vec<u8>, entry: &Entry<'_>) {
        let start = out.len();
        millis(out, entry.total.duration());
        out.extend_from_slice(b" ms");
        // Right-aligned: the padding goes in front.
        let missing = 12usize.saturating_sub(out.len() - start);
        out.splice(start..start, std::iter::repeat_n(b' ', missing));
        out.push(b' ');
        column(out, 12, |out| value(out, entry.outcome(), VALUE_MAX));
        column(out, 16, |out| value(out, entry.service, VALUE_MAX));
        if entry.attempt > 1 {
            out.extend_from_slice(b"attempt=");
            number(out, u64::from(entry.attempt));
            out.push(b' ');
        }
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
fn value(out: &mut Vec<u8>, text: &str, max: usize) {
    let mut buffer = [0; 4];
    for c in cut(text, max).0.chars() {
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
        TextEncoder::new(false).line(&mut out, &Entry::of(What::Command, &x));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "22:13:20.125 200 in  CreateOrder                  12.34 ms success      order            id=42 shop=7 evil=a?b?[31m\n"
        );
        let mut out = Vec::new();
        TextEncoder::new(true).line(&mut out, &Entry::of(What::Command, &x));
        assert!(String::from_utf8(out).unwrap().contains("\u{1b}[32m200\u{1b}[0m"));
    }
}
