//! Who is where and how they are.

use super::access::Resource;
use super::asked::Asked;
use super::call::Call;
use super::failure::Failure;
use super::shape;
use super::waiting::Scope;
use crate::State;
use crate::snapshot::{Member, NodeEntry, Snapshot};
use serde_json::{Value, json};

/// `GET health/service/NAME`.
pub(super) fn service(call: &Call, asked: &Asked, snapshot: &Snapshot) -> Result<Value, Failure> {
    let index = Scope::service(&call.rest).index(snapshot, call.keys());
    let mut members: Vec<&Member> = match snapshot.service(&call.rest) {
        Some(service) => service
            .members
            .iter()
            .map(|member| &**member)
            .filter(|member| asked.is_well(member) && asked.wants(member))
            .collect(),
        None => Vec::new(),
    };
    asked.sort(&mut members, |member| &member.node.name);
    let rows = members.into_iter().map(|member| {
        json!({
            "Node": shape::node(&member.node, &call.settings.datacenter, index),
            "Service": shape::service(&member.instance, index),
            "Checks": shape::checks(member, index),
        })
    });
    asked.filtered(rows.collect())
}

/// `GET health/checks/NAME`.
pub(super) fn checks(call: &Call, asked: &Asked, snapshot: &Snapshot) -> Result<Value, Failure> {
    let index = Scope::service(&call.rest).index(snapshot, call.keys());
    let members = snapshot.service(&call.rest).map(|service| &*service.members).unwrap_or_default();
    let mut members: Vec<&Member> =
        members.iter().map(|member| &**member).filter(|member| asked.wants_at(member)).collect();
    asked.sort(&mut members, |member| &member.node.name);
    let own = |member: &Member| {
        let all = member.checks.iter().map(|check| shape::check(check, Some(&member.instance), index));
        all.collect::<Vec<_>>()
    };
    asked.filtered(members.into_iter().flat_map(own).collect())
}

/// `GET health/node/NODE`: all checks there, of the node and of its instances.
pub(super) fn node(call: &Call, asked: &Asked, snapshot: &Snapshot) -> Result<Value, Failure> {
    let entry = snapshot.node(&call.rest).filter(|entry| call.rights.sees(Resource::Node, &entry.node.name));
    let rows = entry.map(|entry| all(asked, entry, |_| true)).unwrap_or_default();
    asked.filtered(rows)
}

/// `GET health/state/STATE`.
pub(super) fn state(call: &Call, asked: &Asked, snapshot: &Snapshot) -> Result<Value, Failure> {
    let wanted = State::parse(&call.rest);
    let is_wanted = |state: State| call.rest == "any" || wanted == Some(state);
    let mut entries: Vec<&NodeEntry> = snapshot.nodes().filter(|entry| asked.wants_node(&entry.node)).collect();
    asked.sort(&mut entries, |entry| &entry.node.name);
    asked.filtered(entries.into_iter().flat_map(|entry| all(asked, entry, is_wanted)).collect())
}

fn all(asked: &Asked, entry: &NodeEntry, is_wanted: impl Fn(State) -> bool) -> Vec<Value> {
    let of_node = entry.checks.iter().map(|check| (check, None));
    let own = entry.instances.iter().filter(|member| asked.sees(member)).flat_map(|member| {
        let instance = &*member.instance;
        member.checks.iter().map(move |check| (check, Some(instance)))
    });
    let wanted = of_node.chain(own).filter(|(check, _)| is_wanted(check.state));
    wanted.map(|(check, instance)| shape::check(check, instance, entry.changed)).collect()
}
