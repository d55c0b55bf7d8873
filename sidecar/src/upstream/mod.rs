//! Instances behind a route: which one, over which connection, and what may be tried again.

pub mod balance;
mod breaker;
mod budget;
mod cluster;
mod connect;
mod endpoint;
pub mod health;
pub mod names;
mod policy;
mod pool;
mod queue;
pub(crate) mod section;
mod send;
mod target;
mod zmq;

pub use cluster::{Choice, Cluster, Kept, Pick};
pub use connect::{connect, secure};
pub use endpoint::{Endpoint, InFlight};
pub use health::Standing;
pub use policy::{Policy, Retries};
pub use pool::{Endpoints, Load, Loads, Member, Pool, Total};
pub use send::{Failure, Patience, Sent, Task, send};
pub use target::{Place, Scheme, Target};
