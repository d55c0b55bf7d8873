//! How nodes, instances and checks are shown.

use super::time;
use crate::snapshot::Member;
use crate::{Address, Check, Instance, Node, Probe};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The check that takes a node out of everything.
pub(super) const NODE_MAINTENANCE: &str = "_node_maintenance";
/// What the id of the check begins with that takes an instance out.
pub(super) const MAINTENANCE: &str = "_service_maintenance:";

/// Whether a check is there because somebody is at work.
pub(super) fn is_maintenance(id: &str) -> bool {
    id == NODE_MAINTENANCE || id.starts_with(MAINTENANCE)
}

/// A node; the number is its last change.
pub(super) fn node(node: &Node, datacenter: &str, index: u64) -> Value {
    json!({
        "ID": node.id,
        "Node": node.name,
        "Address": node.address.to_string(),
        "Datacenter": datacenter,
        "TaggedAddresses": node_addresses(node),
        "Meta": node.meta,
        "CreateIndex": index,
        "ModifyIndex": index,
    })
}

fn node_addresses(node: &Node) -> BTreeMap<String, String> {
    let mut shown: BTreeMap<String, String> =
        node.tagged.iter().map(|(name, address)| (name.clone(), address.to_string())).collect();
    if let Some(names) = families(&node.address) {
        for name in ["lan", "wan"].iter().chain(&names) {
            shown.entry((*name).to_owned()).or_insert_with(|| node.address.to_string());
        }
    }
    shown
}

/// What an address is called besides.
fn families(address: &Address) -> Option<[&'static str; 2]> {
    match address.ip()?.is_ipv4() {
        true => Some(["lan_ipv4", "wan_ipv4"]),
        false => Some(["lan_ipv6", "wan_ipv6"]),
    }
}

fn addresses(instance: &Instance) -> Value {
    let mut shown = Map::new();
    for (name, tagged) in &instance.tagged {
        shown.insert(name.clone(), json!({ "Address": tagged.address.to_string(), "Port": tagged.port }));
    }
    if let Some(address) = &instance.address {
        for name in families(address).into_iter().flatten().filter(|name| !instance.tagged.contains_key(*name)) {
            shown.insert(name.to_owned(), json!({ "Address": address.to_string(), "Port": instance.port }));
        }
    }
    Value::Object(shown)
}

fn own_address(instance: &Instance) -> String {
    instance.address.as_ref().map(Address::to_string).unwrap_or_default()
}

fn weights(instance: &Instance) -> Value {
    json!({ "Passing": instance.weights.passing, "Warning": instance.weights.warning })
}

/// An instance as its own agent shows it.
pub(super) fn local(instance: &Instance, datacenter: &str) -> Value {
    json!({
        "ID": instance.id,
        "Service": instance.service,
        "Tags": instance.tags,
        "Meta": instance.meta,
        "Port": instance.port,
        "Address": own_address(instance),
        "SocketPath": instance.socket,
        "TaggedAddresses": addresses(instance),
        "Weights": weights(instance),
        "EnableTagOverride": instance.enable_tag_override,
        "Datacenter": datacenter,
    })
}

/// An instance as the catalog shows it below its node.
pub(super) fn service(instance: &Instance, index: u64) -> Value {
    json!({
        "ID": instance.id,
        "Service": instance.service,
        "Tags": instance.tags,
        "Address": own_address(instance),
        "TaggedAddresses": addresses(instance),
        "Meta": instance.meta,
        "Port": instance.port,
        "SocketPath": instance.socket,
        "Weights": weights(instance),
        "EnableTagOverride": instance.enable_tag_override,
        "Proxy": {},
        "Connect": {},
        "PeerName": "",
        "CreateIndex": index,
        "ModifyIndex": index,
    })
}

/// An instance and its node in one.
pub(super) fn whole(member: &Member, datacenter: &str, index: u64) -> Value {
    let (node, instance) = (&member.node, &member.instance);
    json!({
        "ID": node.id,
        "Node": node.name,
        "Address": node.address.to_string(),
        "Datacenter": datacenter,
        "TaggedAddresses": node_addresses(node),
        "NodeMeta": node.meta,
        "ServiceKind": "",
        "ServiceID": instance.id,
        "ServiceName": instance.service,
        "ServiceTags": instance.tags,
        "ServiceAddress": own_address(instance),
        "ServiceTaggedAddresses": addresses(instance),
        "ServiceWeights": weights(instance),
        "ServiceMeta": instance.meta,
        "ServicePort": instance.port,
        "ServiceSocketPath": instance.socket,
        "ServiceEnableTagOverride": instance.enable_tag_override,
        "ServiceProxy": {},
        "ServiceConnect": {},
        "CreateIndex": index,
        "ModifyIndex": index,
    })
}

/// A check, of an instance or of the node itself.
pub(super) fn check(check: &Check, instance: Option<&Instance>, index: u64) -> Value {
    let definition = &check.definition;
    let (interval, timeout) = match definition.probe.is_active() {
        true => (time::shown(definition.timing.interval), time::shown(definition.timing.timeout)),
        false => Default::default(),
    };
    json!({
        "Node": definition.node,
        "CheckID": definition.id,
        "Name": definition.name,
        "Status": check.state.as_str(),
        "Notes": definition.notes,
        "Output": &*check.output,
        "ServiceID": instance.map(|instance| &*instance.id).unwrap_or_default(),
        "ServiceName": instance.map(|instance| &*instance.service).unwrap_or_default(),
        "ServiceTags": instance.map(|instance| &*instance.tags).unwrap_or_default(),
        "Type": match definition.probe {
            Probe::Manual if !is_maintenance(&definition.id) => "",
            _ => definition.probe.kind(),
        },
        "Interval": interval,
        "Timeout": timeout,
        "ExposedPort": 0,
        "Definition": {},
        "CreateIndex": index,
        "ModifyIndex": index,
    })
}

/// A member's checks, its node's first.
pub(super) fn checks(member: &Member, index: u64) -> Vec<Value> {
    let of_node = member.node_checks.iter().map(|of_node| check(of_node, None, index));
    of_node.chain(member.checks.iter().map(|own| check(own, Some(&member.instance), index))).collect()
}
