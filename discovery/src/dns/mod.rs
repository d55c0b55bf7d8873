//! DNS: answers about what is registered, in the dialects of Consul and SkyDNS.

mod consul;
mod context;
mod labels;
mod reply;
mod reverse;
mod settings;
mod skydns;

pub use settings::{Dialect, Domain, Order, Recursors, Settings, SkyDns, Soa, Strategy, Ttls};
