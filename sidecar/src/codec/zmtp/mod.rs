//! ZeroMQ: callers' REQ and DEALER sockets, and instances' REP and ROUTER sockets.
//!
//! [`wire`] is the protocol itself, without I/O. A message is a request of one body whose frames the road knows how to
//! tell apart (see [`crate::exchange::frames`]).

pub mod client;
mod io;
mod places;
mod reply;
pub(crate) mod room;
pub mod server;
pub mod wire;
