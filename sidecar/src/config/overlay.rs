//! What the environment adds: `${NAME}` inside values, and `FOURMI_SECTION__KEY` over the file's.

use super::hidden;
use super::keys::ROOT;
use super::near::nearest;
use super::problem::Problems;
use super::source::{Origin, Span};
use super::tree::{self, Node, Value};
use crate::section::{Key, Kind};
use std::collections::BTreeMap;

/// Names and values, usually the process's.
pub(crate) type Env = BTreeMap<String, String>;

/// Names with the prefix that are no keys: the file to read, and flags of the command line.
pub(crate) const RESERVED: [&str; 5] =
    ["FOURMI_CONFIG", "FOURMI_ADMIN_URL", "FOURMI_ADMIN_TOKEN_FILE", "FOURMI_LOG_LEVEL", "FOURMI_LOG_FORMAT"];

/// What Kubernetes sets in every container for a service named `fourmi…`: addresses, not keys of ours.
fn service_link(rest: &str) -> bool {
    !rest.contains("__")
        && (rest.ends_with("SERVICE_HOST")
            || rest.contains("SERVICE_PORT")
            || rest == "PORT"
            || rest.ends_with("_PORT")
            || (rest.contains("PORT_") && (rest.contains("_TCP") || rest.contains("_UDP"))))
}

/// Replaces `${NAME}` and `${NAME:-default}` in every value; `$${` stands for `${`. Keys are left alone.
pub(crate) fn interpolate(node: &mut Node, env: &Env, problems: &mut Problems) {
    let span = node.span;
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|n| interpolate(n, env, problems)),
        Value::Map(entries) => entries.iter_mut().for_each(|e| interpolate(&mut e.value, env, problems)),
        Value::Scalar { text, .. } if text.contains("${") => match replaced(text, env) {
            Ok(new) => {
                hide(text, &new, env, problems);
                *text = new;
            }
            Err((message, fix)) => {
                problems.error(span, "unset-variable", "", message, fix);
                node.value = Value::Bad;
            }
        },
        _ => {}
    }
}

/// Remembers which values no message may repeat: those of variables named like secrets, and URLs with a password.
fn hide(text: &str, new: &str, env: &Env, problems: &mut Problems) {
    let names = text.split("${").skip(1).filter_map(|t| t.split(['}', ':']).next());
    names.filter(|n| hidden::is_secret(n)).filter_map(|n| env.get(n)).for_each(|value| problems.hide(value));
    if let Some((start, end)) = hidden::user_info(new) {
        problems.hide(new.get(start..end).unwrap_or_default());
    }
}

fn replaced(text: &str, env: &Env) -> Result<String, (String, String)> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = &after[2..];
            continue;
        }
        out.push_str(before);
        let Some(end) = after.find('}') else {
            return Err(("`${` without `}`".into(), "close it, or write `$${` for the two characters".into()));
        };
        let (name, default) = match after[2..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&after[2..end], None),
        };
        let legal = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !legal {
            return Err((format!("`{name}` is no name of a variable"), "write ${NAME} or ${NAME:-default}".into()));
        }
        match (env.get(name).map(String::as_str).filter(|v| !v.is_empty() || default.is_none()), default) {
            (Some(value), _) | (None, Some(value)) => out.push_str(value),
            (None, None) => {
                return Err((
                    format!("the variable `{name}` is not set"),
                    format!("set it, or give a default: ${{{name}:-default}}"),
                ));
            }
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Lays every `FOURMI_…` variable over the tree.
pub(crate) fn overlay(root: &mut Node, env: &Env, problems: &mut Problems) {
    for (name, text) in env.range("FOURMI_".to_owned()..) {
        let Some(rest) = name.strip_prefix("FOURMI_") else { break };
        if RESERVED.contains(&name.as_str()) || service_link(rest) {
            continue;
        }
        let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        let source = problems.sources.add(format!("${name}"), text.clone(), Origin::Env);
        let span = Span::new(source, 0, text.len());
        if !known(&path, ROOT) {
            let names = names();
            let (hint, fix) = match nearest(name, names.iter().map(|(n, _)| n.as_str())) {
                Some(near) => (format!(", did you mean `{near}`?"), format!("rename it to {near}")),
                None => (String::new(), "run `fourmi env` for all names".into()),
            };
            problems.warning(span, "unknown-variable", "", format!("`{name}` names no key{hint}"), fix);
            continue;
        }
        let Some(mut node) = tree::parse(source, problems) else { continue };
        if node.value == Value::Null && !text.trim().is_empty() {
            node.span = span;
        }
        put(root, &path, ROOT, span, node);
    }
}

/// Whether a path names a key of the table (one that is not supported yet counts: it is refused later by name).
fn known(path: &[String], keys: &[Key]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    let Some(key) = keys.iter().find(|k| k.name == first) else { return false };
    match (&key.kind, rest) {
        (_, []) | (Kind::Any, _) => true,
        (Kind::Named(_, kind), [_]) => kind.keys().is_none(),
        (kind, rest) => kind.keys().is_some_and(|keys| known(rest, keys)),
    }
}

fn put(node: &mut Node, path: &[String], keys: &'static [Key], span: Span, value: Node) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        return node.set(first, span, value);
    }
    let kind = keys.iter().find(|k| k.name == first).map(|k| &k.kind);
    let mut child = match node.get(first).cloned() {
        Some(child) if matches!(child.value, Value::Map(_)) => child,
        // A short form (`worker: http://…`) is kept under its long name beside the key that is set.
        Some(child) => match kind {
            Some(Kind::Short(long, _)) => {
                let mut map = Node::map(child.span);
                map.set(long, child.span, child);
                map
            }
            _ => Node::map(span),
        },
        None => Node::map(span),
    };
    put(&mut child, rest, kind.and_then(Kind::keys).unwrap_or(&[]), span, value);
    node.set(first, span, child);
}

/// Every variable that is known, with its key; those with names of the user's own end in `__NAME`.
pub(crate) fn names() -> Vec<(String, &'static Key)> {
    fn walk(prefix: &str, keys: &'static [Key], out: &mut Vec<(String, &'static Key)>) {
        for key in keys.iter().filter(|k| k.supported) {
            let name = format!("{prefix}{}", key.name.to_ascii_uppercase());
            if let Some(inner) = key.kind.keys() {
                if !matches!(key.kind, Kind::Section(_)) {
                    out.push((name.clone(), key));
                }
                walk(&format!("{name}__"), inner, out);
            } else if let Kind::Named(..) = key.kind {
                out.push((format!("{name}__NAME"), key));
            } else {
                out.push((name, key));
            }
        }
    }
    let mut out = Vec::new();
    walk("FOURMI_", ROOT, &mut out);
    out
}
