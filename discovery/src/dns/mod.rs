//! DNS: answers about what is registered, in the dialects of Consul and SkyDNS.
//!
//! Every answer is a function of a snapshot, the settings and the question; only names that are not ours are asked
//! elsewhere. Protocol, parsing and encoding are hickory's.

mod consul;
mod context;
mod counts;
mod fit;
mod forward;
mod handler;
mod labels;
mod quota;
mod reply;
mod reverse;
mod server;
mod settings;
mod skydns;
mod tcp;
mod visible;

pub use server::{Counter, Server};
pub use settings::{Dialect, Domain, Order, Recursors, Settings, SkyDns, Soa, Strategy, Ttls};
pub use visible::Visible;
