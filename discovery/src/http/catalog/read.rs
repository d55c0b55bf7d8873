//! What is registered, however it is.

use crate::http::access::Resource;
use crate::http::asked::Asked;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::reply::Reply;
use crate::http::shape;
use crate::snapshot::{Member, NodeEntry, Snapshot};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// `GET catalog/datacenters`.
pub(in crate::http) fn datacenters(call: &Call) -> Result<Reply, Failure> {
    Ok(Reply::json(json!([call.settings.datacenter])))
}

/// `GET catalog/nodes`.
pub(in crate::http) fn nodes(call: &Call, asked: &Asked, snapshot: &Snapshot) -> Result<Value, Failure> {
    let mut entries: Vec<&NodeEntry> = snapshot.nodes().filter(|entry| asked.wants_node(&entry.node)).collect();
    asked.sort(&mut entries, |entry| &entry.node.name);
    // Not the node's own number: that counts how it is, too, and this answer does not.
    let (index, datacenter) = (snapshot.registered(), &call.settings.datacenter);
    asked.filtered(entries.into_iter().map(|entry| shape::node(&entry.node, datacenter, index)).collect())
}

/// `GET catalog/services`: names with all their tags.
pub(in crate::http) fn services(call: &Call, asked: &Asked, snapshot: &Snapshot) -> Result<Value, Failure> {
    let mut shown = Map::new();
    for service in snapshot.services() {
        let mut members = service.members.iter().filter(|member| asked.wants_at(member)).peekable();
        if members.peek().is_none() {
            continue;
        }
        let mut tags = BTreeSet::new();
        let mut any = !asked.filters();
        for member in members {
            if asked.filters() && !asked.holds(&shape::whole(member, &call.settings.datacenter, service.changed))? {
                continue;
            }
            any = true;
            tags.extend(member.instance.tags.iter().cloned());
        }
        if any {
            shown.insert(service.name.clone(), json!(tags));
        }
    }
    Ok(Value::Object(shown))
}

/// `GET catalog/service/NAME`: how they are does not matter.
pub(in crate::http) fn service(call: &Call, asked: &Asked, snapshot: &Snapshot) -> Result<Value, Failure> {
    let Some(service) = snapshot.service(&call.rest) else { return Ok(json!([])) };
    let members = service.members.iter().map(|member| &**member);
    let mut members: Vec<&Member> = members.filter(|member| asked.wants(member)).collect();
    asked.sort(&mut members, |member| &member.node.name);
    let datacenter = &call.settings.datacenter;
    asked.filtered(members.into_iter().map(|member| shape::whole(member, datacenter, service.changed)).collect())
}

/// The node that is asked for, if it may be seen.
fn shown<'a>(call: &Call, snapshot: &'a Snapshot) -> Option<&'a NodeEntry> {
    snapshot.node(&call.rest).filter(|entry| call.rights.sees(Resource::Node, &entry.node.name))
}

/// `GET catalog/node/NODE`.
pub(in crate::http) fn node(call: &Call, asked: &Asked, snapshot: &Snapshot) -> Result<Value, Failure> {
    let Some(entry) = shown(call, snapshot) else { return Ok(Value::Null) };
    let rows = entry.instances.iter().filter(|member| asked.sees(member));
    let rows = rows.map(|member| (member.instance.id.clone(), shape::service(&member.instance, entry.changed)));
    let services = asked.filtered_map(rows)?;
    Ok(json!({ "Node": shape::node(&entry.node, &call.settings.datacenter, entry.changed), "Services": services }))
}

/// `GET catalog/node-services/NODE`.
pub(in crate::http) fn node_services(call: &Call, asked: &Asked, snapshot: &Snapshot) -> Result<Value, Failure> {
    let Some(entry) = shown(call, snapshot) else { return Ok(json!({ "Node": null, "Services": [] })) };
    let rows = entry.instances.iter().filter(|member| asked.sees(member));
    let rows = rows.map(|member| shape::service(&member.instance, entry.changed));
    let services = asked.filtered(rows.collect())?;
    Ok(json!({ "Node": shape::node(&entry.node, &call.settings.datacenter, entry.changed), "Services": services }))
}
