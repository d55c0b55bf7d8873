//! The arguments of a query, as forms write them.

use std::borrow::Cow;

/// The arguments in their order, as they are written: name and value; no value without `=`.
pub(super) fn written(query: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    query.split('&').filter(|a| !a.is_empty()).map(|argument| match argument.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (argument, None),
    })
}

/// A name or value without its escapes. A broken escape stands for itself, as a byte that is no text does for U+FFFD.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escape = after.first_chunk::<2>().and_then(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
        match (first, escape) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*first),
        }
    }
    Cow::Owned(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_escapes() {
        let found: Vec<_> = written("a=1&&b&c=&=d&e=f=g&%61=%zz").collect();
        let expected: &[(&str, Option<&str>)] = &[
            ("a", Some("1")),
            ("b", None),
            ("c", Some("")),
            ("", Some("d")),
            ("e", Some("f=g")),
            ("%61", Some("%zz")),
        ];
        assert_eq!(found, expected);
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("a+b%20c", "a b c"),
            ("%2B%25", "+%"),
            ("%c3%A9", "é"),
            ("%zz%4", "%zz%4"),
            ("%ff", "\u{fffd}"),
            ("é%", "é%"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }
}
