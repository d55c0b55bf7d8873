//! One entry as one message of RFC 5424.

use crate::sink::entry::{Entry, What};
use crate::sink::fields::{Scratch, Value, Visit, Who, walk};
use crate::sink::filter::Names;
use crate::sink::generation::Encode;
use crate::sink::json::{cut, hex, millis, number, padded};
use crate::sink::record::{address, line_text};
use jiff::Timestamp;
use std::io::Write;

/// RFC 5424, 6: the most characters of each part.
const HOST_MAX: usize = 255;
const APP_MAX: usize = 48;
const MSGID_MAX: usize = 32;
const PARAM_MAX: usize = 32;
/// Of a long text this much is kept before fields are left out.
const TEXT_LEAST: usize = 128;
/// The byte order mark, which says that the text is UTF-8.
const BOM: &[u8] = "\u{feff}".as_bytes();
/// What says that something is missing.
const TRUNCATED: &[u8] = b" truncated=\"true\"";

/// How one message is told from the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Framing {
    /// A datagram is a message.
    #[default]
    None,
    /// Its length in bytes, and a space, before it (RFC 6587, 3.4.1).
    OctetCounting,
    /// A line feed behind it (RFC 6587, 3.4.2); those inside become spaces.
    Newline,
}

/// Writes messages of one sink.
pub(super) struct Syslog {
    pub(super) facility: u8,
    /// The service's name when there is none.
    pub(super) app_name: Option<String>,
    pub(super) sd_id: String,
    /// Bytes of a message.
    pub(super) max: usize,
    pub(super) framing: Framing,
    pub(super) names: Names,
    pub(super) scratch: Scratch,
    /// HOST, APP-NAME, PROCID, of the one who spoke last.
    pub(super) head: Vec<u8>,
    pub(super) head_of: u64,
    /// A second since 1970 and its text: one second has many records.
    pub(super) second: (u64, Vec<u8>),
    pub(super) text: Vec<u8>,
}

impl Default for Syslog {
    fn default() -> Syslog {
        Syslog {
            facility: 16,
            app_name: None,
            sd_id: String::new(),
            max: 2048,
            framing: Framing::default(),
            names: Names::default(),
            scratch: Scratch::default(),
            head: Vec::new(),
            head_of: 0,
            second: (0, Vec::new()),
            text: Vec::new(),
        }
    }
}

impl Encode for Syslog {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        let start = out.len();
        self.message(out, entry, who);
        match self.framing {
            Framing::None => {}
            Framing::OctetCounting => {
                let mut prefix = itoa::Buffer::new();
                let prefix = prefix.format(out.len() - start).as_bytes();
                out.splice(start..start, prefix.iter().chain(b" ").copied());
            }
            Framing::Newline => {
                out[start..].iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b' ');
                out.push(b'\n');
            }
        }
        true
    }
}

impl Syslog {
    fn message(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) {
        let limit = out.len() + self.max;
        out.push(b'<');
        number(out, u64::from(self.facility) * 8 + u64::from(entry.level.min(7)));
        out.extend_from_slice(b">1 ");
        self.time(out, entry.wall);
        self.head(out, who);
        match (entry.what, entry.command.is_empty()) {
            (What::Line, true) => out.push(b'-'),
            _ => name(out, entry.name(), MSGID_MAX, ""),
        }
        out.push(b' ');
        self.text.clear();
        match entry.what {
            What::Line => self.text.extend_from_slice(line_text(entry).as_bytes()),
            _ => command_text(&mut self.text, entry),
        }
        // Receivers written in C may see the end in it.
        self.text.iter_mut().filter(|b| **b == 0).for_each(|b| *b = b' ');

        let before = out.len();
        out.push(b'[');
        out.extend_from_slice(self.sd_id.as_bytes());
        let empty = out.len();
        let behind = TRUNCATED.len() + "] ".len() + BOM.len();
        let room = limit.saturating_sub(behind + self.text.len().min(TEXT_LEAST));
        let mut params = Params { out, room, less: false };
        who.constant(&self.names, &mut params);
        walk(entry, who, &self.names, &mut self.scratch, &mut params);
        let less = params.less || out.len() + "] ".len() + BOM.len() + self.text.len() > limit;
        if less && out.len() + behind <= limit {
            out.extend_from_slice(TRUNCATED);
        }
        if out.len() > empty {
            out.push(b']');
        } else {
            out.truncate(before);
            out.push(b'-');
        }
        out.push(b' ');
        out.extend_from_slice(BOM);
        // It was made of whole texts.
        let text = std::str::from_utf8(&self.text).unwrap_or_default();
        out.extend_from_slice(cut(text, limit.saturating_sub(out.len())).0.as_bytes());
    }

    /// RFC 3339 in UTC, six decimals.
    fn time(&mut self, out: &mut Vec<u8>, wall: u64) {
        let (second, micros) = (wall / 1_000_000, wall % 1_000_000);
        if self.second.0 != second {
            self.second.0 = second;
            self.second.1.clear();
            let at = i64::try_from(second).ok().and_then(|s| Timestamp::from_second(s).ok());
            if let Some(at) = at {
                // Writing to a Vec cannot fail.
                let _ = write!(self.second.1, "{}", at.strftime("%Y-%m-%dT%H:%M:%S."));
            }
        }
        if wall == 0 || self.second.1.is_empty() {
            out.extend_from_slice(b"- ");
            return;
        }
        out.extend_from_slice(&self.second.1);
        padded(out, micros, 6);
        out.extend_from_slice(b"Z ");
    }

    fn head(&mut self, out: &mut Vec<u8>, who: &Who) {
        if self.head_of != who.number {
            self.head_of = who.number;
            self.head.clear();
            name(&mut self.head, &who.hostname, HOST_MAX, "");
            self.head.push(b' ');
            name(&mut self.head, self.app_name.as_deref().unwrap_or(&who.service), APP_MAX, "");
            self.head.push(b' ');
            number(&mut self.head, u64::from(std::process::id()));
            self.head.push(b' ');
        }
        out.extend_from_slice(&self.head);
    }
}

/// What a command's record says to people.
fn command_text(out: &mut Vec<u8>, entry: &Entry<'_>) {
    out.extend_from_slice(entry.name().as_bytes());
    out.push(b' ');
    match entry.status {
        0 => out.extend_from_slice(entry.outcome().as_bytes()),
        status => number(out, u64::from(status)),
    }
    out.push(b' ');
    millis(out, entry.total.duration());
    out.extend_from_slice(b" ms");
}

/// A name of at most `max` characters: printable ASCII without spaces and without these, for which an underscore
/// stands; `-` when there is none.
fn name(out: &mut Vec<u8>, text: &str, max: usize, without: &str) {
    let start = out.len();
    let fits = |c: char| c.is_ascii_graphic() && !without.contains(c);
    out.extend(text.trim().chars().take(max).map(|c| if fits(c) { c as u8 } else { b'_' }));
    if out.len() == start {
        out.push(b'-');
    }
}

/// Writes fields as parameters of the structured data, as long as there is room.
struct Params<'a> {
    out: &'a mut Vec<u8>,
    room: usize,
    /// Whether one was left out.
    less: bool,
}

impl Visit for Params<'_> {
    fn field(&mut self, field: &str, value: Value<'_>) {
        let before = self.out.len();
        let out = &mut *self.out;
        out.push(b' ');
        name(out, field, PARAM_MAX, "=]\"");
        out.extend_from_slice(b"=\"");
        match value {
            Value::Text(text) => {
                // A text beyond the room would be taken back anyway.
                let (text, less) = cut(text, self.room);
                self.less |= less;
                escaped(out, text);
            }
            Value::Int(n) => number(out, n),
            Value::Millis(d) => millis(out, d),
            Value::Ip(ip) => address(out, ip),
            Value::TraceId(id) => hex(out, &id.to_be_bytes()),
            Value::SpanId(id) => hex(out, &id.to_be_bytes()),
        }
        out.push(b'"');
        if out.len() > self.room {
            out.truncate(before);
            self.less = true;
        }
    }
}

/// RFC 5424, 6.3.3: three characters have a backslash before them. A NUL is a space.
fn escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | b']' => out.extend_from_slice(&[b'\\', byte]),
            0 => out.push(b' '),
            _ => out.push(byte),
        }
    }
}
