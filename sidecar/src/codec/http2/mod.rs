//! HTTP/2 and gRPC: callers by the `h2` crate, instances by hyper on top of it. Nobody should write HPACK and flow
//! control again.

mod body;
mod call;
pub(super) mod client;
mod lent;
mod request;
pub(super) mod server;
#[cfg(test)]
mod tests;

use crate::names::header::{B3, ID, IDEMPOTENCY_KEY, TRACEPARENT, X_B3_PARENT_SPAN_ID, X_B3_SPAN_ID, X_B3_TRACE_ID};
use std::future::Future;

/// Windows small enough that a slow reader bounds what we hold.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Lines that speak of an HTTP/1 connection and make an HTTP/2 message malformed (RFC 9113, 8.2.2).
fn of_connection(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade")
}

/// Lines whose value is another one on every request: in HPACK's table they would push out those that come again.
fn fleeting(name: &str) -> bool {
    matches!(
        name,
        ID | TRACEPARENT | IDEMPOTENCY_KEY | B3 | X_B3_TRACE_ID | X_B3_SPAN_ID | X_B3_PARENT_SPAN_ID | "x-request-id"
    )
}

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
