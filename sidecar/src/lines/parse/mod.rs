//! What a line says: its severity, its time, its text and its fields.

mod json;
mod level;
mod syslog;

use super::settings::Format;
use std::borrow::Cow;

/// Fields of one line.
pub(super) const FIELDS_MAX: usize = 32;
/// Bytes of one field's value.
const VALUE_MAX: usize = 2048;
/// Bytes of a line's text.
pub(super) const LINE_MAX: usize = 64 << 10;

/// A line that has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    /// Syslog's severity, if it says one.
    pub(super) level: Option<u8>,
    /// Its own time, in microseconds since 1970.
    pub(super) time: Option<u64>,
    /// Its text.
    pub(super) message: String,
    /// What came with it.
    pub(super) fields: Vec<(String, String)>,
    /// Whether it is plain text, whose next lines may be part of it.
    pub(super) is_text: bool,
}

/// Reads a line. What is not of the format that was asked for is text: a worker whose logger fails writes text too.
pub(super) fn parse(format: Format, bytes: &[u8]) -> Parsed {
    let text = printable(bytes);
    let text = text.trim_end();
    let begins = text.trim_start();
    let found = match format {
        Format::Text => None,
        Format::Gelf | Format::Json => json::object(begins),
        Format::Syslog => syslog::message(begins),
        Format::Auto if begins.starts_with('{') => json::object(begins),
        Format::Auto if begins.starts_with('<') => syslog::message(begins),
        Format::Auto => None,
    };
    let mut parsed = found.unwrap_or_else(|| Parsed { message: text.to_owned(), is_text: true, ..Parsed::default() });
    if parsed.level.is_none() {
        parsed.level = level::of_text(&parsed.message);
    }
    if cut(&mut parsed.message, LINE_MAX) {
        parsed.fields.push(("truncated".into(), "true".into()));
    }
    parsed
}

/// Whether a line of text goes on what was said in the line before: the rest of a trace.
pub(super) fn goes_on(text: &[u8]) -> bool {
    let begins = |start: &str| text.starts_with(start.as_bytes());
    let numbered = text.strip_prefix(b"#").is_some_and(|rest| {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        digits > 0 && rest.get(digits) == Some(&b' ')
    });
    (text.first().is_some_and(|b| matches!(b, b' ' | b'\t')) && text.iter().any(|b| !b.is_ascii_whitespace()))
        || numbered
        || begins("at ")
        || begins("Caused by")
        || begins("Stack trace:")
        || begins("PHP Stack trace:")
        || is_php_frame(text)
        || begins("... ")
}

/// `PHP   1. {main}() /srv/index.php:0`, as Xdebug writes it.
fn is_php_frame(text: &[u8]) -> bool {
    text.strip_prefix(b"PHP ").is_some_and(|rest| {
        let rest = rest.trim_ascii_start();
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        digits > 0 && rest[digits..].starts_with(b". ")
    })
}

/// Shortens a text on a character's border; whether it was too long.
pub(super) fn cut(text: &mut String, max: usize) -> bool {
    let long = text.len() > max;
    if long {
        text.truncate(text.floor_char_boundary(max));
    }
    long
}

/// As text: what is no UTF-8 and no character for people is replaced, colours of a terminal are left out.
fn printable(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if text.bytes().all(|b| b >= 0x20 || b == b'\t' || b == b'\n') && !text.contains('\u{7f}') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // ECMA-48, 5.4: parameters and intermediates, then one final byte.
                while chars.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
                chars.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
            }
            '\t' | '\n' => out.push(c),
            '\r' => {}
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
