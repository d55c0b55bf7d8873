//! From a sink's ring to a stream: every record is one frame, as its encoder wrote it.
//!
//! While the receiver is away, or takes nothing, records wait in the ring, which counts what it cannot hold.

use super::drain::{Inbox, Outlet};
use super::transport::StreamOut;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Bytes of one write.
const WRITE: usize = 64 << 10;
/// How often a receiver that takes nothing is looked at, if it does not show any life before.
const LOOK: Duration = Duration::from_millis(100);
/// How often a call that may take long is asked whether the time is over.
const LATE_LOOK: Duration = Duration::from_millis(10);
/// How long a sink that is no longer configured waits for a receiver that takes nothing.
const RETIRED_MAX: Duration = Duration::from_secs(5);
/// What is kept of the time at a stop for ending the connection and counting.
const LAST: Duration = Duration::from_millis(60);

/// Sends until the outlet ends.
pub(crate) async fn run(outlet: Arc<Outlet>, mut inbox: Inbox, out: StreamOut) {
    let mut stream = Stream { outlet, out };
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let mut given_up = None;
    while stream.wait(&mut inbox).await {
        if !stream.ready().await {
            if stream.is_given_up(&mut given_up) {
                inbox.discard(&"the receiver took nothing, and the sink is no longer configured");
            } else {
                stream.rest().await;
            }
            continue;
        }
        given_up = None;
        bytes.clear();
        ends.clear();
        while bytes.len() < WRITE && inbox.pop(&mut bytes).is_some() {
            ends.push(bytes.len());
        }
        stream.write(&bytes, &ends).await;
        // A burst of large records should not keep its memory for ever.
        bytes.shrink_to(2 * WRITE);
    }
    stream.end().await;
}

/// The stream with its counts. However its task ends, every frame has been counted when it is gone.
struct Stream {
    outlet: Arc<Outlet>,
    out: StreamOut,
}

impl Stream {
    fn account(&mut self) {
        self.outlet.counts.sent(self.out.confirmed());
    }

    /// Waits for records and meanwhile keeps the stream going; false when the sink is to end.
    async fn wait(&mut self, inbox: &mut Inbox) -> bool {
        loop {
            tokio::select! {
                biased;
                more = inbox.wait() => return more,
                () = self.out.tend(&self.outlet.counts) => self.account(),
            }
        }
    }

    async fn ready(&mut self) -> bool {
        let ready = tokio::select! {
            biased;
            ready = self.out.ready(&self.outlet.counts) => ready,
            () = late(&self.outlet) => false,
        };
        self.account();
        ready
    }

    async fn write(&mut self, bytes: &[u8], ends: &[usize]) {
        tokio::select! {
            biased;
            // The frames are the stream's from here on, whatever comes of it.
            written = self.out.write(bytes, ends) => {
                if let Err(e) = written {
                    self.outlet.counts.trouble(&e);
                }
            }
            () = late(&self.outlet) => {}
        }
        self.account();
    }

    /// A moment, or less when the receiver shows life.
    async fn rest(&mut self) {
        tokio::select! {
            () = self.outlet.rest(LOOK) => {}
            () = self.out.tend(&self.outlet.counts) => {}
        }
        self.account();
    }

    /// Whether a sink that left the configuration has waited long enough for its receiver.
    fn is_given_up(&self, since: &mut Option<Instant>) -> bool {
        if !self.outlet.is_ending() || self.outlet.is_stopping() {
            *since = None;
            return false;
        }
        since.get_or_insert_with(Instant::now).elapsed() >= RETIRED_MAX
    }

    /// Waits, as long as there is time, until the receiver has everything.
    async fn end(&mut self) {
        let now = Instant::now();
        let until = match self.outlet.deadline() {
            Some(deadline) => deadline.checked_sub(LAST).unwrap_or(deadline).max(now),
            None => now + RETIRED_MAX,
        };
        tokio::select! {
            () = self.out.settle(until, &self.outlet.counts) => {}
            // A stop may come meanwhile.
            () = late(&self.outlet) => {}
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.account();
        let lost = self.out.abandon();
        if lost > 0 {
            self.outlet.counts.error(lost, &"not confirmed by the receiver at the end");
        }
    }
}

/// Comes when there is no time left.
async fn late(outlet: &Outlet) {
    while !outlet.is_late() {
        sleep(LATE_LOOK).await;
    }
}

#[cfg(test)]
mod tests;
