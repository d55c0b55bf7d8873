//! Instances on our own node.

use super::{find, own};
use crate::State;
use crate::http::access::{Resource, Right};
use crate::http::asked::Asked;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::given::{self, CHECK, Fields, INSTANCE, Source};
use crate::http::reply::Reply;
use crate::http::shape;
use crate::snapshot::Snapshot;
use serde_json::Value;

/// `PUT agent/service/register`.
pub(in crate::http) fn register(call: &Call) -> Result<Reply, Failure> {
    let replace = match call.query.get("replace-existing-checks") {
        None | Some("false" | "0") => false,
        Some("" | "true" | "1") => true,
        Some(other) => return Err(Failure::bad(format!("Invalid value for replace-existing-checks: {other:?}"))),
    };
    let body = call.json()?;
    let fields = Fields::of(&body, &[INSTANCE, &["Name", "Check", "Checks"]])?;
    let instance = given::instance(&fields, &call.settings.node, Source::Agent)?;
    let named = fields.get("Check").into_iter().chain(fields.list("Checks")?).filter(|check| !check.is_null());
    let named: Vec<&Value> = named.collect();
    let snapshot = call.snapshot();
    let before = find(call, &snapshot, &instance.id);
    // One that changes its service needs the right to both.
    let old = before.map(|member| &member.instance.service);
    for service in old.into_iter().chain([&instance.service]) {
        call.rights.need_write(Resource::Service, service)?;
    }
    let mut checks = Vec::with_capacity(named.len());
    for (at, value) in named.iter().enumerate() {
        let mut check = given::check(&Fields::of(value, &[CHECK])?)?;
        if !check.status.is_empty() && State::parse(&check.status).is_none() {
            return Err(Failure::bad("Status for checks must 'passing', 'warning', 'critical'"));
        }
        if check.id.is_empty() {
            check.id = match named.len() {
                1 => format!("service:{}", instance.id),
                _ => format!("service:{}:{}", instance.id, at + 1),
            };
        }
        if check.name.is_empty() {
            check.name = format!("Service '{}' check", instance.service);
        }
        let known = before.and_then(|member| member.checks.iter().find(|known| known.definition.id == check.id));
        checks.push(check.on(&call.settings.node, Some(&instance.id), known.map(|known| &**known)));
    }
    call.rights.need_checks(own(call, &snapshot), checks.iter().map(|check| check.definition.id.as_str()))?;
    checks.iter().try_for_each(|check| call.rights.need_alias(&snapshot, check))?;
    call.own_node()?;
    let _ = call.about.set(instance.id.clone());
    let (id, portless) = (instance.id.clone(), instance.port == 0 && instance.socket.is_empty());
    if call.registry.register(instance, checks, replace)? && portless {
        tracing::warn!(id, "an instance is registered without a port: names tell it, no command can be sent to it");
    }
    Ok(Reply::done())
}

/// `PUT agent/service/deregister/ID`.
pub(in crate::http) fn deregister(call: &Call) -> Result<Reply, Failure> {
    let id = call.named("Missing service ID")?;
    let snapshot = call.snapshot();
    let member = find(call, &snapshot, id).ok_or_else(|| unknown(id))?;
    call.rights.need_write(Resource::Service, &member.instance.service)?;
    call.registry.deregister(&call.settings.node, id);
    Ok(Reply::done())
}

pub(super) fn unknown(id: &str) -> Failure {
    let text = format!("Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name.");
    Failure::missing(text)
}

/// `GET agent/services`.
pub(in crate::http) fn services(call: &Call) -> Result<Reply, Failure> {
    let asked = Asked::of(call)?;
    let snapshot = call.snapshot();
    let members = own(call, &snapshot).map(|entry| &*entry.instances).unwrap_or_default();
    let seen = members.iter().filter(|member| call.rights.sees(Resource::Service, &member.instance.service));
    let rows =
        seen.map(|member| (member.instance.id.clone(), shape::local(&member.instance, &call.settings.datacenter)));
    Ok(Reply::json(asked.filtered_map(rows)?))
}

/// `GET agent/service/ID`.
pub(in crate::http) fn service(call: &Call, snapshot: &Snapshot) -> Result<Value, Failure> {
    let id = call.named("Missing service ID")?;
    let member = find(call, snapshot, id).ok_or_else(|| Failure::missing(format!("unknown service ID: {id}")))?;
    call.rights.need(Resource::Service, &member.instance.service, Right::Read)?;
    Ok(shape::local(&member.instance, &call.settings.datacenter))
}
