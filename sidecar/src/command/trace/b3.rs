//! B3, the trace headers of Zipkin: one line (`b3`) or a line for each part (`X-B3-*`). Ids are lower-case hex; those
//! of traces may have 16 or 32 digits. <https://github.com/openzipkin/b3-propagation>

use super::{hex, write_hex};
use crate::exchange::{B3, Headers, Trace};
use crate::names::header as word;

/// The longest value of `b3`: both ids, the decision, the parent.
const SINGLE_MAX: usize = 32 + 1 + 16 + 1 + 1 + 1 + 16;

/// What B3 headers say. Their parent is two hops away and tells us nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Trace id and the caller's span.
    pub(super) ids: Option<(u128, u64)>,
    /// The decision; none when it is left to us.
    pub(super) sampled: Option<bool>,
    /// Sampled, and nobody may decide otherwise.
    pub(super) debug: bool,
}

/// Reads `b3`, or when that says nothing valid, `X-B3-*`. What is malformed, or there twice, says nothing.
pub(super) fn read(headers: &Headers) -> Told {
    let one = only(headers, word::B3).ok().flatten().and_then(single);
    one.or_else(|| multi(headers).ok()).unwrap_or_default()
}

fn single(value: &[u8]) -> Option<Told> {
    let mut parts = value.trim_ascii().split(|b| *b == b'-');
    let (first, second) = (parts.next()?, parts.next());
    let Some(span) = second else { return Told::default().decided(first) };
    let told = Told { ids: Some((trace_id(first)?, span_id(span)?)), ..Told::default() };
    let told = match (parts.next(), parts.next()) {
        (None, _) => told,
        // The decision may be left out before the parent.
        (Some(last), None) if last.len() > 1 => span_id(last).map(|_| told)?,
        (Some(decision), None) => told.decided(decision)?,
        (Some(decision), Some(parent)) => span_id(parent).and_then(|_| told.decided(decision))?,
    };
    parts.next().is_none().then_some(told)
}

impl Told {
    fn decided(self, by: &[u8]) -> Option<Told> {
        match by {
            b"0" => Some(Told { sampled: Some(false), ..self }),
            b"1" => Some(Told { sampled: Some(true), ..self }),
            b"d" => Some(Told { sampled: Some(true), debug: true, ..self }),
            _ => None,
        }
    }
}

/// Something is wrong with a part, so all of them are passed over.
struct Malformed;

fn multi(headers: &Headers) -> Result<Told, Malformed> {
    let part = |name| only(headers, name).map(|v| v.map(<[u8]>::trim_ascii));
    let ids = match (part(word::X_B3_TRACE_ID)?, part(word::X_B3_SPAN_ID)?) {
        (None, None) => None,
        (Some(trace), Some(span)) => Some(trace_id(trace).zip(span_id(span)).ok_or(Malformed)?),
        _ => return Err(Malformed),
    };
    let debug = part(word::X_B3_FLAGS)? == Some(b"1");
    let sampled = match part(word::X_B3_SAMPLED)? {
        _ if debug => Some(true),
        None => None,
        Some(b"1") => Some(true),
        Some(b"0") => Some(false),
        // As tracers wrote it before there was a specification.
        Some(word) if word.eq_ignore_ascii_case(b"true") => Some(true),
        Some(word) if word.eq_ignore_ascii_case(b"false") => Some(false),
        Some(_) => return Err(Malformed),
    };
    Ok(Told { ids, sampled, debug })
}

/// The value of a header that may stand there once.
fn only<'a>(headers: &'a Headers, name: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
    let mut values = headers.get_all(name);
    let first = values.next();
    if values.next().is_some() { Err(Malformed) } else { Ok(first) }
}

fn trace_id(text: &[u8]) -> Option<u128> {
    if matches!(text.len(), 16 | 32) { hex(text).filter(|id| *id != 0) } else { None }
}

fn span_id(text: &[u8]) -> Option<u64> {
    if text.len() == 16 { hex(text).and_then(|id| u64::try_from(id).ok()).filter(|id| *id != 0) } else { None }
}

/// Tells the next hop, in the form in which the caller told us: our span, and the caller's as its parent. A trace that
/// began here and is not recorded is only told as "not sampled": nobody would ever look for its ids.
pub(in crate::command) fn give(trace: &Trace, b3: B3, headers: &mut Headers) {
    let bare = !trace.sampled() && trace.parent_span == 0;
    let digits = if trace.trace_id >> 64 == 0 { 16 } else { 32 };
    if b3.single {
        let mut line = Line::default();
        if !bare {
            line.id(trace.trace_id, digits);
            line.text(b"-");
            line.id(trace.span_id.into(), 16);
            line.text(b"-");
        }
        line.text(match (b3.debug, trace.sampled()) {
            (true, _) => b"d",
            (false, true) => b"1",
            (false, false) => b"0",
        });
        if trace.parent_span != 0 {
            line.text(b"-");
            line.id(trace.parent_span.into(), 16);
        }
        line.set(headers, word::B3);
    }
    if b3.multi {
        let part = |headers: &mut Headers, name: &'static str, id: u128, digits: usize| {
            if bare || id == 0 {
                headers.remove(name);
            } else {
                let mut line = Line::default();
                line.id(id, digits);
                line.set(headers, name);
            }
        };
        part(headers, word::X_B3_TRACE_ID, trace.trace_id, digits);
        part(headers, word::X_B3_SPAN_ID, trace.span_id.into(), 16);
        part(headers, word::X_B3_PARENT_SPAN_ID, trace.parent_span.into(), 16);
        // Debug says "sampled" too, and then the other line must not stand there.
        let (set, unset) = match b3.debug {
            true => (word::X_B3_FLAGS, word::X_B3_SAMPLED),
            false => (word::X_B3_SAMPLED, word::X_B3_FLAGS),
        };
        headers.set(set, if trace.sampled() { "1" } else { "0" });
        headers.remove(unset);
    }
}

/// A value in the making.
struct Line {
    bytes: [u8; SINGLE_MAX],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Line { bytes: [0; SINGLE_MAX], len: 0 }
    }
}

impl Line {
    fn id(&mut self, id: u128, digits: usize) {
        write_hex(id, &mut self.bytes[self.len..self.len + digits]);
        self.len += digits;
    }

    fn text(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    fn set(&self, headers: &mut Headers, name: &'static str) {
        headers.set(name, &self.bytes[..self.len]);
    }
}
