//! The registry by HTTP, as Consul's agent answers.
//!
//! [`Server`] listens; an edge of limits stands in front of a table of routes. Reads are made from a snapshot and may
//! wait until what they tell has changed; writes go to the registry as if from our own node, and are answered when they
//! would survive a crash. What is answered and where it differs from Consul is in `docs/consul.md`.

mod access;
mod acl;
mod agent;
mod answers;
mod asked;
mod call;
mod catalog;
mod changes;
mod connections;
mod counts;
mod edge;
mod events;
mod failure;
mod filter;
mod given;
mod guard;
mod health;
mod kv;
mod passed;
mod reply;
mod routes;
mod server;
mod settings;
mod shape;
mod stall;
mod status;
mod time;
mod waiting;

pub use access::{Access, Resource, Right, Rule, Token};
pub use server::Server;
pub use settings::{Limits, Settings, Tls};
