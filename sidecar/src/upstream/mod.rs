//! Instances behind a route: which one, over which connection, and what may be tried again.

mod breaker;
mod budget;
pub mod balance;
mod check;
mod cluster;
mod connect;
mod endpoint;
mod policy;
mod pool;
mod queue;
pub(crate) mod section;
pub mod health;
pub mod names;
mod send;
mod target;

pub use check::{Check, keep_checking};
pub use cluster::{Cluster, Kept, Pick};
pub use connect::{connect, resolve};
pub use endpoint::{Endpoint, InFlight, Standing};
pub use policy::{Policy, Retries};
pub use pool::{Endpoints, Load, Loads, Member, Pool, Total};
pub use send::{Failure, Sent, Task, send};
pub use target::{Place, Scheme, Target};
