//! CloudEvents 1.0 over HTTP, binary mode: attributes in `ce-` lines, percent-encoded UTF-8.

use super::id;
use std::borrow::Cow;

/// The value of an attribute. Undoes percent-encoding and, as the binding asks of readers, double quotes; none if
/// the result is not UTF-8. A `%` that begins no escape stands for itself.
pub(super) fn decoded(value: &[u8]) -> Option<Cow<'_, str>> {
    let value = value.trim_ascii();
    let quoted = value.len() >= 2 && value.first() == Some(&b'"') && value.last() == Some(&b'"');
    if !quoted && !value.contains(&b'%') {
        return std::str::from_utf8(value).ok().map(Cow::Borrowed);
    }
    let inner = if quoted { &value[1..value.len() - 1] } else { value };
    let mut out = Vec::with_capacity(inner.len());
    let mut i = 0;
    while let Some(&b) = inner.get(i) {
        i += 1;
        match b {
            b'\\' if quoted => {
                out.extend(inner.get(i));
                i += 1;
            }
            b'%' => match inner.get(i..i + 2).and_then(escape) {
                Some(byte) => {
                    out.push(byte);
                    i += 2;
                }
                None => out.push(b'%'),
            },
            _ => out.push(b),
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn escape(digits: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    match *digits {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    }
}

/// The id of an event in binary mode.
pub(super) fn binary_id(source: &[u8], event: &[u8]) -> Option<String> {
    id::given(&joined(&decoded(source)?, &decoded(event)?))
}

/// `source#id`, which is unique per event; empty if one of the two is.
pub(super) fn joined(source: &str, event: &str) -> String {
    if source.is_empty() || event.is_empty() {
        return String::new();
    }
    let mut whole = String::with_capacity(source.len() + event.len() + 1);
    whole.push_str(source);
    whole.push('#');
    whole.push_str(event);
    whole
}
