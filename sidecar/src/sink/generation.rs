//! The sinks of one configuration, and the one place where an entry becomes each sink's own record.

use super::drain::{Inbox, Outlet};
use super::entry::{Entry, What};
use super::eyes::Eyes;
use super::fields::Who;
use super::filter::Filter;
use super::ring::{self, Writer};
use super::scope::Scopes;
use crate::exchange::Wants;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Entries that are told before senders get their turn: fewer than a sink's buffer holds.
const ROUND: usize = 256;
/// A scratch buffer that grew beyond this is let go.
const SCRATCH_MAX: usize = 64 << 10;
/// How long entries may be held back for a sink that keeps up, all in all, at one time.
const HOLD: Duration = Duration::from_millis(1);
const HOLDS_MAX: u32 = 8;

/// How a sink writes an entry.
pub(crate) trait Encode: Send {
    /// Appends the record; false when the sink has nothing to say of this entry.
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool;
}

/// One sink as entries come to it.
pub(crate) struct Branch {
    /// Its sender's side.
    pub(crate) outlet: Arc<Outlet>,
    filter: Filter,
    inner: Mutex<Inner>,
}

struct Inner {
    encode: Box<dyn Encode>,
    ring: Writer,
}

impl Branch {
    /// A way into a sink.
    pub(crate) fn new(outlet: Arc<Outlet>, filter: Filter, encode: Box<dyn Encode>, buffer: usize) -> Branch {
        let ring = outlet.connect(buffer, &Arc::default());
        Branch { outlet, filter, inner: Mutex::new(Inner { encode, ring }) }
    }

    fn tell(&self, entry: &Entry<'_>, who: &Who, scratch: &mut Vec<u8>) {
        if !self.filter.passes(entry) {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        ring::begin(scratch);
        if !inner.encode.encode(scratch, entry, who) {
            return;
        }
        if inner.ring.push(scratch) {
            self.outlet.ring();
        } else {
            self.outlet.counts.full(1);
        }
    }

    /// Whether its buffer is nearly full although its sender sends.
    fn is_behind(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.ring.is_nearly_full() && self.outlet.is_moving()
    }
}

/// The sinks of one configuration.
#[derive(Default)]
pub(crate) struct Generation {
    /// Who speaks.
    pub(crate) who: Option<Who>,
    /// To whom.
    pub(crate) branches: Vec<Arc<Branch>>,
    /// How much of a command they want.
    pub(crate) wants: Wants,
}

impl Generation {
    /// Writes an entry for every sink that wants it.
    pub(crate) fn tell(&self, entry: &Entry<'_>, scratch: &mut Vec<u8>) {
        let Some(who) = &self.who else { return };
        for branch in &self.branches {
            branch.tell(entry, who, scratch);
        }
        if scratch.capacity() > SCRATCH_MAX {
            *scratch = Vec::new();
        }
    }

    /// An entry found no room on its way here: every sink lost it.
    pub(crate) fn lost(&self, n: u64) {
        self.branches.iter().for_each(|b| b.outlet.counts.full(n));
    }
}

/// Lines that wait until the data threads' rings are empty.
const HELD_MAX: usize = 8192;

/// Tells what the data threads bring, until its own outlet ends.
pub(crate) async fn tell_all(outlet: Arc<Outlet>, mut inbox: Inbox, mut scopes: Scopes, eyes: Eyes) {
    let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
    // A line is told when all rings have been seen empty after it came: what the worker was given before it wrote the
    // line has been read then.
    let mut held: Vec<(Box<[u8]>, Arc<Generation>)> = Vec::new();
    while inbox.wait().await {
        let mut holds = 0;
        loop {
            let mut told = 0;
            let mut behind = false;
            let mut empty = false;
            while told < ROUND {
                bytes.clear();
                let Some((_, generation)) = inbox.pop_from(&mut bytes) else {
                    if !held.is_empty() && inbox.has_arrivals() {
                        inbox.tidy();
                        continue;
                    }
                    empty = true;
                    break;
                };
                told += 1;
                match Entry::read(&bytes) {
                    Some(entry) if entry.what == What::Line => {
                        held.push((bytes.as_slice().into(), generation.clone()));
                    }
                    Some(entry) => {
                        scopes.see(&entry, &bytes);
                        eyes.see(&entry, &bytes, generation);
                        generation.tell(&entry, &mut scratch);
                    }
                    // We wrote it ourselves.
                    None => generation.lost(1),
                }
                if told == ROUND {
                    behind = generation.branches.iter().any(|b| b.is_behind());
                }
            }
            if empty || held.len() >= HELD_MAX {
                for (line, generation) in held.drain(..) {
                    scopes.tell(&line, empty, &generation, &mut scratch);
                }
            }
            if bytes.capacity() > SCRATCH_MAX {
                bytes = Vec::new();
            }
            if told < ROUND || outlet.is_late() {
                break;
            }
            // A burst is worth a moment's wait as long as the way here still has room.
            if behind && holds < HOLDS_MAX && !inbox.is_nearly_full() {
                holds += 1;
                tokio::time::sleep(HOLD).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }
    for (line, generation) in held {
        scopes.tell(&line, false, &generation, &mut scratch);
    }
}
