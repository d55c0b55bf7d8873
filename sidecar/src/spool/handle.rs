//! The spool as others hold it. Nothing here blocks: the threads are asked, and answer.

use super::store::query::{self, Filter, Listing, Row};
use super::store::{self, Unusable};
use super::writer::{Change, Changed, Order, Writer};
use super::{Ending, Kept, New, Settings, State, Work, seal::Seal};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Orders that may wait for the writer.
const ORDERS: usize = 8192;
/// Questions that wait for the reader in its queue; more wait before it, in the order in which they came.
const READS: usize = 64;
/// Bytes of commands that may wait for their commit, so that a slow disk does not fill the memory.
const HELD_MAX: usize = 64 << 20;
/// Changes that one who watches may fall behind.
const NOTICES: usize = 4096;
/// How long an end waits when the writer has no room.
const LATER: Duration = Duration::from_millis(5);

/// A command was taken.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// It is in the store.
    New {
        /// Its place.
        seq: i64,
        /// What its caller may ask with.
        token: String,
        /// Its state.
        state: State,
    },
    /// It was there before, under the same id.
    Same {
        /// Its place.
        seq: i64,
        /// What its caller may ask with.
        token: String,
        /// Its state.
        state: State,
        /// What it was answered.
        status: u16,
        /// What is kept of that, when it has ended.
        answer: Kept,
    },
}

/// A command was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is another one under its id.
    Other,
    /// The one under its id may have been done, and must not be done twice.
    Unknown,
    /// The one under its id is being done.
    InProgress,
    /// There is no room, or the disk does not take it: why.
    Full(String),
}

/// What there is, for metrics and people.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// How many commands there are: by target and state.
    pub counts: BTreeMap<(String, State), i64>,
    /// When the oldest of each state came, in milliseconds since 1970.
    pub oldest: BTreeMap<State, i64>,
    /// How often a state was entered.
    pub entered: BTreeMap<State, u64>,
    /// Commands that were not taken.
    pub refused: u64,
    /// Bytes of the file that are used.
    pub bytes: u64,
    /// Services that are held by hand.
    pub paused: Vec<String>,
    /// Why the disk took nothing, if that is so now.
    pub trouble: Option<String>,
}

impl Summary {
    /// How many there are in a state.
    pub fn of(&self, state: State) -> i64 {
        self.counts.iter().filter(|((_, s), _)| *s == state).map(|(_, n)| n).sum()
    }
}

/// A question of a reader.
type Read = Box<dyn FnOnce(&rusqlite::Connection, Option<&Seal>) + Send>;

/// The spool.
#[derive(Clone)]
pub struct Spool(Arc<Inner>);

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("path", &self.0.settings.path).finish_non_exhaustive()
    }
}

struct Inner {
    settings: Settings,
    orders: SyncSender<Order>,
    reads: mpsc::Sender<Read>,
    held: Arc<AtomicUsize>,
    notices: broadcast::Sender<i64>,
    summary: Arc<Mutex<Summary>>,
    closing: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Bytes that wait for their commit.
pub(super) struct Held(Arc<AtomicUsize>, usize);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Spool {
    /// Opens the store and begins its threads.
    ///
    /// # Errors
    /// Why it cannot be used, and what to do.
    pub fn open(settings: &Settings) -> Result<Spool, Unusable> {
        let opened = store::open(settings)?;
        let failed = |message: String| Unusable { message, configuration: false };
        let wrong = |e| store::wrong_with(&settings.file(), &e);
        let db = store::reader(settings).map_err(wrong)?;
        let seal = settings.key_file.as_deref().map(Seal::read).transpose().map_err(failed)?;
        let (orders, inbox) = sync_channel(ORDERS);
        let (reads, questions) = mpsc::channel(READS);
        let (notices, _) = broadcast::channel(NOTICES);
        let summary = Arc::new(Mutex::new(Summary::default()));
        let writer = Writer::begin(opened, settings.clone(), notices.clone(), summary.clone()).map_err(wrong)?;
        let spawn =
            |name: &str, run: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.into()).spawn(run);
        let cannot = |e: std::io::Error| failed(format!("the spool's thread cannot begin: {e}"));
        let threads = vec![
            spawn("spool-writer", Box::new(move || writer.run(&inbox))).map_err(cannot)?,
            spawn("spool-reader", Box::new(move || answer(&db, seal.as_ref(), questions))).map_err(cannot)?,
        ];
        Ok(Spool(Arc::new(Inner {
            settings: settings.clone(),
            orders,
            reads,
            held: Arc::default(),
            notices,
            summary,
            closing: watch::Sender::new(false),
            threads: Mutex::new(threads),
        })))
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Stores a command. When this returns, it is on disk.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn accept(&self, new: New) -> Result<Accepted, Refused> {
        let size = new.request.body.len() + new.request.head.len();
        let before = self.0.held.fetch_add(size, Ordering::Relaxed);
        let held = Held(self.0.held.clone(), size);
        if before.saturating_add(size) > HELD_MAX {
            return Err(Refused::Full("too much waits for the disk".into()));
        }
        let (reply, answer) = oneshot::channel();
        match self.0.orders.try_send(Order::Accept(Box::new(new), reply, held)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(Refused::Full("the spool has closed".into()))),
            Err(TrySendError::Full(_)) => Err(Refused::Full("too many commands wait for the disk".into())),
            Err(TrySendError::Disconnected(_)) => Err(Refused::Full("the spool has closed".into())),
        }
    }

    /// One that is being sent by whoever stored it, and whose caller will be told so, is not forgotten any more.
    ///
    /// # Errors
    /// Why it can't be.
    pub async fn promise(&self, seq: i64) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        match self.0.orders.try_send(Order::Promise(seq, reply)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(Refused::Full("the spool has closed".into()))),
            Err(_) => Err(Refused::Full("too many commands wait for the disk".into())),
        }
    }

    /// Commands that are due, up to so many; waits until there is one. None when the spool closes.
    pub async fn claim(&self, most: usize) -> Option<Vec<Work>> {
        loop {
            let (reply, answer) = oneshot::channel();
            match self.0.orders.try_send(Order::Claim(most, reply)) {
                Ok(()) => return answer.await.ok(),
                Err(TrySendError::Full(_)) => tokio::time::sleep(LATER).await,
                Err(TrySendError::Disconnected(_)) => return None,
            }
        }
    }

    /// Says that the answer of one that is being sent has begun and takes its time; `took` is the time until then.
    pub fn answering(&self, seq: i64, well: bool, took: Duration) {
        // Where the writer is that busy, others wait no longer for this one than for the disk.
        let _ = self.0.orders.try_send(Order::Answering { seq, well, took });
    }

    /// Says how an attempt ended; returns when that is on disk. `took` is the time that the service had it.
    pub async fn finish(&self, seq: i64, ending: Ending, took: Duration) {
        let (reply, done) = oneshot::channel();
        let mut order = Order::Finish { seq, ending: Box::new(ending), took, reply };
        loop {
            match self.0.orders.try_send(order) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => order = back,
                Err(TrySendError::Disconnected(_)) => return,
            }
            tokio::time::sleep(LATER).await;
        }
        let _ = done.await;
    }

    /// What an operator does.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub async fn change(&self, change: Change) -> Result<Changed, String> {
        let (reply, answer) = oneshot::channel();
        match self.0.orders.try_send(Order::Change(Box::new(change), reply)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err("the spool has closed".into())),
            Err(_) => Err("the spool is busy; try again".into()),
        }
    }

    /// Those that a filter means, the oldest first, after a place; how many there are in all is counted beside it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn list(&self, filter: Filter, after: i64, most: usize) -> Result<Listing, String> {
        self.read(move |db, _| query::list(db, &filter, after, most)).await
    }

    /// How many a filter means.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn count(&self, filter: Filter) -> Result<i64, String> {
        self.read(move |db, _| query::count(db, &filter)).await
    }

    /// One of them, with what is kept of its answer.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn one(&self, seq: i64) -> Result<Option<(Row, Kept)>, String> {
        self.read(move |db, seal| query::one(db, seal, seq)).await
    }

    /// What makes its request the same as another's.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn fingerprint(&self, seq: i64) -> Result<Vec<u8>, String> {
        let sql = "SELECT fingerprint FROM commands WHERE seq = ?1";
        self.read(move |db, _| db.prepare_cached(sql)?.query_row([seq], |r| r.get(0))).await
    }

    /// What would be sent.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn job(&self, seq: i64) -> Result<super::Job, String> {
        self.read(move |db, seal| store::rows::job(db, seal, seq)).await
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&rusqlite::Connection, Option<&Seal>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |db, seal| {
            let _ = reply.send(ask(db, seal));
        });
        if self.0.reads.send(read).await.is_err() {
            return Err("the spool has closed".into());
        }
        match answer.await {
            Ok(result) => result.map_err(|e| format!("the spool cannot be read: {e}")),
            Err(_) => Err("the spool has closed".into()),
        }
    }

    /// Tells the place of each command that changes.
    pub fn watch(&self) -> broadcast::Receiver<i64> {
        self.0.notices.subscribe()
    }

    /// Becomes true when it begins to close.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.0.closing.subscribe()
    }

    /// What there is.
    pub fn summary(&self) -> Summary {
        self.0.summary.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes no more commands out; those that are being sent go on.
    pub fn rest(&self) {
        self.0.closing.send_replace(true);
        let _ = self.0.orders.try_send(Order::Rest);
    }

    /// Writes what is not written and ends the threads.
    pub fn close(&self) {
        // It may be busy; what it has is written before it takes this.
        let _ = self.0.orders.send(Order::Close);
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // The reader ends with the last sender; only the writer has something to finish.
        if let Some(writer) = threads.into_iter().next()
            && writer.join().is_err()
        {
            tracing::error!("the spool's thread ended badly");
        }
    }
}

fn answer(db: &rusqlite::Connection, seal: Option<&Seal>, mut questions: mpsc::Receiver<Read>) {
    while let Some(ask) = questions.blocking_recv() {
        ask(db, seal);
    }
}
