//! HTTP/2 and gRPC, by hyper: nobody should write HPACK and flow control again.

pub(super) mod client;
pub(super) mod server;

use std::future::Future;

/// Windows small enough that a slow reader bounds what we hold.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Runs hyper's helper tasks on the thread that owns the connection.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
