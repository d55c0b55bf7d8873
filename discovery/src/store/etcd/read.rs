//! What others write: all of it at the beginning, and from then on what changes.

use super::client::{Failed, Lines};
use super::keys::Place;
use super::rows;
use super::view::Entry;
use super::wire::{self, Lease, Range, Watched};
use super::work::{Ended, Work};
use crate::registry::{Heard, Key};
use serde_json::json;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// So many keys are read at once.
const PAGE: usize = 512;
/// Beyond so many writes that were not seen in the watch it is looked which will never be.
const WRITTEN_MAX: usize = 1024;

impl Work {
    pub(super) async fn watch(&mut self) -> Result<Lines, Ended> {
        self.heard_at = Instant::now();
        let from = self.next.clone().unwrap_or_default();
        let requests: Vec<_> =
            self.layout.prefixes().zip(&from).map(|(prefix, from)| wire::watch(prefix, *from)).collect();
        Ok(self.client.watch(&requests).await?)
    }

    /// One line of the watch, and those that have come with it.
    pub(super) async fn watched(&mut self, line: Result<Watched, Failed>, lines: &mut Lines) -> Result<(), Ended> {
        self.heard_at = Instant::now();
        let mut entries = Vec::new();
        let mut line = Some(line);
        let mut ended = Ok(());
        while let (Some(one), true) = (line.take(), ended.is_ok()) {
            match one.map_err(Ended::from).and_then(going_on) {
                Ok(watched) => {
                    self.collect(&watched, &mut entries);
                    line = lines.ready();
                }
                Err(Ended::Compacted) => {
                    // What was between is not known any more, so all is read again.
                    self.next = None;
                    ended = Err(Ended::Compacted);
                }
                Err(why) => ended = Err(why),
            }
        }
        if self.written.len() > WRITTEN_MAX {
            // What changed nothing is not told by the watch.
            let next: Vec<_> = self.layout.prefixes().zip(self.next.iter().flatten()).collect();
            let seen = |key: &str, at: i64| next.iter().any(|(prefix, next)| key.starts_with(prefix) && at < **next);
            self.written.retain(|key, at| !seen(key, *at));
        }
        // What came before the end is not told again.
        self.take(entries).await;
        ended
    }

    /// Adds the changes of a line, and remembers where to go on.
    fn collect(&mut self, watched: &Watched, entries: &mut Vec<Entry>) {
        if !watched.created {
            self.revision = self.revision.max(watched.header.revision);
        }
        let place = usize::try_from(watched.watch_id).unwrap_or(usize::MAX);
        for event in &watched.events {
            let revision = event.kv.mod_revision;
            if let Some(next) = self.next.as_mut().and_then(|next| next.get_mut(place)) {
                // What follows may be of the same revision.
                *next = (*next).max(revision + i64::from(!watched.fragment));
            }
            if revision > self.read_revision {
                entries.extend(self.view.entry(&event.kv, event.is_gone()));
            }
        }
    }

    /// Takes over what has changed, but for what we have changed ourselves since.
    async fn take(&mut self, entries: Vec<Entry>) {
        let entries = self.without_own(entries);
        let of_records = entries.iter().filter(|entry| matches!(entry.place, Place::Kept(Key::Record(_))));
        let new: BTreeSet<i64> = of_records.map(|entry| entry.lease).filter(|id| self.leases.is_new(*id)).collect();
        for lease in &new {
            // One that cannot be asked for is asked for again, and told for a short time until then.
            if self.ask_lease(*lease).await.is_err() {
                break;
            }
        }
        self.view.take(&self.registry, &mut self.leases, entries);
        if !new.is_empty() {
            self.leases.forget_empty();
        }
    }

    pub(super) async fn ask_lease(&mut self, lease: i64) -> Result<(), Ended> {
        self.renew().await?;
        let left: Lease = self.client.call("lease/timetolive", &json!({"ID": lease.to_string()})).await?;
        self.leases.set(&self.registry, lease, left.ttl);
        Ok(())
    }

    /// Reads all, and forgets what is not there.
    pub(super) async fn read_all(&mut self) -> Result<(), Ended> {
        let beginning = self.next.is_none() && self.revision == 0;
        // Should that not come to its end, it is begun again.
        let next = self.next.take();
        let mut missing = self.registry.read(|catalog| catalog.keys());
        let mut pairs = BTreeSet::new();
        self.view.begin();
        let mut revision = 0;
        for part in self.layout.parts() {
            let mut from = part.clone().into_bytes();
            let mut limit = PAGE;
            loop {
                let asked = wire::page(&from, &part, revision, limit);
                let range: Range = match self.client.call("kv/range", &asked).await {
                    Err(Failed::TooLong) if limit > 1 => {
                        limit = (limit / 8).max(1);
                        continue;
                    }
                    // It is begun again.
                    Err(failed) if failed.is_compacted() => return Err(Ended::Away(failed.to_string())),
                    result => result?,
                };
                if revision == 0 {
                    revision = range.header.revision;
                }
                let entries: Vec<Entry> = range.kvs.iter().filter_map(|kv| self.view.entry(kv, false)).collect();
                for entry in &entries {
                    if let (Place::Kept(key), true) = (&entry.place, entry.value.is_some()) {
                        missing.remove(key);
                    }
                    if let Place::Pair(key) = &entry.place {
                        pairs.insert(key.clone());
                    }
                }
                self.take(entries).await;
                self.renew().await?;
                match range.kvs.last().and_then(wire::Kv::raw_key).filter(|_| range.more) {
                    // The next key there can be.
                    Some(last) => from = [last, vec![0]].concat(),
                    None => break,
                }
            }
        }
        self.view.missing(&self.registry, missing, &mut self.leases);
        self.registry.keys().keep_only(|key| pairs.contains(key), self.view.number(revision));
        self.revision = self.revision.max(revision);
        self.next = next.or_else(|| Some(self.layout.prefixes().map(|_| revision + 1).collect()));
        (self.read_at, self.read_revision) = (Instant::now(), revision);
        if beginning {
            self.registry.follow(rows::returned(&self.registry.snapshot(), &self.view.own).collect::<Vec<Heard>>());
        }
        Ok(())
    }
}

/// A line that is not the end of the watch.
fn going_on(watched: Watched) -> Result<Watched, Ended> {
    match (watched.canceled, watched.compact_revision) {
        (false, _) => Ok(watched),
        (true, 0) => Err(Ended::Away(format!("etcd has ended the watch: {}", watched.cancel_reason))),
        (true, _) => Err(Ended::Compacted),
    }
}
