//! One exchange as one JSON object: GELF 1.1, or the same words without underscores.
//!
//! What never changes is encoded when the sink is set up. Types are fixed for every field, because a search index
//! keeps the type that it saw first: tags are always text, durations always have a decimal point.

use super::json::{STRING_MAX, escaped, hex, millis, number, padded};
use crate::exchange::{Exchange, Identity, Outcome};
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

/// Bytes that each text may have when the whole record would be too large otherwise.
const STRING_SMALL: usize = 256;
/// The longest key of a tag.
const KEY_MAX: usize = 128;

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Fields of ours begin with an underscore.
    Gelf,
    /// They don't.
    Json,
}

/// The constant part of every record of one sink.
#[derive(Debug, Clone)]
pub(crate) struct RecordEncoder {
    form: Form,
    max: usize,
    head: Vec<u8>,
    tags: Vec<ConfigTag>,
    /// All of `tags` behind each other, for the usual command that overrides none.
    all_fields: Vec<u8>,
    all_joined: Vec<u8>,
}

#[derive(Debug, Clone)]
struct ConfigTag {
    key: String,
    field: Vec<u8>,
    joined: Vec<u8>,
}

/// Syslog's severity of a record (RFC 5424, 6.2.1).
pub(crate) fn level(x: &Exchange) -> u8 {
    match x.outcome() {
        Outcome::ServerError | Outcome::Unreachable | Outcome::Timeout | Outcome::Dead | Outcome::Unknown => 3,
        Outcome::ClientError | Outcome::Rejected | Outcome::Cancelled | Outcome::Expired => 4,
        Outcome::Success | Outcome::Accepted if x.attempt > 1 => 5,
        Outcome::Success | Outcome::Accepted => 6,
    }
}

/// What to call a command that nothing named.
pub(crate) fn name_of(x: &Exchange) -> &str {
    match (x.command.name.trim().is_empty(), x.route.trim().is_empty()) {
        (false, _) => &x.command.name,
        (true, false) => &x.route,
        (true, true) => "command",
    }
}

/// A byte of a tag's key as a field name may have it: Graylog drops fields with any other.
fn key_byte(b: u8) -> u8 {
    if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_') { b } else { b'_' }
}

/// Whether two keys become the same field. A character of several bytes becomes one `_`.
fn same_key(a: &str, b: &str) -> bool {
    if a.len() != b.len() && a.is_ascii() && b.is_ascii() && a.len().min(b.len()) < KEY_MAX {
        return false;
    }
    a == b || clean_key(a).eq(clean_key(b))
}

fn clean_key(key: &str) -> impl Iterator<Item = u8> + '_ {
    super::json::cut(key, KEY_MAX).0.chars().map(|c| key_byte(u8::try_from(c).unwrap_or(b'/')))
}

/// The beginning of a field of ours in both forms; one piece each, because there are many fields.
macro_rules! key {
    ($name:literal) => {
        (concat!(",\"_", $name, "\":"), concat!(",\"", $name, "\":"))
    };
}

type Key = (&'static str, &'static str);

fn text(out: &mut Vec<u8>, value: &str, max: usize) -> bool {
    out.push(b'"');
    let was_cut = escaped(out, value, max);
    out.push(b'"');
    was_cut
}

impl RecordEncoder {
    /// An encoder of records of at most `max` bytes (texts are cut to keep it).
    pub(crate) fn new(form: Form, identity: &Identity, max: usize) -> RecordEncoder {
        let mut encoder = RecordEncoder {
            form,
            max,
            head: b"{\"version\":\"1.1\"".to_vec(),
            tags: Vec::new(),
            all_fields: Vec::new(),
            all_joined: Vec::new(),
        };
        let host = if identity.hostname.trim().is_empty() { "unknown" } else { identity.hostname.as_ref() };
        let mut head = std::mem::take(&mut encoder.head);
        head.extend_from_slice(b",\"host\":");
        text(&mut head, host, STRING_SMALL);
        for (name, value) in [
            (key!("facility"), &identity.env),
            (key!("env"), &identity.env),
            (key!("service"), &identity.service),
            (key!("hostname"), &identity.hostname),
        ] {
            encoder.field(&mut head, name);
            text(&mut head, value, STRING_SMALL);
        }
        encoder.head = head;
        for (key, value) in &identity.tags {
            if value.is_empty() || key.is_empty() || encoder.tags.iter().any(|t| same_key(&t.key, key)) {
                continue;
            }
            let mut tag = ConfigTag { key: key.to_string(), field: Vec::new(), joined: Vec::new() };
            encoder.tag_field(&mut tag.field, key, value, STRING_MAX);
            joined(&mut tag.joined, key, value, STRING_MAX);
            encoder.all_fields.extend_from_slice(&tag.field);
            encoder.all_joined.extend_from_slice(&tag.joined);
            encoder.tags.push(tag);
        }
        encoder
    }

    /// Begins a field of ours.
    fn field(&self, out: &mut Vec<u8>, (gelf, json): Key) {
        out.extend_from_slice(if self.form == Form::Gelf { gelf } else { json }.as_bytes());
    }

    /// A text field, unless the text is empty.
    fn text_field(&self, out: &mut Vec<u8>, name: Key, value: &str, max: usize) -> bool {
        if value.is_empty() {
            return false;
        }
        self.field(out, name);
        text(out, value, max)
    }

    fn number_field(&self, out: &mut Vec<u8>, name: Key, value: u64) {
        self.field(out, name);
        // What is beyond a signed 64-bit number is not a number to the receiver's index.
        number(out, value.min(i64::MAX as u64));
    }

    fn millis_field(&self, out: &mut Vec<u8>, name: Key, value: Duration) {
        self.field(out, name);
        millis(out, value);
    }

    fn tag_field(&self, out: &mut Vec<u8>, key: &str, value: &str, max: usize) -> bool {
        out.extend_from_slice(if self.form == Form::Gelf { b",\"_tag_" } else { b",\"tag_" });
        out.extend(clean_key(key));
        out.extend_from_slice(b"\":");
        text(out, value, max)
    }

    /// Appends the record of a finished exchange.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, x: &Exchange) {
        let start = out.len();
        self.encode_with(out, x, STRING_MAX);
        if out.len() - start > self.max {
            out.truncate(start);
            self.encode_with(out, x, STRING_SMALL);
        }
    }

    fn encode_with(&self, out: &mut Vec<u8>, x: &Exchange, max: usize) {
        let t = &x.timings;
        let total = t.total();
        let mut cut = false;
        out.extend_from_slice(&self.head);
        // Zero and before would mean "now" to a receiver.
        if let Some(since) = t.wall.duration_since(UNIX_EPOCH).ok().filter(|d| d.as_secs() > 0) {
            out.extend_from_slice(b",\"timestamp\":");
            number(out, since.as_secs());
            out.push(b'.');
            padded(out, u64::from(since.subsec_micros()), 6);
        }
        out.extend_from_slice(b",\"level\":");
        out.push(b'0' + level(x));
        out.extend_from_slice(b",\"short_message\":\"");
        cut |= escaped(out, name_of(x), max);
        out.push(b' ');
        match x.status {
            0 => out.extend_from_slice(x.outcome().as_str().as_bytes()),
            status => number(out, u64::from(status)),
        }
        out.push(b' ');
        millis(out, total);
        out.extend_from_slice(b" ms\"");
        cut |= self.text_field(out, key!("command"), &x.command.name, max);
        cut |= self.text_field(out, key!("command_id"), &x.command.id, max);
        cut |= self.tags(out, x, max);
        self.text_field(out, key!("direction"), x.direction.as_str(), max);
        self.text_field(out, key!("protocol"), x.protocol.as_str(), max);
        cut |= self.text_field(out, key!("route"), &x.route, max);
        cut |= self.text_field(out, key!("consumer"), x.consumer.as_deref().unwrap_or(""), max);
        if x.status != 0 {
            self.number_field(out, key!("status"), u64::from(x.status));
        }
        self.text_field(out, key!("outcome"), x.outcome().as_str(), max);
        self.millis_field(out, key!("duration_ms"), total);
        self.millis_field(out, key!("upstream_ms"), t.upstream());
        self.millis_field(out, key!("overhead_ms"), t.overhead());
        self.number_field(out, key!("attempt"), u64::from(x.attempt));
        self.number_field(out, key!("bytes_in"), x.bytes_in);
        self.number_field(out, key!("bytes_out"), x.bytes_out);
        if let Some(client) = x.client.or(x.peer.map(|p| p.ip())) {
            self.field(out, key!("client"));
            out.push(b'"');
            address(out, client);
            out.push(b'"');
        }
        cut |= self.text_field(out, key!("upstream"), x.upstream.as_deref().unwrap_or(""), max);
        if x.trace.trace_id != 0 {
            self.field(out, key!("trace_id"));
            out.push(b'"');
            hex(out, &x.trace.trace_id.to_be_bytes());
            out.push(b'"');
            self.field(out, key!("span_id"));
            out.push(b'"');
            hex(out, &x.trace.span_id.to_be_bytes());
            out.push(b'"');
        }
        if let Some(fault) = &x.fault {
            self.field(out, key!("error"));
            out.push(b'"');
            out.extend_from_slice(fault.kind.code().as_bytes());
            if !fault.detail.is_empty() {
                out.extend_from_slice(b": ");
                cut |= escaped(out, &fault.detail, max);
            }
            out.push(b'"');
        }
        if cut {
            self.text_field(out, key!("truncated"), "true", max);
        }
        out.push(b'}');
    }

    /// `_tags` and the `_tag_…`: the configuration's, then the command's, which win.
    fn tags(&self, out: &mut Vec<u8>, x: &Exchange, max: usize) -> bool {
        let own = x.command.tags.as_slice();
        // The value of a key that comes twice is the first one; the key is never written twice.
        let wanted = |i: usize| {
            let (key, value) = &own[i];
            !key.is_empty() && !value.is_empty() && !own[..i].iter().any(|(k, _)| same_key(k, key))
        };
        let kept = |tag: &ConfigTag| !own.iter().any(|(k, _)| same_key(k, &tag.key));
        let all_kept = max == STRING_MAX && (own.is_empty() || self.tags.iter().all(kept));
        if own.is_empty() && self.tags.is_empty() {
            return false;
        }
        let start = out.len();
        self.field(out, key!("tags"));
        out.push(b'"');
        let values = out.len();
        if all_kept {
            out.extend_from_slice(&self.all_joined);
        } else {
            self.tags.iter().filter(|t| kept(t)).for_each(|t| out.extend_from_slice(&t.joined));
        }
        let mut cut = false;
        for i in (0..own.len()).filter(|i| wanted(*i)) {
            cut |= joined(out, &own[i].0, &own[i].1, max);
        }
        if out.len() == values {
            out.truncate(start);
            return false;
        }
        // The last comma.
        out.pop();
        cut |= cap(out, values, max);
        out.push(b'"');
        if all_kept {
            out.extend_from_slice(&self.all_fields);
        } else {
            self.tags.iter().filter(|t| kept(t)).for_each(|t| out.extend_from_slice(&t.field));
        }
        for i in (0..own.len()).filter(|i| wanted(*i)) {
            cut |= self.tag_field(out, &own[i].0, &own[i].1, max);
        }
        cut
    }
}

/// An address as text; the usual kind without the formatting machinery.
fn address(out: &mut Vec<u8>, ip: IpAddr) {
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

/// One pair of the field `tags`, with a comma behind it.
fn joined(out: &mut Vec<u8>, key: &str, value: &str, max: usize) -> bool {
    escaped(out, key, KEY_MAX);
    out.push(b'=');
    let cut = escaped(out, value, max);
    out.push(b',');
    cut
}

/// Cuts what was written since `start` to `max` bytes at the end of a pair, so that no escape is torn.
fn cap(out: &mut Vec<u8>, start: usize, max: usize) -> bool {
    if out.len() - start <= max {
        return false;
    }
    let end = memchr::memrchr(b',', &out[start..start + max]).unwrap_or(0);
    out.truncate(start + end);
    true
}

#[cfg(test)]
pub(crate) mod tests;
