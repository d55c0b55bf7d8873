//! The last commands, as they came: bytes that are only read when somebody asks.
//!
//! When more come than there is room for, whole journeys are kept by a lot that falls alike in every Fourmi, so that
//! what one still has the others have too. Failures that the lot left out have some room of their own.

use super::super::entry::Entry;
use super::super::fields::Who;
use super::shown::shown;
use super::{drawn, lot};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Commands that are kept.
const KEPT_MAX: usize = 500;
/// Failures that are kept beside those.
const FAILED_MAX: usize = 100;
/// Bytes of one: there are 16 tags at most, but they may be long.
const BYTES_MAX: usize = 8 << 10;
/// For how long a command should stay, in microseconds: time to see it, and to ask for its journey.
const STAYS: u64 = 30_000_000;
/// From this level of syslog on a command has not failed.
const WELL: u8 = 5;

/// Which of them are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Which {
    /// Those of this trace.
    pub trace: Option<u128>,
    /// Those of this id.
    pub id: Option<String>,
}

#[derive(Default)]
pub(super) struct Recent {
    kept: VecDeque<Kept>,
    failed: VecDeque<Kept>,
    /// One in two to the power of this is kept.
    level: u32,
}

struct Kept {
    at: u64,
    lot: u64,
    bytes: Vec<u8>,
}

impl Recent {
    /// Keeps a command, if the lot falls on it; whether it did.
    pub(super) fn keep(&mut self, entry: &Entry<'_>, bytes: &[u8]) -> bool {
        let lot = lot(entry);
        if !drawn(lot, self.level) {
            return entry.level < WELL && put(&mut self.failed, FAILED_MAX, entry, bytes, lot);
        }
        if let Some(oldest) = self.kept.front().filter(|_| self.kept.len() >= KEPT_MAX) {
            let stayed = entry.wall.saturating_sub(oldest.at);
            if stayed < STAYS && self.level < 20 {
                self.level += 1;
                let level = self.level;
                self.kept.retain(|kept| drawn(kept.lot, level));
                if !drawn(lot, level) {
                    return false;
                }
            } else if stayed > 4 * STAYS {
                self.level = self.level.saturating_sub(1);
            }
        }
        put(&mut self.kept, KEPT_MAX, entry, bytes, lot)
    }

    /// Those that are asked for, the newest first.
    pub(super) fn shown(&self, which: &Which, most: usize, who: &Who) -> Value {
        let mut found: Vec<(u64, Entry<'_>)> = Vec::new();
        for kept in self.kept.iter().chain(&self.failed) {
            let Some(entry) = Entry::read(&kept.bytes) else { continue };
            let is_it = which.trace.is_none_or(|trace| entry.trace_id == trace)
                && which.id.as_ref().is_none_or(|id| entry.id == id);
            if is_it {
                found.push((kept.at, entry));
            }
        }
        found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let commands: Vec<Value> = found.iter().take(most).map(|(_, entry)| shown(entry, who).into()).collect();
        json!({
            "commands": commands,
            "more": found.len().saturating_sub(most),
            "kept": self.kept.len() + self.failed.len(),
            "one_in": 1u64 << self.level,
            "since": self.kept.front().map(|kept| kept.at as f64 / 1e6),
        })
    }
}

/// The oldest one's memory becomes the newest one's.
fn put(queue: &mut VecDeque<Kept>, most: usize, entry: &Entry<'_>, bytes: &[u8], lot: u64) -> bool {
    let mut kept = match queue.len() >= most {
        true => queue.pop_front(),
        false => None,
    }
    .unwrap_or_else(|| Kept { at: 0, lot: 0, bytes: Vec::new() });
    kept.bytes.clear();
    // What only some sinks want of a command, its header lines, is nothing to be looked at.
    match &entry.whole {
        None => kept.bytes.extend_from_slice(bytes),
        Some(_) => Entry { whole: None, ..entry.clone() }.write(&mut kept.bytes),
    }
    if kept.bytes.len() > BYTES_MAX {
        return false;
    }
    (kept.at, kept.lot) = (entry.wall, lot);
    queue.push_back(kept);
    true
}
