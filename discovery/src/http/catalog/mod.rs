//! The catalog: everything on every node.

mod read;
mod write;

pub(super) use read::{datacenters, node, node_services, nodes, service, services};
pub(super) use write::{deregister, register};
