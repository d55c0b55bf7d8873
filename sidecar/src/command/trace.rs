//! W3C trace context, level 1 and 2: `traceparent`.

use crate::exchange::Trace;

/// The flag "sampled".
const SAMPLED: u8 = 1;

/// A trace that begins with this command.
pub fn begin() -> Trace {
    let trace_id = loop {
        let id = fastrand::u128(..);
        if id != 0 {
            break id;
        }
    };
    Trace { trace_id, parent_span: 0, span_id: span(), flags: SAMPLED }
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

fn write_hex(mut value: u128, out: &mut [u8]) {
    for b in out.iter_mut().rev() {
        *b = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}
