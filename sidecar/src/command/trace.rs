//! W3C trace context (level 1 and 2): continued from trusted callers, begun otherwise.

use crate::exchange::{Headers, Trace};
use crate::names::header::{TRACEPARENT, TRACESTATE};

/// The trace of this hop: the caller's if it is believed and well formed, else a new one. `tracestate` belongs to
/// the caller's and goes with it.
pub(super) fn continue_or_begin(headers: &mut Headers, trusted: bool) -> Trace {
    if trusted {
        let mut lines = headers.get_all(TRACEPARENT);
        // More than one line is as good as none (level 1, 3.2).
        if let (Some(line), None) = (lines.next(), lines.next())
            && let Some((trace_id, parent_span, flags)) = parse(line)
        {
            return Trace { trace_id, parent_span, span_id: span(), flags };
        }
    }
    headers.remove(TRACESTATE);
    Trace { trace_id: fastrand::u128(1..), parent_span: 0, span_id: span(), flags: 1 }
}

fn span() -> u64 {
    fastrand::u64(1..)
}

fn digits(bytes: &[u8]) -> Option<u128> {
    bytes.iter().try_fold(0_u128, |value, b| {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// `version-traceid-parentid-flags`, lower-case hex.
fn parse(line: &[u8]) -> Option<(u128, u64, u8)> {
    if line.len() < 55 || line[2] != b'-' || line[35] != b'-' || line[52] != b'-' {
        return None;
    }
    let version = digits(&line[..2])?;
    let exact = version == 0 && line.len() == 55;
    // A later version may say more after another dash.
    let later = version > 0 && version < 0xFF && (line.len() == 55 || line[55] == b'-');
    if !exact && !later {
        return None;
    }
    let trace = digits(&line[3..35])?;
    let parent = u64::try_from(digits(&line[36..52])?).ok()?;
    let flags = u8::try_from(digits(&line[53..55])?).ok()?;
    (trace != 0 && parent != 0).then_some((trace, parent, flags))
}

/// The line for the next hop, whose parent is this one.
pub(super) fn line(trace: &Trace) -> [u8; 55] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
    for i in 0..32 {
        out[3 + i] = HEX[(trace.trace_id >> (124 - 4 * i)) as usize & 15];
    }
    for i in 0..16 {
        out[36 + i] = HEX[(trace.span_id >> (60 - 4 * i)) as usize & 15];
    }
    out[53] = HEX[usize::from(trace.flags >> 4)];
    out[54] = HEX[usize::from(trace.flags & 15)];
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn good_lines_are_continued_and_others_begin_anew() {
        let mut headers = Headers::default();
        headers.set(TRACEPARENT, GOOD);
        headers.set(TRACESTATE, "a=b");
        let trace = continue_or_begin(&mut headers, true);
        assert_eq!((trace.trace_id, trace.parent_span), (0x0af7651916cd43dd8448eb211c80319c, 0xb7ad6b7169203331));
        assert!(headers.contains(TRACESTATE) && trace.span_id != trace.parent_span);
        assert_eq!(line(&Trace { span_id: trace.parent_span, ..trace }), *GOOD.as_bytes());
        for bad in [
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(parse(b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-new").is_some());
        headers.append(TRACEPARENT, GOOD);
        assert_eq!(continue_or_begin(&mut headers, true).parent_span, 0);
        assert!(!headers.contains(TRACESTATE));
        headers.set(TRACEPARENT, GOOD);
        assert_eq!(continue_or_begin(&mut headers, false).parent_span, 0);
    }
}
