//! The key `gateway`: a Kong file by its name, or its entities inline.

use super::kong::{self, KongFile};
use super::load::{text_of, unopened};
use super::overlay::Env;
use super::plan::GatewayPlan;
use super::problem::Problems;
use super::source::Span;
use super::tree::{Entry, Node, Value};
use crate::pipeline::gateway::Leads;
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
            Some(file.plan)
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
            let name = root.get("gateway")?.text()?.trim().to_owned();
            let path = beside.and_then(Path::parent).map_or_else(|| name.clone().into(), |folder| folder.join(&name));
            let file = std::fs::File::open(&path).map_err(|e| unopened(&path, &name, &e));
            let read =
                file.and_then(|f| text_of(f, &name, kong::FILE_MAX)).and_then(|text| kong::read(&name, &text, env));
            match read {
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
    {
        lacks_worker(plan, span, problems);
    }
    plan
}

/// What leads to the worker needs one.
fn lacks_worker(plan: &GatewayPlan, span: Span, problems: &mut Problems) {
    let message = match plan.gateway.implicit() {
        Some(_) => "the gateway has no routes, so that all leads to the worker, and there is none".to_owned(),
        None => {
            let Some(gate) = plan.gateway.gates().iter().find(|g| g.leads == Leads::Worker) else { return };
            let name = gate.via.route.as_ref().map_or("", |r| &*r.label);
            format!("the route {name} of the gateway leads to the worker, and there is none")
        }
    };
    problems.error(span, "missing-worker", "worker", message, "add `worker: http://127.0.0.1:PORT`");
}
