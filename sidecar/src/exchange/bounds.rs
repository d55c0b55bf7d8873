//! How long and how much: the bounds of one exchange and its connections.

use std::time::Duration;

/// How long each part of the road may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// A request's head must be complete this long after its first byte (or after accept).
    pub head: Duration,
    /// A kept-alive connection of a caller may wait this long for its next request.
    pub idle: Duration,
    /// A connection to an instance must stand after this.
    pub connect: Duration,
    /// The answer's head must have come this long after the request's.
    pub answer: Duration,
    /// The last byte must have left this long after the request's head; event streams, gRPC and upgraded
    /// connections are exempt. None: no such limit.
    pub whole: Option<Duration>,
    /// A kept connection to an instance is closed after this long unused: below the 5 s after which
    /// common workers (Node, PHP) close theirs, so that they do not close one as we write.
    pub upstream_idle: Duration,
    /// A connection to an instance takes no further command after this long, a tenth more or less.
    pub upstream_age: Duration,
    /// A connection of a caller is asked to end after this long, a tenth more or less.
    pub caller_age: Duration,
    /// How long exchanges in flight may go on after the stop signal.
    pub drain: Duration,
    /// How long a command waits for a worker that is not ready, before 503.
    pub hold: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(60),
            whole: None,
            upstream_idle: Duration::from_secs(4),
            upstream_age: Duration::from_secs(3600),
            caller_age: Duration::from_secs(3600),
            drain: Duration::from_secs(25),
            hold: Duration::from_secs(2),
        }
    }
}

/// How much of each thing there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's header block.
    pub head: usize,
    /// Lines of a request's header block.
    pub headers: usize,
    /// Bytes of a request's body.
    pub body: u64,
    /// Connections of callers at once, over all listeners and threads.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { head: 64 << 10, headers: 100, body: 1 << 30, connections: 10_000 }
    }
}
