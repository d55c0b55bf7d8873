//! Ids: the caller's if it is fit to be one, else a UUIDv7.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

/// Emptied ids that a thread keeps for the next command.
const KEPT_MAX: usize = 128;

thread_local! {
    static KEPT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the room of an id that is told and done.
pub(super) fn keep(mut id: String) {
    if id.capacity() == 0 || id.capacity() > ID_MAX {
        return;
    }
    id.clear();
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.len() < KEPT_MAX
        {
            kept.push(id);
        }
    });
}

fn room() -> String {
    KEPT.with_borrow_mut(Vec::pop).unwrap_or_else(|| String::with_capacity(64))
}

/// The longest id of a caller, in bytes.
const ID_MAX: usize = 256;

/// An id that a caller gave, if it is 1 to 256 bytes of visible ASCII: it goes into headers, logs and addresses.
pub(super) fn given(text: &str) -> Option<String> {
    let text = text.trim_ascii();
    let fit = !text.is_empty() && text.len() <= ID_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    fit.then(|| {
        let mut id = room();
        id.push_str(text);
        id
    })
}

/// The key of an `Idempotency-Key` line: a quoted string, as the IETF draft wants it, or bare, as most send it.
pub(super) fn idempotency_key(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim_ascii();
    let Some(rest) = text.strip_prefix('"') else { return given(text) };
    let mut key = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => key.push(chars.next()?),
            c => key.push(c),
        }
    }
    // Parameters of the structured field may follow; anything else is no key.
    let after = chars.as_str().trim_ascii_start();
    if after.is_empty() || after.starts_with(';') { given(&key) } else { None }
}

/// A UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds, 74 random bits.
pub(super) fn uuid_v7(now: SystemTime) -> String {
    let millis = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let random = fastrand::u128(..) & 0x0fff_3fff_ffff_ffff_ffff;
    let value = (millis & 0xffff_ffff_ffff) << 80 | random | 0x7 << 76 | 0x2 << 62;
    let mut text = room();
    let digits = super::trace::hex_of(value);
    let mut whole = [b'-'; 36];
    for (to, from) in [(0..8, 0..8), (9..13, 8..12), (14..18, 12..16), (19..23, 16..20), (24..36, 20..32)] {
        whole[to].copy_from_slice(&digits[from]);
    }
    text.push_str(std::str::from_utf8(&whole).unwrap_or_default());
    text
}
