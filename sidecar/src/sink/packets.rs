//! Every record as one datagram.

use crate::sink::drain::{Inbox, Outlet};
use crate::sink::transport::DatagramOut;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Datagrams of one call.
const MANY: usize = 32;
/// How long to wait when the receiver is away.
const AWAY: Duration = Duration::from_millis(250);
/// What the receiver gets to read between two calls.
const PAUSE: Duration = Duration::from_millis(1);

/// Sends until the outlet ends.
pub(crate) async fn run(outlet: Arc<Outlet>, mut inbox: Inbox, mut out: DatagramOut) {
    let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
    while inbox.wait().await {
        if !out.ready(false, &outlet.counts).await {
            // The records stay in the ring, which counts what it cannot hold.
            if outlet.is_ending() && !outlet.is_stopping() {
                inbox.discard(&"no receiver, and no longer configured");
            }
            outlet.rest(AWAY).await;
            continue;
        }
        bytes.clear();
        lengths.clear();
        while lengths.len() < MANY
            && let Some(length) = inbox.pop(&mut bytes)
        {
            lengths.push(length);
        }
        let mut datagrams = Vec::with_capacity(lengths.len());
        let mut rest = bytes.as_slice();
        for length in &lengths {
            let (datagram, after) = rest.split_at(*length);
            datagrams.push(datagram);
            rest = after;
        }
        let many = out.send_many(&datagrams).await;
        outlet.counts.sent(many.sent as u64);
        if many.lost > 0 {
            let e = many.error.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into());
            outlet.counts.trouble(&e);
            outlet.counts.error(many.lost as u64, &e);
            out.failed();
        }
        if lengths.len() == MANY && !inbox.is_nearly_full() && !outlet.is_stopping() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
