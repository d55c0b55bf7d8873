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
    readiness(root, problems);
    for section in ["inbound", "outbound"] {
        for (i, node) in root.get(section).map(Node::items).unwrap_or_default().iter().enumerate() {
            listener(node, &format!("{section}[{i}]"), root, problems);
        }
    }
}

/// One that speaks ZeroMQ answers no question over HTTP.
fn readiness(root: &Node, problems: &mut Problems) {
    let Some(worker) = root.get("worker") else { return };
    let of_zmq = |node: &Node| node.get("url").and_then(Node::text).is_some_and(value::is_zmq);
    let asked = worker.get("ready").and_then(|ready| ready.get("http")).filter(|http| http.text().is_some());
    let Some(asked) = asked.filter(|_| worker.get("address").is_some_and(|a| a.items().iter().any(of_zmq))) else {
        return;
    };
    let message = "`worker.ready.http` asks over HTTP, and the worker speaks ZeroMQ";
    let fix = "remove it: whether it can be connected to is asked anyway";
    problems.error(asked.span, "conflict", "worker.ready.http", message, fix);
}

/// Services that outbound listeners know.
fn known(root: &Node, name: &str) -> bool {
    let outbound = root.get("outbound").map(Node::items).unwrap_or_default();
    let services = outbound.iter().flat_map(|o| o.get("services").map(Node::entries).unwrap_or_default());
    services.into_iter().any(|service| service.key.eq_ignore_ascii_case(name))
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
    if at.starts_with("outbound") {
        match says("service") {
            None => {
                let message = format!("`{path}` does not say which service messages go to");
                return problems.error(entry.key_span, "missing-key", &path, message, "add `service: NAME`");
            }
            Some(service) => {
                let name = service.text().unwrap_or_default();
                if root.get("discovery").is_none_or(|n| n.value == Value::Null) && !known(root, name) {
                    let path = format!("{path}.service");
                    let message = format!("no service has the name `{name}`");
                    let fix = "write a name of `outbound[].services`, or add it there";
                    problems.error(service.span, "unknown-reference", &path, message, fix);
                }
            }
        }
    }
    if let Err(wrong) = zmq::inlet(node, root) {
        let (span, path) = match wrong.key.and_then(|key| Some((entry.value.get(key)?, key))) {
            Some((node, key)) => (node.span, format!("{path}.{key}")),
            None => (entry.value.span, path),
        };
        problems.error(span, wrong.code, &path, wrong.message, wrong.fix);
    }
}
