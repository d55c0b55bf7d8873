//! GELF 1.1 over UDP: from the rings to Graylog.
//!
//! UDP gives no receipt: "sent" means that the system took the datagram and nobody said at once that no one
//! listens. Nothing that happens here ends the sender.

use super::chunk::{CHUNKS_MAX, HEADER, chunks};
use super::pack::{Packer, Packing};
use crate::sink::drain::{Inbox, Outlet};
use crate::sink::transport::{DatagramOut, Many};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Datagrams that leave before the receiver gets time to read: a default receive buffer of 256 KiB holds about
/// a hundred small ones.
const BURST: usize = 64;
/// Records that are sent before the sender looks around again.
const ROUND: usize = 2048;
/// Chunks of one message that leave at once.
const CHUNK_BURST: usize = 16;
/// Bytes of one call with UDP_SEGMENT: the most that a datagram's length field can say, with room for headers.
const SEGMENTS_BYTES: usize = 65_000;
/// Datagrams of one call with UDP_SEGMENT (UDP_MAX_SEGMENTS of Linux before 6.9).
const SEGMENTS_MAX: usize = 64;
/// Datagrams of one call without it.
const MANY: usize = 32;
/// Below this a datagram is never cut further.
pub(super) const CHUNK_MIN: usize = 512;
/// The most that a datagram over IPv4 carries.
pub(super) const DATAGRAM_MAX: usize = 65_507;
/// How long to wait when no address is known.
const AWAY: Duration = Duration::from_millis(250);

/// Bytes of one record that the chunks can carry, uncompressed.
pub(super) fn record_max(chunk: usize) -> usize {
    chunk.saturating_sub(HEADER) * CHUNKS_MAX
}

/// The sender of one `graylog` entry.
pub(super) struct Gelf {
    outlet: Arc<Outlet>,
    udp: DatagramOut,
    packer: Packer,
    /// Bytes of a datagram; the encoder looks here how long a message may be.
    chunk: Arc<AtomicUsize>,
    /// The largest datagram that was taken: only what is larger may turn out to be too large.
    proven: usize,
    /// Datagrams that leave together, and the length of each.
    batch: Vec<u8>,
    lengths: Vec<usize>,
    longest: usize,
    padded: Vec<u8>,
    burst: usize,
}

impl Gelf {
    /// The sender.
    pub(super) fn new(outlet: Arc<Outlet>, host: &str, port: u16, packing: Packing, chunk: Arc<AtomicUsize>) -> Gelf {
        chunk.store(chunk.load(Relaxed).clamp(CHUNK_MIN, DATAGRAM_MAX), Relaxed);
        Gelf {
            outlet,
            udp: DatagramOut::udp(host, port),
            packer: Packer::new(packing),
            chunk,
            proven: 0,
            batch: Vec::new(),
            lengths: Vec::new(),
            longest: 0,
            padded: Vec::new(),
            burst: 0,
        }
    }

    /// The same without UDP_SEGMENT, as on a system that refuses it.
    #[cfg(test)]
    pub(super) fn without_segments(mut self) -> Gelf {
        self.udp.segments = false;
        self
    }

    /// Sends until the outlet ends.
    pub(super) async fn run(mut self, mut inbox: Inbox) {
        let mut record = Vec::new();
        while inbox.wait().await {
            if !self.udp.ready(false, &self.outlet.counts).await {
                // The records stay in the rings, which count what they cannot hold. A sink that left the
                // configuration does not wait for an address that may never come.
                if self.outlet.is_ending() && !self.outlet.is_stopping() {
                    inbox.discard(&"no address, and no longer configured");
                }
                self.outlet.rest(AWAY).await;
                continue;
            }
            self.burst = 0;
            // Not without end: new rings, new addresses and the deadline are looked at in between.
            for _ in 0..ROUND {
                record.clear();
                let Some(length) = inbox.pop(&mut record) else { break };
                self.take(&record).await;
                if self.burst >= BURST {
                    self.pause(inbox.is_nearly_full()).await;
                }
                // A message of the largest kind should not keep its memory for ever.
                if length > 1 << 16 {
                    record = Vec::new();
                }
            }
            self.flush().await;
        }
    }

    /// Lets the receiver read, unless our own rings are about to overflow.
    async fn pause(&mut self, nearly_full: bool) {
        self.burst = 0;
        if !nearly_full || self.outlet.is_stopping() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }

    /// Whether datagrams leave in one buffer: only plain JSON may be brought to one length.
    fn segments(&self) -> bool {
        self.udp.segments && self.packer.kind() == Packing::None
    }

    /// Sends a record, or puts it with others that leave together.
    async fn take(&mut self, record: &[u8]) {
        let segments = self.segments();
        let size = self.packer.pack(record).len();
        if size > self.chunk.load(Relaxed) || (!segments && size > self.proven) {
            self.flush().await;
            let message = self.packer.packed(record).to_vec();
            return self.send_one(&message).await;
        }
        let full = match segments {
            true => {
                let longest = self.longest.max(size);
                self.lengths.len() == SEGMENTS_MAX || (self.lengths.len() + 1) * longest > SEGMENTS_BYTES
            }
            false => self.lengths.len() == MANY,
        };
        if full {
            self.flush().await;
        }
        self.longest = self.longest.max(size);
        self.batch.extend_from_slice(self.packer.packed(record));
        self.lengths.push(size);
    }

    /// Sends what was put together.
    async fn flush(&mut self) {
        let lengths = std::mem::take(&mut self.lengths);
        let batch = std::mem::take(&mut self.batch);
        let longest = std::mem::take(&mut self.longest);
        let together = lengths.len() > 1 && self.segments() && self.send_segments(&batch, &lengths, longest).await;
        if !together && !lengths.is_empty() {
            let mut datagrams = Vec::with_capacity(lengths.len());
            let mut rest = batch.as_slice();
            for length in &lengths {
                let (datagram, after) = rest.split_at(*length);
                datagrams.push(datagram);
                rest = after;
            }
            if longest <= self.proven {
                self.send_many(&datagrams).await;
            } else {
                for datagram in datagrams {
                    self.send_one(datagram).await;
                }
            }
        }
        // Their memory is used again.
        (self.lengths, self.batch) = (lengths, batch);
        self.lengths.clear();
        self.batch.clear();
    }

    /// Sends datagrams of one length, padded with spaces, which JSON allows at the end, in one call. False when the
    /// system does not do that; then nothing was sent.
    async fn send_segments(&mut self, batch: &[u8], lengths: &[usize], longest: usize) -> bool {
        self.padded.clear();
        let mut rest = batch;
        for (i, length) in lengths.iter().enumerate() {
            let (record, after) = rest.split_at(*length);
            self.padded.extend_from_slice(record);
            rest = after;
            if i + 1 < lengths.len() {
                self.padded.resize((i + 1) * longest, b' ');
            }
        }
        let n = lengths.len() as u64;
        // A datagram has at most 65,507 bytes.
        match self.udp.send_segments(&self.padded, longest as u16).await {
            Ok(()) => self.outlet.counts.sent(n),
            Err(e) if DatagramOut::refuses_segments(&e) => {
                self.udp.segments = false;
                return false;
            }
            Err(e) => self.lost(n, &e),
        }
        self.burst += lengths.len();
        true
    }

    /// Sends datagrams in as few calls as can be.
    async fn send_many(&mut self, datagrams: &[&[u8]]) {
        let many = self.udp.send_many(datagrams).await;
        self.burst += datagrams.len();
        self.outlet.counts.sent(many.sent as u64);
        if many.lost > 0 {
            self.lost(many.lost as u64, &why(&many));
        }
    }

    /// Sends one message by itself, cut as needed. A way that refuses the size halves it, once a message.
    async fn send_one(&mut self, message: &[u8]) {
        let chunk = self.chunk.load(Relaxed);
        let mut result = send_message(&mut self.udp, message, chunk, &mut self.burst).await;
        if matches!(&result, Err(e) if DatagramOut::too_large(e)) && chunk > CHUNK_MIN {
            let smaller = (chunk / 2).max(CHUNK_MIN);
            self.chunk.store(smaller, Relaxed);
            self.proven = 0;
            result = send_message(&mut self.udp, message, smaller, &mut self.burst).await;
        }
        match result {
            Ok(Some(largest)) => {
                self.proven = self.proven.max(largest);
                self.outlet.counts.sent(1);
            }
            // Only what was encoded before the way turned out to be narrower.
            Ok(None) => self.outlet.counts.oversize(1),
            Err(e) => self.lost(1, &e),
        }
    }

    fn lost(&mut self, n: u64, error: &io::Error) {
        self.outlet.counts.trouble(error);
        self.outlet.counts.error(n, error);
        self.udp.failed();
    }
}

/// What was wrong with some of many.
fn why(many: &Many) -> io::Error {
    match &many.error {
        Some(e) => e.raw_os_error().map_or_else(|| io::Error::new(e.kind(), e.to_string()), io::Error::from_raw_os_error),
        None => io::ErrorKind::ConnectionRefused.into(),
    }
}

/// The length of the largest datagram; none when the message needs more chunks than there may be.
async fn send_message(
    udp: &mut DatagramOut,
    message: &[u8],
    chunk: usize,
    burst: &mut usize,
) -> io::Result<Option<usize>> {
    if message.len() <= chunk {
        *burst += 1;
        udp.send(message).await?;
        return Ok(Some(message.len()));
    }
    // Receivers tell messages apart by this alone, whoever sent them.
    let Some(pieces) = chunks(message, chunk, fastrand::u64(..)) else { return Ok(None) };
    let datagrams: Vec<Vec<u8>> = pieces.map(|(header, piece)| [&header[..], piece].concat()).collect();
    let slices: Vec<&[u8]> = datagrams.iter().map(Vec::as_slice).collect();
    for group in slices.chunks(CHUNK_BURST) {
        let many = udp.send_many(group).await;
        *burst += group.len();
        if many.lost > 0 {
            // The rest would be of no use.
            return Err(why(&many));
        }
        if group.len() == CHUNK_BURST {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(Some(chunk))
}
