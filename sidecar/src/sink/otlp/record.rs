//! One entry as one log record of OTLP (opentelemetry/proto/logs/v1).

use super::attributes::Attributes;
use super::frame::{Framer, Senders};
use crate::sink::entry::{Entry, What};
use crate::sink::fields::{Scratch, Value as Field, Visit, Who, walk};
use crate::sink::filter::{LEVELS, Names};
use crate::sink::generation::Encode;
use crate::sink::json::{STRING_MAX, cut, millis};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest text of a line.
const BODY_MAX: usize = 256 << 10;

/// Severities by syslog's numbers, as OpenTelemetry's log data model maps them (its appendix B).
const SEVERITIES: [SeverityNumber; LEVELS.len()] = [
    SeverityNumber::Fatal,
    SeverityNumber::Error3,
    SeverityNumber::Error2,
    SeverityNumber::Error,
    SeverityNumber::Warn,
    SeverityNumber::Info2,
    SeverityNumber::Info,
    SeverityNumber::Debug,
];

/// Writes log records.
pub(crate) struct LogEncoder {
    names: Names,
    framer: Framer,
    scratch: Scratch,
    /// Memory that is used again.
    record: LogRecord,
    attributes: Attributes,
    text: Vec<u8>,
}

impl LogEncoder {
    /// With the section's names of fields, and the list that the sender looks into.
    pub(crate) fn new(names: Names, senders: Arc<Senders>) -> LogEncoder {
        LogEncoder {
            names,
            framer: Framer::new(senders),
            scratch: Scratch::default(),
            record: LogRecord::default(),
            attributes: Attributes::default(),
            text: Vec::new(),
        }
    }
}

/// The fields that OTLP has a place for go there, all others become attributes.
struct Fields<'a> {
    record: &'a mut LogRecord,
    attributes: &'a mut Attributes,
}

impl Visit for Fields<'_> {
    fn field(&mut self, name: &str, value: Field<'_>) {
        match value {
            Field::TraceId(id) => fill(&mut self.record.trace_id, &id.to_be_bytes()),
            Field::SpanId(id) => fill(&mut self.record.span_id, &id.to_be_bytes()),
            value => self.attributes.field(name, value),
        }
    }
}

pub(super) fn fill(to: &mut Vec<u8>, bytes: &[u8]) {
    to.clear();
    to.extend_from_slice(bytes);
}

impl Encode for LogEncoder {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        let LogEncoder { names, framer, scratch, record, attributes, text } = self;
        let level = usize::from(entry.level).min(LEVELS.len() - 1);
        // Microseconds; 0 stays "not known".
        record.time_unix_nano = entry.wall.saturating_mul(1000);
        record.observed_time_unix_nano = nanos(SystemTime::now());
        record.severity_number = SEVERITIES[level] as i32;
        record.severity_text.clear();
        record.severity_text.push_str(LEVELS[level]);
        record.trace_id.clear();
        record.span_id.clear();
        body(record, entry, text);
        attributes.list = std::mem::take(&mut record.attributes);
        attributes.clear();
        walk(entry, who, names, scratch, &mut Fields { record, attributes });
        record.flags = if record.trace_id.is_empty() { 0 } else { u32::from(entry.trace_flags) };
        record.dropped_attributes_count = attributes.dropped;
        record.attributes = std::mem::take(&mut attributes.list);
        framer.write(out, who, names, record);
        true
    }
}

/// The message: a line's own text, or a command's name, status and duration.
fn body(record: &mut LogRecord, entry: &Entry<'_>, text: &mut Vec<u8>) {
    let value = &mut record.body.get_or_insert_with(AnyValue::default).value;
    if !matches!(value, Some(Value::StringValue(_))) {
        *value = Some(Value::StringValue(String::new()));
    }
    let Some(Value::StringValue(body)) = value else { return };
    body.clear();
    match entry.what {
        What::Line => body.push_str(cut(entry.message, BODY_MAX).0),
        _ => {
            body.push_str(cut(entry.name(), STRING_MAX).0);
            text.clear();
            millis(text, entry.total.duration());
            // Digits and a point.
            let duration = std::str::from_utf8(text).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = match entry.status {
                0 => write!(body, " {} {duration} ms", entry.outcome()),
                status => write!(body, " {status} {duration} ms"),
            };
        }
    }
    body.shrink_to(4 << 10);
}

/// Nanoseconds since 1970.
pub(super) fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
pub(super) mod tests;
