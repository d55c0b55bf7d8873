//! Trace context of a hop: read from W3C Trace Context (levels 1 and 2) or B3, given on as it came.

mod b3;
mod lists;
mod sample;
#[cfg(test)]
mod tests;

pub(super) use b3::give as give_b3;
pub use sample::{Sampler, Sampling};

use crate::exchange::{B3, Headers, Trace};
use crate::names::header as word;

/// Which headers of a trace came; filled in the one pass over the header lines.
#[derive(Default, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) traceparent: Option<&'a [u8]>,
    pub(super) traceparents: usize,
    pub(super) tracestate: bool,
    pub(super) baggage: bool,
    pub(super) b3: B3,
}

/// Our hop of the trace that the headers tell of, or of a new one, and the B3 headers it is to be told in again.
///
/// The first of `traceparent`, `b3` and `X-B3-*` that is there counts. A `traceparent` that is invalid, or there
/// twice, is not made up for by another header: a new trace begins.
pub(super) fn read(found: Found<'_>, headers: &Headers, sampler: Sampler) -> (Trace, B3) {
    let mut b3 = found.b3;
    let told = if b3.any() { b3::read(headers) } else { b3::Told::default() };
    let trace = match (found.traceparents, told.ids) {
        (0, Some((trace_id, parent_span))) => {
            let sampled = told.sampled.unwrap_or_else(|| sampler.takes(trace_id));
            Trace { trace_id, parent_span, span_id: span(), flags: u8::from(sampled) }
        }
        (0, None) => {
            let mut trace = begin(sampler);
            trace.flags = told.sampled.map_or(trace.flags, u8::from);
            trace
        }
        (1, _) => found.traceparent.and_then(parse).map_or_else(|| begin(sampler), proceed),
        _ => begin(sampler),
    };
    b3.debug = told.debug && trace.sampled();
    (trace, b3)
}

/// Brings `tracestate` within its limits. Vendor data of a trace that was not continued by `traceparent` belongs to
/// nothing and goes.
pub(super) fn fit_tracestate(headers: &mut Headers, continued: bool) {
    if !continued {
        headers.remove(word::TRACESTATE);
    } else if let Some((line, _)) = lists::TRACESTATE.fitted(|| headers.get_all(word::TRACESTATE)) {
        headers.set(word::TRACESTATE, line);
    }
}

/// Brings `baggage` within its limits; returns how many members had to go.
pub(super) fn fit_baggage(headers: &mut Headers) -> u32 {
    let Some((line, dropped)) = lists::BAGGAGE.fitted(|| headers.get_all(word::BAGGAGE)) else { return 0 };
    if line.is_empty() {
        headers.remove(word::BAGGAGE);
    } else {
        headers.set(word::BAGGAGE, line);
    }
    dropped
}

/// A trace that begins with this command.
pub fn begin(sampler: Sampler) -> Trace {
    let trace_id = loop {
        let id = fastrand::u128(..);
        if id != 0 {
            break id;
        }
    };
    Trace { trace_id, parent_span: 0, span_id: span(), flags: u8::from(sampler.takes(trace_id)) }
}

/// Our hop of a trace that a caller sent: the same trace and flags, its span as parent, a new span.
pub fn proceed(received: Trace) -> Trace {
    Trace { span_id: span(), ..received }
}

/// A new span id, never zero.
pub(super) fn span() -> u64 {
    fastrand::u64(1..)
}

/// Reads a `traceparent` into trace id, parent and flags, without a span of ours. None for what the standard calls
/// invalid: upper case, zero ids, version `ff`, a wrong length. Later versions may be longer.
pub fn parse(value: &[u8]) -> Option<Trace> {
    let value = value.trim_ascii();
    let head = value.first_chunk::<55>()?;
    if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
        return None;
    }
    let version = hex(&head[..2])?;
    let rest = &value[55..];
    let fits = match version {
        0xff => false,
        0 => rest.is_empty(),
        _ => rest.is_empty() || rest.first() == Some(&b'-'),
    };
    let trace_id = hex(&head[3..35])?;
    let parent_span = u64::try_from(hex(&head[36..52])?).ok()?;
    let flags = u8::try_from(hex(&head[53..])?).ok()?;
    if !fits || trace_id == 0 || parent_span == 0 {
        return None;
    }
    // We speak version 00, which knows two flags: sampled, and that the id is random.
    Some(Trace { trace_id, parent_span, span_id: 0, flags: flags & 3 })
}

/// The `traceparent` of the next hop: our span is its parent.
pub fn format(trace: &Trace) -> [u8; 55] {
    let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(trace.trace_id, &mut out[3..35]);
    write_hex(u128::from(trace.span_id), &mut out[36..52]);
    write_hex(u128::from(trace.flags), &mut out[53..]);
    out
}

/// Another span of the same parent.
pub fn beside(trace: Trace) -> Trace {
    Trace { span_id: span(), ..trace }
}

/// A trace as text, so that it can be taken up again: our span is then the parent.
pub fn text(trace: &Trace) -> String {
    String::from_utf8_lossy(&format(trace)).into_owned()
}

/// The trace that [`text`] made; none if it is none.
pub fn of_text(text: &str) -> Option<Trace> {
    parse(text.as_bytes())
}

fn hex(digits: &[u8]) -> Option<u128> {
    let mut value = 0;
    for b in digits {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u128::from(digit);
    }
    Some(value)
}

fn write_hex(value: u128, out: &mut [u8]) {
    let digits = hex_of(value);
    if let Some(last) = digits.len().checked_sub(out.len()).and_then(|from| digits.get(from..)) {
        out.copy_from_slice(last);
    }
}

/// All 32 digits of a number.
pub(super) fn hex_of(value: u128) -> [u8; 32] {
    let mut out = [0; 32];
    for (half, value) in out.as_chunks_mut::<16>().0.iter_mut().zip([(value >> 64) as u64, value as u64]) {
        *half = digits(value).to_be_bytes();
    }
    out
}

/// The sixteen digits of a number, each in a byte of its own, all made at once.
fn digits(value: u64) -> u128 {
    let mut spread = u128::from(value);
    spread = (spread | spread << 32) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    spread = (spread | spread << 16) & (u128::MAX / 0xffff_ffff * 0xffff);
    spread = (spread | spread << 8) & (u128::MAX / 0xffff * 0xff);
    spread = (spread | spread << 4) & (EACH * 0x0f);
    let letters = (spread + EACH * 6) >> 4 & EACH;
    spread + EACH * u128::from(b'0') + letters * u128::from(b'a' - b'9' - 1)
}

/// A one in each byte.
const EACH: u128 = u128::MAX / 0xff;
