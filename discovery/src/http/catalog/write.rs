//! Registering from outside: on any node, without an agent there.

use crate::http::access::Resource;
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::given::{self, CHECK, Fields, INSTANCE, Source};
use crate::http::reply::Reply;
use crate::snapshot::NodeEntry;
use crate::{Address, Check, Instance, Node, State};
use serde_json::{Value, json};

const REGISTRATION: &[&str] = &[
    "Datacenter",
    "ID",
    "Node",
    "Address",
    "TaggedAddresses",
    "NodeMeta",
    "Service",
    "Check",
    "Checks",
    "SkipNodeUpdate",
    "Namespace",
    "Partition",
    "Locality",
    "PeerName",
    "WriteRequest",
];
/// What a check is told with besides its definition, as somebody may send back what he has read.
const TOLD: &[&str] =
    &["Node", "Output", "ServiceName", "ServiceTags", "Type", "Definition", "PeerName", "CreateIndex", "ModifyIndex"];
const IN_DEFINITION: &[&str] = &["IntervalDuration", "TimeoutDuration", "DeregisterCriticalServiceAfterDuration"];
const SERVICE: &[&str] = &["Service", "PeerName", "CreateIndex", "ModifyIndex"];

/// `PUT catalog/register`.
pub(in crate::http) fn register(call: &Call) -> Result<Reply, Failure> {
    let body = call.json()?;
    let fields = Fields::of(&body, &[REGISTRATION])?;
    registered(call, &fields).map_err(Failure::of_catalog)?;
    Ok(Reply::json(json!(true)))
}

fn registered(call: &Call, fields: &Fields<'_>) -> Result<(), Failure> {
    call.settings.is_here(&fields.text("Datacenter")?)?;
    let name = fields.text("Node")?;
    if name.is_empty() {
        return Err(Failure::internal("Must provide node"));
    }
    let snapshot = call.snapshot();
    let known = snapshot.node(&name);
    let node = node(fields, &name, known)?;
    let instance = fields.get("Service").map(|value| service(value, &name)).transpose()?;
    let sent = fields.get("Check").into_iter().chain(fields.list("Checks")?).filter(|check| !check.is_null());
    let mut own = Vec::new();
    let mut others = Vec::new();
    for value in sent {
        let check = check(value, &name)?;
        match (&check.definition.instance, &instance) {
            (Some(id), Some(instance)) if *id == instance.id => own.push(check),
            _ => others.push(check),
        }
    }
    let there = |id: &String| known.is_some_and(|entry| entry.instances.iter().any(|m| m.instance.id == *id));
    if let Some(id) = others.iter().filter_map(|check| check.definition.instance.as_ref()).find(|id| !there(id)) {
        return Err(Failure::internal(format!(
            "there is no service {id:?} on the node that the check could belong to"
        )));
    }
    allowed(call, known, &name, node.is_some(), instance.as_ref(), &others)?;
    call.rights.need_checks(known, own.iter().chain(&others).map(|check| check.definition.id.as_str()))?;
    own.iter().chain(&others).try_for_each(|check| call.rights.need_alias(&snapshot, check))?;
    if let Some(node) = node {
        call.registry.put_node(node)?;
    }
    // Who registers here says how things are, so what is told replaces what was.
    let states: Vec<Check> = own.iter().chain(&others).cloned().collect();
    match instance {
        Some(instance) => drop(call.registry.register(instance, own, false)?),
        None => others.append(&mut own),
    }
    for check in others {
        call.registry.put_check(check)?;
    }
    for check in states {
        if !check.definition.probe.is_active() {
            call.registry.report(&name, &check.definition.id, check.state, &check.output);
        }
    }
    Ok(())
}

/// Refuses what the token has no right to.
fn allowed(
    call: &Call,
    known: Option<&NodeEntry>,
    name: &str,
    node: bool,
    instance: Option<&Instance>,
    others: &[Check],
) -> Result<(), Failure> {
    if node {
        call.rights.need_write(Resource::Node, name)?;
    }
    let there = |id: &str| known.and_then(|entry| entry.instances.iter().find(|member| member.instance.id == id));
    if let Some(instance) = instance {
        // One that changes its service needs the right to both.
        let old = there(&instance.id).map(|member| &member.instance.service);
        old.into_iter().chain([&instance.service]).try_for_each(|s| call.rights.need_write(Resource::Service, s))?;
    }
    for check in others {
        match check.definition.instance.as_deref().and_then(there) {
            Some(member) => call.rights.need_write(Resource::Service, &member.instance.service)?,
            None => call.rights.need_write(Resource::Node, name)?,
        }
    }
    Ok(())
}

/// The node as it is to be; none when it stays as it is.
fn node(fields: &Fields<'_>, name: &str, known: Option<&NodeEntry>) -> Result<Option<Node>, Failure> {
    if fields.flag("SkipNodeUpdate")?.unwrap_or(false) && known.is_some() {
        return Ok(None);
    }
    let address = given::address(&fields.text("Address")?, "Invalid service address")?;
    let address = address.ok_or_else(|| Failure::internal("Must provide address if SkipNodeUpdate is not set"))?;
    let tagged = fields.pairs("TaggedAddresses")?;
    let meta = fields.pairs("NodeMeta")?;
    given::node_meta(&meta)?;
    Ok(Some(Node {
        name: name.to_owned(),
        id: fields.text("ID")?,
        address,
        tagged: tagged.into_iter().map(|(name, text)| (name, Address::parse(&text))).collect(),
        meta,
    }))
}

fn service(value: &Value, node: &str) -> Result<Instance, Failure> {
    given::instance(&Fields::of(value, &[INSTANCE, SERVICE])?, node, Source::Catalog)
}

fn check(value: &Value, node: &str) -> Result<Check, Failure> {
    let fields = Fields::of(value, &[CHECK, TOLD])?;
    let definition = match fields.get("Definition") {
        Some(definition) => Fields::of(definition, &[CHECK, IN_DEFINITION])?,
        None => fields,
    };
    let mut given = given::told(&fields, &definition)?;
    if !given.status.is_empty() && State::parse(&given.status).is_none() {
        return Err(Failure::internal(format!("Invalid check status: '{}'", given.status)));
    }
    if given.id.is_empty() {
        given.id.clone_from(&given.name);
    }
    let instance = std::mem::take(&mut given.instance);
    let instance = (!instance.is_empty()).then_some(instance);
    Ok(given.on(node, instance.as_deref(), None))
}

/// `PUT catalog/deregister`.
pub(in crate::http) fn deregister(call: &Call) -> Result<Reply, Failure> {
    let body = call.json()?;
    let known = ["Datacenter", "Node", "ServiceID", "CheckID", "Namespace", "Partition", "Address", "PeerName"];
    let fields = Fields::of(&body, &[&known])?;
    call.settings.is_here(&fields.text("Datacenter")?)?;
    let (node, service, check) = (fields.text("Node")?, fields.text("ServiceID")?, fields.text("CheckID")?);
    if node.is_empty() {
        return Err(Failure::internal("Must provide node"));
    }
    let snapshot = call.snapshot();
    let entry = snapshot.node(&node);
    let instances = || entry.into_iter().flat_map(|entry| entry.instances.iter());
    let owner = match service.is_empty() {
        false => instances().find(|member| member.instance.id == service),
        true => instances().find(|member| member.checks.iter().any(|own| own.definition.id == check)),
    };
    match owner {
        Some(member) => call.rights.need_write(Resource::Service, &member.instance.service)?,
        None => call.rights.need_write(Resource::Node, &node)?,
    }
    // What is not there any more is gone as asked.
    if !service.is_empty() {
        call.registry.deregister(&node, &service);
    } else if !check.is_empty() {
        call.registry.deregister_check(&node, &check);
    } else {
        call.registry.deregister_node(&node);
    }
    Ok(Reply::json(json!(true)))
}
