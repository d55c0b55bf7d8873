//! One entry as one JSON object: GELF 1.1, or the same words without underscores.

use super::entry::{Entry, What};
use super::fields::{Scratch, Value, Visit, Who, walk};
use super::filter::Names;
use super::json::{STRING_MAX, escaped, fitting, hex, millis, number, padded};
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

    /// Records of at most so many bytes from now on.
    pub(crate) fn at_most(&mut self, max: usize) {
        self.max = max;
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
        self.encode_with(out, entry, who, STRING_MAX, usize::MAX);
        if out.len() - start > self.max {
            out.truncate(start);
            self.encode_with(out, entry, who, STRING_SMALL, start.saturating_add(self.max));
        }
    }

    /// Each text has at most `max` bytes before escaping, and everything ends at `limit`.
    fn encode_with(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who, max: usize, limit: usize) {
        out.extend_from_slice(&self.head);
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
        // A receiver looks for words in the short one; all of a long line stands in the full one.
        let (mut cut, mut full) = (false, false);
        match entry.what {
            What::Line => full = escaped(out, line_text(entry), max),
            _ => cut = message(out, entry, max),
        }
        out.push(b'"');
        let room = limit.saturating_sub(TAIL);
        let prefix = self.prefix();
        let mut fields = Limited { inner: JsonFields { out, prefix, max, cut }, room };
        walk(entry, who, &self.names, &mut self.scratch, &mut fields);
        let mut fields = fields.inner;
        if full {
            fields.cut |= full_message(fields.out, entry.message, room);
        }
        if fields.cut {
            fields.field("truncated", Value::Text("true"));
        }
        out.push(b'}');
    }
}

/// Bytes behind everything else: the mark that something was cut, and the brace.
const TAIL: usize = ",\"_truncated\":\"true\"}".len();

/// Leaves out what would go beyond the room.
struct Limited<'a> {
    inner: JsonFields<'a>,
    room: usize,
}

impl Visit for Limited<'_> {
    fn field(&mut self, name: &str, value: Value<'_>) {
        let before = self.inner.out.len();
        self.inner.field(name, value);
        if self.inner.out.len() > self.room {
            self.inner.out.truncate(before);
            self.inner.cut = true;
        }
    }
}

/// What a line says; receivers refuse a message without text.
pub(crate) fn line_text<'a>(entry: &'a Entry<'_>) -> &'a str {
    match (entry.message.trim().is_empty(), entry.command.trim().is_empty()) {
        (false, _) => entry.message,
        (true, false) => entry.command,
        (true, true) => "(an empty line)",
    }
}

/// All of a line's text, or as much as there is room for. True when it was cut.
fn full_message(out: &mut Vec<u8>, text: &str, room: usize) -> bool {
    const AROUND: &str = ",\"full_message\":\"\"";
    let (part, less) = fitting(text, room.saturating_sub(out.len() + AROUND.len()));
    if !part.is_empty() {
        out.extend_from_slice(&AROUND.as_bytes()[..AROUND.len() - 1]);
        escaped(out, part, usize::MAX);
        out.push(b'"');
    }
    less
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
