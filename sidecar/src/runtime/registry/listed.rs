//! The registry for people: every service with its instances, and what is known of each.

use super::Running;
use fourmi_discovery::{Check, Member, NodeEntry, State};
use serde_json::{Value, json};

/// Instances that one answer shows.
const SHOWN_MAX: usize = 1_000;
/// Characters of a check's output: the first words say what is wrong.
const OUTPUT_MAX: usize = 400;

impl Running {
    /// Services with their instances and checks, and nodes.
    pub(in crate::runtime) fn listed(&self) -> Value {
        let snapshot = self.registry.snapshot();
        let (mut left, mut more) = (SHOWN_MAX, 0);
        let services: Vec<Value> = snapshot
            .services()
            .map(|service| {
                let shown = service.members.len().min(left);
                left -= shown;
                more += service.members.len() - shown;
                let usable = service.usable().count();
                let members: Vec<Value> = service.members.iter().take(shown).map(|m| member(m)).collect();
                json!({"name": service.name, "usable": usable, "all": service.members.len(), "instances": members})
            })
            .collect();
        json!({
            "services": services,
            "more": more,
            "nodes": snapshot.nodes().take(SHOWN_MAX).map(node).collect::<Vec<_>>(),
            "dns": self.settings.borrow().dns.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "http": self.settings.borrow().http.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "suffix": self.settings.borrow().suffixes().first(),
            "away": self.away().map(|(whom, since, why)| {
                json!({"from": whom, "seconds": since.as_secs(), "why": why})
            }),
        })
    }
}

fn member(member: &Member) -> Value {
    json!({
        "id": member.instance.id,
        "node": member.node.name,
        "address": member.address().to_string(),
        "port": member.instance.port,
        "tags": member.instance.tags,
        "state": member.state.as_str(),
        "usable": member.usable(),
        "draining": member.instance.draining,
        "weight": member.weight(),
        "checks": member.checks.iter().chain(member.node_checks.iter()).map(|c| check(c)).collect::<Vec<_>>(),
    })
}

fn node(entry: &NodeEntry) -> Value {
    let worst = entry.checks.iter().map(|c| c.state).max().unwrap_or(State::Passing);
    json!({
        "name": entry.node.name,
        "address": entry.node.address.to_string(),
        "instances": entry.instances.len(),
        "state": worst.as_str(),
    })
}

fn check(check: &Check) -> Value {
    let output: String = check.output.chars().take(OUTPUT_MAX).collect();
    json!({
        "id": check.definition.id,
        "name": check.definition.name,
        "kind": check.definition.probe.kind(),
        "state": check.state.as_str(),
        "output": output,
        "since_seconds": check.since.elapsed().as_secs(),
        "interval_seconds": check.definition.timing.interval.as_secs_f64(),
    })
}
