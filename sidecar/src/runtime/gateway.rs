//! What the admin listener shows of the gateway.

use crate::config::{GatewayPlan, Plan};
use crate::exchange::Consumer;
use crate::middleware::show_limits;
use crate::pipeline::gateway::{Gate, Leads};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Routes, and consumers, that one answer shows.
const SHOWN_MAX: usize = 1_000;

/// Routes in the order of the file, with their middlewares in the order in which they are asked.
pub(super) fn shown(plan: &Plan) -> Option<Value> {
    let plan = plan.gateway.as_ref()?;
    let gates: Vec<&Gate> = plan.gateway.gates().iter().chain(plan.gateway.implicit()).map(|g| &**g).collect();
    let routes: Vec<Value> = gates.iter().take(SHOWN_MAX).map(|gate| route(plan, gate)).collect();
    Some(json!({
        "routes": routes,
        "more_routes": gates.len().saturating_sub(SHOWN_MAX),
        "consumers": plan.gateway.people.consumers.len(),
    }))
}

fn route(plan: &GatewayPlan, gate: &Gate) -> Value {
    let named = |n: &crate::exchange::Named| json!({"id": &*n.id, "name": n.name.as_deref()});
    let to = match gate.leads {
        Leads::Nowhere => Value::Null,
        Leads::Worker => json!(["the local worker"]),
        Leads::Service(place) => {
            let service = plan.services.get(place).and_then(Option::as_ref);
            let addresses = service.map(|s| s.addresses.as_slice()).unwrap_or_default();
            addresses.iter().map(|a| a.target.to_string()).collect()
        }
    };
    json!({
        "route": gate.via.route.as_ref().map(named),
        "service": gate.via.service.as_ref().map(named),
        "to": to,
        "path": gate.path,
        "host": gate.host,
        "strip_path": gate.strip,
        "middlewares": gate.line.all_names().iter().map(|(name, everybody)| match everybody {
            true => json!({"name": name}),
            false => json!({"name": name, "for": "some consumers"}),
        }).collect::<Vec<_>>(),
    })
}

/// The consumers whose name, other name or id holds this text; all without one.
pub(super) fn consumers(plan: &Plan, like: Option<&str>) -> Option<Value> {
    let people = &plan.gateway.as_ref()?.gateway.people;
    let holds = |c: &Consumer| {
        let texts = [Some(&c.id), c.username.as_ref(), c.custom_id.as_ref()];
        like.is_none_or(|like| texts.into_iter().flatten().any(|t| t.contains(like)))
    };
    let all: Vec<_> = people.consumers.iter().filter(|c| holds(c)).collect();
    let shown = |c: &Consumer| {
        let acls: Vec<&str> = c.acls.iter().map(|a| &**a).collect();
        json!({"id": &*c.id, "username": c.username.as_deref(), "custom_id": c.custom_id.as_deref(), "groups": acls})
    };
    let consumers: Vec<Value> = all.iter().take(SHOWN_MAX).map(|c| shown(c)).collect();
    Some(json!({"consumers": consumers, "more": all.len().saturating_sub(SHOWN_MAX)}))
}

/// The counters of limits that are nearest to them and who waits, with the names that the file has for their ids.
pub(super) fn limits(plan: &Plan, most: usize) -> Value {
    let mut shown = show_limits(most);
    let names = Names::of(plan);
    for part in ["counters", "waiting"] {
        shown.get_mut(part).and_then(Value::as_array_mut).into_iter().flatten().for_each(|one| names.add(one));
    }
    shown
}

/// What entities are called, by their ids.
#[derive(Default)]
struct Names<'a> {
    routes: HashMap<&'a str, &'a str>,
    services: HashMap<&'a str, &'a str>,
    consumers: HashMap<&'a str, &'a str>,
}

impl<'a> Names<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut names = Names::default();
        let ours = plan.gateway.iter().flat_map(|plan| plan.gateway.gates().iter().chain(plan.gateway.implicit()));
        for gate in ours.chain(plan.outbound.iter().filter_map(|service| service.gate.as_ref())) {
            names.routes.extend(gate.via.route.iter().map(|route| (&*route.id, &*route.label)));
            names.services.extend(gate.via.service.iter().map(|service| (&*service.id, &*service.label)));
        }
        let consumers = plan.gateway.iter().flat_map(|plan| &plan.gateway.people.consumers);
        names.consumers.extend(consumers.map(|consumer| (&*consumer.id, &**consumer.label())));
        names
    }

    /// Puts names beside the ids of a counter.
    fn add(&self, counter: &mut Value) {
        // Any other identifier that looks like an id is none.
        let told_apart = match counter["by"].as_str() {
            Some("consumer") => Some(&self.consumers),
            Some("service") => Some(&self.services),
            _ => None,
        };
        let parts = [("route", Some(&self.routes)), ("service", Some(&self.services)), ("identifier", told_apart)];
        for (part, known) in parts {
            let name = counter[part].as_str().and_then(|id| known?.get(id)).copied();
            counter[format!("{part}_name")] = json!(name);
        }
    }
}
