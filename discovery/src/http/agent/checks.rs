//! Checks on our own node.

use super::{find, find_check, need_write, own};
use crate::http::access::Resource;
use crate::http::asked::Asked;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::given::{self, CHECK, Fields};
use crate::http::reply::Reply;
use crate::http::shape;
use crate::{Probe, State};

/// `GET agent/checks`.
pub(in crate::http) fn checks(call: &Call) -> Result<Reply, Failure> {
    let asked = Asked::of(call)?;
    let snapshot = call.snapshot();
    let entry = own(call, &snapshot);
    let of_node = entry.into_iter().flat_map(|entry| entry.checks.iter().map(|check| (check, None)));
    let members = entry.into_iter().flat_map(|entry| entry.instances.iter());
    let of_services = members.flat_map(|member| member.checks.iter().map(|check| (check, Some(&*member.instance))));
    let rows = of_node.chain(of_services).filter(|(_, instance)| match instance {
        Some(instance) => call.rights.sees(Resource::Service, &instance.service),
        None => call.rights.sees(Resource::Node, &call.settings.node),
    });
    let rows = rows.map(|(check, instance)| (check.definition.id.clone(), shape::check(check, instance, 0)));
    Ok(Reply::json(asked.filtered_map(rows)?))
}

/// `PUT agent/check/register`.
pub(in crate::http) fn register_check(call: &Call) -> Result<Reply, Failure> {
    let body = call.json()?;
    let mut given = given::check(&Fields::of(&body, &[CHECK])?)?;
    if given.name.is_empty() {
        return Err(Failure::bad("Missing check name"));
    }
    if !given.status.is_empty() && State::parse(&given.status).is_none() {
        return Err(Failure::bad("Bad check status"));
    }
    if given.id.is_empty() {
        given.id.clone_from(&given.name);
    }
    let snapshot = call.snapshot();
    let instance = std::mem::take(&mut given.instance);
    if !instance.is_empty() && find(call, &snapshot, &instance).is_none() {
        return Err(Failure::missing(format!("ServiceID {instance:?} does not exist")));
    }
    need_write(call, find(call, &snapshot, &instance).map(|member| &*member.instance))?;
    let instance = (!instance.is_empty()).then_some(instance);
    call.rights.need_checks(own(call, &snapshot), std::iter::once(given.id.as_str()))?;
    let before = find_check(call, &snapshot, &given.id).map(|(check, _)| check);
    let before = before.filter(|check| check.definition.instance == instance);
    let check = given.on(&call.settings.node, instance.as_deref(), before);
    call.rights.need_alias(&snapshot, &check)?;
    call.own_node()?;
    call.registry.put_check(check)?;
    Ok(Reply::done())
}

/// `PUT agent/check/deregister/ID`.
pub(in crate::http) fn deregister_check(call: &Call) -> Result<Reply, Failure> {
    let id = call.named("Missing check ID")?;
    let snapshot = call.snapshot();
    let (_, owner) = find_check(call, &snapshot, id).ok_or_else(|| unknown(id))?;
    need_write(call, owner.map(|member| &*member.instance))?;
    call.registry.deregister_check(&call.settings.node, id);
    Ok(Reply::done())
}

fn unknown(id: &str) -> Failure {
    Failure::missing(format!("Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."))
}

/// `PUT agent/check/pass/ID`, `warn`, `fail`.
pub(in crate::http) fn report(call: &Call, state: State) -> Result<Reply, Failure> {
    told(call, state, call.query.get("note").unwrap_or_default())
}

/// `PUT agent/check/update/ID`.
pub(in crate::http) fn update(call: &Call) -> Result<Reply, Failure> {
    let body = call.json()?;
    let fields = Fields::of(&body, &[&["Status", "Output", "CheckID"]])?;
    let status = fields.text("Status")?;
    let state = State::parse(&status).ok_or_else(|| Failure::bad(format!("Invalid check status: '{status}'")))?;
    told(call, state, &fields.text("Output")?)
}

fn told(call: &Call, state: State, output: &str) -> Result<Reply, Failure> {
    let id = call.named("Missing check ID")?;
    let snapshot = call.snapshot();
    let (check, owner) = find_check(call, &snapshot, id).ok_or_else(|| unknown(id))?;
    need_write(call, owner.map(|member| &*member.instance))?;
    if !matches!(check.definition.probe, Probe::Ttl(_)) {
        return Err(Failure::internal(format!("CheckID {id:?} does not have associated TTL")));
    }
    call.registry.report(&call.settings.node, id, state, output);
    Ok(Reply::done())
}
