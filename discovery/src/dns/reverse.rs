//! The names of addresses.

use super::consul;
use super::context::Context;
use super::labels::{Labels, name_of, name_under, reversed};
use super::reply::Reply;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::IpAddr;

/// The name of an address that we know; None when it is none of ours, so that others may be asked.
pub(crate) fn answer(context: &Context<'_>, name: &Name, labels: &Labels, kind: RecordType) -> Option<Reply> {
    let ip = reversed(labels)?;
    let (owner, ttl) = owner(context, labels, ip)?;
    match kind {
        RecordType::PTR | RecordType::ANY => {
            Some(Reply::records([Record::from_rdata(name.clone(), ttl, RData::PTR(PTR(owner)))]))
        }
        _ => nothing(context, ResponseCode::NoError),
    }
}

/// That an address has no name here.
pub(crate) fn unknown(context: &Context<'_>) -> Option<Reply> {
    nothing(context, ResponseCode::NXDomain)
}

fn nothing(context: &Context<'_>, code: ResponseCode) -> Option<Reply> {
    let primary = context.settings.primary()?;
    Some(Reply::nothing(code, consul::soa(context, &primary.name)))
}

/// Who has an address: a record that says so, else a node, else a service.
fn owner(context: &Context<'_>, labels: &Labels, ip: IpAddr) -> Option<(Name, u32)> {
    let path = labels.iter().rev().collect::<Vec<_>>().join("/");
    if let Some(record) = context.snapshot.records.get(&*path)
        && record.host.parse::<IpAddr>().is_err()
        && let Some(ttl) = super::skydns::ttl(context, record)
    {
        return Some((name_of(&record.host)?, ttl));
    }
    let settings = context.settings;
    let domain = &settings.primary()?.name;
    let owner = context.snapshot.owners.get(&ip)?;
    let name = match (&owner.node, &owner.instance) {
        (Some(node), _) if settings.visible.node(&node.name) => {
            name_under(node.name.split('.').chain(["node", &settings.datacenter]), domain)?
        }
        (None, Some(instance)) if settings.visible.service(&instance.service) => {
            name_under([&instance.service, "service", &settings.datacenter], domain)?
        }
        _ => return None,
    };
    Some((name, settings.ttls.node))
}

/// Whether an address is one that public servers know nothing of.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}
