//! A data thread's way to the sinks, and the way from there to each of them: a bounded ring of bytes with one writer and one reader.
//!
//! A record is written with its length in front in a single step, so the reader sees all of it or nothing.

use crate::exchange::Wants;
use rtrb::{Consumer, Producer, RingBuffer};

/// Bytes of one ring: some two thousand records, what 100 ms bring at 20,000 commands a second: a control thread
/// that reads a new configuration, or is not given its turn, takes that long at times. The memory is only touched as it fills.
pub(crate) const RING_BYTES: usize = 1 << 20;
/// The same with header lines and targets in them.
const RING_BYTES_ALL: usize = 4 << 20;
/// Bytes of the length in front of a record.
pub(crate) const PREFIX: usize = 4;

/// Bytes of a data thread's ring, by how much of each command its records hold.
pub(crate) fn bytes(wants: Wants) -> usize {
    if wants == Wants::All { RING_BYTES_ALL } else { RING_BYTES }
}

/// The worker's end.
pub(crate) struct Writer(Producer<u8>);
/// The sender's end.
pub(crate) struct Reader(Consumer<u8>);

/// A new ring.
pub(crate) fn ring(bytes: usize) -> (Writer, Reader) {
    let (writer, reader) = RingBuffer::new(bytes);
    (Writer(writer), Reader(reader))
}

/// Empties a scratch buffer and leaves room for the length.
pub(crate) fn begin(scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.extend_from_slice(&[0; PREFIX]);
}

impl Writer {
    /// Puts a record that was started with [`begin`]; false when there is no room for it.
    pub(crate) fn push(&mut self, framed: &mut [u8]) -> bool {
        let Some(length) = framed.len().checked_sub(PREFIX).and_then(|n| u32::try_from(n).ok()) else { return false };
        framed[..PREFIX].copy_from_slice(&length.to_le_bytes());
        self.0.push_entire_slice(framed).is_ok()
    }

    /// Whether less than a quarter is free.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.0.slots() < self.0.buffer().capacity() / 4
    }
}

impl Reader {
    /// Appends the oldest record to `out`; its length, or none when the ring is empty.
    pub(crate) fn pop(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let mut prefix = [0; PREFIX];
        let chunk = self.0.read_chunk(PREFIX).ok()?;
        let (a, b) = chunk.as_slices();
        prefix[..a.len()].copy_from_slice(a);
        prefix[a.len()..].copy_from_slice(b);
        let length = u32::from_le_bytes(prefix) as usize;
        let chunk = self.0.read_chunk(PREFIX + length).ok()?;
        let (a, b) = chunk.as_slices();
        out.extend_from_slice(a.get(PREFIX..).unwrap_or_default());
        out.extend_from_slice(&b[PREFIX.saturating_sub(a.len())..]);
        chunk.commit_all();
        Some(length)
    }

    /// Bytes that wait.
    pub(crate) fn backlog(&self) -> usize {
        self.0.slots()
    }

    /// Whether less than a quarter is free.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.0.slots() > self.0.buffer().capacity() / 4 * 3
    }

    /// Whether the worker's end is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.is_abandoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn racing_ends_lose_and_tear_nothing() {
        // Small enough that it wraps and fills many times.
        let (mut writer, mut reader) = ring(4096);
        let producer = std::thread::spawn(move || {
            let mut scratch = Vec::new();
            let mut full = 0u64;
            for n in 0u32..50_000 {
                begin(&mut scratch);
                scratch.extend_from_slice(&n.to_le_bytes());
                let fill = (n % 251) as u8;
                scratch.resize(scratch.len() + (n as usize * 7) % 600, fill);
                if !writer.push(&mut scratch) {
                    full += 1;
                    std::thread::yield_now();
                }
            }
            full
        });
        let (mut seen, mut last) = (0u64, None);
        let mut out = Vec::new();
        loop {
            let gone = reader.is_abandoned();
            out.clear();
            let Some(length) = reader.pop(&mut out) else {
                if gone {
                    break;
                }
                std::thread::yield_now();
                continue;
            };
            assert_eq!(length, out.len());
            let n = u32::from_le_bytes(out[..4].try_into().unwrap());
            assert_eq!(out.len() - 4, (n as usize * 7) % 600);
            assert!(out[4..].iter().all(|b| *b == (n % 251) as u8));
            assert!(last.is_none_or(|l| n > l), "order is kept");
            last = Some(n);
            seen += 1;
        }
        assert_eq!(seen + producer.join().unwrap(), 50_000);
        assert_eq!(reader.backlog(), 0);
    }
}
