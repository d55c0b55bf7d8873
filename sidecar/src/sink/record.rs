//! One entry as one JSON object: GELF 1.1, or the same words without underscores.

use super::entry::{Entry, What};
use super::fields::{Scratch, Value, Visit, Who, walk};
use super::filter::Names;
use super::json::{STRING_MAX, escaped, hex, millis, number, padded};
use std::io::Write;
use std::net::IpAddr;

/// Bytes that each text may have when the whole record would be too large otherwise.
const STRING_SMALL: usize = 256;

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Fields of ours begin with an underscore.
    Gelf,
    /// They don't.
    Json,
}

/// Writes records of one sink.
#[derive(Debug)]
pub(crate) struct RecordEncoder {
    form: Form,
    max: usize,
    names: Names,
    scratch: Scratch,
    /// What is the same in every record, of the one who spoke last.
    head: Vec<u8>,
    head_of: u64,
}

/// Writes fields as JSON.
pub(crate) struct JsonFields<'a> {
    /// Where to.
    pub(crate) out: &'a mut Vec<u8>,
    /// In front of each name.
    pub(crate) prefix: &'a str,
    /// The most bytes of one text.
    pub(crate) max: usize,
    /// Whether one was cut.
    pub(crate) cut: bool,
}

impl Visit for JsonFields<'_> {
    fn field(&mut self, name: &str, value: Value<'_>) {
        let out = &mut *self.out;
        out.extend_from_slice(b",\"");
        out.extend_from_slice(self.prefix.as_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match value {
            Value::Text(text) => {
                out.push(b'"');
                self.cut |= escaped(out, text, self.max);
                out.push(b'"');
            }
            Value::Int(n) => number(out, n),
            Value::Millis(d) => millis(out, d),
            Value::Ip(ip) => {
                out.push(b'"');
                address(out, ip);
                out.push(b'"');
            }
            Value::TraceId(id) => {
                out.push(b'"');
                hex(out, &id.to_be_bytes());
                out.push(b'"');
            }
            Value::SpanId(id) => {
                out.push(b'"');
                hex(out, &id.to_be_bytes());
                out.push(b'"');
            }
        }
    }
}

impl RecordEncoder {
    /// An encoder of records of at most `max` bytes (texts are cut to keep it).
    pub(crate) fn new(form: Form, names: Names, max: usize) -> RecordEncoder {
        RecordEncoder { form, max, names, scratch: Scratch::default(), head: Vec::new(), head_of: 0 }
    }

    fn prefix(&self) -> &'static str {
        if self.form == Form::Gelf { "_" } else { "" }
    }

    /// Appends the record of an entry.
    pub(crate) fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) {
        if self.head_of != who.number {
            self.head_of = who.number;
            self.head.clear();
            self.head.extend_from_slice(b"{\"version\":\"1.1\",\"host\":\"");
            escaped(&mut self.head, &who.hostname, STRING_SMALL);
            self.head.push(b'"');
            let prefix = self.prefix();
            let mut fields = JsonFields { out: &mut self.head, prefix, max: STRING_SMALL, cut: false };
            who.constant(&self.names, &mut fields);
        }
        let start = out.len();
        self.encode_with(out, entry, who, STRING_MAX);
        if out.len() - start > self.max {
            out.truncate(start);
            self.encode_with(out, entry, who, STRING_SMALL);
        }
    }

    fn encode_with(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who, max: usize) {
        out.extend_from_slice(&self.head);
        let mut cut = false;
        // Zero and before would mean "now" to a receiver.
        if entry.wall > 0 {
            out.extend_from_slice(b",\"timestamp\":");
            number(out, entry.wall / 1_000_000);
            out.push(b'.');
            padded(out, entry.wall % 1_000_000, 6);
        }
        out.extend_from_slice(b",\"level\":");
        out.push(b'0' + entry.level.min(7));
        out.extend_from_slice(b",\"short_message\":\"");
        // A receiver looks for words in the short one; the rest of a long line stands in the full one.
        let (short, rest) = match entry.what {
            What::Line => super::json::cut(entry.message, max.min(self.max / 8).min(STRING_MAX)),
            _ => ("", false),
        };
        match entry.what {
            What::Line => drop(escaped(out, short, max)),
            _ => cut |= message(out, entry, max),
        }
        out.push(b'"');
        if rest {
            out.extend_from_slice(b",\"full_message\":\"");
            // An escape makes up to six bytes of one.
            let room = self.max.saturating_sub(out.len()) / 7;
            let room = if max == STRING_MAX { entry.message.len().min(self.max) } else { room };
            cut |= escaped(out, entry.message, room);
            out.push(b'"');
        }
        let prefix = self.prefix();
        let mut fields = JsonFields { out, prefix, max, cut };
        walk(entry, who, &self.names, &mut self.scratch, &mut fields);
        if fields.cut {
            fields.field("truncated", Value::Text("true"));
        }
        out.push(b'}');
    }
}

/// The message of a command's record: name, status or outcome, duration. True when it was cut.
pub(crate) fn message(out: &mut Vec<u8>, entry: &Entry<'_>, max: usize) -> bool {
    let cut = escaped(out, entry.name(), max);
    out.push(b' ');
    match entry.status {
        0 => out.extend_from_slice(entry.outcome().as_bytes()),
        status => number(out, u64::from(status)),
    }
    out.push(b' ');
    millis(out, entry.total.duration());
    out.extend_from_slice(b" ms");
    cut
}

/// An address as text; the usual kind without the formatting machinery.
pub(crate) fn address(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            number(out, a.into());
            for part in [b, c, d] {
                out.push(b'.');
                number(out, part.into());
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

#[cfg(test)]
pub(crate) mod tests;
