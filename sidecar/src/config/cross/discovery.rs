//! The registry: what it finds wrong with its section, and services that only it could know.

use super::misfit;
use crate::config::problem::Problems;
use crate::config::read;
use crate::config::tree::Node;

pub(super) fn check(root: &Node, problems: &mut Problems) {
    let entry = root.entry("discovery");
    if let Some(entry) = entry.filter(|_| !problems.mentions("discovery")) {
        let found = read::services(&entry.value, root);
        for (span, path, wrong) in &found {
            problems.error(*span, wrong.code, path, format!("`{path}`: {}", wrong.message), wrong.fix.as_str());
        }
        if found.is_empty()
            && let Err(wrong) = read::discovery(&entry.value, root)
        {
            misfit(entry, "", wrong, problems);
        }
    }
    if entry.is_some() {
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
