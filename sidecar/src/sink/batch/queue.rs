//! Records in hand, one after the other in one piece of memory.

use super::{BatchMax, Fate};
use crate::sink::drain::Inbox;
use std::collections::VecDeque;
use std::ops::Range;

/// Memory that is kept for the next records.
const KEPT: usize = 256 << 10;
/// What stands between two records in a body is at most this long.
pub(super) const BETWEEN: usize = 2;

/// The records.
#[derive(Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    spans: VecDeque<Range<usize>>,
    longest: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether another record like the longest one here might not fit.
    pub(super) fn is_full(&self, max: BatchMax) -> bool {
        self.len() >= max.records || self.bytes.len() + self.len() * BETWEEN + self.longest >= max.bytes
    }

    /// Takes what waits, as far as there is room.
    pub(super) fn fill(&mut self, inbox: &mut Inbox, max: BatchMax) {
        while !self.is_full(max) {
            let start = self.bytes.len();
            let Some(length) = inbox.pop(&mut self.bytes) else { break };
            self.spans.push_back(start..start + length);
            self.longest = self.longest.max(length);
        }
    }

    /// The oldest records, as many as may be sent together and at least one.
    pub(super) fn head(&self, max: BatchMax) -> Vec<&[u8]> {
        let mut room = max.bytes;
        let mut head = Vec::new();
        for span in self.spans.iter().take(max.records.max(1)) {
            let Some(left) = room.checked_sub(span.len() + BETWEEN).or(head.is_empty().then_some(0)) else { break };
            room = left;
            head.push(&self.bytes[span.clone()]);
        }
        head
    }

    /// They are done with.
    pub(super) fn remove(&mut self, n: usize) {
        self.spans.drain(..n.min(self.spans.len()));
        self.tidy();
    }

    /// Of the oldest, those stay that are to be sent again.
    pub(super) fn keep(&mut self, fates: &[Fate]) {
        let mut at = 0;
        self.spans.retain(|_| {
            at += 1;
            fates.get(at - 1).is_none_or(|fate| *fate == Fate::Again)
        });
        self.tidy();
    }

    fn tidy(&mut self) {
        if self.spans.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.longest = 0;
        }
    }
}
