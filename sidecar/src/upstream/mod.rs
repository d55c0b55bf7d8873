//! Instances behind a route: which one, over which connection.

mod target;

pub use target::{Place, Scheme, Target};
