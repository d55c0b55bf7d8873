//! Finds out how instances and nodes are.
//!
//! One task does it all: it knows when each check is due, starts probes, and reports to the registry what their
//! results add up to.

mod alias;
mod probe;
mod schedule;
mod tally;
#[cfg(test)]
mod tests;

pub use probe::Trust;

use crate::registry::Registry;

/// So many probes run at once unless [`Options`] say otherwise; more wait for their turn.
const AT_ONCE: usize = 512;

/// How checks are done.
#[derive(Debug, Clone)]
pub struct Options {
    /// So many probes run at once.
    pub at_once: usize,
    /// Whose certificates are trusted.
    pub trust: Trust,
}

impl Default for Options {
    fn default() -> Self {
        Options { at_once: AT_ONCE, trust: Trust::default() }
    }
}

/// Does the checks of a registry until it is dropped: those of now and those that come.
pub async fn run(registry: Registry, options: Options) {
    schedule::Schedule::new(registry, options).run().await;
}
