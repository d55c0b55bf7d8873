//! ZMTP 3, the wire of ZeroMQ: bytes to messages and back, for one connection.
//!
//! [`Machine`] does no I/O and knows no clock. Whoever owns the socket appends what it reads to a buffer and calls
//! [`Machine::read`] until that says that more bytes are needed, and writes what lies in [`Machine::output`]:
//!
//! ```text
//! loop {
//!     while let Some(event) = machine.read(&mut input)? { … }
//!     write machine.output() to the socket
//!     read at least one byte into input, with room for machine.wanted()
//! }
//! ```
//!
//! The life of a connection is greeting, handshake (NULL, PLAIN or CURVE), then messages and heartbeats. Time is the
//! owner's: a limit on the handshake, when to ping, how long silence may last.
//!
//! After an error nothing more is read. What lies in the output by then may still be written: it can be an ERROR that
//! tells the peer not to come back.

mod command;
mod curve;
pub mod envelope;
mod error;
mod frame;
mod greeting;
mod handshake;
mod incoming;
mod keys;
mod machine;
mod message;
mod metadata;
mod output;
mod plain;
mod settings;
mod socket;

pub use error::Error;
pub use keys::{PublicKey, SecretKey};
pub use machine::{Event, Machine, Peer};
pub use message::Message;
pub use metadata::Metadata;
pub use output::Output;
pub use settings::{Credentials, Limits, Mechanism, Secret, Settings};
pub use socket::SocketType;
