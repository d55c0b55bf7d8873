//! Values of expressions, as Lua has them.

use super::parse::Source;
use std::borrow::Cow;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// There is none.
    Nil,
    /// True or false.
    Truth(bool),
    /// A number.
    Number(f64),
    /// A text, of any bytes.
    Text(Cow<'a, [u8]>),
    /// The values of a header or argument that comes more than once.
    List(Vec<Value<'a>>),
    /// Something of the request that is asked by name.
    Source(Source),
}

impl<'a> Value<'a> {
    /// A text that is borrowed.
    pub(super) fn text(bytes: &'a [u8]) -> Value<'a> {
        Value::Text(Cow::Borrowed(bytes))
    }

    /// One of several: none is nil, one is itself.
    pub(super) fn several(mut values: Vec<Value<'a>>) -> Value<'a> {
        match values.len() {
            0 => Value::Nil,
            1 => values.pop().unwrap_or(Value::Nil),
            _ => Value::List(values),
        }
    }

    /// Whether it counts as true: all but nil and false do.
    pub(super) fn holds(&self) -> bool {
        !matches!(self, Value::Nil | Value::Truth(false))
    }

    /// The word for its type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Truth(_) => "boolean",
            Value::Number(_) => "number",
            Value::Text(_) => "string",
            Value::List(_) | Value::Source(_) => "table",
        }
    }

    /// As a number, if it is one or a text that reads as one.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Text(text) => number(text),
            _ => None,
        }
    }

    /// As it is put into a text. Several values are joined as those of a header may be (RFC 9110, 5.3).
    pub(super) fn shown(&self) -> Cow<'_, [u8]> {
        match self {
            Value::Nil => Cow::Borrowed(b"nil"),
            Value::Truth(true) => Cow::Borrowed(b"true"),
            Value::Truth(false) => Cow::Borrowed(b"false"),
            Value::Number(number) => Cow::Owned(written(*number).into_bytes()),
            Value::Text(text) => Cow::Borrowed(text),
            Value::List(list) => {
                let shown: Vec<_> = list.iter().map(Value::shown).collect();
                Cow::Owned(shown.join(&b", "[..]))
            }
            Value::Source(_) => Cow::Borrowed(b"table"),
        }
    }
}

/// A text that reads as a number: decimal or hexadecimal, with blanks around it.
pub(in super::super) fn number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (minus, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let size = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            hex.chars().filter_map(|d| d.to_digit(16)).fold(0.0, |sum, digit| sum * 16.0 + f64::from(digit))
        }
        Some(_) => return None,
        // Rust reads "inf" and "nan" too.
        None if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => digits.parse().ok()?,
        None => return None,
    };
    Some(if minus { -size } else { size })
}

/// Significant digits of a number in a text.
const DIGITS: i32 = 14;

/// A number as C's `%.14g` writes it, which is how Lua does.
pub(super) fn written(number: f64) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.into();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.into();
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.into();
    }
    let long = format!("{number:.13e}");
    let Some((digits, exponent)) = long.split_once('e') else { return long };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let short = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..DIGITS).contains(&exponent) {
        let after = usize::try_from(DIGITS - 1 - exponent).unwrap_or_default();
        return short(&format!("{number:.after$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", short(digits), exponent.abs())
}
