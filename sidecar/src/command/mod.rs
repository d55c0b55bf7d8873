//! Which command is this? Name, id, tags and parent, from headers, CloudEvents, framework codecs,
//! JSON pointers or the route.
//!
//! The order of calls: [`from_head`], then [`from_body`] if it asked for the body, then [`settle`], which leaves
//! no name, id or trace empty; [`give`] tells the next hop, [`from_answer`] reads what the worker adds.

use bytes::Bytes;

pub mod ask;
mod batch;
mod body;
mod carry;
mod cloudevents;
mod deadline;
pub mod frames;
mod head;
mod id;
mod name;
mod settle;
mod tags;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod trace;

pub use body::from_body;
pub use carry::{from_answer, give};
pub use head::from_head;
pub use name::{normalized, template as of_path};
pub use settle::settle;

/// The largest body, in bytes, that is read to identify a command; a larger one is left to the next rule.
pub const BODY_MAX: usize = 256 << 10;

/// The most events that one batch may hold.
const BATCH_MAX: usize = 1_000;

/// A command that is told and done: its room serves the next one.
pub fn keep(command: crate::exchange::Command) {
    id::keep(command.id);
}

/// How commands are identified; compiled once from `commands.identify`.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// JSON pointer of the name (RFC 6901).
    pub name: Option<String>,
    /// JSON pointer of the id.
    pub id: Option<String>,
    /// JSON pointer of the key, whose commands run one after another.
    pub key: Option<String>,
    /// Tag key -> JSON pointer.
    pub tags: Vec<(std::sync::Arc<str>, String)>,
    /// The envelope of a framework.
    pub codec: Option<Codec>,
}

/// Envelopes of PHP frameworks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Symfony Messenger: header `type`.
    Symfony,
    /// Laravel queue: `/displayName`, `/uuid`.
    Laravel,
    /// prooph: `/message_name`, `/uuid`.
    Prooph,
    /// Bernard: `/name` or `/class`.
    Bernard,
    /// SimpleBus: `message_type`.
    SimpleBus,
}

/// Whether the head was enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It was, or the body could not help.
    Done,
    /// The body may tell more: collect it, up to [`BODY_MAX`], and call [`from_body`].
    NeedsBody,
}

/// How many commands a body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// One: the exchange itself.
    One,
    /// A CloudEvents batch: one command for each element, one answer with a list.
    Many(Vec<Element>),
}

/// One element of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// A structured CloudEvent (`application/cloudevents+json`), byte for byte as it came.
    Event(Bytes),
    /// Not an event, and why.
    Invalid(String),
}
