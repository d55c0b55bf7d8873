//! What an agent answers about the instances and checks on its own node, and how they are registered there.

mod checks;
mod maintenance;
mod myself;
mod services;
mod wellness;

pub(super) use checks::{checks, deregister_check, register_check, report, update};
pub(super) use maintenance::{of_node, of_service};
pub(super) use myself::{members, myself};
pub(super) use services::{deregister, register, service, services};
pub(super) use wellness::{by_id, by_name};

use super::access::Resource;
use super::call::Call;
use super::failure::Failure;
use crate::snapshot::{Member, NodeEntry, Snapshot};
use crate::{Check, Instance};
use std::sync::Arc;

/// Our own node's entry.
fn own<'a>(call: &Call, snapshot: &'a Snapshot) -> Option<&'a NodeEntry> {
    snapshot.node(&call.settings.node)
}

/// An instance on our own node.
fn find<'a>(call: &Call, snapshot: &'a Snapshot, id: &str) -> Option<&'a Arc<Member>> {
    own(call, snapshot)?.instances.iter().find(|member| member.instance.id == id)
}

/// Refuses to change a check, of an instance or of the node itself, without the right to.
fn need_write(call: &Call, instance: Option<&Instance>) -> Result<(), Failure> {
    match instance {
        Some(instance) => call.rights.need_write(Resource::Service, &instance.service),
        None => call.rights.need_write(Resource::Node, &call.settings.node),
    }
}

/// A check on our own node, with the instance it belongs to.
fn find_check<'a>(call: &Call, snapshot: &'a Snapshot, id: &str) -> Option<(&'a Check, Option<&'a Arc<Member>>)> {
    let entry = own(call, snapshot)?;
    let of_node = entry.checks.iter().map(|check| (&**check, None));
    let own = entry.instances.iter().flat_map(|member| member.checks.iter().map(move |check| (&**check, Some(member))));
    of_node.chain(own).find(|(check, _)| check.definition.id == id)
}
