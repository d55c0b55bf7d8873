//! Names of commands and tags in the one form that searches, metrics and file names can carry.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Longest name, in bytes.
const NAME_MAX: usize = 128;
/// Names that one thread remembers, so that a name that comes again costs no allocation.
const REMEMBERED: usize = 512;

thread_local! {
    static NAMES: RefCell<HashMap<Box<str>, Arc<str>, foldhash::fast::RandomState>> = RefCell::default();
    static PATHS: RefCell<HashMap<Box<str>, Arc<str>, foldhash::fast::RandomState>> = RefCell::default();
}

fn legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Backslash and slash become dots (PHP's class names), anything else that is not `[A-Za-z0-9._-]` becomes `_`, dots
/// at the beginning go, 128 bytes are kept. None when nothing is left.
pub(super) fn normal(raw: &str) -> Option<Arc<str>> {
    let raw = raw.trim();
    NAMES.with(|names| {
        let mut names = names.borrow_mut();
        if let Some(known) = names.get(raw) {
            return Some(known.clone());
        }
        let name: String = raw
            .chars()
            .map(|c| match c {
                '\\' | '/' => '.',
                c if u8::try_from(c).is_ok_and(legal) => c,
                _ => '_',
            })
            .skip_while(|c| *c == '.')
            .take(NAME_MAX)
            .collect();
        if name.is_empty() {
            return None;
        }
        let name: Arc<str> = name.into();
        if raw.len() <= 4 * NAME_MAX && names.len() < REMEMBERED {
            names.insert(raw.into(), name.clone());
        }
        Some(name)
    })
}

/// The name of a command that says nothing of itself: its method and the shape of its path, never the path itself.
/// `GET /orders/42` is `GET.orders._`.
pub(super) fn of_path(method: &str, path: &str) -> Arc<str> {
    let template = template(path);
    PATHS.with(|paths| {
        let mut paths = paths.borrow_mut();
        let key = format!("{method}{template}");
        if let Some(known) = paths.get(key.as_str()) {
            return known.clone();
        }
        let name: Arc<str> = normal(&key).unwrap_or_else(|| "_".into());
        if paths.len() < REMEMBERED {
            paths.insert(key.into(), name.clone());
        }
        name
    })
}

fn template(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 1);
    for segment in path.split('/').filter(|s| !s.is_empty()) {
        out.push('.');
        out.push_str(if is_id(segment) { "_" } else { segment });
    }
    out
}

/// What looks like one thing's id rather than a kind of thing: digits, a UUID, long hexadecimal, anything very long.
fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let digit = bytes.iter().any(u8::is_ascii_digit);
    bytes.len() > 40
        || bytes.iter().all(u8::is_ascii_digit)
        || (digit && bytes.len() >= 8 && bytes.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-'))
        || segment.contains('%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        for (raw, name) in [
            ("App\\Command\\CreateOrder", Some("App.Command.CreateOrder")),
            ("/orders/create", Some("orders.create")),
            ("Créer commande", Some("Cr_er_commande")),
            (" x ", Some("x")),
            ("...", None),
            ("", None),
        ] {
            assert_eq!(normal(raw).as_deref(), name, "{raw}");
        }
        assert_eq!(normal(&"x".repeat(300)).unwrap().len(), NAME_MAX);
    }

    #[test]
    fn a_path_gives_its_shape() {
        for (path, name) in [
            ("/", "GET"),
            ("/v1/commands", "GET.v1.commands"),
            ("/orders/42/items/7", "GET.orders._.items._"),
            ("/u/018f3c1e-7d9a-7cc2-9a55-6e2f0d1b2c3d", "GET.u._"),
            ("/blob/deadbeef01", "GET.blob._"),
            ("/facade/feedback", "GET.facade.feedback"),
        ] {
            assert_eq!(&*of_path("GET", path), name, "{path}");
        }
    }
}
