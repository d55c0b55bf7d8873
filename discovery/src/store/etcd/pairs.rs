//! Keys and values. Who orders a change waits for etcd: an order is one transaction there, so that of two who compare only
//! one is right, whichever registry they asked. It is answered when our own watch has told it too: whoever reads here then
//! reads what he wrote.
//!
//! A key's number is the revision of its last change, counted from what the first registry has written under `numbers`: an
//! etcd that has lost its data counts its revisions anew, and from a later beginning.

use super::client::Failed;
use super::rows;
use super::wire::{self, Txn};
use super::work::{Ended, Work};
use crate::keys::{Job, Order, Undone};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A change that is done, and not seen in the watch yet.
pub(super) struct Unseen {
    revision: i64,
    /// Whether its condition was so.
    was_so: bool,
    done: oneshot::Sender<Result<bool, Undone>>,
}

impl Work {
    /// What the numbers of keys and values count from.
    pub(super) async fn base(&mut self) -> Result<u64, Ended> {
        let name = self.layout.numbers();
        // Later than any number that somebody has seen, whatever the clock says.
        let new = crate::store::now().max(self.registry.keys().last() + 1);
        let put = wire::put(&name, &new.to_string(), None);
        let asked = json!({"compare": [wire::is_absent(&name)], "success": [put], "failure": [wire::read(&name)]});
        let txn: Txn = self.client.call("kv/txn", &asked).await?;
        if txn.succeeded {
            return Ok(new);
        }
        let there = txn.responses.first().and_then(|step| step.response_range.kvs.first()?.value());
        let number = there.and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok());
        number.ok_or_else(|| Ended::Away(format!("{name} is no number; remove it, and it is written again")))
    }

    /// etcd has lost what it had: puts what is known here back, where nobody else has yet.
    pub(super) async fn write_pairs_again(&mut self) -> Result<(), Ended> {
        for pair in self.registry.keys().under("") {
            let name = self.layout.pair(&pair.key);
            let put = wire::put(&name, &rows::pair_body(&pair.value, pair.flags), None);
            self.transact(std::iter::once(&put), vec![wire::is_absent(&name)]).await?;
        }
        Ok(())
    }

    /// Does what is ordered.
    pub(super) async fn order(&mut self, job: Job) -> Result<(), Ended> {
        // Nobody is there any more to whom it could be said whether it was done.
        if job.done.is_closed() {
            return Ok(());
        }
        let Some(asked) = self.asked(&job.order) else {
            let _ = job.done.send(Ok(false));
            return Ok(());
        };
        if let Err(failed) = self.renew().await {
            let _ = job.done.send(Err(Undone::Refused(failed.to_string())));
            return Err(failed.into());
        }
        let txn: Txn = match self.client.call("kv/txn", &asked).await {
            Ok(txn) => txn,
            Err(Failed::Refused { message, .. }) => {
                let _ = job.done.send(Err(Undone::Refused(message)));
                return Ok(());
            }
            Err(failed) => {
                let _ = job.done.send(Err(Undone::Unknown(failed.to_string())));
                return Err(failed.into());
            }
        };
        self.revision = self.revision.max(txn.header.revision);
        let step = txn.responses.first();
        let revision = match (&job.order, txn.succeeded) {
            // What another has made of it, so that a reader sees why.
            (_, false) => step.and_then(|step| step.response_range.kvs.first()).map_or(0, |kv| kv.mod_revision),
            (Order::Put { .. }, true) => txn.header.revision,
            // One that was not there is told by nobody.
            (_, true) if step.is_some_and(|step| step.response_delete_range.deleted > 0) => txn.header.revision,
            (_, true) => 0,
        };
        self.unseen.push(Unseen { revision, was_so: txn.succeeded, done: job.done });
        Ok(())
    }

    /// The transaction of an order; none when its condition cannot be so.
    fn asked(&self, order: &Order) -> Option<Value> {
        let at = |name: &str, number: u64| {
            let revision = number.checked_sub(self.view.base).filter(|revision| *revision > 0)?;
            Some(wire::is_at(name, i64::try_from(revision).ok()?))
        };
        let (name, cas, step) = match order {
            Order::Put { key, value, flags, cas } => {
                let name = self.layout.pair(key);
                let cas = match cas {
                    None => None,
                    Some(0) => Some(wire::is_absent(&name)),
                    Some(number) => Some(at(&name, *number)?),
                };
                let step = wire::put(&name, &rows::pair_body(value, *flags), None);
                (name, cas, step)
            }
            Order::Delete { key, cas } => {
                let name = self.layout.pair(key);
                let cas = cas.map(|number| at(&name, number).ok_or(())).transpose().ok()?;
                let step = wire::delete(&name);
                (name, cas, step)
            }
            Order::DeleteUnder { prefix } => {
                let name = self.layout.pair(prefix);
                let step = wire::delete_under(&name);
                (name, None, step)
            }
        };
        let compare: Vec<Value> = cas.into_iter().collect();
        Some(json!({"compare": compare, "success": [step], "failure": [wire::read(&name)]}))
    }

    /// Answers those whose changes have been seen.
    pub(super) fn told_pairs(&mut self) {
        let next = self.next.as_ref().and_then(|next| next.first().copied()).unwrap_or(0);
        for Unseen { was_so, done, .. } in self.unseen.extract_if(.., |unseen| unseen.revision < next) {
            let _ = done.send(Ok(was_so));
        }
        // Who has gone needs no answer.
        self.unseen.retain(|unseen| !unseen.done.is_closed());
    }
}
