//! Where a command goes: listener, host, path. Never the body.
//!
//! [`Table`] chooses among the rules of a gateway, [`upstream_path()`] makes the path that the instance is asked for.

mod compile;
pub mod form;
mod pattern;
mod places;
mod prefix;
mod rank;
mod rule;
mod table;
#[cfg(test)]
mod tests;
mod upstream_path;

pub use rule::{Asked, Lookup, Mismatch, PathHandling, Rule, Scheme, Wrong, host_and_port};
pub use table::{Captures, Found, Table};
pub use upstream_path::{forwarded_prefix, upstream_path};

use crate::exchange::Delivery;
use crate::upstream::Cluster;
use std::rc::Rc;
use std::sync::Arc;

/// Where a command goes.
#[derive(Clone)]
pub struct Way {
    /// Name of the service behind.
    pub service: Arc<str>,
    /// Name of the route.
    pub route: Arc<str>,
    /// Whether a person named the route, so that its name may stand for the command's.
    pub explicit: bool,
    /// The instances.
    pub cluster: Rc<Cluster>,
    /// How its commands are delivered, when it has its own way.
    pub delivery: Option<Arc<Delivery>>,
}

impl Way {
    /// The name that the route gives to commands that have none.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.explicit.then_some(&self.route)
    }
}
