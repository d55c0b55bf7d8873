//! The thread that writes. What is waiting when it looks is one transaction: while the disk takes one, the next ones
//! gather, so that a commit costs each command the less the more there are.

mod change;
mod disk;
mod serve;

pub use change::{Change, Changed, Import, What};

use super::command::Ended;
use super::gate::{Gate, How};
use super::handle::{Accepted, Refused, Summary};
use super::seal::Seal;
use super::store::rows::{self, line};
use super::store::{Opened, query};
use super::{Ending, Job, Kept, New, Settings, State, Work};
use disk::Disk;
use nix::fcntl::Flock;
use rusqlite::Connection;
use serve::{Claim, Target};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
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
/// Ends that nobody has asked for yet; more are told by the metrics alone.
const OVER_MAX: usize = 10_000;

type Reply<T> = oneshot::Sender<T>;

/// What the writer is asked.
pub(super) enum Order {
    Accept(Box<New>, Reply<Result<Accepted, Refused>>),
    Claim(usize, Reply<Vec<Work>>),
    Finish {
        seq: i64,
        ending: Box<Ending>,
        took: Duration,
        reply: Reply<()>,
    },
    Change(Box<Change>, Reply<Result<Changed, String>>),
    /// No more claims.
    Rest,
    Close,
}

impl Order {
    fn bytes(&self) -> usize {
        match self {
            Order::Accept(new, _) => new.request.body.len() + new.request.head.len(),
            _ => 0,
        }
    }
}

/// One that is being sent.
struct Running {
    target: Arc<str>,
    key: Option<String>,
    attempt: u32,
    /// Whether the gate counts it.
    gated: bool,
}

/// What is said when a transaction is on disk.
enum Said {
    Accepted(Reply<Result<Accepted, Refused>>, Result<Accepted, Refused>),
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
    claims: VecDeque<Claim>,
    over: VecDeque<Ended>,
    /// The same, of the transaction that is not on disk yet.
    over_next: Vec<Ended>,
    resting: bool,
    /// Everything is paused: also what there is nothing of yet.
    paused: bool,
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
            claims: VecDeque::new(),
            over: VecDeque::new(),
            over_next: Vec::new(),
            resting: false,
            paused: false,
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

    /// What was being sent when the last process ended is sent again, unless it must not be.
    fn recover(&mut self) -> rusqlite::Result<()> {
        let now = now();
        self.db.execute_batch("BEGIN")?;
        let running = rows::seqs(&self.db, "SELECT seq FROM commands WHERE state = 'running'", &[])?;
        for seq in running {
            let (once, most): (bool, bool) =
                self.db.query_row("SELECT once, at_most_once FROM commands WHERE seq = ?1", [seq], |r| {
                    Ok((r.get(0)?, r.get(1)?))
                })?;
            let Some((target, key, _, attempt)) = rows::place(&self.db, seq)? else { continue };
            let target = self.target(&target);
            const WHY: &str = "fourmi ended while it was being sent";
            if once {
                rows::delete(&self.db, seq)?;
                self.count(&target, State::Running, -1);
                continue;
            }
            let state = if most { State::Unknown } else { State::Ready };
            let history = line(now, state, attempt, WHY);
            let change = rows::Change {
                state,
                attempt,
                due: (!most).then_some(now),
                status: 0,
                error: Some(WHY),
                history: &history,
            };
            match most {
                true => rows::finish(&self.db, self.seal.as_ref(), seq, &change, now, &Kept::default())?,
                false => rows::change(&self.db, seq, &change)?,
            }
            self.count(&target, State::Running, -1);
            self.count(&target, state, 1);
            if most && let Some(key) = key {
                rows::release(&self.db, &target, &key)?;
            }
        }
        self.write_counts()?;
        self.db.execute_batch("COMMIT")
    }

    /// The same, if it could not be done at the start.
    fn recovered(&mut self) -> rusqlite::Result<()> {
        if self.unrecovered {
            self.recover()?;
            self.unrecovered = false;
        }
        Ok(())
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
        let result = self.recovered().and_then(|()| self.transaction(&mut left, &mut done, &mut said, sweep));
        match result {
            Ok(()) => {
                if sweep {
                    self.swept = Instant::now();
                }
                self.over.extend(self.over_next.drain(..));
                let full = |said: &&Said| matches!(said, Said::Accepted(_, Err(Refused::Full(_))));
                self.refused += said.iter().filter(full).count() as u64;
                self.tell(sweep);
                self.committed(said, done);
                Vec::new()
            }
            Err(error) => {
                let _ = self.db.execute_batch("ROLLBACK");
                self.entered = entered;
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
        self.db.execute_batch("BEGIN")?;
        if sweep {
            self.disk.look(&self.db);
            self.sweep(at)?;
        }
        while let Some(order) = orders.pop_front() {
            match order {
                Order::Accept(new, reply) => match self.accept(&new, at) {
                    Ok(result) => {
                        if let Ok((Accepted::New { seq, .. }, true)) = &result {
                            self.hand(*seq, *new);
                        }
                        said.push(Said::Accepted(reply, result.map(|(accepted, _)| accepted)));
                    }
                    Err(e) => {
                        orders.push_front(Order::Accept(new, reply));
                        return Err(e);
                    }
                },
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
        self.write_counts()?;
        self.db.execute_batch("COMMIT")
    }

    /// All of it is on disk.
    fn committed(&mut self, said: Vec<Said>, done: Vec<Order>) {
        if self.trouble.take().is_some() {
            tracing::info!("the spool is written again");
        }
        let instant = Instant::now();
        for order in done {
            let Order::Finish { seq, ending, took, reply } = order else { continue };
            let Some(running) = self.running.remove(&seq) else {
                let _ = reply.send(());
                continue;
            };
            if running.gated
                && let Some(target) = self.targets.get_mut(&running.target)
            {
                let how = match &*ending {
                    Ending::Nobody { .. } => How::Away,
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
                Said::Changed(reply, result) => drop(reply.send(result)),
            }
        }
        self.send_claims();
        for seq in self.changed.drain(..) {
            let _ = self.notices.send(seq);
        }
    }

    /// None of it is on disk: nothing was accepted, and what has ended is written as soon as it can be.
    fn failed(
        &mut self,
        error: &rusqlite::Error,
        said: Vec<Said>,
        done: Vec<Order>,
        left: VecDeque<Order>,
    ) -> Vec<Order> {
        let why = error.to_string();
        if self.trouble.as_ref() != Some(&why) {
            tracing::error!("the spool cannot be written: {why}; nothing is accepted until it can be");
            self.trouble = Some(why.clone());
        }
        self.changed.clear();
        self.over_next.clear();
        self.take_claims_back();
        // What this process believed of the store is read from it again.
        match self.reload() {
            Ok(()) => {}
            Err(e) => tracing::error!("the spool cannot be read: {e}"),
        }
        let mut again = Vec::new();
        let full = || Refused::Full(why.clone());
        for said in said {
            match said {
                Said::Accepted(reply, _) => {
                    self.refused += 1;
                    let _ = reply.send(Err(full()));
                }
                Said::Changed(reply, _) => drop(reply.send(Err(format!("the spool cannot be written: {why}")))),
            }
        }
        for order in done.into_iter().chain(left) {
            match order {
                Order::Accept(_, reply) => {
                    self.refused += 1;
                    let _ = reply.send(Err(full()));
                }
                Order::Change(_, reply) => drop(reply.send(Err(format!("the spool cannot be written: {why}")))),
                order => again.push(order),
            }
        }
        self.tell(false);
        again
    }

    /// Counts anew from the store.
    fn reload(&mut self) -> rusqlite::Result<()> {
        self.dirty.clear();
        let mut counts = HashMap::new();
        {
            let mut statement = self.db.prepare("SELECT target, state, n FROM counts")?;
            let all = statement.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get(2)?)))?;
            for row in all {
                let (target, state, n): (String, String, i64) = row?;
                if let Some(state) = State::parse(&state) {
                    counts.insert((Arc::from(target), state), n);
                }
            }
        }
        self.counts = counts;
        self.last = self.db.query_row("SELECT coalesce(max(seq), 0) FROM commands", [], |r| r.get(0))?;
        self.targets.values_mut().for_each(Target::forget);
        // Those that were to be begun in this transaction have not.
        let db = &self.db;
        let running: HashSet<i64> =
            rows::seqs(db, "SELECT seq FROM commands WHERE state = 'running'", &[])?.into_iter().collect();
        let targets = &mut self.targets;
        self.running.retain(|seq, one| {
            let stays = running.contains(seq);
            if !stays
                && one.gated
                && let Some(target) = targets.get_mut(&one.target)
            {
                target.gate.not_begun();
            }
            stays
        });
        Ok(())
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

    /// Why nothing can be accepted now.
    fn no_room(&self, bytes: usize) -> Option<String> {
        if u64::try_from(self.total()).unwrap_or(0) >= self.settings.max_commands {
            return Some(format!("the spool holds {} commands (spool.max_commands)", self.settings.max_commands));
        }
        self.disk.refuses(bytes)
    }

    /// Stores a command, or finds that it is there. Also says whether it is to be sent at once, from memory.
    fn accept(&mut self, new: &New, now: i64) -> rusqlite::Result<Result<(Accepted, bool), Refused>> {
        let told = &new.told;
        if told.came.id_given
            && let Some(known) = rows::known(&self.db, &told.id, &told.scope())?
        {
            match self.again(new, &known)? {
                Some(answer) => return Ok(answer.map(|a| (a, false))),
                None => self.drop_row(known.seq, known.state, &told.target())?,
            }
        }
        let bytes = new.request.body.len() + new.request.head.len();
        if let Some(why) = self.no_room(bytes) {
            return Ok(Err(Refused::Full(why)));
        }
        let target = self.target(&told.target());
        let held = match &told.key {
            Some(key) if !told.came.once => rows::is_held(&self.db, &target, key)?,
            _ => false,
        };
        let at_once = new.state == State::Ready && new.due <= now && !held && self.takes_more(&target);
        let (state, attempt) = match at_once {
            true => (State::Running, new.attempt + 1),
            false => (new.state, new.attempt),
        };
        let due = (state.waits() && !held).then_some(new.due);
        self.last += 1;
        let seq = self.last;
        let token = format!("{seq}-{:032x}", fastrand::u128(..));
        let mut history = match at_once {
            true => line(now, State::Ready, new.attempt, ""),
            false => String::new(),
        };
        history.push_str(&line(now, state, attempt, new.error.as_deref().unwrap_or("")));
        let place = (seq, token.as_str(), &*target);
        rows::insert(&self.db, self.seal.as_ref(), place, new, (state, attempt, due), &history)?;
        self.disk.grew(bytes);
        self.count(&target, state, 1);
        if at_once {
            *self.entered.entry(State::Ready).or_default() += 1;
        }
        if let Some(due) = due
            && let Some(target) = self.targets.get_mut(&target)
        {
            target.sooner(due);
        }
        if state == State::Running {
            let key = told.key.clone();
            self.running.insert(seq, Running { target: target.clone(), key, attempt, gated: at_once });
            if at_once && let Some(target) = self.targets.get_mut(&target) {
                target.gate.begun();
            }
        }
        Ok(Ok((Accepted::New { seq, token, state }, at_once)))
    }

    /// What is said of a command whose id is known; none when it may be done anew.
    fn again(&self, new: &New, known: &rows::Known) -> rusqlite::Result<Option<Result<Accepted, Refused>>> {
        if known.fingerprint != new.fingerprint {
            return Ok(Some(Err(Refused::Other)));
        }
        let failed = match known.state {
            State::Cancelled | State::Expired => true,
            // What a worker refuses for good it refuses again; what has failed may not.
            State::Dead => !(400..500).contains(&known.status),
            State::Unknown if known.at_most_once => return Ok(Some(Err(Refused::Unknown))),
            State::Unknown => true,
            _ => false,
        };
        if failed {
            return Ok(None);
        }
        let answer = match known.state.is_final() {
            true => rows::answer(&self.db, self.seal.as_ref(), known.seq)?.unwrap_or_default(),
            false => Kept::default(),
        };
        let (seq, token, state, status) = (known.seq, known.token.clone(), known.state, known.status);
        Ok(Some(Ok(Accepted::Same { seq, token, state, status, answer })))
    }

    fn drop_row(&mut self, seq: i64, state: State, target: &str) -> rusqlite::Result<()> {
        rows::delete(&self.db, seq)?;
        let target = self.target(target);
        self.count(&target, state, -1);
        self.changed.push(seq);
        Ok(())
    }

    fn finish(&mut self, seq: i64, ending: &Ending, now: i64) -> rusqlite::Result<()> {
        let Some(Running { target, key, attempt, .. }) = self.running.get(&seq) else { return Ok(()) };
        let (target, key, attempt) = (target.clone(), key.clone(), *attempt);
        let seal = self.seal.as_ref();
        let (next, over) = match ending {
            Ending::Forget => {
                rows::delete(&self.db, seq)?;
                self.count(&target, State::Running, -1);
                return Ok(());
            }
            Ending::Final { state, status, error, answer } => {
                let error = error.as_deref();
                let history = line(now, *state, attempt, error.unwrap_or(""));
                let change =
                    rows::Change { state: *state, attempt, due: None, status: *status, error, history: &history };
                rows::finish(&self.db, seal, seq, &change, now, answer)?;
                (*state, true)
            }
            Ending::Again { after, status, error } => {
                let due = now.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
                let history = line(now, State::Retrying, attempt, error);
                let error = Some(error.as_str());
                let change = rows::Change {
                    state: State::Retrying,
                    attempt,
                    due: Some(due),
                    status: *status,
                    error,
                    history: &history,
                };
                rows::change(&self.db, seq, &change)?;
                self.sooner(&target, due);
                (State::Retrying, false)
            }
            Ending::Nobody { error } => {
                // It was no attempt.
                let attempt = attempt.saturating_sub(1);
                let state = if attempt == 0 { State::Ready } else { State::Retrying };
                let history = line(now, state, attempt, error);
                let change =
                    rows::Change { state, attempt, due: Some(now), status: 0, error: Some(error), history: &history };
                rows::change(&self.db, seq, &change)?;
                self.sooner(&target, now);
                (state, false)
            }
        };
        self.count(&target, State::Running, -1);
        self.count(&target, next, 1);
        self.changed.push(seq);
        if over && let Some(key) = key {
            rows::release(&self.db, &target, &key)?;
            self.sooner(&target, now);
        }
        Ok(())
    }

    fn sooner(&mut self, target: &Arc<str>, due: i64) {
        if let Some(target) = self.targets.get_mut(target) {
            target.sooner(due);
        }
    }

    /// One ends without having been sent.
    fn end(&mut self, seq: i64, state: State, why: &str, now: i64) -> rusqlite::Result<()> {
        let Some((target, key, before, attempt)) = rows::place(&self.db, seq)? else { return Ok(()) };
        let target = self.target(&target);
        let ended = match rows::job(&self.db, self.seal.as_ref(), seq) {
            Ok(Job { told, created, .. }) => Some(Ended { told, state, attempt, created, error: Some(why.to_owned()) }),
            Err(_) => None,
        };
        let history = line(now, state, attempt, why);
        let change = rows::Change { state, attempt, due: None, status: 0, error: Some(why), history: &history };
        rows::finish(&self.db, self.seal.as_ref(), seq, &change, now, &Kept::default())?;
        self.count(&target, before, -1);
        self.count(&target, state, 1);
        self.changed.push(seq);
        if let Some(key) = key {
            rows::release(&self.db, &target, &key)?;
            self.sooner(&target, now);
        }
        if let Some(ended) = ended
            && self.over.len() < OVER_MAX
        {
            self.over_next.push(ended);
        }
        Ok(())
    }

    /// Ends what has expired and forgets what is old.
    fn sweep(&mut self, now: i64) -> rusqlite::Result<()> {
        let expired = rows::seqs(
            &self.db,
            "SELECT seq FROM commands WHERE expires_at IS NOT NULL AND open AND expires_at <= ?1 AND state <> 'running'
             LIMIT ?2",
            &[&now, &SWEPT],
        )?;
        for seq in expired {
            self.end(seq, State::Expired, "its time was over before it was sent (Fourmi-Expires)", now)?;
        }
        let age = |d: Duration| now.saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let (keep, dead) = (age(self.settings.keep), age(self.settings.keep_dead));
        // When there are too many, the oldest successes go before their time.
        let crowded = u64::try_from(self.total()).unwrap_or(0) > self.settings.max_commands / 100 * 95;
        let crowded = crowded || self.disk.is_crowded();
        for state in [State::Succeeded, State::Dead, State::Cancelled, State::Expired, State::Unknown] {
            let before = match state {
                State::Succeeded if crowded => i64::MAX,
                State::Succeeded => keep,
                _ => dead,
            };
            let old = rows::seqs(
                &self.db,
                "SELECT seq FROM (SELECT seq, finished_at FROM commands WHERE state = ?1 ORDER BY seq LIMIT ?2)
                 WHERE finished_at < ?3",
                &[&state.as_str(), &SWEPT, &before],
            )?;
            for seq in old {
                if let Some((target, ..)) = rows::place(&self.db, seq)? {
                    self.drop_row(seq, state, &target)?;
                }
            }
        }
        Ok(())
    }

    /// Tells others what there is.
    fn tell(&self, looked: bool) {
        let counts = self.counts.iter().filter(|(_, n)| **n != 0);
        let counts = counts.map(|((target, state), n)| ((target.to_string(), *state), *n)).collect();
        let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        if looked {
            let oldest = State::ALL.into_iter().filter(|s| !s.is_final());
            summary.oldest = oldest.filter_map(|s| Some((s, query::oldest(&self.db, s).ok().flatten()?))).collect();
        }
        summary.counts = counts;
        summary.entered.clone_from(&self.entered);
        summary.refused = self.refused;
        summary.bytes = self.disk.bytes();
        let paused = self.targets.iter().filter(|(_, t)| t.gate.paused).map(|(name, _)| name.to_string());
        summary.paused = self.paused.then(|| change::ALL.to_owned()).into_iter().chain(paused).collect();
        summary.trouble = self.trouble.clone().or_else(|| self.disk.refuses(0));
    }
}
