//! What people look at while it happens: the tail of commands as they end, and the last ones for their journeys.
//!
//! The data threads do nothing for it: what they put into their rings for the sinks is looked at once more on the
//! control thread. Without a sink they write nothing, until somebody looks; then they do, for as long as somebody does.

mod recent;
mod shown;
mod tail;
mod wanted;

pub use recent::Which;
pub use tail::{Batch, Tail};
pub use wanted::{Unclear, Wanted};

use super::entry::{Entry, What};
use super::fields::Who;
use super::generation::Generation;
use recent::Recent;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tail::Queue;

/// Who asked once is believed to look for this long.
const LOOKS: Duration = Duration::from_secs(60);
/// Tails at once; each costs a look at every command.
const TAILS_MAX: usize = 8;

/// What is seen of all commands. Clones are the same.
#[derive(Clone, Default)]
pub struct Eyes(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether somebody looks: the one thing of all this that the data threads read.
    open: AtomicBool,
    /// Commands that found no room on their way here.
    missed: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    until: Option<Instant>,
    tails: Vec<Arc<Queue>>,
    recent: Recent,
    /// Whose commands they are.
    generation: Option<Arc<Generation>>,
}

/// There are as many tails as there may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Crowded;

impl Eyes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody looks.
    pub(super) fn is_open(&self) -> bool {
        self.0.open.load(Relaxed)
    }

    /// A command found no room on its way here.
    pub(super) fn missed(&self) {
        self.0.missed.fetch_add(1, Relaxed);
    }

    /// A command has ended; `bytes` are its entry as it came.
    pub(super) fn see(&self, entry: &Entry<'_>, bytes: &[u8], generation: &Arc<Generation>) {
        if entry.what != What::Command {
            return;
        }
        let mut state = self.state();
        if state.generation.as_ref().is_none_or(|known| !Arc::ptr_eq(known, generation)) {
            state.generation = Some(generation.clone());
        }
        let kept = state.recent.keep(entry, bytes);
        if !state.tails.is_empty() {
            state.tails.retain(|tail| Arc::strong_count(tail) > 1);
            let Some(who) = &generation.who else { return };
            state.tails.iter().for_each(|tail| tail.tell(entry, who, kept));
        } else if self.is_open() && state.until.is_none_or(|until| until < Instant::now()) {
            self.0.open.store(false, Relaxed);
        }
    }

    /// Somebody looks: commands are noted from now on, for a while.
    pub fn look(&self) {
        self.state().until = Some(Instant::now() + LOOKS);
        self.0.open.store(true, Relaxed);
    }

    /// Follows the commands as they end.
    ///
    /// # Errors
    /// When there are as many tails as there may be.
    pub fn follow(&self, wanted: Wanted) -> Result<Tail, Crowded> {
        let mut state = self.state();
        state.tails.retain(|tail| Arc::strong_count(tail) > 1);
        if state.tails.len() >= TAILS_MAX {
            return Err(Crowded);
        }
        let queue = Arc::new(Queue::new(wanted));
        state.tails.push(queue.clone());
        self.0.open.store(true, Relaxed);
        Ok(Tail::new(queue, self.clone()))
    }

    /// The last commands, the newest first: `commands`, and how they were chosen.
    pub fn recent(&self, which: &Which, most: usize) -> Value {
        let state = self.state();
        let nobody = Who::default();
        let who = state.generation.as_ref().and_then(|g| g.who.as_ref()).unwrap_or(&nobody);
        state.recent.shown(which, most, who)
    }

    /// Commands that nobody can be shown, as the way here had no room.
    pub fn lost(&self) -> u64 {
        self.0.missed.load(Relaxed)
    }
}

/// A number that is the same for a trace in every Fourmi: what is shown of many is shown of whole journeys.
fn lot(entry: &Entry<'_>) -> u64 {
    // Ids may count up, and halves may be alike; every bit is mixed with all others.
    let (low, high) = (entry.trace_id as u64, (entry.trace_id >> 64) as u64);
    let mixed = low.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ high.wrapping_mul(0xc4ce_b9fe_1a85_ec53).rotate_left(31);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// Whether a command is among one in two to the power of `level`.
fn drawn(lot: u64, level: u32) -> bool {
    lot.trailing_zeros() >= level
}

#[cfg(test)]
mod tests;
