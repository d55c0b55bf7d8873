//! The harness: everything around Fourmi that a test needs, so that a test reads like a sentence.
//!
//! ```no_run
//! use fourmi_tests::{Setup, Worker};
//! let worker = Worker::echo();
//! let fourmi = Setup::beside(worker.address()).start();
//! assert_eq!(fourmi.get("/hello").status(), 200);
//! ```
//!
//! A test owns its ports, its folder and its processes; dropping them ends them.

pub mod differential;
pub mod dns;
pub mod gelf;
pub mod h2;
pub mod load;
pub mod net;
pub mod patience;
pub mod peers;
pub mod prometheus;
pub mod registered;
pub mod sidecar;
pub mod spooled;
pub mod statsd;
pub mod wire;
pub mod worker;
pub mod zmtp;

pub use gelf::GelfServer;
pub use load::Load;
pub use net::free_port;
pub use patience::{eventually, until};
pub use prometheus::Scrape;
pub use registered::{Instance, Section};
pub use sidecar::{Ended, Fourmi, Setup, run_fourmi};
pub use spooled::{Cases, Latch};
pub use statsd::StatsdServer;
pub use wire::{Client, Message};
pub use worker::{Conn, Worker};
