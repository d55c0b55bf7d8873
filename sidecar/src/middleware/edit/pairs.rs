//! Arguments: a query, or the body of a form. What is not changed keeps its spelling and its place.

use super::{Done, Edit, Value};
use std::borrow::Cow;

/// Arguments in their order, each as it is spelled: `name=value`, `name`.
pub(in super::super) struct Pairs<'a> {
    pairs: Vec<Cow<'a, [u8]>>,
}

/// The arguments of a text. Empty ones are passed over.
pub(in super::super) fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'&').filter(|pair| !pair.is_empty())
}

/// The two sides of an argument.
fn sides(pair: &[u8]) -> (&[u8], Option<&[u8]>) {
    match pair.iter().position(|b| *b == b'=') {
        Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..)),
        None => (pair, None),
    }
}

/// Whether an argument has this name.
pub(in super::super) fn is(pair: &[u8], name: &[u8]) -> bool {
    Decoded(sides(pair).0).eq(name.iter().copied())
}

/// The name of an argument.
pub(in super::super) fn name(pair: &[u8]) -> Cow<'_, [u8]> {
    decoded(sides(pair).0)
}

/// The value of an argument; none when there is no `=`.
pub(in super::super) fn value(pair: &[u8]) -> Option<Cow<'_, [u8]>> {
    sides(pair).1.map(decoded)
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    let plain = !text.iter().any(|b| matches!(b, b'%' | b'+'));
    if plain { Cow::Borrowed(text) } else { Cow::Owned(Decoded(text).collect()) }
}

/// Undoes escapes; what looks like one and is none stays.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(match first {
            b'+' => b' ',
            b'%' => match escape(rest) {
                Some(byte) => {
                    self.0 = rest.get(2..).unwrap_or_default();
                    byte
                }
                None => b'%',
            },
            other => *other,
        })
    }
}

/// A part of a path without its escapes; a plus is one.
pub(in super::super) fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut parts = text.split(|b| *b == b'+');
    let mut out: Vec<u8> = parts.next().map(|part| Decoded(part).collect()).unwrap_or_default();
    for part in parts {
        out.push(b'+');
        out.extend(Decoded(part));
    }
    out
}

/// The byte that two digits at the beginning stand for.
pub(in super::super) fn escape(rest: &[u8]) -> Option<u8> {
    let two = rest.first_chunk::<2>()?;
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(two[0])? << 4 | digit(two[1])?)
}

/// Writes a byte as an escape.
pub(in super::super) fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
    out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
}

fn encode(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            write_escape(byte, out);
        }
    }
}

fn written(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 1);
    encode(name.as_bytes(), &mut out);
    out.push(b'=');
    encode(value, &mut out);
    out
}

impl<'a> Pairs<'a> {
    /// Those of a text.
    pub(in super::super) fn new(text: &'a [u8]) -> Pairs<'a> {
        Pairs { pairs: split(text).map(Cow::Borrowed).collect() }
    }

    /// Puts those of another text behind.
    pub(in super::super) fn extend(&mut self, text: &'a [u8]) {
        self.pairs.extend(split(text).map(Cow::Borrowed));
    }

    /// As a text again.
    pub(in super::super) fn join(&self) -> Vec<u8> {
        self.pairs.join(&b'&')
    }

    fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|pair| is(pair, name.as_bytes()))
    }
}

impl Edit for Pairs<'_> {
    fn remove(&mut self, name: &str) -> Done {
        let before = self.pairs.len();
        self.pairs.retain(|pair| !is(pair, name.as_bytes()));
        Ok(self.pairs.len() != before)
    }

    fn rename(&mut self, old: &str, new: &str) -> Done {
        if old == new || !self.has(old) {
            return Ok(false);
        }
        self.remove(new)?;
        for pair in &mut self.pairs {
            if is(pair, old.as_bytes()) {
                let mut renamed = Vec::with_capacity(pair.len() + new.len());
                encode(new.as_bytes(), &mut renamed);
                let value = pair.iter().position(|b| *b == b'=').and_then(|at| pair.get(at..));
                renamed.extend_from_slice(value.unwrap_or_default());
                *pair = Cow::Owned(renamed);
            }
        }
        Ok(true)
    }

    fn replace(&mut self, name: &str, value: Value<'_>) -> Done {
        let mut first = true;
        let mut changed = false;
        self.pairs.retain_mut(|pair| {
            if !is(pair, name.as_bytes()) {
                return true;
            }
            changed = true;
            if first {
                *pair = Cow::Owned(written(name, value.bytes()));
            }
            std::mem::take(&mut first)
        });
        Ok(changed)
    }

    fn add(&mut self, name: &str, value: Value<'_>) -> Done {
        if self.has(name) { Ok(false) } else { self.append(name, value) }
    }

    fn append(&mut self, name: &str, value: Value<'_>) -> Done {
        self.pairs.push(Cow::Owned(written(name, value.bytes())));
        Ok(true)
    }
}
