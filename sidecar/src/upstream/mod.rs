//! Instances behind a route: which one, over which connection, and what may be tried again.

mod check;
mod cluster;
mod connect;
mod endpoint;
pub mod names;
mod send;
mod target;

pub use check::{Check, keep_checking};
pub use cluster::Cluster;
pub use connect::{connect, resolve};
pub use endpoint::{Endpoint, InFlight, Standing};
pub use send::{Sent, send};
pub use target::{Place, Scheme, Target};
