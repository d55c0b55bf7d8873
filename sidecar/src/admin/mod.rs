//! The admin listener: health, metrics, a page for people, the API, changes by POST.
//!
//! It knows nothing of how Fourmi works: whoever runs it hands in a [`Control`]. It lives on the control thread,
//! so nothing here is `Send` and nothing here may block.

mod api;
mod guard;
mod histogram;
pub(crate) mod io;
mod page;
pub(crate) mod scrape;
mod server;

pub use server::serve;

use crate::exchange::Identity;
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// One thing that must be right before commands may come: a listener, the worker, the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is called in `/readyz`.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Why not, or what it stands on; one line.
    pub detail: String,
}

/// How a reload ended: a line that says what changed, or every problem of the file as `validate` prints it.
pub type Reloaded = Result<String, String>;

/// What the admin listener shows and asks for.
pub trait Control {
    /// Who this Fourmi stands beside.
    fn identity(&self) -> Arc<Identity>;
    /// Every part, ready or not. Fourmi is ready when all are.
    fn ready(&self) -> Vec<Part>;
    /// Appends the metrics in Prometheus' text format 0.0.4.
    fn metrics(&self, into: &mut String);
    /// The effective configuration, secrets masked.
    fn config(&self) -> Value;
    /// What each sink sent and lost.
    fn sinks(&self) -> Value;
    /// Services and instances as the outbound and inbound sides see them.
    fn upstreams(&self) -> Value;
    /// An object; `fourmi drain --wait` reads `in_flight` (a number: commands that have not ended) from it.
    fn status(&self) -> Value;
    /// Reads the configuration again and puts it in place, or keeps the old one.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Reloaded>>>;
    /// Makes `/readyz` say no; commands are still served.
    fn drain(&self);
    /// Begins the graceful stop, as SIGTERM does.
    fn stop(&self);
}
