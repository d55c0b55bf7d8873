//! Delivery: what is to be stored needs a store.

use super::misfit;
use crate::config::keys::COMMANDS;
use crate::config::problem::Problems;
use crate::config::read;
use crate::config::tree::{Entry, Node, Value};
use crate::section::{Key, Wrong};
use crate::spool::delivery::KEYS;

pub(super) fn check(root: &Node, problems: &mut Problems) {
    let is_there = matches!(root.get("spool").map(|n| &n.value), Some(Value::Map(_)));
    if let Some(entry) = root.entry("spool").filter(|e| matches!(e.value.value, Value::Map(_)))
        && !problems.mentions("spool")
        && let Err(wrong) = read::spool(&entry.value)
    {
        misfit(entry, "", wrong, problems);
    }
    if let Some(entry) = root.entry("commands") {
        one(entry, "", (COMMANDS, is_there), problems);
    }
    for (i, outbound) in root.get("outbound").map(Node::items).unwrap_or_default().iter().enumerate() {
        for service in outbound.get("services").map(Node::entries).unwrap_or_default() {
            if let Some(entry) = service.value.entry("delivery") {
                let at = format!("outbound[{i}].services.{}", service.key);
                one(entry, &at, (KEYS, is_there), problems);
            }
        }
    }
}

fn one(entry: &Entry, at: &str, (keys, is_there): (&[Key], bool), problems: &mut Problems) {
    let path = if at.is_empty() { entry.key.to_string() } else { format!("{at}.{}", entry.key) };
    if problems.mentions(&path) {
        return;
    }
    let delivery = match read::delivery(&entry.value, keys) {
        Ok(delivery) => delivery,
        Err(wrong) => return misfit(entry, at, wrong, problems),
    };
    let asks = [
        ("mode", delivery.mode != crate::exchange::Mode::Sync),
        ("save_on_fail", delivery.save_on_fail),
        ("idempotency", delivery.idempotency),
    ];
    for (key, _) in asks.into_iter().filter(|(_, set)| *set && !is_there) {
        let wrong = Wrong::new(
            "it stores commands, and there is nothing to store them in",
            "add `spool: {path: ./fourmi-data}`",
        );
        misfit(entry, at, wrong.of(key), problems);
    }
}
