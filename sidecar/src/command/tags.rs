//! A command's own tags: few, short, the last writer of a key wins.

use std::sync::Arc;

/// Tags of one command; the configuration's are not counted.
pub(super) const TAGS_MAX: usize = 16;
/// Bytes of a tag's value.
const VALUE_MAX: usize = 128;
/// Bytes of a tag's key.
const KEY_MAX: usize = 64;

/// Sets a tag, if there is room.
pub(super) fn set(tags: &mut Vec<(Arc<str>, String)>, key: &str, value: &str) {
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || key.len() > KEY_MAX {
        return;
    }
    let mut end = value.len().min(VALUE_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = &value[..end];
    match tags.iter_mut().find(|(k, _)| &**k == key) {
        Some((_, old)) => *old = value.to_owned(),
        None => {
            if tags.len() < TAGS_MAX {
                tags.push((key.into(), value.to_owned()));
            }
        }
    }
}

/// Reads `k=v, k=v`.
pub(super) fn read(tags: &mut Vec<(Arc<str>, String)>, line: &str) {
    for pair in line.split(',') {
        if let Some((key, value)) = pair.split_once('=') {
            set(tags, key, value);
        }
    }
}

/// Writes `k=v, k=v`, with what would end a pair replaced.
pub(super) fn write(tags: &[(Arc<str>, String)]) -> String {
    let mut line = String::new();
    for (key, value) in tags {
        if !line.is_empty() {
            line.push_str(", ");
        }
        line.push_str(key);
        line.push('=');
        line.extend(value.chars().map(|c| if c == ',' || c.is_control() { '_' } else { c }));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_writer_wins_and_there_are_limits() {
        let mut tags = Vec::new();
        read(&mut tags, "shop=7, paid = true,,=x, shop=8, broken");
        assert_eq!(write(&tags), "shop=8, paid=true");
        for i in 0..30 {
            set(&mut tags, &format!("k{i}"), &"é".repeat(200));
        }
        assert_eq!(tags.len(), TAGS_MAX);
        assert_eq!(tags[5].1.len(), VALUE_MAX);
    }
}
