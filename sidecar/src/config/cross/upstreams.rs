//! How commands are sent to the worker and to services: what the parts find wrong with their keys.

mod vain;

use super::misfit;
use crate::config::keys::{SERVICE, WORKER};
use crate::config::problem::Problems;
use crate::config::read;
use crate::config::tree::{Entry, Node};
use crate::section::Key;
use crate::upstream::balance::Algorithm;
use crate::upstream::names;

pub(super) fn check(root: &Node, problems: &mut Problems) {
    if let Some(entry) = root.entry("worker") {
        policy(entry, "", WORKER, problems);
    }
    for (i, outbound) in root.get("outbound").map(Node::items).unwrap_or_default().iter().enumerate() {
        for entry in outbound.get("services").map(Node::entries).unwrap_or_default() {
            policy(entry, &format!("outbound[{i}].services"), SERVICE, problems);
        }
    }
    if let Some(entry) = root.entry("dns").filter(|_| !problems.mentions("dns")) {
        dns(entry, problems);
    }
}

fn dns(entry: &Entry, problems: &mut Problems) {
    let mut all = Vec::new();
    for key in ["nameservers", "search"] {
        let items = entry.value.get(key).map(Node::items).unwrap_or_default();
        for (i, wrong) in names::section::of_list(key, items.iter().map(Node::text)) {
            all.extend(items.get(i).map(|node| (node.span, format!("dns.{key}[{i}]"), wrong)));
        }
    }
    for (span, path, wrong) in &all {
        problems.error(*span, wrong.code, path, format!("`{path}`: {}", wrong.message), wrong.fix.as_str());
    }
    if all.is_empty()
        && let Err(wrong) = read::dns(&entry.value)
    {
        misfit(entry, "", wrong, problems);
    }
}

fn policy(entry: &Entry, at: &str, keys: &[Key], problems: &mut Problems) {
    let path = if at.is_empty() { entry.key.to_string() } else { format!("{at}.{}", entry.key) };
    // What is bad in it has been reported.
    if problems.mentions(&path) {
        return;
    }
    match read::policy(&entry.value, keys, Algorithm::Latency) {
        Ok(policy) => vain::check(entry, &path, &policy, problems),
        Err(wrong) => misfit(entry, at, wrong, problems),
    }
}
