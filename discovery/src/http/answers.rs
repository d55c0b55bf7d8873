//! Answers that many get: whoever asks the same, of the same number, gets the same bytes. When a change wakes thousands of
//! readers the answer is made once, and lies in memory once.

use super::call::Call;
use bytes::Bytes;
use foldhash::HashMap;
use std::sync::{Mutex, PoisonError};

/// So many answers are kept at most.
const ENTRIES: usize = 256;
/// And so many bytes of them.
const BYTES: usize = 32 * 1024 * 1024;
/// An answer that is longer than that is not kept.
const LONGEST: usize = 8 * 1024 * 1024;

/// An answer as it was written.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The number it is of: with another one it is another answer.
    pub(super) index: u64,
    pub(super) body: Bytes,
    /// Whether it shows a part only.
    pub(super) partial: bool,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<String, Answer>,
    bytes: usize,
}

/// The answers that were given of late.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Kept>);

impl Answers {
    /// What makes two requests the same. None for one that depends on who asks, or is for people.
    pub(super) fn key(place: usize, call: &Call) -> Option<String> {
        if call.query.get("near") == Some("_ip") || call.query.has("pretty") {
            return None;
        }
        let mut key = format!("{place}\0{:?}\0{}", call.rights.place(), call.rest);
        for (name, value) in call.query.iter().filter(|(name, _)| !matches!(*name, "index" | "wait" | "token")) {
            // With its length before each, so that no value can look like two.
            key.push_str(&format!("\0{}\0{name}{}\0{value}", name.len(), value.len()));
        }
        Some(key)
    }

    /// The answer of that number.
    pub(super) fn get(&self, key: &str, index: u64) -> Option<Answer> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.get(key).filter(|answer| answer.index == index).cloned()
    }

    /// Keeps an answer, in place of an older one.
    pub(super) fn put(&self, key: String, answer: Answer) {
        let size = key.len() + answer.body.len();
        if size > LONGEST {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = kept.answers.remove(&key) {
            kept.bytes -= key.len() + old.body.len();
        }
        if kept.answers.len() >= ENTRIES || kept.bytes + size > BYTES {
            *kept = Kept::default();
        }
        kept.bytes += size;
        kept.answers.insert(key, answer);
    }
}
