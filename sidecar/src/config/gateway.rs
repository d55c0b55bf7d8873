//! The key `gateway`: a Kong file by its name, or its entities inline.

use super::kong::{self, KongFile};
use super::load::text_of;
use super::overlay::Env;
use super::plan::{GatewayPlan, Service};
use super::problem::Problems;
use super::source::Span;
use super::tree::{Entry, Node, Value};
use crate::gateway::sinks::Sinks;
use crate::pipeline::gateway::{Leads, WORKER};
use std::path::Path;

/// Takes the entities out of the tree, when they stand there inline; a name of a file stays.
pub(super) fn inline(root: &mut Node) -> Option<Entry> {
    root.entry("gateway").filter(|e| matches!(e.value.value, Value::Map(_)))?;
    root.take("gateway")
}

/// Reads the gateway: the one that is `given`, the one that stood `inline`, or the file that the tree names.
pub(super) fn read(
    root: &mut Node,
    inline: Option<Entry>,
    given: Option<KongFile>,
    beside: Option<&Path>,
    env: &Env,
    problems: &mut Problems,
) -> Option<GatewayPlan> {
    let span = inline.as_ref().map(|e| e.key_span).or_else(|| Some(root.entry("gateway")?.key_span));
    let plan = match (given, inline) {
        (Some(file), _) => {
            problems.take(file.warnings);
            problems.take(file.alone.into_iter().filter(|lack| root.get(&lack.key).is_none()).collect());
            return Some(file.plan);
        }
        (None, Some(entry)) => {
            let mut node = entry.value;
            if node.entry(kong::MARK).is_none() {
                node.set(kong::MARK, Span::BUILT_IN, Node::scalar("3.0", Span::BUILT_IN));
            }
            // What follows only has to know that there is one.
            root.set("gateway", entry.key_span, Node::scalar("inline", entry.key_span));
            Some(kong::read_tree(node, env, problems)?.1)
        }
        (None, None) => {
            let node = root.get("gateway")?;
            let Some(name) = node.text().map(|name| name.trim().to_owned()) else {
                let message = "`gateway` must be a file's name, or the entities of a Kong file";
                problems.error(node.span, "wrong-type", "gateway", message, "write `gateway: kong.yaml`");
                return None;
            };
            let path = beside.and_then(Path::parent).map_or_else(|| name.clone().into(), |folder| folder.join(&name));
            let file = match std::fs::File::open(&path) {
                Ok(file) => file,
                Err(e) => {
                    let fix = "correct the name, which is looked for beside this file";
                    problems.error(node.span, "no-file", "gateway", format!("can't open {name}: {e}"), fix);
                    return None;
                }
            };
            match text_of(file, &name, kong::FILE_MAX).and_then(|text| kong::read(&name, text, env)) {
                Ok(file) => {
                    problems.take(file.warnings);
                    Some(file.plan)
                }
                Err(report) => {
                    problems.take(report.problems);
                    None
                }
            }
        }
    };
    if let (Some(plan), Some(span)) = (&plan, span)
        && root.get("worker").is_none()
        && let Some(message) = worker_for(plan)
    {
        problems.error(span, "missing-worker", "worker", message, "add `worker: http://127.0.0.1:PORT`");
    }
    plan
}

/// What leads to the worker, and needs one.
pub(super) fn worker_for(plan: &GatewayPlan) -> Option<String> {
    if plan.gateway.implicit().is_some() {
        return Some("the gateway has no routes, so that all leads to the worker, and there is none".to_owned());
    }
    let gate = plan.gateway.gates().iter().find(|g| g.leads == Leads::Worker)?;
    let name = gate.via.route.as_ref().map_or("", |r| &*r.label);
    Some(format!("the route {name} of the gateway leads to the worker, and there is none"))
}

/// Gives each outbound service the middlewares that its section names; the sinks that it names are what is returned. A service's are read as those of a Kong file
/// that has this service alone.
pub(super) fn outbound(root: &Node, services: &mut [Service], env: &Env, problems: &mut Problems) -> Sinks {
    let mut sinks = Sinks::default();
    for (at, listener) in root.get("outbound").map(Node::items).unwrap_or_default().iter().enumerate() {
        for entry in listener.get("services").map(Node::entries).unwrap_or_default() {
            let Some(plugins) = plugins(&entry.value) else { continue };
            let name = entry.key.to_ascii_lowercase();
            let file = alone(&name, plugins);
            let found = problems.later(|problems| kong::read_tree(file, env, problems));
            let (read, mut said) = found;
            let own = format!("outbound[{at}].services.{}", entry.key);
            said.iter_mut().for_each(|problem| problem.belongs("services[0]", &own));
            problems.take(said);
            let plan = read.map(|(_, plan)| plan);
            let gate = plan.as_ref().and_then(|plan| plan.gateway.gates().first().cloned());
            sinks.join(plan.map(|plan| plan.sinks.outbound()).unwrap_or_default());
            if let Some(service) = services.iter_mut().find(|s| *s.name == *name) {
                service.gate = gate;
            }
        }
    }
    sinks
}

/// The middlewares of a section; none when there are none.
fn plugins(service: &Node) -> Option<Node> {
    let mut plugins = service.get("plugins").cloned();
    let Some(rate) = service.get("rate") else { return plugins };
    let mut shaping = Node::map(rate.span);
    let mut config = Node::map(rate.span);
    for (ours, name) in [("limit", "limit"), ("per", "per"), ("wait", "wait")] {
        if let Some(value) = rate.get(ours) {
            config.set(name, value.span, value.clone());
        }
    }
    shaping.set("name", rate.span, Node::scalar("rate-shaping", rate.span));
    shaping.set("config", rate.span, config);
    let mut list = match plugins.take().map(|p| p.value) {
        Some(Value::List(items)) => items,
        _ => Vec::new(),
    };
    list.push(shaping);
    Some(Node { value: Value::List(list), span: rate.span })
}

/// A Kong file with nothing but a service, a route that leads to it, and its middlewares.
fn alone(name: &str, plugins: Node) -> Node {
    let span = plugins.span;
    let text = |text: &str| Node::scalar(text, span);
    let list = |node: Node| Node { value: Value::List(vec![node]), span };
    let mut route = Node::map(span);
    route.set("name", span, text(name));
    route.set("paths", span, list(text("/")));
    let mut service = Node::map(span);
    service.set("name", span, text(name));
    service.set("host", span, text(WORKER));
    service.set("routes", span, list(route));
    service.set("plugins", span, plugins);
    let mut file = Node::map(span);
    file.set(kong::MARK, span, text("3.0"));
    file.set("services", span, list(service));
    file
}
