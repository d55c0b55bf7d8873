//! The registry: what it finds wrong with its section, and services that only it could know.

use super::misfit;
use crate::config::problem::Problems;
use crate::config::read;
use crate::config::tree::{Entry, Node, Value};
use crate::config::value;

pub(super) fn check(root: &Node, problems: &mut Problems) {
    let entry = root.entry("discovery");
    if let Some(entry) = entry.filter(|_| !problems.mentions("discovery")) {
        let found = read::services(&entry.value, root);
        for (span, path, wrong) in &found {
            problems.error(*span, wrong.code, path, format!("`{path}`: {}", wrong.message), wrong.fix.as_str());
        }
        let whole = read::discovery(&entry.value, root).err().unwrap_or_default();
        for wrong in whole.into_iter().filter(|wrong| found.is_empty() || wrong.key != Some("services")) {
            misfit(entry, "", wrong, problems);
        }
        without_port(&entry.value, problems);
    }
    if let Some(entry) = entry {
        open_resolver(entry, problems);
        return;
    }
    for (i, outbound) in root.get("outbound").map(Node::items).unwrap_or_default().iter().enumerate() {
        for service in outbound.get("services").map(Node::entries).unwrap_or_default() {
            let path = format!("outbound[{i}].services.{}", service.key);
            if service.value.get("address").is_none() && !problems.mentions(&path) {
                let message = format!("`{path}` has no `address`, and there is no registry that would know one");
                let fix = "add `address: http://HOST:PORT`, or a section `discovery:`";
                problems.error(service.key_span, "missing-key", &path, message, fix);
            }
        }
    }
}

/// Names tell an instance without a port; commands have nowhere to go.
fn without_port(discovery: &Node, problems: &mut Problems) {
    for (at, service) in discovery.get("services").map(Node::items).unwrap_or_default().iter().enumerate() {
        if matches!(service.value, Value::Map(_)) && service.get("port").is_none_or(|port| port.text() == Some("0")) {
            let path = format!("discovery.services[{at}]");
            if problems.mentions(&path) {
                continue;
            }
            let message = format!("`{path}` has no `port`: names tell it, and no command can be sent to it");
            problems.warning(service.span, "no-port", &path, message, "write its `port`");
        }
    }
}

/// Who asks recursors for everybody helps whoever hides behind another's address.
fn open_resolver(entry: &Entry, problems: &mut Problems) {
    let Some(dns) = entry.value.get("dns").filter(|dns| dns.get("recursors").is_some_and(|r| !every(r).is_empty()))
    else {
        return;
    };
    for node in dns.get("listen").map(every).unwrap_or_default() {
        if let Some(address) = node.text().and_then(|t| value::socket(t).ok()).filter(|a| !a.ip().is_loopback()) {
            problems.warning(
                node.span,
                "open-resolver",
                "discovery.dns.listen",
                format!("`{address}` asks the recursors for every host that reaches it"),
                "listen where only those reach it who may ask, or leave out `recursors`",
            );
        }
    }
}

/// One, or each of a list.
pub(super) fn every(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(all) => all,
        _ => std::slice::from_ref(node),
    }
}
