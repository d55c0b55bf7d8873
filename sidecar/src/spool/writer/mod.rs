//! The thread that writes. What is waiting when it looks is one transaction: while the disk takes one, the next ones
//! gather, so that a commit costs each command the less the more there are.

mod accept;
mod change;
mod disk;
mod finish;
mod recover;
mod serve;
mod tidy;

pub use change::{Change, Changed, Import, What};

use super::command::Ended;
use super::gate::{Gate, How};
use super::handle::{Accepted, Held, Refused, Summary};
use super::seal::Seal;
use super::store::Opened;
use super::store::rows;
use super::{Ending, Job, New, Settings, State, Work};
use disk::Disk;
use nix::fcntl::Flock;
use rusqlite::Connection;
use serve::{Claim, Target};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{broadcast, oneshot};

/// As much is taken into one transaction: orders, and bytes of bodies.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 16 << 20;
/// How often the store is tidied and looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// Rows that one tidying touches.
const SWEPT: u32 = 1000;
/// How long to wait when the disk does not take what must be written.
const AGAIN: Duration = Duration::from_millis(250);
/// It waits for whoever else writes, such as an operator with `sqlite3`. One that began by reading could not: what it
/// has read would be old by then, and SQLite refuses it at once.
const BEGIN: &str = "BEGIN IMMEDIATE";
/// Ends that nobody has asked for yet; more are told by the metrics alone.
const OVER_MAX: usize = 10_000;

type Reply<T> = oneshot::Sender<T>;

/// What the writer is asked.
pub(super) enum Order {
    Accept(Box<New>, Reply<Result<Accepted, Refused>>, Held),
    /// One that is being sent by whoever stored it is promised from now on.
    Promise(i64, Reply<Result<(), Refused>>),
    Claim(usize, Reply<Vec<Work>>),
    Finish {
        seq: i64,
        ending: Box<Ending>,
        took: Duration,
        reply: Reply<()>,
    },
    /// The answer of one that is being sent has begun, and takes its time: what says its head, after so long.
    Answering {
        seq: i64,
        well: bool,
        took: Duration,
    },
    Change(Box<Change>, Reply<Result<Changed, String>>),
    /// No more claims.
    Rest,
    Close,
}

impl Order {
    fn bytes(&self) -> usize {
        match self {
            Order::Accept(new, ..) => new.request.body.len() + new.request.head.len(),
            _ => 0,
        }
    }
}

/// How a gate counts one that is being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// It is none of its: whoever sends it has stored it.
    Not,
    /// As one that nobody has answered.
    Sent,
    /// As one whose answer has begun.
    Answering,
}

/// One that is being sent.
struct Running {
    target: Arc<str>,
    key: Option<String>,
    attempt: u32,
    /// How the gate counts it.
    counted: Counted,
    /// Whether somebody was told that it is in the store: until then it may be forgotten.
    promised: bool,
}

impl Running {
    /// No gate counts it any more: whose does, and as what.
    fn uncounted(&mut self) -> (Arc<str>, Counted) {
        (self.target.clone(), std::mem::replace(&mut self.counted, Counted::Not))
    }
}

/// What is said when a transaction is on disk.
enum Said {
    Accepted(Reply<Result<Accepted, Refused>>, Result<Accepted, Refused>),
    Promised(Reply<Result<(), Refused>>, i64),
    Changed(Reply<Result<Changed, String>>, Result<Changed, String>),
}

pub(super) struct Writer {
    db: Connection,
    seal: Option<Seal>,
    settings: Settings,
    disk: Disk,
    last: i64,
    counts: HashMap<(Arc<str>, State), i64>,
    dirty: HashSet<(Arc<str>, State)>,
    targets: BTreeMap<Arc<str>, Target>,
    running: HashMap<i64, Running>,
    /// Those whose end is in the transaction that is not on disk yet.
    ended: Vec<(i64, Running)>,
    claims: VecDeque<Claim>,
    over: VecDeque<Ended>,
    /// The same, of the transaction that is not on disk yet.
    over_next: Vec<Ended>,
    resting: bool,
    /// Everything is paused: also what there is nothing of yet.
    paused: bool,
    /// What this process believes of the store may be wrong: it is read from it before anything else.
    stale: bool,
    /// Given out, and nobody took it: it is put back with the next transaction.
    returned: Vec<i64>,
    /// The clock when it was looked at last, by this process or the one before.
    clock: i64,
    /// The same, of the transaction that is not on disk yet.
    clock_next: Option<i64>,
    /// The clock that was written down last.
    noted: i64,
    /// What was being sent when the last process ended is not written down yet: the disk was full.
    unrecovered: bool,
    changed: Vec<i64>,
    notices: broadcast::Sender<i64>,
    summary: Arc<Mutex<Summary>>,
    entered: BTreeMap<State, u64>,
    refused: u64,
    trouble: Option<String>,
    swept: Instant,
    _lock: Flock<File>,
}

pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

impl Writer {
    pub(super) fn begin(
        opened: Opened,
        settings: Settings,
        notices: broadcast::Sender<i64>,
        summary: Arc<Mutex<Summary>>,
    ) -> rusqlite::Result<Writer> {
        let Opened { db, seal, lock, last, counts, paused } = opened;
        let disk = Disk::new(&settings);
        let noted = rows::clock(&db)?;
        let mut writer = Writer {
            db,
            seal,
            settings,
            disk,
            last,
            counts: HashMap::new(),
            dirty: HashSet::new(),
            targets: BTreeMap::new(),
            running: HashMap::new(),
            ended: Vec::new(),
            claims: VecDeque::new(),
            over: VecDeque::new(),
            over_next: Vec::new(),
            resting: false,
            paused: false,
            stale: false,
            returned: Vec::new(),
            clock: noted.unwrap_or_else(now),
            clock_next: None,
            noted: noted.unwrap_or(0),
            unrecovered: false,
            changed: Vec::new(),
            notices,
            summary,
            entered: BTreeMap::new(),
            refused: 0,
            trouble: None,
            swept: Instant::now(),
            _lock: lock,
        };
        writer.paused = paused.iter().any(|target| target == change::ALL);
        for target in paused.into_iter().filter(|target| target != change::ALL) {
            let target = writer.target(&target);
            if let Some(target) = writer.targets.get_mut(&target) {
                target.gate.paused = true;
            }
        }
        for ((target, state), n) in counts {
            let target = writer.target(&target);
            writer.counts.insert((target, state), n);
        }
        match writer.recover() {
            Ok(()) => {}
            // Whoever waits for its answer is still served; stored ones have to wait for room.
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => {
                let _ = writer.db.execute_batch("ROLLBACK");
                writer.failed(&e, Vec::new(), Vec::new(), VecDeque::new());
                writer.unrecovered = true;
            }
            Err(e) => return Err(e),
        }
        writer.disk.look(&writer.db);
        writer.tell(true);
        Ok(writer)
    }

    /// Until it is told to close, or nobody is left who could ask.
    pub(super) fn run(mut self, inbox: &Receiver<Order>) {
        // What must be written and was not taken by the disk.
        let mut kept: Vec<Order> = Vec::new();
        loop {
            let wait = if kept.is_empty() { self.wait() } else { AGAIN };
            let mut orders = std::mem::take(&mut kept);
            match inbox.recv_timeout(wait) {
                Ok(order) => orders.push(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => orders.push(Order::Close),
            }
            let mut bytes: usize = orders.iter().map(Order::bytes).sum();
            while orders.len() < BATCH && bytes < BATCH_BYTES {
                let Ok(order) = inbox.try_recv() else { break };
                bytes += order.bytes();
                orders.push(order);
            }
            let close = orders.iter().position(|o| matches!(o, Order::Close));
            if let Some(at) = close {
                orders.truncate(at);
            }
            kept = self.batch(orders);
            if close.is_some() {
                // One last try: what is lost now is sent once more by the next process.
                self.batch(kept);
                let _ = self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
                return;
            }
        }
    }

    /// How long there is nothing to do.
    fn wait(&self) -> Duration {
        let sweep = SWEEP.saturating_sub(self.swept.elapsed());
        if self.claims.is_empty() || self.resting {
            return sweep;
        }
        sweep.min(self.next())
    }

    /// Takes orders into one transaction. Returns those that have to be tried again.
    fn batch(&mut self, orders: Vec<Order>) -> Vec<Order> {
        let sweep = self.swept.elapsed() >= SWEEP;
        let mut said = Vec::with_capacity(orders.len());
        let mut left = VecDeque::from(orders);
        let mut done: Vec<Order> = Vec::new();
        let entered = self.entered.clone();
        let result = self.refreshed().and_then(|()| self.transaction(&mut left, &mut done, &mut said, sweep));
        match result {
            Ok(()) => {
                if sweep {
                    self.swept = Instant::now();
                }
                self.over.extend(self.over_next.drain(..));
                self.clock = self.clock_next.take().unwrap_or(self.clock);
                let full = |said: &&Said| matches!(said, Said::Accepted(_, Err(Refused::Full(_))));
                self.refused += said.iter().filter(full).count() as u64;
                self.tell(sweep);
                self.committed(said, done);
                Vec::new()
            }
            Err(error) => {
                let _ = self.db.execute_batch("ROLLBACK");
                self.entered = entered;
                self.clock_next = None;
                self.failed(&error, said, done, left)
            }
        }
    }

    fn transaction(
        &mut self,
        orders: &mut VecDeque<Order>,
        done: &mut Vec<Order>,
        said: &mut Vec<Said>,
        sweep: bool,
    ) -> rusqlite::Result<()> {
        let at = now();
        self.db.execute_batch(BEGIN)?;
        for seq in self.returned.clone() {
            self.finish(seq, &Ending::Held { error: "its thread ended".into(), after: Duration::ZERO }, at)?;
        }
        if sweep {
            self.disk.look(&self.db);
            self.sweep(at)?;
        }
        while let Some(order) = orders.pop_front() {
            match order {
                Order::Accept(new, reply, held) => match self.accept(&new, at) {
                    Ok(result) => {
                        if let Ok((Accepted::New { seq, .. }, true)) = &result {
                            self.hand(*seq, *new);
                        }
                        said.push(Said::Accepted(reply, result.map(|(accepted, _)| accepted)));
                    }
                    Err(e) => {
                        orders.push_front(Order::Accept(new, reply, held));
                        return Err(e);
                    }
                },
                Order::Promise(seq, reply) => said.push(Said::Promised(reply, seq)),
                Order::Claim(most, reply) => self.claims.push_back(Claim::new(most, reply)),
                Order::Finish { seq, ending, took, reply } => {
                    let result = self.finish(seq, &ending, at);
                    let order = Order::Finish { seq, ending, took, reply };
                    match result {
                        Ok(()) => done.push(order),
                        Err(e) => {
                            orders.push_front(order);
                            return Err(e);
                        }
                    }
                }
                Order::Answering { seq, well, took } => self.answering(seq, well, took),
                Order::Change(change, reply) => match self.change(&change, at) {
                    Ok(result) => said.push(Said::Changed(reply, result)),
                    Err(e) => {
                        orders.push_front(Order::Change(change, reply));
                        return Err(e);
                    }
                },
                Order::Rest => self.resting = true,
                Order::Close => {}
            }
        }
        self.serve(at)?;
        self.note_clock()?;
        self.write_counts()?;
        self.db.execute_batch("COMMIT")
    }

    /// All of it is on disk.
    fn committed(&mut self, said: Vec<Said>, done: Vec<Order>) {
        if self.trouble.take().is_some() {
            tracing::info!("the spool is written again");
        }
        let instant = Instant::now();
        self.returned.clear();
        let mut ended: HashMap<i64, Running> = self.ended.drain(..).collect();
        for order in done {
            let Order::Finish { seq, ending, took, reply } = order else { continue };
            let Some(running) = ended.remove(&seq) else {
                let _ = reply.send(());
                continue;
            };
            if let Some(target) = self.targets.get_mut(&running.target)
                && running.counted == Counted::Answering
            {
                // How the service is has been found out when it began.
                target.gate.answered();
            } else if running.counted == Counted::Sent
                && let Some(target) = self.targets.get_mut(&running.target)
            {
                let how = match &*ending {
                    Ending::Nobody { .. } => How::Away,
                    // It says nothing of the service.
                    Ending::Held { .. } | Ending::Forget => {
                        target.gate.not_begun();
                        let _ = reply.send(());
                        continue;
                    }
                    Ending::Final { state: State::Succeeded | State::Dead, status, .. } if *status > 0 => How::Well,
                    _ => How::Badly,
                };
                target.gate.ended(instant, how, took);
            }
            let _ = reply.send(());
        }
        for said in said {
            match said {
                Said::Accepted(reply, result) => {
                    let _ = reply.send(result);
                }
                Said::Promised(reply, seq) => {
                    let running = self.running.get_mut(&seq).map(|running| running.promised = true);
                    let _ = reply.send(running.ok_or_else(|| Refused::Full("it has ended meanwhile".into())));
                }
                Said::Changed(reply, result) => drop(reply.send(result)),
            }
        }
        self.send_claims();
        for seq in self.changed.drain(..) {
            let _ = self.notices.send(seq);
        }
    }

    /// One whose answer does not end holds up nobody else.
    fn answering(&mut self, seq: i64, well: bool, took: Duration) {
        if let Some(running) = self.running.get_mut(&seq)
            && running.counted == Counted::Sent
            && let Some(target) = self.targets.get_mut(&running.target)
        {
            running.counted = Counted::Answering;
            target.gate.answering(Instant::now(), if well { How::Well } else { How::Badly }, took);
        }
    }

    /// One that was to be sent is not, or not by us.
    fn uncount(&mut self, target: &Arc<str>, counted: Counted) {
        if let Some(target) = self.targets.get_mut(target) {
            match counted {
                Counted::Not => {}
                Counted::Sent => target.gate.not_begun(),
                Counted::Answering => target.gate.answered(),
            }
        }
    }

    fn target(&mut self, name: &str) -> Arc<str> {
        if let Some((known, _)) = self.targets.get_key_value(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.targets.insert(name.clone(), Target::new(Gate::new(self.settings.concurrency, self.paused)));
        name
    }

    fn count(&mut self, target: &Arc<str>, state: State, more: i64) {
        *self.counts.entry((target.clone(), state)).or_default() += more;
        self.dirty.insert((target.clone(), state));
        if more > 0 {
            *self.entered.entry(state).or_default() += u64::try_from(more).unwrap_or(0);
        }
    }

    fn write_counts(&mut self) -> rusqlite::Result<()> {
        for (target, state) in self.dirty.drain() {
            let n = self.counts.get(&(target.clone(), state)).copied().unwrap_or(0);
            rows::put_count(&self.db, &target, state, n)?;
        }
        Ok(())
    }

    fn total(&self) -> i64 {
        self.counts.values().sum()
    }

    fn drop_row(&mut self, seq: i64, state: State, target: &str) -> rusqlite::Result<()> {
        rows::delete(&self.db, seq)?;
        let target = self.target(target);
        self.count(&target, state, -1);
        self.changed.push(seq);
        Ok(())
    }

    fn sooner(&mut self, target: &Arc<str>, due: i64) {
        if let Some(target) = self.targets.get_mut(target) {
            target.sooner(due);
        }
    }
}
