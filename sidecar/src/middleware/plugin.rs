//! How a middleware of a gateway's file is described and built.

use super::{Middleware, PLUGINS};
use crate::gateway::Wrong;
use crate::gateway::people::People;
use serde_json::Value as Json;
use std::sync::Arc;

/// A middleware that a gateway's file may name under `plugins:`.
pub struct Plugin {
    /// Its name there.
    pub name: &'static str,
    /// The higher goes first. Kong's numbers, so that ours stand where theirs do.
    pub priority: i32,
    /// Makes one of its configuration.
    pub build: fn(&Setup<'_>) -> Built,
}

/// A middleware, or what is wrong with its configuration.
pub type Built = Result<Arc<dyn Middleware>, Vec<Wrong>>;

/// What a middleware is built from.
pub struct Setup<'a> {
    /// The plugin's own id.
    pub id: &'a str,
    /// Its configuration, as it is in the file.
    pub config: &'a Json,
    /// Where it holds. Counters of a plugin on a route are that route's own.
    pub scope: Scope<'a>,
    /// Consumers and their credentials.
    pub people: &'a Arc<People>,
}

/// The ids of the entities that a plugin is bound to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Of the route.
    pub route: Option<&'a str>,
    /// Of the service.
    pub service: Option<&'a str>,
    /// Of the consumer.
    pub consumer: Option<&'a str>,
}

/// The middleware of that name.
pub fn find(name: &str) -> Option<&'static Plugin> {
    PLUGINS.iter().find(|p| p.name == name)
}
