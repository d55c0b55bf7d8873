//! Text to plan: parse (places kept), check everything, report every problem at once.
//!
//! [`load()`] runs the steps: `tree` (YAML to nodes that know their places) → `overlay` (the environment) → `walk`
//! (every key and value against the table of `keys`) → `fill` (defaults) → `cross` (what only shows together) →
//! `read` (the plan). Documentation, schema, starter file and `config show` come from the same table.

mod cross;
mod fill;
mod gateway;
mod habits;
mod hidden;
mod keys;
mod kong;
mod load;
mod near;
mod overlay;
mod page;
mod plan;
mod problem;
mod raw;
mod read;
mod salvage;
mod schema;
mod shown;
mod source;
mod tree;
mod value;
mod walk;
mod zmq;

pub use kong::KongFile;
pub use load::{Checked, LoadOptions, Loaded, check, kong, load, parse, salvaged_admin};
pub use page::{environment, environment_json, reference, starter};
pub use plan::{Address, Admin, Bind, Fellow, GatewayPlan, Listener, Plan, Ready, Service, Worker};
pub use problem::{Problem, Report, Severity};
pub use schema::schema;
pub use shown::Shown;
pub use source::Origin;

/// Reads a duration as the configuration writes it: `250ms`, `10s`, `1h30m`.
///
/// # Errors
/// What is wrong, and what to write instead.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    value::duration(text).map_err(|w| format!("{}; {}", w.message, w.fix))
}

/// A duration as the configuration writes it.
pub fn duration_text(duration: std::time::Duration) -> String {
    value::duration_text(duration)
}

#[cfg(test)]
mod tests;
