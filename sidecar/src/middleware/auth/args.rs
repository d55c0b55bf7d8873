//! `name=value` pairs, as queries and forms have them.

use std::borrow::Cow;

/// One pair.
pub(in crate::middleware) struct Arg<'a> {
    /// As it stands there.
    pub(in crate::middleware) raw: &'a [u8],
    /// The name, escapes undone.
    pub(in crate::middleware) name: Cow<'a, [u8]>,
    /// The value, escapes undone; none without `=`.
    pub(in crate::middleware) value: Option<Cow<'a, [u8]>>,
}

/// Every pair, in order.
pub(in crate::middleware) fn args(text: &[u8]) -> impl Iterator<Item = Arg<'_>> {
    text.split(|b| *b == b'&').filter(|raw| !raw.is_empty()).map(|raw| {
        let (name, value) = match memchr::memchr(b'=', raw) {
            Some(at) => (&raw[..at], raw.get(at + 1..)),
            None => (raw, None),
        };
        Arg { raw, name: decoded(name), value: value.map(decoded) }
    })
}

/// The same text without the pairs of a name.
pub(in crate::middleware) fn without(text: &[u8], name: &[u8]) -> Vec<u8> {
    let kept: Vec<&[u8]> = args(text).filter(|arg| *arg.name != *name).map(|arg| arg.raw).collect();
    kept.join(&b'&')
}

/// Escapes undone; a `+` is a blank. What is no escape stays as it is.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return text.into();
    }
    let digit = |b: Option<&u8>| char::from(*b?).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*first),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_taken_out() {
        let text = b"a=1&&b&c=x%20y+z&%61=2&d=%zz%4&=e&a%3d=3";
        let shown: Vec<String> = args(text)
            .map(|a| {
                let value = a.value.map(|v| String::from_utf8_lossy(&v).into_owned());
                format!("{} {value:?}", String::from_utf8_lossy(&a.name))
            })
            .collect();
        let all = "a Some(\"1\")|b None|c Some(\"x y z\")|a Some(\"2\")|d Some(\"%zz%4\")| Some(\"e\")|a= Some(\"3\")";
        assert_eq!(shown.join("|"), all);
        assert_eq!(without(text, b"a"), b"b&c=x%20y+z&d=%zz%4&=e&a%3d=3");
        assert_eq!(without(b"a=1&a=2", b"a"), b"");
        assert_eq!(args(b"a=%ff%00").next().unwrap().value.unwrap()[..], [0xff, 0]);
    }
}
