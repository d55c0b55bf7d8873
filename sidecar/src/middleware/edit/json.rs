//! The members of a JSON object. They are told apart without being read: what is not changed keeps its order and the
//! text of its numbers.

use super::{Done, Edit, Value};
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// An object: names, and values as they are written.
pub(in super::super) struct Object<'a> {
    members: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Object<'a> {
    /// Reads one; none: it is something else, or no JSON.
    pub(in super::super) fn read(body: &'a [u8]) -> Option<Object<'a>> {
        let text = std::str::from_utf8(body).ok()?;
        // What follows relies on this.
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        let mut rest = text.trim_matches(BLANK).strip_prefix('{')?.strip_suffix('}')?.trim_matches(BLANK);
        let mut members = Vec::new();
        while !rest.is_empty() {
            let (name, after) = rest.split_at_checked(string(rest.as_bytes())?)?;
            let after = after.trim_start_matches(BLANK).strip_prefix(':')?.trim_start_matches(BLANK);
            let (value, after) = after.split_at_checked(value(after.as_bytes()))?;
            members.push((unquoted(name)?, Cow::Borrowed(value.trim_end_matches(BLANK))));
            rest = after.strip_prefix(',').unwrap_or_default().trim_start_matches(BLANK);
        }
        Some(Object { members })
    }

    /// One without members.
    pub(in super::super) fn empty() -> Object<'a> {
        Object { members: Vec::new() }
    }

    /// As a text again.
    pub(in super::super) fn write(&self) -> Vec<u8> {
        let length: usize = self.members.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut out = Vec::with_capacity(length + 2);
        out.push(b'{');
        for (place, (name, value)) in self.members.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(quoted(name).as_bytes());
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
        out
    }

    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(known, _)| known == name)
    }
}

const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

/// Where a string at the beginning ends. The text is known to be legal.
fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Where a value at the beginning ends, with the blanks behind it. The text is known to be legal.
fn value(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at += text.get(at..).and_then(string).unwrap_or(1);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('\\') {
        return serde_json::from_str::<String>(text).ok().map(Cow::Owned);
    }
    text.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
}

/// A text as a JSON string.
pub(in super::super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn written(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Text(text) => Cow::Owned(quoted(&String::from_utf8_lossy(text))),
        Value::Json(json) => Cow::Borrowed(json),
    }
}

impl Edit for Object<'_> {
    fn remove(&mut self, name: &str) -> Done {
        let before = self.members.len();
        self.members.retain(|(known, _)| known != name);
        Ok(self.members.len() != before)
    }

    fn rename(&mut self, old: &str, new: &str) -> Done {
        if old == new || !self.has(old) {
            return Ok(false);
        }
        self.remove(new)?;
        for (name, _) in &mut self.members {
            if name == old {
                *name = Cow::Owned(new.to_owned());
            }
        }
        Ok(true)
    }

    fn replace(&mut self, name: &str, value: Value<'_>) -> Done {
        let mut changed = false;
        for (known, old) in &mut self.members {
            if known == name {
                *old = Cow::Owned(written(value).into_owned());
                changed = true;
            }
        }
        Ok(changed)
    }

    fn add(&mut self, name: &str, value: Value<'_>) -> Done {
        let new = !self.has(name);
        if new {
            self.members.push((Cow::Owned(name.to_owned()), Cow::Owned(written(value).into_owned())));
        }
        Ok(new)
    }

    fn append(&mut self, name: &str, value: Value<'_>) -> Done {
        let value = written(value);
        match self.members.iter_mut().rfind(|(known, _)| known == name) {
            None => self.members.push((Cow::Owned(name.to_owned()), Cow::Owned(format!("[{value}]")))),
            Some((_, old)) => {
                let list = old.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(|l| l.trim_matches(BLANK));
                *old = Cow::Owned(match list {
                    Some("") => format!("[{value}]"),
                    Some(list) => format!("[{list},{value}]"),
                    None => format!("[{old},{value}]"),
                });
            }
        }
        Ok(true)
    }
}
