//! What a broken configuration still says for certain about the admin listener: whoever asks a running Fourmi must
//! reach that one, and not another on the same machine.

use super::keys::{OFF, ROOT};
use super::overlay::{self, Env};
use super::plan::Admin;
use super::problem::Problems;
use super::source::{Origin, Span};
use super::tree::{self, Node, Value};
use super::{fill, read, walk};
use crate::section::Kind;

/// The admin listener (none: it is switched off), or nothing when the text leaves a doubt.
pub(super) fn admin(name: &str, text: &str, env: &Env) -> Option<Option<Admin>> {
    let mut problems = Problems::new();
    let source = problems.sources.add(name, text, Origin::File);
    let mut root = match tree::parse(source, &mut problems) {
        Some(root) => root,
        None => {
            problems = Problems::new();
            let source = problems.sources.add(name, section(text)?, Origin::File);
            tree::parse(source, &mut problems)?
        }
    };
    if root.value == Value::Null {
        root = Node::map(Span { source, start: 0, end: 0 });
    }
    overlay::interpolate(&mut root, env, &mut problems);
    overlay::overlay(&mut root, env, &mut problems);
    walk::walk(&mut root, &Kind::Section(ROOT), "", &mut problems);
    let written = root.get("admin").is_some();
    fill::fill(&mut root, "", &mut problems);
    let admin = root.get("admin")?.clone();
    let (problems, _) = problems.into_list();
    let doubtful = problems.iter().any(|p| match p.code {
        // One that is unknown at the top may be a misspelt `admin`.
        "unknown-key" if !written && !p.key.contains(['.', '[']) => true,
        // The parser names a repeated key without its path.
        "duplicate-key" => ["admin", "listen"].contains(&p.key.as_str()),
        "wrong-type" if p.key.is_empty() => true,
        _ => p.key.starts_with("admin"),
    });
    match admin.text() {
        _ if doubtful => None,
        Some(word) => OFF.contains(&word).then_some(None),
        None => Some(Some(read::admin(&admin)?)),
    }
}

/// The lines of the one section `admin` at the top of a text that is not YAML as a whole.
fn section(text: &str) -> Option<String> {
    let mut lines = String::new();
    let (mut inside, mut times) = (false, 0);
    for line in text.lines() {
        if !line.is_empty() && !line.starts_with([' ', '\t', '#']) {
            inside = line.starts_with("admin:");
            times += usize::from(inside);
        }
        if inside {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    (times == 1).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> Option<Option<String>> {
        let env = [("FOURMI_X".to_owned(), "1".to_owned())].into();
        admin("f", text, &env).map(|a| a.map(|a| a.listen.to_string()))
    }

    #[test]
    fn what_is_certain_is_told() {
        let at = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(says("admin: {listen: 127.0.0.1:7}\nlogs: [nonsense]\n"), at("127.0.0.1:7"));
        assert_eq!(says("worker: [}\nadmin:\n  listen: 127.0.0.1:7\n\n  # more\nlogs: []\n"), at("127.0.0.1:7"));
        assert_eq!(says("nonsense: 1\nadmin: {listen: 127.0.0.1:7}\n"), at("127.0.0.1:7"));
        assert_eq!(says("logs: [nonsense]\n"), at("127.0.0.1:9901"));
        assert_eq!(says("logs: {a: 1, a: 2}\nadmin: off\n"), Some(None));
        let env = [("FOURMI_ADMIN__LISTEN".to_owned(), "127.0.0.1:8".to_owned())].into();
        let said = admin("f", "service: [x\nadmin: {listen: 127.0.0.1:7}\n", &env);
        assert_eq!(said.flatten().map(|a| a.listen.port()), Some(8));
    }

    #[test]
    fn a_doubt_is_no_answer() {
        for text in [
            "admn: {listen: 127.0.0.1:7}\n",
            "admin: {lisen: 127.0.0.1:7}\n",
            "admin: {listen: nowhere}\n",
            "admin: {listen: '${NOBODY_SET_THIS}'}\n",
            "admin: {listen: 127.0.0.1:7, listen: 127.0.0.1:8}\n",
            "admin: off\nadmin: {listen: 127.0.0.1:8}\n",
            "admin: [1]\n",
            "- admin\n",
            "worker: [}\n",
            "{worker: [}, admin: {listen: 127.0.0.1:7}}\n",
        ] {
            assert_eq!(says(text), None, "{text}");
        }
    }
}
