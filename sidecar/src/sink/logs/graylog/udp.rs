//! GELF 1.1 over UDP: from the rings to Graylog.
//!
//! UDP gives no receipt: "sent" means that the system took the datagram and nobody said at once that no one
//! listens. Nothing that happens here ends the sender.

use super::chunk::{CHUNKS_MAX, HEADER, chunks};
use super::pack::{Packing, Packer};
use crate::sink::drain::{Inbox, Outlet};
use crate::sink::transport::DatagramOut;
use std::io;
use std::sync::Arc;
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
/// Below this a datagram is never cut further.
const CHUNK_MIN: usize = 512;
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
    chunk: usize,
    /// Records that leave together, and the length of each.
    batch: Vec<u8>,
    lengths: Vec<usize>,
    longest: usize,
    padded: Vec<u8>,
    burst: usize,
}

impl Gelf {
    /// The sender.
    pub(super) fn new(outlet: Arc<Outlet>, host: &str, port: u16, packing: Packing, chunk: usize) -> Gelf {
        Gelf {
            outlet,
            udp: DatagramOut::udp(host, port),
            packer: Packer::new(packing),
            chunk: chunk.clamp(CHUNK_MIN, 65_507),
            batch: Vec::new(),
            lengths: Vec::new(),
            longest: 0,
            padded: Vec::new(),
            burst: 0,
        }
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

    /// Sends a record, or puts it with others that leave together.
    async fn take(&mut self, record: &[u8]) {
        if self.packer.kind() != Packing::None || record.len() > self.chunk || !self.udp.segments {
            self.flush().await;
            return self.send_one(record).await;
        }
        let longest = self.longest.max(record.len());
        let full = self.lengths.len() == SEGMENTS_MAX || (self.lengths.len() + 1) * longest > SEGMENTS_BYTES;
        if full {
            self.flush().await;
        }
        self.longest = self.longest.max(record.len());
        self.batch.extend_from_slice(record);
        self.lengths.push(record.len());
    }

    /// Sends what was put together: datagrams of one length, padded with spaces, which JSON allows at the end.
    async fn flush(&mut self) {
        let lengths = std::mem::take(&mut self.lengths);
        let batch = std::mem::take(&mut self.batch);
        let longest = std::mem::take(&mut self.longest);
        let mut one_by_one = true;
        if lengths.len() > 1 {
            self.padded.clear();
            let mut rest = batch.as_slice();
            for (i, length) in lengths.iter().enumerate() {
                let (record, after) = rest.split_at(*length);
                self.padded.extend_from_slice(record);
                rest = after;
                if i + 1 < lengths.len() {
                    self.padded.resize((i + 1) * longest, b' ');
                }
            }
            one_by_one = false;
            let n = lengths.len() as u64;
            match self.udp.send_segments(&self.padded, longest as u16).await {
                Ok(()) => self.outlet.counts.sent(n),
                Err(e) if DatagramOut::refuses_segments(&e) => {
                    self.udp.segments = false;
                    one_by_one = true;
                }
                Err(e) => self.lost(n, &e),
            }
            self.burst += lengths.len();
        }
        if one_by_one {
            let mut rest = batch.as_slice();
            for length in &lengths {
                let (record, after) = rest.split_at(*length);
                self.send_one(record).await;
                rest = after;
            }
        }
        // Their memory is used again.
        (self.lengths, self.batch) = (lengths, batch);
        self.lengths.clear();
        self.batch.clear();
    }

    /// Sends one record by itself, packed and cut as needed. A way that refuses the size halves it, once a record.
    async fn send_one(&mut self, record: &[u8]) {
        let packed = self.packer.pack(record);
        let mut result = send_message(&mut self.udp, packed, self.chunk, &mut self.burst).await;
        if matches!(&result, Err(e) if DatagramOut::too_large(e)) && self.chunk > CHUNK_MIN {
            self.chunk = (self.chunk / 2).max(CHUNK_MIN);
            result = send_message(&mut self.udp, packed, self.chunk, &mut self.burst).await;
        }
        match result {
            Ok(true) => self.outlet.counts.sent(1),
            Ok(false) => self.outlet.counts.oversize(1),
            Err(e) => self.lost(1, &e),
        }
    }

    fn lost(&mut self, n: u64, error: &io::Error) {
        self.outlet.counts.error(n, error);
        self.udp.failed();
    }
}

/// False when the message needs more chunks than there may be.
async fn send_message(udp: &mut DatagramOut, message: &[u8], chunk: usize, burst: &mut usize) -> io::Result<bool> {
    if message.len() <= chunk {
        *burst += 1;
        udp.send(message).await?;
        return Ok(true);
    }
    // Receivers tell messages apart by this alone, whoever sent them.
    let Some(pieces) = chunks(message, chunk, fastrand::u64(..)) else { return Ok(false) };
    let mut datagram = Vec::with_capacity(chunk);
    for (i, (header, piece)) in pieces.enumerate() {
        datagram.clear();
        datagram.extend_from_slice(&header);
        datagram.extend_from_slice(piece);
        udp.send(&datagram).await?;
        *burst += 1;
        if i % CHUNK_BURST == CHUNK_BURST - 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(true)
}
