//! Checks a tree against the table, and brings every short form to its long one. What is wrong is reported and
//! taken out of the tree, so that whoever reads on sees only what can be read.

use super::habits;
use super::hidden::secret_at;
use super::keys::OFF;
use super::near::nearest;
use super::problem::Problems;
use super::source::Span;
use super::tree::{Entry, Node, Value};
use super::value;
use crate::section::{Fallback, Key, Kind, Shape, Word};

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

pub(crate) fn walk(node: &mut Node, kind: &Kind, path: &str, problems: &mut Problems) {
    if matches!(node.value, Value::Null | Value::Bad) {
        return;
    }
    match kind {
        Kind::Any => {}
        Kind::List(of) => list(node, of, kind, path, problems),
        Kind::OneOrMany(of) => {
            if matches!(node.value, Value::Scalar { .. }) {
                let span = node.span;
                let mut one = std::mem::replace(node, Node { value: Value::Bad, span });
                walk(&mut one, of, path, problems);
                node.value = Value::List(vec![one]);
                return;
            }
            if matches!((&node.value, of), (Value::Map(_), Kind::Short(..) | Kind::Section(_))) {
                let span = node.span;
                let mut one = std::mem::replace(node, Node { value: Value::Bad, span });
                walk(&mut one, of, path, problems);
                node.value = Value::List(vec![one]);
                return;
            }
            list(node, of, kind, path, problems);
            if node.value == Value::List(Vec::new()) {
                reject(node, "bad-value", path, "the list is empty".into(), "name at least one".into(), problems);
            }
        }
        Kind::Section(keys) => section(node, keys, kind, path, problems),
        Kind::Short(long, keys) => {
            if matches!(node.value, Value::Scalar { .. } | Value::List(_)) {
                let span = node.span;
                let short = std::mem::replace(node, Node::map(span));
                node.set(long, span, short);
                // The user wrote no `.address`, so problems name the key that stands there.
                if let (Some(key), Value::Map(entries)) = (keys.iter().find(|k| k.name == *long), &mut node.value) {
                    entries.iter_mut().for_each(|e| walk(&mut e.value, &key.kind, path, problems));
                }
                return;
            }
            section(node, keys, kind, path, problems);
        }
        Kind::OrOff(keys) => {
            if node.text().is_some_and(|t| OFF.contains(&t)) {
                node.value = Value::Scalar { text: "off".into(), plain: true };
                return;
            }
            section(node, keys, kind, path, problems);
        }
        Kind::Named(shape, of) => named(node, *shape, of, kind, path, problems),
        Kind::Choice(keys) => choice(node, keys, kind, path, problems),
        _ => scalar(node, kind, path, problems),
    }
}

fn reject(node: &mut Node, code: &'static str, path: &str, message: String, fix: String, problems: &mut Problems) {
    problems.error(node.span, code, path, message, fix);
    node.value = Value::Bad;
}

/// A value of the wrong type.
fn mistyped(node: &mut Node, kind: &Kind, path: &str, problems: &mut Problems) {
    let secret = secret_at(path);
    let is = match &node.value {
        Value::Scalar { .. } if secret => "a text".into(),
        Value::Scalar { text, .. } if text.len() <= 40 => format!("`{text}`"),
        Value::Scalar { .. } => "a text".into(),
        Value::List(_) => "a list".into(),
        _ => "a section".into(),
    };
    let message = format!("`{path}` must be {}, not {is}", kind.words());
    let fix = match (kind, &node.value) {
        (Kind::List(_), Value::Scalar { text, .. }) if !secret => format!("write [{text}]"),
        (Kind::Count { min: 0, .. }, Value::Scalar { text, .. }) if OFF.contains(&text.as_str()) => {
            "write 0: that is off".into()
        }
        (Kind::List(_), Value::Map(_)) => "begin the item with `- `".into(),
        (Kind::Section(keys), _) => {
            let known: Vec<&str> = keys.iter().filter(|k| k.supported).map(|k| k.name).collect();
            match known.is_empty() {
                true => "write {}".into(),
                false => format!("its keys are: {}", known.join(", ")),
            }
        }
        _ => format!("write {}", kind.words()),
    };
    reject(node, "wrong-type", path, message, fix, problems);
}

fn list(node: &mut Node, of: &Kind, kind: &Kind, path: &str, problems: &mut Problems) {
    let Value::List(items) = &mut node.value else { return mistyped(node, kind, path, problems) };
    for (i, item) in items.iter_mut().enumerate() {
        let path = format!("{path}[{i}]");
        if item.value == Value::Null {
            // `- graylog:` says a name at least; `-` alone says nothing.
            reject(item, "wrong-type", &path, format!("`{path}` is empty"), "fill it in or remove it".into(), problems);
        }
        walk(item, of, &path, problems);
    }
}

fn section(node: &mut Node, keys: &'static [Key], kind: &Kind, path: &str, problems: &mut Problems) {
    let span = node.span;
    let Value::Map(entries) = &mut node.value else { return mistyped(node, kind, path, problems) };
    let mut kept = Vec::with_capacity(entries.len());
    for mut entry in entries.drain(..) {
        let here = join(path, &entry.key);
        match keys.iter().find(|k| k.name == entry.key) {
            Some(key) if key.supported => {
                walk(&mut entry.value, &key.kind, &here, problems);
                kept.push(entry);
            }
            Some(key) => refuse(&entry, key, &here, problems),
            None => unknown(&entry, keys, path, problems),
        }
    }
    for key in keys.iter().filter(|k| k.required) {
        if !kept.iter().any(|e| e.key == key.name && e.value.value != Value::Null) {
            let here = join(path, key.name);
            let message = format!("`{here}` is missing");
            problems.error(
                head(span),
                "missing-key",
                &here,
                message,
                format!("add `{}`: {}", key.name, key.kind.words()),
            );
        }
    }
    *entries = kept;
}

/// Where a section begins, rather than all of it.
fn head(span: Span) -> Span {
    Span { end: span.end.min(span.start + 200), ..span }
}

fn refuse(entry: &Entry, key: &Key, path: &str, problems: &mut Problems) {
    if let Fallback::Elsewhere(fix) = key.fallback {
        return problems.error(entry.key_span, "misplaced-key", path, format!("`{path}` does not belong here"), fix);
    }
    let message = format!("`{path}` is not supported yet");
    problems.error(entry.key_span, "not-supported", path, message, "remove it; it would do nothing");
}

fn unknown(entry: &Entry, keys: &[Key], path: &str, problems: &mut Problems) {
    let place = if path.is_empty() { "at the top".to_owned() } else { format!("in `{path}`") };
    let shown: String = entry.key.chars().take(60).collect();
    if let Some(fix) = habits::key(path, &entry.key) {
        let message = format!("unknown key `{shown}` {place}");
        return problems.error(entry.key_span, "unknown-key", &join(path, &entry.key), message, fix);
    }
    if let Some(sections) = habits::elsewhere(&entry.key) {
        let message = format!("`{shown}` does not belong {place}");
        let fix = format!("`{shown}` belongs to {sections}");
        return problems.error(entry.key_span, "misplaced-key", &join(path, &entry.key), message, fix);
    }
    let near = nearest(&entry.key, keys.iter().map(|k| k.name));
    let (message, fix) = match near {
        Some(near) => (
            format!("unknown key `{shown}` {place}, did you mean `{near}`?"),
            format!("rename it to `{near}`, or run `fourmi schema` for all keys"),
        ),
        None => {
            let known: Vec<&str> = keys.iter().filter(|k| k.supported).map(|k| k.name).collect();
            let fix = match known.is_empty() {
                true => "remove it; nothing goes in here".into(),
                false => format!("remove it; the keys here are: {}", known.join(", ")),
            };
            (format!("unknown key `{shown}` {place}"), fix)
        }
    };
    problems.error(entry.key_span, "unknown-key", &join(path, &entry.key), message, fix);
}

fn named(node: &mut Node, shape: Shape, of: &Kind, kind: &Kind, path: &str, problems: &mut Problems) {
    let Value::Map(entries) = &mut node.value else { return mistyped(node, kind, path, problems) };
    for entry in entries.iter_mut() {
        let here = join(path, &entry.key);
        if let Err(wrong) = value::check(shape, &entry.key) {
            problems.error(entry.key_span, wrong.code, &here, wrong.message, wrong.fix);
        }
        match (&entry.value.value, of) {
            // An empty section lacks its required keys; an empty text says nothing.
            (Value::Null, Kind::Section(_)) => entry.value = Node::map(entry.key_span),
            (Value::Null, _) => problems.error(
                entry.key_span,
                "wrong-type",
                &here,
                format!("`{here}` is empty"),
                format!("write {} or remove it", of.words()),
            ),
            _ => {}
        }
        walk(&mut entry.value, of, &here, problems);
    }
}

fn choice(node: &mut Node, keys: &'static [Key], kind: &Kind, path: &str, problems: &mut Problems) {
    let span = node.span;
    if let Some(name) = node.text().map(str::to_owned) {
        *node = Node::map(span);
        node.set(&name, span, Node::map(span));
    }
    let Value::Map(entries) = &mut node.value else { return mistyped(node, kind, path, problems) };
    if entries.len() != 1 {
        let message = format!("`{path}` must have exactly one key, and has {}", entries.len());
        let fix = "begin each with its own `- `".to_owned();
        return reject(node, "wrong-type", path, message, fix, problems);
    }
    for entry in entries.iter_mut().filter(|e| e.value.value == Value::Null) {
        entry.value = Node::map(entry.key_span);
    }
    section(node, keys, kind, path, problems);
    if node.entries().is_empty() {
        node.value = Value::Bad;
    }
}

fn scalar(node: &mut Node, kind: &Kind, path: &str, problems: &mut Problems) {
    let (Value::Scalar { text, .. }, false) = (&node.value, path.is_empty()) else {
        return mistyped(node, kind, path, problems);
    };
    let text = text.clone();
    let bad = |message: String, fix: String| Some(("bad-value", message, fix));
    let problem = match kind {
        Kind::Text(shape) => {
            value::check(*shape, &text).err().map(|w| (w.code, format!("`{path}`: {}", w.message), w.fix))
        }
        Kind::Flag if matches!(text.as_str(), "true" | "false") => None,
        Kind::Count { word: Some(words), .. } if words.contains(&text.as_str()) => None,
        Kind::Count { min, max, .. } => match text.parse::<u64>() {
            Ok(n) if n < *min => bad(format!("`{path}` must be at least {min}"), format!("write {min} or more")),
            Ok(n) if n > *max => bad(format!("`{path}` must be at most {max}"), format!("write {max} or less")),
            Ok(_) => None,
            Err(_) => return mistyped(node, kind, path, problems),
        },
        Kind::Duration { off: true, .. } if OFF.contains(&text.as_str()) => {
            node.value = Value::Scalar { text: "off".into(), plain: true };
            None
        }
        Kind::Duration { min, off } => match value::duration(&text) {
            Ok(d) if d < *min => {
                let least = value::duration_text(*min);
                let fix = match *off && d.is_zero() {
                    true => "write `off`".into(),
                    false => format!("write {least} or more"),
                };
                bad(format!("`{path}` must be at least {least}"), fix)
            }
            Ok(_) => None,
            Err(w) => Some((w.code, format!("`{path}`: {}", w.message), w.fix)),
        },
        Kind::Seconds { max } => match value::seconds(&text) {
            Ok(d) if d > *max => {
                let most = max.as_secs();
                bad(format!("`{path}` must be at most {most} seconds"), format!("write {most} or less"))
            }
            Ok(_) => None,
            Err(w) => Some((w.code, format!("`{path}`: {}", w.message), w.fix)),
        },
        Kind::Bytes { min, max } => match value::bytes(&text) {
            Ok(n) if n < *min => bad(format!("`{path}` must be at least {min} bytes"), format!("write {min} or more")),
            Ok(n) if n > *max => bad(format!("`{path}` must be at most {max} bytes"), format!("write {max} or less")),
            Ok(_) => None,
            Err(w) => Some((w.code, format!("`{path}`: {}", w.message), w.fix)),
        },
        Kind::Share => match text.parse::<f64>() {
            Ok(n) if (0.0..=1.0).contains(&n) => None,
            _ => {
                let percent = text.strip_suffix('%').and_then(|t| t.trim().parse::<f64>().ok());
                let fix = match percent.map(|p| p / 100.0).filter(|share| (0.0..=1.0).contains(share)) {
                    Some(share) => format!("write {share}"),
                    None => "write 0.1 for a tenth".into(),
                };
                bad(format!("`{path}` must be a number from 0 to 1"), fix)
            }
        },
        Kind::Word(words) => one_of(&text, words, path),
        _ => return mistyped(node, kind, path, problems),
    };
    if let Some((code, message, fix)) = problem {
        reject(node, code, path, message, fix, problems);
    }
}

fn one_of(text: &str, words: &[Word], path: &str) -> Option<(&'static str, String, String)> {
    let known: Vec<&str> = words.iter().filter(|w| w.supported).map(|w| w.name).collect();
    match words.iter().find(|w| w.name == text) {
        Some(word) if word.supported => None,
        Some(_) => {
            let message = format!("`{path}`: `{text}` is not supported yet");
            Some(("not-supported", message, format!("use one of {}", known.join(", "))))
        }
        None => {
            let shown: String = text.chars().take(60).collect();
            let near = habits::word(path, text).or_else(|| nearest(text, known.iter().copied()));
            let (hint, fix) = match near {
                Some(near) => (format!(", did you mean `{near}`?"), format!("write {near}")),
                None => (String::new(), format!("use one of {}", known.join(", "))),
            };
            Some(("bad-value", format!("`{path}` can't be `{shown}`{hint}"), fix))
        }
    }
}
