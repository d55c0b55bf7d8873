//! Delivery: what is to be stored needs a store.

use super::misfit;
use crate::config::keys::COMMANDS;
use crate::config::problem::Problems;
use crate::config::read;
use crate::config::tree::{Entry, Node, Value};
use crate::section::{Key, Wrong};
use crate::spool::delivery::KEYS;

/// What is missing then.
const SPOOL: &str = "add `spool: {path: ./fourmi-data}`";

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
        schedule(root, entry, is_there, problems);
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

/// Commands that come again and again: their names tell them apart.
fn schedule(root: &Node, commands: &Entry, is_there: bool, problems: &mut Problems) {
    let Some(entry) = commands.value.entry("schedule") else { return };
    let all = entry.value.items();
    if all.is_empty() || problems.mentions("commands.schedule") {
        return;
    }
    if !is_there {
        let wrong = Wrong::new("it stores commands, and there is nothing to store them in", SPOOL);
        misfit(entry, "commands", wrong, problems);
    }
    if root.get("worker").is_none() && root.get("gateway").is_none() {
        let wrong = Wrong::new("there is no worker that these commands are for", "add `worker:`, or leave them out");
        misfit(entry, "commands", wrong, problems);
    }
    for (i, node) in all.iter().enumerate() {
        let path = format!("commands.schedule[{i}]");
        let name = |n: &Node| n.get("name").and_then(Node::text).map(str::to_owned);
        let twice = all[..i].iter().any(|n| name(n) == name(node));
        let wrong = match read::entry(node) {
            Err(wrong) => wrong,
            Ok(_) if twice => Wrong::new("the name is given twice", "give each entry a name of its own").of("name"),
            Ok(_) => continue,
        };
        let span = wrong.key.and_then(|k| node.get(k)).map_or(node.span, |n| n.span);
        let path = wrong.key.map_or(path.clone(), |key| format!("{path}.{key}"));
        problems.error(span, wrong.code, &path, format!("`{path}`: {}", wrong.message), wrong.fix);
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
        let wrong = Wrong::new("it stores commands, and there is nothing to store them in", SPOOL);
        misfit(entry, at, wrong.of(key), problems);
    }
}
