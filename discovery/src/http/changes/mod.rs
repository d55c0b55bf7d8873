//! `GET fourmi/changes`: all that changes, told for as long as the client reads.
//!
//! `since=N&epoch=E` goes on from what was read before; what cannot be gone on from begins with everything. One task
//! looks at every change and remembers the names of what it touched; what is told to all who have seen the same number is
//! written once. Who reads slowly is told less often, and each thing as it is by then.

mod diff;
mod log;

use super::access::Rights;
use super::call::Call;
use super::edge::Shared;
use super::failure::Failure;
use super::reply::{Body, Reply};
use crate::registry::Registry;
use crate::wire::{FORM, Hello, TYPE, Written};
use bytes::Bytes;
use log::Log;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};

/// Changes within that time are told together.
const TOGETHER: Duration = Duration::from_millis(25);
/// So often is told that we are still there.
const BEAT: Duration = Duration::from_secs(5);

/// What changed, and who is told.
pub(super) struct Changes {
    registry: Registry,
    began: Instant,
    /// None until somebody follows.
    log: Mutex<Option<Log>>,
    newest: watch::Sender<u64>,
    /// The settings are others.
    judged: watch::Sender<()>,
    begun: Notify,
    followers: AtomicUsize,
}

/// One that follows, counted until it is dropped.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.changes.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Changes {
    pub(super) fn new(registry: Registry) -> Self {
        Changes {
            registry,
            began: Instant::now(),
            log: Mutex::new(None),
            newest: watch::Sender::new(0),
            judged: watch::Sender::new(()),
            begun: Notify::new(),
            followers: AtomicUsize::new(0),
        }
    }

    /// Looks at every change from the first follower on, until it is dropped.
    pub(super) async fn follow(&self) {
        let mut changes = self.registry.watch();
        self.begun.notified().await;
        // From here on, so that what changed meanwhile is looked at at once.
        changes.mark_changed();
        while changes.changed().await.is_ok() {
            let snapshot = self.registry.snapshot();
            let at = snapshot.changes();
            self.log().get_or_insert_with(|| Log::new(Arc::clone(&snapshot))).follow(snapshot);
            self.newest.send_replace(at);
            tokio::time::sleep(TOGETHER).await;
        }
    }

    /// Everybody who follows is to be judged anew.
    pub(super) fn judge(&self) {
        self.judged.send_replace(());
    }

    fn log(&self) -> MutexGuard<'_, Option<Log>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log, begun if nobody has followed before.
    fn begin(&self) -> MutexGuard<'_, Option<Log>> {
        let mut log = self.log();
        if log.is_none() {
            let head = self.registry.snapshot();
            self.newest.send_replace(head.changes());
            *log = Some(Log::new(head));
            self.begun.notify_one();
        }
        log
    }

    fn batch(&self, seen: Option<u64>, epoch: u64, rights: &Rights) -> Option<log::Batch> {
        self.begin().as_mut().map(|log| log.batch(seen, epoch, rights))
    }
}

/// Begins to tell.
pub(super) fn start(shared: &Arc<Shared>, call: &Call, epoch: u64) -> Result<Reply, Failure> {
    call.here()?;
    let since = call.query.get("since").filter(|since| !since.is_empty());
    let since = since.map(str::parse::<u64>).transpose().map_err(|_| Failure::bad("Invalid since"))?;
    let changes = &shared.changes;
    let before = changes.followers.fetch_add(1, Ordering::Relaxed);
    let counted = Counted(Arc::clone(shared));
    if before >= call.settings.limits.followers {
        return Err(Failure::unavailable("there are too many who follow, come again"));
    }
    // Who may see other things has other numbers.
    let name = format!("{epoch:016x}-{}", call.rights.place().map_or_else(String::new, |place| place.to_string()));
    let since = since.filter(|_| call.query.get("epoch") == Some(&name));
    let age = u64::try_from(changes.began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let at = changes.begin().as_ref().map_or(0, Log::at);
    let (node, datacenter) = (call.settings.node.clone(), call.settings.datacenter.clone());
    let hello = Hello { form: FORM, node, datacenter, epoch: name, at, age };
    let mut line = Vec::new();
    Written::Hello(&hello).onto(&mut line);
    let (sender, receiver) = mpsc::channel(1);
    // There is room for one.
    let _ = sender.try_send(line.into());
    tokio::spawn(tell(counted, Arc::clone(&call.rights), epoch, since, sender));
    Ok(Reply { body: Body::Stream(TYPE, receiver), ..Reply::done() })
}

/// Tells everything and then every change, until nobody reads or the settings are others.
async fn tell(counted: Counted, rights: Arc<Rights>, epoch: u64, mut seen: Option<u64>, sender: mpsc::Sender<Bytes>) {
    let changes = &counted.0.changes;
    let (mut newest, mut judged) = (changes.newest.subscribe(), changes.judged.subscribe());
    // The first batch says at once how far the numbers are, even when nothing changed.
    let mut first = true;
    loop {
        let beat = tokio::time::sleep(BEAT);
        let behind = |newest: &u64| first || seen.is_none_or(|seen| *newest > seen);
        let is_behind = tokio::select! {
            newest = newest.wait_for(behind) => match newest {
                Ok(_) => true,
                Err(_) => return,
            },
            () = beat => false,
            _ = judged.changed() => false,
            () = sender.closed() => return,
        };
        first = false;
        if !rights.are_of(&counted.0.current().settings) {
            // Whoever comes again is judged anew, and begins anew.
            return;
        }
        let lines = if is_behind {
            let Some(batch) = changes.batch(seen, epoch, &rights) else { return };
            seen = Some(batch.at);
            batch.lines
        } else {
            let mut line = Vec::new();
            Written::At(seen.unwrap_or(0)).onto(&mut line);
            line.into()
        };
        // Waits for as long as the lines before are not taken.
        if sender.send(lines).await.is_err() {
            return;
        }
    }
}
