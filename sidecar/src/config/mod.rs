//! Text to plan: parse (places kept), check everything, report every problem at once.

mod plan;

pub use plan::{Admin, Bind, Listener, Plan, Ready, Service, Worker};
