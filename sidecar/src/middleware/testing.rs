//! Middlewares of a gateway's file in tests: built from their configuration and asked one by one.

use super::plugin::{Scope, Setup, find};
use super::{Middleware, Verdict};
use crate::exchange::{Exchange, Reply, Silent};
use crate::gateway::Wrong;
use crate::gateway::people::People;
use serde_json::Value as Json;
use std::sync::Arc;

/// Builds a plugin for a service and route of no matter.
pub(crate) fn built(name: &str, config: &Json, people: &Arc<People>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let scope = Scope { route: Some("route"), service: Some("service"), consumer: None };
    (find(name).unwrap().build)(&Setup { id: "plugin", config, scope, people })
}

/// The same for a configuration without mistakes, when nobody is known.
pub(crate) fn plugin(name: &str, config: &Json) -> Arc<dyn Middleware> {
    built(name, config, &Arc::default()).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

/// What is wrong with a configuration: `field: message`.
pub(crate) fn wrong(name: &str, config: &Json) -> Vec<String> {
    let said = |wrong: Vec<Wrong>| wrong.iter().map(|w| format!("{}: {}", w.field, w.message)).collect();
    built(name, config, &Arc::default()).err().map(said).unwrap_or_default()
}

/// Asks it; none: the command goes on.
pub(crate) fn ask(middleware: &dyn Middleware, exchange: &mut Exchange) -> Option<Box<Reply>> {
    match middleware.on_request(exchange, &Silent) {
        Verdict::Next => None,
        Verdict::Reply(reply) => Some(reply),
        Verdict::Refuse(fault) => panic!("{fault:?}"),
        Verdict::Body(most) => panic!("wants {most} bytes of the body"),
        Verdict::Wait(_) => panic!("wants to wait"),
    }
}
