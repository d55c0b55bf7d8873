//! `/api/v1/tap`: commands as they end, as server-sent events.

use crate::sink::Tail;
use bytes::Bytes;
use serde_json::json;
use std::fmt::Write as _;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// The media type.
pub(super) const KIND: &str = "text/event-stream";
/// What comes together goes together: an eye does not see more.
const TOGETHER: Duration = Duration::from_millis(100);
/// After this long in silence a line is sent that says nothing, so that both sides see that the other has gone.
const SILENCE: Duration = Duration::from_secs(10);

/// One who follows.
pub(super) struct Following {
    tail: Tail,
    ticks: Interval,
    spoke: Instant,
    /// What is said first.
    greeting: Option<Bytes>,
}

impl Following {
    /// Sends what comes to a tail; `service` says whose commands they are.
    pub(super) fn new(tail: Tail, service: &str) -> Self {
        let mut ticks = interval(TOGETHER);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let greeting = format!("retry: 2000\nevent: hello\ndata: {}\n\n", json!({"service": service}));
        Following { tail, ticks, spoke: Instant::now(), greeting: Some(greeting.into()) }
    }

    /// The next bytes. It never ends by itself.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(greeting);
        }
        loop {
            std::task::ready!(self.ticks.poll_tick(cx));
            let batch = self.tail.take();
            let mut text = String::new();
            for command in batch.commands {
                // JSON has no line feed of its own.
                let _ = write!(text, "data: {command}\n\n");
            }
            if batch.skipped > 0 {
                let _ = write!(text, "event: skipped\ndata: {}\n\n", batch.skipped);
            }
            if text.is_empty() && self.spoke.elapsed() >= SILENCE {
                text.push_str(":\n\n");
            }
            if !text.is_empty() {
                self.spoke = Instant::now();
                return Poll::Ready(text.into());
            }
        }
    }
}
