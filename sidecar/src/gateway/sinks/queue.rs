//! The record `queue`, and what stood in its place before.

use crate::gateway::fields::Fields;
use std::time::Duration;

/// Bytes that an entry is reckoned with, when its number is what is said.
const ENTRY: i64 = 512;
/// Bytes that may wait, whatever is said.
const LEAST: i64 = 256 << 10;
const MOST: i64 = 256 << 20;
/// What holds when nothing is said.
const ENTRIES: i64 = 10_000;
/// Kong's largest whole number.
const BIG: i64 = 1_000_000;

/// How objects wait and leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Queue {
    /// Bytes that may wait.
    pub(super) buffer: usize,
    /// Objects of one request.
    pub(super) batch: usize,
    /// How long one waits for others.
    pub(super) linger: Duration,
}

impl Queue {
    /// Of a plugin whose requests have so many entries when nothing is said.
    pub(super) fn read(fields: &mut Fields<'_>, batch: i64) -> Queue {
        let old_batch = fields.integer("queue_size", 0, i64::from(i32::MAX)).filter(|n| *n != 1);
        let old_linger = fields.number("flush_timeout", 0.0, f64::from(i32::MAX)).filter(|n| *n != 2.0);
        fields.integer("retry_count", 0, i64::from(i32::MAX));
        let mut queue = fields.record("queue", |queue| {
            let entries = queue.integer("max_entries", 1, BIG).unwrap_or(ENTRIES);
            let bytes = queue.integer("max_bytes", 1, i64::MAX).unwrap_or(entries.saturating_mul(ENTRY));
            let batch = queue.integer("max_batch_size", 1, BIG).unwrap_or(batch);
            let linger = queue.number("max_coalescing_delay", 0.0, 3600.0).unwrap_or(1.0);
            queue.number("max_retry_time", 0.0, f64::MAX);
            queue.number("initial_retry_delay", 0.001, BIG as f64);
            queue.number("max_retry_delay", 0.001, BIG as f64);
            if queue.integer("concurrency_limit", -1, 1) == Some(0) {
                queue.wrong("concurrency_limit", "expected one of: -1, 1", "write -1 or 1");
            }
            Queue {
                buffer: usize::try_from(bytes.clamp(LEAST, MOST)).unwrap_or(LEAST as usize),
                batch: usize::try_from(batch).unwrap_or(1),
                linger: Duration::from_secs_f64(linger),
            }
        });
        if let Some(batch) = old_batch.and_then(|n| usize::try_from(n).ok()) {
            queue.batch = batch.max(1);
        }
        if let Some(linger) = old_linger {
            queue.linger = Duration::from_secs_f64(linger);
        }
        queue
    }

    /// Of a plugin that has none.
    pub(super) fn none() -> Queue {
        let buffer = usize::try_from(ENTRIES * ENTRY).unwrap_or(LEAST as usize);
        Queue { buffer, batch: 1, linger: Duration::ZERO }
    }
}
