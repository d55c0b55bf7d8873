//! Sections `zmq:` of listeners: whether they fit together, and whether their files can be used.

use crate::config::problem::Problems;
use crate::config::tree::{Node, Value};
use crate::config::{value, zmq};

pub(super) fn check(root: &Node, problems: &mut Problems) {
    if let Err(wrong) = zmq::usual(root) {
        let at = "commands.identify.frames";
        let node = root.get("commands").and_then(|c| c.get("identify")).and_then(|i| i.get("frames"));
        if let Some(node) = node.filter(|_| !problems.mentions(at)) {
            problems.error(node.span, wrong.code, at, wrong.message, wrong.fix);
        }
    }
    for section in ["inbound", "outbound"] {
        for (i, node) in root.get(section).map(Node::items).unwrap_or_default().iter().enumerate() {
            listener(node, &format!("{section}[{i}]"), root, problems);
        }
    }
}

fn listener(node: &Node, at: &str, root: &Node, problems: &mut Problems) {
    let address = node.get("listen").and_then(Node::text).unwrap_or_default();
    let Some(entry) = node.entry("zmq").filter(|e| !matches!(e.value.value, Value::Bad | Value::Null)) else {
        if at.starts_with("outbound") && value::is_zmq(address) && !problems.mentions(at) {
            let path = format!("{at}.zmq");
            let message = format!("`{at}` takes messages, and nothing says which service they go to");
            problems.error(node.span, "missing-key", &path, message, "add `zmq: {service: NAME}`");
        }
        return;
    };
    let path = format!("{at}.zmq");
    if problems.mentions(&path) {
        return;
    }
    if value::is_https(address) {
        let message = format!("`{path}` has no use: `{at}.listen` is https");
        return problems.error(entry.key_span, "conflict", &path, message, "write http:// or zmq+tcp://, or remove it");
    }
    let says = |key: &str| entry.value.get(key).filter(|n| n.value != Value::Null);
    if let Some(service) = says("service").filter(|_| at.starts_with("inbound")) {
        let message = "what comes in goes to the worker; `service` is for outbound listeners";
        return problems.error(service.span, "conflict", &format!("{path}.service"), message, "remove it");
    }
    if let Err(wrong) = zmq::inlet(node, root) {
        let (span, path) = match wrong.key.and_then(|key| Some((entry.value.get(key)?, key))) {
            Some((node, key)) => (node.span, format!("{path}.{key}")),
            None => (entry.value.span, path),
        };
        problems.error(span, wrong.code, &path, wrong.message, wrong.fix);
    }
}
