//! Entries of SkyDNS under leases of others: how long each has left, so that none is told for longer.

use crate::model::Record;
use crate::registry::{Heard, Registry};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// A lease is asked for again when half of what it had is over, but not more often than that.
const LEAST: Duration = Duration::from_secs(1);
/// What is told while nobody can be asked: short, and again and again.
const UNKNOWN: Duration = Duration::from_secs(5);

struct Lease {
    ends: SystemTime,
    due: Instant,
    paths: BTreeSet<String>,
}

/// The leases of entries.
#[derive(Default)]
pub(super) struct Leases {
    leases: BTreeMap<i64, Lease>,
    of: BTreeMap<String, i64>,
}

impl Leases {
    /// Whether it must be asked for before its first entry is told.
    pub(super) fn is_new(&self, lease: i64) -> bool {
        lease != 0 && !self.leases.contains_key(&lease)
    }

    /// An entry came under a lease, or without. Returns when it ends.
    pub(super) fn keep(&mut self, path: &str, lease: i64) -> Option<SystemTime> {
        self.forget(path);
        if lease == 0 {
            return None;
        }
        self.of.insert(path.to_owned(), lease);
        let now = || Lease { ends: SystemTime::now() + UNKNOWN, due: Instant::now(), paths: BTreeSet::new() };
        let entry = self.leases.entry(lease).or_insert_with(now);
        entry.paths.insert(path.to_owned());
        Some(entry.ends)
    }

    /// An entry is gone.
    pub(super) fn forget(&mut self, path: &str) {
        let Some(lease) = self.of.remove(path) else { return };
        if let Some(entry) = self.leases.get_mut(&lease) {
            entry.paths.remove(path);
            if entry.paths.is_empty() {
                self.leases.remove(&lease);
            }
        }
    }

    /// Forgets leases whose entries nobody could read.
    pub(super) fn forget_empty(&mut self) {
        self.leases.retain(|_, lease| !lease.paths.is_empty());
    }

    /// When the next is to be asked for, and which.
    pub(super) fn due(&self) -> Option<(Instant, i64)> {
        self.leases.iter().map(|(id, lease)| (lease.due, *id)).min()
    }

    /// A lease has that many seconds left.
    pub(super) fn set(&mut self, registry: &Registry, id: i64, seconds: i64) {
        let left = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let ends = SystemTime::now() + left;
        let due = Instant::now() + (left / 2).max(LEAST);
        let lease = self.leases.entry(id).or_insert_with(|| Lease { ends, due, paths: BTreeSet::new() });
        (lease.ends, lease.due) = (ends, due);
        tell(registry, lease);
    }

    /// Nobody can be asked. That others stay silent to us says nothing of them.
    pub(super) fn hold(&mut self, registry: &Registry) {
        let ends = SystemTime::now() + UNKNOWN;
        for lease in self.leases.values_mut().filter(|lease| lease.ends < ends) {
            (lease.ends, lease.due) = (ends, Instant::now());
            tell(registry, lease);
        }
    }
}

fn tell(registry: &Registry, lease: &Lease) {
    let again = |path: &String| {
        let record = registry.read(|catalog| catalog.record(path).cloned())?;
        Some(Heard::Record(path.clone(), Record { expires: Some(lease.ends), ..record }))
    };
    registry.follow(lease.paths.iter().filter_map(again).collect());
}
