//! Bytes to exchanges and back. Sees sockets and exchanges, never middlewares.

pub mod client;
pub mod forwarded;
pub mod hop;
pub mod normalize;
pub mod problem;
pub mod proxy_protocol;
pub mod server;
mod stream;

pub use stream::{Socket, Stream};

use std::future::Future;

/// Runs hyper's helper tasks on the thread that owns the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
