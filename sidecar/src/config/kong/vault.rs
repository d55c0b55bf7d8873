//! `{vault://env/NAME}`: a value from the environment, in any text of the file. And deck's `${{ env "DECK_NAME" }}`.

use super::Reader;
use crate::config::near::nearest;
use crate::config::source::Span;
use crate::config::tree::{Node, Value};
use crate::gateway::Id;

/// The kinds of vaults that Kong knows; none of them may be a prefix.
pub(super) const KINDS: &[&str] = &["env", "aws", "azure", "conjur", "gcp", "hcv", "konnect"];

/// A vault of the file, as references see it.
pub(super) struct Place {
    pub(super) name: String,
    /// In front of the resource.
    pub(super) prefix: String,
}

/// Code, what is wrong, what to do.
pub(super) type Unresolved = (&'static str, String, String);

impl Reader<'_> {
    /// The vaults that the file declares.
    pub(super) fn vaults(&mut self, root: &Node) {
        let of = |n: Option<&Node>| n.and_then(Node::text).unwrap_or_default().to_owned();
        let all = root.get("vaults").map(Node::items).unwrap_or_default();
        self.places = all
            .iter()
            .map(|n| Place { name: of(n.get("prefix")), prefix: of(n.get("config").and_then(|c| c.get("prefix"))) })
            .collect();
    }

    /// Replaces every reference of every entity.
    pub(super) fn resolve(&mut self) {
        let mut records = std::mem::take(&mut self.records);
        for record in records.iter_mut().filter(|r| r.kind != super::spec::Kind::Vault) {
            self.resolve_in(&mut record.node, &record.path);
        }
        self.records = records;
    }

    fn resolve_in(&mut self, node: &mut Node, path: &str) {
        let span = node.span;
        match &mut node.value {
            Value::List(items) => {
                items.iter_mut().enumerate().for_each(|(i, n)| self.resolve_in(n, &format!("{path}[{i}]")));
            }
            Value::Map(entries) => {
                let said = entries.iter_mut().filter(|e| e.key != "_comment" && e.key != "_ignore");
                said.for_each(|e| self.resolve_in(&mut e.value, &format!("{path}.{}", e.key)));
            }
            Value::Scalar { text, plain } if text.starts_with("{vault://") => match self.resolved(text) {
                Ok(found) => {
                    self.problems.hide(&found);
                    (*text, *plain) = (found, false);
                    self.referenced.insert(span.start);
                }
                Err(wrong) => {
                    self.unresolved(span, path, wrong);
                    node.value = Value::Bad;
                }
            },
            _ => {}
        }
    }

    pub(super) fn unresolved(&mut self, span: Span, path: &str, (code, message, fix): Unresolved) {
        self.problems.error(span, code, path, format!("`{path}`: {message}"), fix);
    }

    /// What a reference stands for.
    pub(super) fn resolved(&self, text: &str) -> Result<String, Unresolved> {
        const FIX: &str = "write {vault://env/NAME}";
        let odd = || ("bad-value", "this reference is not complete".to_owned(), FIX.to_owned());
        let inner = text.strip_prefix("{vault://").and_then(|t| t.strip_suffix('}')).ok_or_else(odd)?;
        let (inner, version) = inner.split_once('#').map_or((inner, ""), |(a, b)| (a, b));
        let (inner, query) = inner.split_once('?').map_or((inner, ""), |(a, b)| (a, b));
        let mut parts = inner.split('/');
        let vault = parts.next().filter(|v| !v.is_empty()).ok_or_else(odd)?;
        let resource = parts.next().filter(|v| !v.is_empty()).ok_or_else(odd)?;
        let key = parts.next().filter(|k| !k.is_empty());
        let mut prefix = match self.places.iter().find(|p| p.name == vault) {
            Some(place) => place.prefix.clone(),
            None if vault == "env" => String::new(),
            None if KINDS.contains(&vault) => {
                let message = format!("the vault '{vault}' is not supported yet");
                return Err((
                    "not-supported",
                    message,
                    "put the value into the environment: {vault://env/NAME}".into(),
                ));
            }
            None => {
                let known = self.places.iter().map(|p| p.name.as_str()).chain(["env"]);
                let fix = nearest(vault, known).map_or(FIX.to_owned(), |n| format!("write {{vault://{n}/…}}"));
                return Err(("unknown-reference", format!("vault not found ({vault})"), fix));
            }
        };
        if let Some(given) = query.split('&').find_map(|o| o.strip_prefix("prefix=")) {
            given.clone_into(&mut prefix);
        }
        let name = format!("{prefix}{resource}").to_uppercase().replace('-', "_");
        let name = if version == "2" { format!("{name}_PREVIOUS") } else { name };
        let Some(value) = self.env.get(&name) else {
            let message = format!("unable to resolve reference {text}: the variable `{name}` is not set");
            return Err(("unset-variable", message, format!("set {name}")));
        };
        let Some(key) = key else { return Ok(value.clone()) };
        let json: Option<serde_json::Value> = serde_json::from_str(value).ok();
        match json.as_ref().and_then(|j| j.get(key)) {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(other @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => Ok(other.to_string()),
            _ => {
                let message =
                    format!("unable to resolve reference {text}: `{name}` holds no JSON object with a text `{key}`");
                Err(("unset-variable", message, format!("let {name} be a JSON object with `{key}`")))
            }
        }
    }

    /// deck puts variables into the text of the file; only those whose name begins with `DECK_`.
    pub(super) fn templates(&mut self, node: &mut Node) {
        let span = node.span;
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(|n| self.templates(n)),
            Value::Map(entries) => entries.iter_mut().for_each(|e| self.templates(&mut e.value)),
            Value::Scalar { text, plain } if text.contains("${{") => match self.templated(text) {
                Ok((found, typed)) => {
                    *plain = *plain || typed;
                    self.problems.hide(&found);
                    *text = found;
                    self.referenced.insert(span.start);
                }
                Err((message, fix)) => {
                    self.problems.error(span, "unset-variable", "", message, fix);
                    node.value = Value::Bad;
                }
            },
            _ => {}
        }
    }

    fn templated(&self, text: &str) -> Result<(String, bool), (String, String)> {
        let form = || "write ${{ env \"DECK_NAME\" }}".to_owned();
        let (mut out, mut rest, mut typed) = (String::new(), text, false);
        while let Some((before, after)) = rest.split_once("${{") {
            out.push_str(before);
            let Some((inside, after)) = after.split_once("}}") else {
                return Err(("`${{` without `}}`".to_owned(), form()));
            };
            rest = after;
            let (call, filter) = inside.split_once('|').map_or((inside, ""), |(a, b)| (a, b));
            typed |= ["toInt", "toBool", "toFloat"].contains(&filter.trim());
            let name = call.trim().strip_prefix("env").map(|n| n.trim().trim_matches(['"', '\'', '`']));
            let Some(name) = name.filter(|n| n.starts_with("DECK_")) else {
                return Err(("this template is none that deck knows".to_owned(), form()));
            };
            let Some(value) = self.env.get(name) else {
                return Err((
                    format!("environment variable '{name}' present in file but not set"),
                    format!("set {name}"),
                ));
            };
            out.push_str(value);
        }
        out.push_str(rest);
        Ok((out, typed))
    }
}

/// A secret that nobody wrote: nobody can know it, and it stays the same from load to load.
pub(super) fn unguessable(id: Id) -> String {
    use std::sync::LazyLock;
    static SEED: LazyLock<[u8; 32]> = LazyLock::new(|| {
        let mut seed = [0; 32];
        // Without randomness the digest below is of a seed of zeros; the provider aborts long before that.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        seed
    });
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[&SEED[..], id.bytes()].concat());
    hash.as_ref().iter().take(16).map(|b| format!("{b:02x}")).collect()
}
