//! The ways to receivers: datagrams, byte streams and HTTP, over names that move, peers that stall and
//! connections that break. Everything here waits only in its own sender's task and holds a bounded amount.

// Each receiver brings its own use of these.
#![allow(dead_code, unused_imports)]

mod backoff;
mod datagram;
mod dial;
mod http;
mod receipt;
mod resolver;
mod socket;
mod stream;
mod url;
mod window;

pub(crate) use backoff::Backoff;
pub(crate) use datagram::{DatagramOut, Many};
pub(crate) use dial::reach;
pub(crate) use http::{HttpAnswer, HttpOut, gzip};
pub(crate) use resolver::Resolver;
pub(crate) use stream::{Place, StreamOut};
pub(crate) use url::Url;
