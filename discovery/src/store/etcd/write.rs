//! What we write: what was registered here, for good, and what we tell of ourselves, under our lease.

use super::client::Failed;
use super::keys::Place;
use super::leased;
use super::rows::{self, Row};
use super::settings::Unusable;
use super::view::Entry;
use super::wire::{self, Lease, Txn};
use super::work::{Ended, Work};
use crate::registry::Key;
use crate::snapshot::Snapshot;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most steps of one transaction; etcd takes 128.
const STEPS_MAX: usize = 100;
/// Most bytes of one transaction, as it is sent; etcd takes 1.5 MiB of what that means.
const BYTES_MAX: usize = 1024 * 1024;
/// How often it is looked whether the registry that had our name is gone.
const LOOK: Duration = Duration::from_millis(250);
/// A lease that is over is taken away that late at most.
const LATE: Duration = Duration::from_secs(3);

/// A key, the revision before it was tried, and how.
type Doubt = (Key, (i64, Row));

/// Splits steps into what one transaction takes.
fn split<T>(steps: &[(T, Value)]) -> Vec<&[(T, Value)]> {
    let mut parts = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, (_, step)) in steps.iter().enumerate() {
        let size = step.to_string().len();
        if at > from && (at - from >= STEPS_MAX || bytes + size > BYTES_MAX) {
            parts.extend(steps.get(from..at));
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    parts.extend(steps.get(from..).filter(|rest| !rest.is_empty()));
    parts
}

impl Work {
    /// Writes what has changed here. Others see what belongs together at once, unless it is very much.
    /// Returns what there is then.
    pub(super) async fn write(&mut self) -> Result<Arc<Snapshot>, Ended> {
        let left = std::mem::take(&mut self.pending);
        self.registry.put_back(left.into_iter().map(|(key, _)| key));
        let (snapshot, rows) = self.registry.take_changes(rows::row);
        self.pending = rows;
        let mut steps: Vec<((Key, Row, String), Value)> = Vec::new();
        for (key, row) in &self.pending {
            let Some(name) = self.layout.kept(key) else { continue };
            let step = match row {
                Row::Put(body) => wire::put(&name, body, None),
                Row::Delete => wire::delete(&name),
                Row::Nothing => continue,
            };
            steps.push(((key.clone(), row.clone(), name), step));
            // Nobody looks after a node that is removed, unless its registry is there.
            if let (Key::Node(node), Row::Delete) = (key, row) {
                let name = self.layout.registry(node);
                steps.push(((key.clone(), row.clone(), name.clone()), wire::delete(&name)));
                self.view.owned.remove(node);
            }
        }
        let result = self.write_steps(&steps).await;
        match result {
            Ok(()) => {
                self.pending.clear();
                self.refusal = None;
            }
            Err(failed) => {
                let pending = std::mem::take(&mut self.pending);
                self.registry.put_back(pending.into_iter().map(|(key, _)| key));
                self.refused(failed)?;
            }
        }
        Ok(snapshot)
    }

    /// All is told up to that change.
    pub(super) fn done(&mut self, number: u64) {
        self.report.send_if_modified(|report| {
            let changed = report.changes < number;
            report.changes = report.changes.max(number);
            changed
        });
    }

    /// A refusal is told, and tried again; everything else ends the session.
    fn refused(&mut self, failed: Failed) -> Result<(), Ended> {
        let Failed::Refused { message, .. } = failed else { return Err(failed.into()) };
        if self.refusal.is_none() {
            tracing::error!(error = message, "etcd does not take what was registered; it is tried again");
        }
        self.refusal = Some(message);
        Ok(())
    }

    async fn write_steps(&mut self, steps: &[((Key, Row, String), Value)]) -> Result<(), Failed> {
        for part in split(steps) {
            let base = self.revision;
            let done = self.transact(part.iter().map(|(_, step)| step), Vec::new()).await;
            match done {
                Ok(txn) => {
                    for ((key, _, name), _) in part {
                        self.doubt.remove(key);
                        self.told.remove(name);
                        self.written.insert(name.clone(), txn.header.revision);
                    }
                }
                Err(failed) => {
                    if !matches!(failed, Failed::Refused { .. }) {
                        let doubt = part.iter().map(|((key, row, _), _)| (key.clone(), (base, row.clone())));
                        self.doubt.extend(doubt);
                    }
                    return Err(failed);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn transact<'a>(
        &mut self,
        steps: impl Iterator<Item = &'a Value>,
        compare: Vec<Value>,
    ) -> Result<Txn, Failed> {
        let asked = json!({"compare": compare, "success": steps.collect::<Vec<_>>()});
        // What is very much takes long.
        self.renew().await?;
        let txn: Txn = self.client.call("kv/txn", &asked).await?;
        self.revision = self.revision.max(txn.header.revision);
        Ok(txn)
    }

    /// Finds out what became of that which may have been written. What is newer than our try is ours, or it is later:
    /// both stay.
    pub(super) async fn resolve(&mut self) -> Result<(), Ended> {
        let doubt = std::mem::take(&mut self.doubt);
        let named = doubt.into_iter().filter_map(|(key, tried)| {
            let name = self.layout.kept(&key)?;
            Some(((key, tried), wire::read(&name)))
        });
        let steps: Vec<(Doubt, Value)> = named.collect();
        for part in split(&steps) {
            let txn = match self.transact(part.iter().map(|(_, step)| step), Vec::new()).await {
                Ok(txn) => txn,
                Err(failed) => {
                    self.doubt.extend(steps.iter().map(|((key, tried), _)| (key.clone(), tried.clone())));
                    return Err(failed.into());
                }
            };
            for (((key, (base, tried)), _), answer) in part.iter().zip(&txn.responses) {
                let there = answer.response_range.kvs.first();
                let done = match there {
                    Some(kv) => kv.mod_revision > *base,
                    None => *tried == Row::Delete,
                };
                // It may have changed here once more.
                if done && self.registry.read(|catalog| rows::row(catalog, key)) == *tried {
                    self.registry.forget_unsaved(std::iter::once(key.clone()));
                }
            }
        }
        Ok(())
    }

    /// Tells under our lease what is to be told there, and takes back what is not any more. Nothing is told that is newer
    /// than what is written: others would not know what it speaks of.
    pub(super) async fn tell(&mut self, snapshot: &Snapshot) -> Result<(), Ended> {
        if self.refusal.is_some() {
            return Ok(());
        }
        let Some(lease) = self.lease.as_ref().filter(|_| self.claimed).map(|lease| lease.id) else { return Ok(()) };
        let rest = if self.view.is_checker() { snapshot.known() } else { 0 };
        let at = (snapshot.node_changed(&self.view.own), rest);
        if self.ready && at == self.told_at && self.view.owned.contains(&self.view.own) {
            return self.become_checker(lease).await;
        }
        let own = self.view.own.clone();
        let seconds = self.settings.lease().as_secs();
        let wanted = leased::wanted(&self.registry, snapshot, &self.layout, &own, seconds);
        let mut steps: Vec<((String, Option<String>), Value)> = Vec::new();
        if !self.view.owned.contains(&own) && snapshot.node(&own).is_some() {
            let key = self.layout.registry(&own);
            steps.push(((key.clone(), None), wire::put(&key, "{}", None)));
        }
        for (key, value) in &wanted {
            if self.told.get(key) != Some(value) {
                steps.push(((key.clone(), Some(value.clone())), wire::put(key, value, Some(lease))));
            }
        }
        for key in self.told.keys().filter(|key| !wanted.contains_key(*key)) {
            steps.push(((key.clone(), None), wire::delete(key)));
        }
        for part in split(&steps) {
            // What is not known to be told is told again.
            part.iter().for_each(|((key, _), _)| drop(self.told.remove(key)));
            let txn = match self.transact(part.iter().map(|(_, step)| step), Vec::new()).await {
                Ok(txn) => txn,
                Err(failed) if failed.is_lease_gone() => {
                    self.let_lease_go();
                    return Ok(());
                }
                Err(failed) => return self.refused(failed),
            };
            for ((key, value), _) in part {
                self.written.insert(key.clone(), txn.header.revision);
                if let Some(value) = value {
                    self.told.insert(key.clone(), value.clone());
                }
            }
        }
        if snapshot.node(&own).is_some() {
            self.view.owned.insert(own);
        }
        if !self.ready {
            let key = self.layout.alive(&self.view.own);
            let step = wire::put(&key, &self.ourselves(true), Some(lease));
            match self.transact(std::iter::once(&step), Vec::new()).await {
                Ok(txn) => drop(self.written.insert(key, txn.header.revision)),
                Err(failed) if failed.is_lease_gone() => {
                    self.let_lease_go();
                    return Ok(());
                }
                Err(failed) => return self.refused(failed),
            }
            self.ready = true;
        }
        self.told_at = at;
        self.become_checker(lease).await
    }

    /// Does the checks of nodes without a registry, if nobody does. One of us is the first.
    async fn become_checker(&mut self, lease: i64) -> Result<(), Ended> {
        if self.view.checker.is_some() {
            return Ok(());
        }
        let key = self.layout.checker();
        let step = wire::put(&key, &self.identity, Some(lease));
        let txn = match self.transact(std::iter::once(&step), vec![wire::is_absent(&key)]).await {
            Ok(txn) => txn,
            Err(failed) => return self.refused(failed),
        };
        if txn.succeeded {
            // As if it had been read already.
            let revision = txn.header.revision;
            let value = Some(self.identity.clone().into_bytes());
            let entry = Entry { key, place: Place::Checker, value, lease, created: revision, revision };
            self.view.take(&self.registry, &mut self.leases, vec![entry]);
        } else {
            // Until the watch says who is it.
            self.view.checker = Some(String::new());
        }
        Ok(())
    }

    fn ourselves(&self, ready: bool) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let process = std::process::id();
        json!({"registry": self.identity, "process": process, "version": version, "ready": ready}).to_string()
    }

    /// Takes our node's name, when no other registry has it.
    pub(super) async fn claim(&mut self) -> Result<(), Ended> {
        let key = self.layout.alive(&self.view.own);
        let begun = Instant::now();
        let mut seen: Option<(i64, i64)> = None;
        loop {
            let Some(lease) = self.lease.as_ref().map(|lease| lease.id) else { return Ok(()) };
            let put = wire::put(&key, &self.ourselves(false), Some(lease));
            let asked = json!({"compare": [wire::is_absent(&key)], "success": [put], "failure": [wire::read(&key)]});
            let txn: Txn = self.client.call("kv/txn", &asked).await?;
            if txn.succeeded {
                return self.claimed(txn.header.revision, key);
            }
            let Some(kv) = txn.responses.first().and_then(|step| step.response_range.kvs.first()) else { continue };
            let value: Option<Map<String, Value>> = kv.value().and_then(|value| rows::parsed(&value));
            let who = value.as_ref().and_then(|value| value.get("registry")).and_then(Value::as_str);
            if who == Some(&self.identity) {
                // Ours, under a lease that we had before.
                let txn = self.transact(std::iter::once(&put), vec![wire::is_at(&key, kv.mod_revision)]).await?;
                if txn.succeeded {
                    return self.claimed(txn.header.revision, key);
                }
                continue;
            }
            let described = value.map(|value| Value::Object(value).to_string()).unwrap_or_default();
            let taken = || Ended::Unusable(Unusable::Taken(self.settings.node.clone(), described));
            if !self.is_first() {
                return Err(taken());
            }
            // A registry that died has it until its lease is over; one that lives renews that.
            self.report.send_modify(|report| report.claiming = true);
            let left: Lease = self.client.call("lease/timetolive", &json!({"ID": kv.lease.to_string()})).await?;
            let renewed = seen.is_some_and(|(lease, ttl)| lease != kv.lease || left.ttl > ttl);
            if renewed || begun.elapsed() > self.settings.lease() + LATE {
                return Err(taken());
            }
            seen = Some((kv.lease, left.ttl));
            tokio::time::sleep(LOOK).await;
            // Ours must not end meanwhile.
            self.renew().await?;
        }
    }

    /// Keeps the lease in the middle of what may take long. Whether it was still there is seen by [`Work::keep_lease`].
    pub(super) async fn renew(&mut self) -> Result<(), Failed> {
        if let Some(lease) = self.lease.as_ref().filter(|lease| lease.renew < Instant::now()) {
            let asked = json!({"ID": lease.id.to_string()});
            let kept: wire::Line<Lease> = self.client.call("lease/keepalive", &asked).await?;
            let there = kept.result.is_some_and(|kept| kept.ttl > 0);
            if let Some(lease) = self.lease.as_mut().filter(|_| there) {
                lease.renew = Instant::now() + lease.every;
            }
        }
        Ok(())
    }

    fn claimed(&mut self, revision: i64, key: String) -> Result<(), Ended> {
        self.revision = self.revision.max(revision);
        self.written.insert(key, revision);
        self.claimed = true;
        Ok(())
    }

    /// Leaves out what is older than what we wrote ourselves, and sees what became of what we told.
    pub(super) fn without_own(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut rest = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.written.get(&entry.key) {
                Some(written) if entry.revision < *written => continue,
                Some(written) => {
                    let ours = entry.revision == *written;
                    self.written.remove(&entry.key);
                    if !ours {
                        rest.push(entry);
                    }
                }
                None => rest.push(entry),
            }
        }
        let alive = Place::Alive(self.view.own.clone());
        let lost = rest.iter().any(|entry| entry.place == alive && entry.value.is_none());
        // What went with our lease is told again, and nobody has removed it.
        rest.retain(|entry| !lost || entry.value.is_some() || !self.told.contains_key(&entry.key));
        for entry in &rest {
            // Somebody has removed or changed what we tell. A key of SkyDNS's that another one of us tells too is left.
            if self.told.contains_key(&entry.key) && (entry.value.is_none() || matches!(entry.place, Place::How(..))) {
                self.told.remove(&entry.key);
                self.told_at = (0, 0);
            }
        }
        if lost {
            self.let_lease_go();
        }
        rest
    }

    /// Writes what is left, and gives the lease back, so that others see at once that we are gone.
    pub(super) async fn farewell(&mut self) {
        if self.report.borrow().standing.away_since.is_some() || self.report.borrow().beginning {
            return;
        }
        if let Err(ended) = self.write().await {
            tracing::warn!(?ended, "what was registered last is not in etcd");
        }
        if let Some(lease) = self.lease.take() {
            let asked = json!({"ID": lease.id.to_string()});
            if let Err(failed) = self.client.call::<Value>("lease/revoke", &asked).await {
                tracing::warn!(%failed, "others see us go when our lease is over");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_as_long_as_etcd_takes_them() {
        let lengths = |steps: &[((), Value)]| split(steps).iter().map(|part| part.len()).collect::<Vec<_>>();
        let steps = |count: usize, value: &str| vec![((), wire::put("k", value, None)); count];
        assert_eq!(lengths(&steps(0, "")), [0; 0]);
        assert_eq!(lengths(&steps(250, "v")), [100, 100, 50]);
        let large = "v".repeat(400 * 1024);
        assert_eq!(lengths(&steps(5, &large)), [1, 1, 1, 1, 1], "a value grows by a third on its way");
        let medium = "v".repeat(100 * 1024);
        assert_eq!(lengths(&steps(10, &medium)), [7, 3]);
    }
}
