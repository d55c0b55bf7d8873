//! How many instances of a service may be ejected at once.

use super::Standing;
use super::word::Word;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

/// The instances of one service, looked at when one of them is about to be ejected. Nothing is counted along, so
/// nothing can drift when instances come and go.
#[derive(Debug, Default)]
pub struct Floor {
    members: Mutex<Vec<Arc<Standing>>>,
    spared: AtomicU64,
}

impl Floor {
    /// A service of these instances.
    pub fn new(members: Vec<Arc<Standing>>) -> Arc<Floor> {
        Arc::new(Floor { members: Mutex::new(members), spared: AtomicU64::new(0) })
    }

    /// The service's instances are now these.
    pub fn set(&self, members: Vec<Arc<Standing>>) {
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// How often an instance was not ejected because too few would have been left.
    pub fn spared(&self) -> u64 {
        self.spared.load(Relaxed)
    }

    /// Does `eject` if `one` may go, with no other ejection of the service at the same time. False: it may not. None:
    /// somebody else looks at the moment, and a data thread does not wait; the next failure asks again.
    pub(super) fn ask<T>(&self, one: &Standing, share: f64, eject: impl FnOnce() -> T) -> Option<Result<T, ()>> {
        let members = match self.members.try_lock() {
            Ok(members) => members,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let others = members.iter().filter(|m| !std::ptr::eq(Arc::as_ptr(m), one));
        let words = others.map(|m| m.word());
        let (mut ejected, mut open) = (0, 0);
        for word in words {
            ejected += usize::from(word.has(Word::EJECTED));
            open += usize::from(word.is_open());
        }
        if ejected < most(members.len(), share) && open > 0 {
            return Some(Ok(eject()));
        }
        self.spared.fetch_add(1, Relaxed);
        Some(Err(()))
    }
}

/// So many of `all` may be ejected: one at least, unless none may at all.
fn most(all: usize, share: f64) -> usize {
    if share <= 0.0 {
        return 0;
    }
    // A tenth of ten is one, whatever binary fractions say.
    ((all as f64 * share + 1e-9) as usize).max(1)
}
