//! Bytes to exchanges and back. Sees sockets and exchanges, never middlewares.

mod buffer;
pub mod client;
pub mod date;
pub mod forwarded;
pub mod hop;
mod http1;
mod http2;
mod life;
pub mod normalize;
pub mod plain;
pub mod problem;
pub mod proxy_protocol;
mod secured;
pub mod server;
mod stream;
pub mod zmtp;

pub use buffer::shed;
pub use stream::{Socket, Stream};
