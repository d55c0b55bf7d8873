//! The admin listener: health, metrics, a page for people, the API, changes by POST.
//!
//! It knows nothing of how Fourmi works: whoever runs it hands in a [`Control`]. It lives on the control thread,
//! so nothing here is `Send` and nothing here may block.

mod answer;
mod api;
mod guard;
mod histogram;
mod html;
mod numbers;
mod page;
mod peers;
mod pulse;
mod server;
mod spool;
mod tap;
mod web;

pub use server::serve;

use crate::config::Admin;
use crate::exchange::Identity;
use crate::sink::Eyes;
use crate::spool::Spool;
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

/// A command that is only spoken of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Its path, with the query.
    pub target: String,
    /// Its header lines.
    pub headers: Vec<(String, String)>,
}

/// What is done to an instance by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// In, whatever is found out.
    Up,
    /// Out.
    Down,
    /// As it is found out; what was counted before is forgotten.
    Auto,
}

/// This process, asked from inside as others ask it through its listener.
pub struct Inside<'a> {
    /// Where its listener is.
    pub name: &'a str,
    /// What it would answer at a path; none where it would not.
    pub ask: &'a dyn Fn(&str) -> Option<Value>,
}

/// What the admin listener shows and asks for.
pub trait Control {
    /// What the configuration says of the listener itself.
    fn settings(&self) -> Admin;
    /// What people look at.
    fn eyes(&self) -> Eyes;
    /// Stored commands; none when nothing is stored here.
    fn spool(&self) -> Option<Spool>;
    /// Services, instances and checks of the registry; none when there is none here.
    fn registry(&self) -> Option<Value>;
    /// What `fourmi check` says.
    fn check(&self) -> Value;
    /// What would happen to a command: method and URL, and header lines. The error says what makes no sense.
    fn explain_command(&self, request: &[String], lines: &[String]) -> Result<Value, String>;
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
    /// Which instance of a service a command would be given now, and why; none when there is no such service.
    fn explain(&self, service: &str, request: &Request) -> Option<Value>;
    /// Takes an instance in or out by hand, or all of a service; what is wrong, if it can't be.
    fn set_health(&self, service: &str, instance: Option<&str>, hand: Hand) -> Result<Value, String>;
    /// The gateway's routes and what they pass; none when there is no gateway.
    fn gateway(&self) -> Option<Value>;
    /// Whether there is a gateway.
    fn has_gateway(&self) -> bool;
    /// Its consumers whose name holds this text.
    fn consumers(&self, like: Option<&str>) -> Option<Value>;
    /// The counters of limits.
    fn limits(&self) -> Value;
    /// An object; `fourmi drain --wait` reads `in_flight` (a number: commands that have not ended) from it.
    fn status(&self) -> Value;
    /// Reads the configuration again and puts it in place, or keeps the old one.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Reloaded>>>;
    /// Makes `/readyz` say no; commands are still served.
    fn drain(&self);
    /// Begins the graceful stop, as SIGTERM does.
    fn stop(&self);
}
