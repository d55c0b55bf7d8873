//! Who is where: services, instances and their state. Knows nothing of the sidecar.
//!
//! A [`Registry`] is changed from anywhere and read through [`Snapshot`]s: immutable, cheap to hold, and numbered
//! so that a reader can tell whether it has seen the newest one. [`dns`] and [`http`] answer from snapshots,
//! [`checks`] finds out how instances are, a [`Store`] keeps what was registered over a restart, and [`join`] makes a
//! registry a replica of another one.

pub mod base64;
pub mod checks;
pub mod dns;
pub mod http;
pub mod join;
mod keys;
mod model;
mod registry;
mod snapshot;
mod store;
mod wire;

pub use model::{
    Address, Alias, Check, Definition, Instance, Invalid, Node, Probe, Record, SCRIPTS_REFUSED, State, TaggedAddress,
    Timing, Tls, Weights,
};
pub use registry::{Limits, Refused, Registry};
pub use snapshot::{Member, NodeEntry, Service, Snapshot};
pub use store::{Standing, Store, Unusable, etcd};
