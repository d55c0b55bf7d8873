//! Who is where: services, instances and their state. Knows nothing of the sidecar.
//!
//! A [`Registry`] is changed from anywhere and read through [`Snapshot`]s: immutable, cheap to hold, and numbered
//! so that a reader can tell whether it has seen the newest one.

mod instance;
mod registry;
mod snapshot;

pub use instance::{Address, Instance, Invalid, State};
pub use registry::{Limits, Refused, Registry};
pub use snapshot::Snapshot;
