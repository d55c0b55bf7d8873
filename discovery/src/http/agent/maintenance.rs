//! Taking an instance or our node out while somebody is at work there.

use super::services::unknown;
use super::{find, need_write};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::reply::Reply;
use crate::http::shape::{MAINTENANCE, NODE_MAINTENANCE};
use crate::{Check, Definition, Probe};

/// What the notes say when nobody gave a reason.
const NO_REASON: &str = "taken out by hand; no reason was given";

/// `PUT agent/service/maintenance/ID`.
pub(in crate::http) fn of_service(call: &Call) -> Result<Reply, Failure> {
    let id = call.named("Missing service ID")?;
    let on = is_on(call)?;
    let snapshot = call.snapshot();
    let member = find(call, &snapshot, id).ok_or_else(|| unknown(id))?;
    need_write(call, Some(&member.instance))?;
    let definition = Definition::of(&member.instance, format!("{MAINTENANCE}{id}"), Probe::Manual);
    set(call, on, definition, "Service Maintenance Mode")
}

/// `PUT agent/maintenance`.
pub(in crate::http) fn of_node(call: &Call) -> Result<Reply, Failure> {
    let on = is_on(call)?;
    need_write(call, None)?;
    call.own_node()?;
    let definition = Definition::of_node(&call.settings.node, NODE_MAINTENANCE, Probe::Manual);
    set(call, on, definition, "Node Maintenance Mode")
}

fn set(call: &Call, on: bool, definition: Definition, name: &str) -> Result<Reply, Failure> {
    if !on {
        call.registry.deregister_check(&call.settings.node, &definition.id);
        return Ok(Reply::done());
    }
    let reason = call.query.get("reason").filter(|reason| !reason.is_empty()).unwrap_or(NO_REASON);
    let definition = Definition { name: name.into(), notes: reason.into(), ..definition };
    // A new check is critical.
    call.registry.put_check(Check::new(definition))?;
    Ok(Reply::done())
}

fn is_on(call: &Call) -> Result<bool, Failure> {
    match call.query.get("enable") {
        None | Some("") => Err(Failure::bad("Missing value for enable")),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(Failure::bad(format!("Invalid value for enable: {other:?}"))),
    }
}
