//! Names: one alphabet for logs, metrics, headers and addresses, and each distinct name held once per thread.

use foldhash::fast::RandomState;
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// The longest name, in bytes.
pub(super) const NAME_MAX: usize = 128;
/// Distinct texts that a thread keeps. Callers choose names, so the table has an end: when full, it starts again.
const KEPT_MAX: usize = 1_024;

/// Paths that a thread remembers with their names; each new one takes another's place.
const LAST_MAX: usize = 16;

thread_local! {
    static LAST: RefCell<[(String, String, Arc<str>); LAST_MAX]> =
        RefCell::new(std::array::from_fn(|_| (String::new(), String::new(), Arc::from(""))));
    static KEPT: RefCell<HashSet<Arc<str>, RandomState>> = RefCell::new(HashSet::default());
}

/// The shared form of a short text that comes again and again.
pub(super) fn kept(text: &str) -> Arc<str> {
    KEPT.with_borrow_mut(|kept| {
        if let Some(known) = kept.get(text) {
            return known.clone();
        }
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let new: Arc<str> = Arc::from(text);
        kept.insert(new.clone());
        new
    })
}

pub(super) fn is_legal(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
}

/// A name in our alphabet: `\` and `/` become `.`, leading dots go, other characters become `_`, at most 128 bytes.
/// None if nothing is left.
pub fn normalized(raw: &str) -> Option<Arc<str>> {
    let raw = raw.trim_ascii().trim_start_matches(['.', '/', '\\']);
    if raw.is_empty() {
        return None;
    }
    if raw.len() <= NAME_MAX && raw.bytes().all(is_legal) {
        return Some(kept(raw));
    }
    let mut name = String::with_capacity(raw.len().min(NAME_MAX));
    for c in raw.chars().take(NAME_MAX) {
        name.push(match c {
            '\\' | '/' => '.',
            c if c.is_ascii() && is_legal(c as u8) => c,
            _ => '_',
        });
    }
    Some(kept(&name))
}

/// The name of a command that nothing else names: the method and the path with what looks like an id left out,
/// `GET.orders._`. Never the raw path: ids in names would make every command its own metric.
pub fn template(method: &str, path: &str) -> Arc<str> {
    // Workers that take all their commands on a few paths are common: for those the work is done once.
    LAST.with_borrow_mut(|last| {
        let slot = &mut last[path.len() % LAST_MAX];
        if slot.0 != method || slot.1 != path {
            *slot = (method.to_owned(), path.to_owned(), fresh_template(method, path));
        }
        slot.2.clone()
    })
}

fn fresh_template(method: &str, path: &str) -> Arc<str> {
    let mut name = String::with_capacity(64);
    push_legal(method, &mut name);
    for segment in path.split('/').filter(|s| !s.is_empty() && *s != "*") {
        if name.len() >= NAME_MAX {
            break;
        }
        name.push('.');
        if looks_like_id(segment) {
            name.push('_');
        } else {
            push_legal(segment, &mut name);
        }
    }
    name.truncate(NAME_MAX);
    kept(&name)
}

fn push_legal(text: &str, name: &mut String) {
    for b in text.bytes().take(NAME_MAX) {
        name.push(if is_legal(b) { char::from(b) } else { '_' });
    }
}

/// Digits, a UUID, eight or more hex digits with a number among them, or longer than any word.
fn looks_like_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    if bytes.len() > 40 {
        return true;
    }
    let (mut digits, mut hex, mut dashes) = (0, 0, 0);
    for (i, b) in bytes.iter().enumerate() {
        match b {
            b'0'..=b'9' => digits += 1,
            b'a'..=b'f' | b'A'..=b'F' => hex += 1,
            b'-' if bytes.len() == 36 && matches!(i, 8 | 13 | 18 | 23) => dashes += 1,
            _ => {
                // Words carry a version now and then (v2, oauth2); four digits are somebody's number.
                return bytes.iter().filter(|b| b.is_ascii_digit()).count() >= 4;
            }
        }
    }
    (dashes == 0 && hex == 0) || dashes == 4 || (dashes == 0 && bytes.len() >= 8 && digits > 0)
}
