//! A command's own tags: `k=v, k=v`, few and short. A value with a comma, a quote or blanks at its ends is quoted.

use super::name;
use std::borrow::Cow;
use std::sync::Arc;

/// A command's own tags at most; more are left out.
const TAGS_MAX: usize = 16;
/// The longest value, in bytes; a longer one is cut between characters.
const VALUE_MAX: usize = 128;
/// The longest key, in bytes.
const KEY_MAX: usize = 64;

type Tags = Vec<(Arc<str>, String)>;

/// Reads one line of `Fourmi-Tags`; a key that was there gets its new value. What is not `key=value` is passed over.
pub(super) fn read(line: &[u8], tags: &mut Tags) {
    let Ok(line) = std::str::from_utf8(line) else { return };
    let mut rest = line;
    while !rest.is_empty() {
        let (pair, after) = rest.split_at(end_of_pair(rest));
        rest = after.get(1..).unwrap_or_default();
        let Some((key, value)) = pair.split_once('=') else { continue };
        if let Some(key) = legal_key(key.trim()) {
            put(tags, key, &unquoted(value.trim()), true);
        }
    }
}

/// Sets a tag that no stronger source has set.
pub(super) fn fill(tags: &mut Tags, key: &Arc<str>, value: &str) {
    put(tags, key.clone(), value, false);
}

/// The line that [`read`] understands.
pub(super) fn line(tags: &Tags) -> Vec<u8> {
    let mut out = Vec::with_capacity(tags.iter().map(|(k, v)| k.len() + v.len() + 5).sum());
    for (key, value) in tags {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        let plain = !value.contains([',', '"', '\\']) && value.trim_ascii().len() == value.len();
        if plain {
            out.extend_from_slice(value.as_bytes());
            continue;
        }
        out.push(b'"');
        for b in value.bytes() {
            if matches!(b, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(b);
        }
        out.push(b'"');
    }
    out
}

fn put(tags: &mut Tags, key: Arc<str>, value: &str, replace: bool) {
    if let Some((_, old)) = tags.iter_mut().find(|(k, _)| *k == key) {
        if replace {
            *old = clean(value);
        }
    } else if tags.len() < TAGS_MAX {
        tags.push((key, clean(value)));
    }
}

/// Values go into header lines, log records and metric labels: no control characters, no great length.
fn clean(value: &str) -> String {
    let mut value = value;
    if value.len() > VALUE_MAX {
        let mut end = VALUE_MAX;
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        value = &value[..end];
    }
    if value.contains(char::is_control) { value.replace(char::is_control, " ") } else { value.to_owned() }
}

fn legal_key(key: &str) -> Option<Arc<str>> {
    let legal = !key.is_empty() && key.len() <= KEY_MAX && key.bytes().all(name::is_legal);
    legal.then(|| name::kept(key))
}

/// Where the pair that begins here ends: at a comma outside quotes.
fn end_of_pair(rest: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (i, b) in rest.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return i,
            _ => {}
        }
    }
    rest.len()
}

fn unquoted(value: &str) -> Cow<'_, str> {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else { return Cow::Borrowed(value) };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(out)
}
