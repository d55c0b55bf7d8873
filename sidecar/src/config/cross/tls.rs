//! Sections `tls:`: whether they are where they belong, and whether their files can be used.

use super::misfit;
use crate::config::problem::Problems;
use crate::config::read;
use crate::config::tree::{Entry, Node, Value};
use crate::config::value;
use crate::section::Wrong;

pub(super) fn check(root: &Node, problems: &mut Problems) {
    for section in ["inbound", "outbound"] {
        for (i, node) in root.get(section).map(Node::items).unwrap_or_default().iter().enumerate() {
            listener(node, &format!("{section}[{i}]"), problems);
        }
    }
    if let Some(worker) = root.get("worker") {
        connections(worker, "worker", problems);
    }
    for (i, outbound) in root.get("outbound").map(Node::items).unwrap_or_default().iter().enumerate() {
        for service in outbound.get("services").map(Node::entries).unwrap_or_default() {
            connections(&service.value, &format!("outbound[{i}].services.{}", service.key), problems);
        }
    }
}

/// The section, if there is something in it that was not reported before.
fn written<'a>(node: &'a Node, at: &str, problems: &Problems) -> Option<&'a Entry> {
    let entry = node.entry("tls").filter(|e| !matches!(e.value.value, Value::Bad | Value::Null))?;
    (!problems.mentions(&format!("{at}.tls"))).then_some(entry)
}

fn listener(node: &Node, at: &str, problems: &mut Problems) {
    let Some((text, span)) = node.get("listen").and_then(|n| Some((n.text()?, n.span))) else { return };
    let https = value::is_https(text);
    let has = node.entry("tls").is_some_and(|e| e.value.value != Value::Null);
    if https && !has {
        let path = format!("{at}.tls");
        let message = format!("`{at}.listen` is https and needs a certificate");
        problems.error(span, "missing-key", &path, message, "add `tls: {certificate: c.pem, key: k.pem}`");
        return;
    }
    let Some(entry) = written(node, at, problems) else { return };
    if !https {
        let path = format!("{at}.tls");
        let message = format!("`{path}` has no use: `{at}.listen` is not https");
        return problems.error(entry.key_span, "conflict", &path, message, "write https:// there, or remove `tls`");
    }
    let usable = read::server_tls(node).and_then(|tls| tls.acceptor().map(drop).map_err(Wrong::from));
    if let Err(wrong) = usable {
        misfit(entry, at, wrong, problems);
    }
}

fn connections(node: &Node, at: &str, problems: &mut Problems) {
    let Some(entry) = written(node, at, problems) else { return };
    let addresses = node.get("address").map(Node::items).unwrap_or_default();
    let mut targets = addresses.iter().filter_map(|n| value::target(n.text()?).ok()).peekable();
    if targets.peek().is_some() && !targets.any(|t| t.scheme.is_secure()) {
        let path = format!("{at}.tls");
        let message = format!("`{path}` has no use: no address of `{at}` is https or h2");
        return problems.error(entry.key_span, "conflict", &path, message, "write https:// there, or remove `tls`");
    }
    let usable = read::client_tls(node).and_then(|tls| tls.check().map_err(Wrong::from));
    if let Err(wrong) = usable {
        misfit(entry, at, wrong, problems);
    }
}
