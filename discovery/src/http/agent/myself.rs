//! Who we are.

use super::own;
use crate::http::access::{Resource, Right};
use crate::http::asked::Asked;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::reply::Reply;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The port that is told where a client expects one for the traffic between agents. There is none.
const MEMBER_PORT: u16 = 8301;

/// `GET agent/self`.
pub(in crate::http) fn myself(call: &Call) -> Result<Reply, Failure> {
    let settings = &call.settings;
    call.rights.need(Resource::Agent, &settings.node, Right::Read)?;
    let snapshot = call.snapshot();
    let entry = own(call, &snapshot);
    let (id, meta) = entry.map(|entry| (entry.node.id.clone(), entry.node.meta.clone())).unwrap_or_default();
    Ok(Reply::json(json!({
        "Config": {
            "Datacenter": settings.datacenter,
            "PrimaryDatacenter": settings.datacenter,
            "NodeName": settings.node,
            "NodeID": id,
            "Revision": "",
            "Server": true,
            "Version": settings.version,
            "BuildDate": "",
        },
        "DebugConfig": {},
        "Coord": null,
        "Member": member(call, false),
        "Stats": {
            "agent": {
                "services": entry.map_or(0, |entry| entry.instances.len()).to_string(),
                "nodes": snapshot.nodes().count().to_string(),
            },
        },
        "Meta": meta,
    })))
}

/// `GET agent/members`: ourselves.
pub(in crate::http) fn members(call: &Call) -> Result<Reply, Failure> {
    let asked = Asked::of(call)?;
    let seen = call.rights.sees(Resource::Node, &call.settings.node);
    let rows = seen.then(|| member(call, call.query.has("wan")));
    Ok(Reply::json(asked.filtered(rows.into_iter().collect())?))
}

fn member(call: &Call, wan: bool) -> Value {
    let settings = &call.settings;
    let name = match wan {
        true => format!("{}.{}", settings.node, settings.datacenter),
        false => settings.node.clone(),
    };
    let snapshot = call.snapshot();
    let known = own(call, &snapshot).map(|entry| entry.node.address.to_string());
    json!({
        "Name": name,
        "Addr": known.unwrap_or_else(|| IpAddr::to_string(&settings.address)),
        "Port": MEMBER_PORT,
        "Tags": BTreeMap::from([("dc", &*settings.datacenter), ("role", "consul"), ("build", &*settings.version)]),
        "Status": 1,
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    })
}
