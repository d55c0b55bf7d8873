//! Who gets which command to send, and when.

use super::super::gate::Gate;
use super::super::store::rows::{self, line};
use super::{Counted, Job, New, Reply, Running, State, Work, Writer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ends that are told in one go.
const TOLD: usize = 64;
/// Bytes of bodies that are handed out in one transaction.
const HANDED: usize = 32 << 20;
/// Waiting for a command that is due by the clock of 1970 is done in steps of this at most: that clock may be set.
const STEP: Duration = Duration::from_millis(500);

/// One thread's wish for commands.
pub(super) struct Claim {
    most: usize,
    reply: Reply<Vec<Work>>,
    work: Vec<Work>,
}

impl Claim {
    pub(super) fn new(most: usize, reply: Reply<Vec<Work>>) -> Claim {
        Claim { most, reply, work: Vec::new() }
    }

    fn has_room(&self) -> bool {
        self.work.len() < self.most
    }
}

/// When the next command of a target is due, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Unknown,
    Never,
    At(i64),
}

pub(super) struct Target {
    pub(super) gate: Gate,
    next: Next,
}

impl Target {
    pub(super) fn new(gate: Gate) -> Target {
        Target { gate, next: Next::Unknown }
    }

    /// One is due then.
    pub(super) fn sooner(&mut self, due: i64) {
        self.next = match self.next {
            Next::Unknown => Next::Unknown,
            Next::Never => Next::At(due),
            Next::At(known) => Next::At(known.min(due)),
        };
    }

    pub(super) fn forget(&mut self) {
        self.next = Next::Unknown;
    }
}

impl Writer {
    /// Whether one more command of a target can be sent at once: nobody waits before it.
    pub(super) fn takes_more(&self, target: &Arc<str>) -> bool {
        let waits = self.counts.get(&(target.clone(), State::Ready)).is_some_and(|n| *n > 0);
        let open = self.targets.get(target).is_some_and(|t| t.gate.room(Instant::now()) > 0);
        !self.resting && !waits && open && self.claims.iter().any(|c| c.has_room() && !c.reply.is_closed())
    }

    /// One that was just stored is sent from memory.
    pub(super) fn hand(&mut self, seq: i64, new: New) {
        let New { told, request, attempt, created, .. } = new;
        let job = Job { seq, told, request, attempt: attempt.saturating_add(1), created };
        if let Some(claim) = self.claims.iter_mut().find(|c| c.has_room() && !c.reply.is_closed()) {
            claim.work.push(Work::Run(Box::new(job)));
        }
    }

    /// How long nothing is due.
    pub(super) fn next(&self) -> Duration {
        let instant = Instant::now();
        let now = super::now();
        let waits = self.targets.values().filter(|t| !t.gate.paused).filter_map(|target| {
            let due = match target.next {
                Next::Never => return None,
                Next::Unknown => Duration::ZERO,
                Next::At(due) => Duration::from_millis(u64::try_from(due.saturating_sub(now)).unwrap_or(0)),
            };
            match target.gate.opens(instant) {
                Some(opens) => Some(due.max(opens - instant)),
                // One that is full is looked at when something of it ends.
                None if target.gate.room(instant) == 0 => None,
                None => Some(due),
            }
        });
        let over = (!self.over.is_empty()).then_some(Duration::ZERO);
        waits.chain(over).min().map_or(STEP, |wait| wait.min(STEP))
    }

    /// Gives what is due to those who asked.
    pub(super) fn serve(&mut self, now: i64) -> rusqlite::Result<()> {
        self.claims.retain(|claim| !claim.reply.is_closed() || !claim.work.is_empty());
        for _ in 0..TOLD {
            let Some(claim) = self.claims.iter_mut().find(|c| !c.reply.is_closed()) else { break };
            let Some(ended) = self.over.pop_front() else { break };
            claim.work.push(Work::Over(Box::new(ended)));
        }
        if self.resting {
            return Ok(());
        }
        let instant = Instant::now();
        let names: Vec<Arc<str>> = self.targets.keys().cloned().collect();
        let mut handed = 0;
        for name in names {
            let free: usize = self.claims.iter().map(|c| c.most.saturating_sub(c.work.len())).sum();
            if free == 0 || handed > HANDED {
                break;
            }
            let Some(target) = self.targets.get_mut(&name) else { continue };
            if target.next == Next::Unknown {
                target.next = rows::next_due(&self.db, &name)?.map_or(Next::Never, Next::At);
            }
            let room = target.gate.room(instant);
            if room == 0 || !matches!(target.next, Next::At(due) if due <= now) {
                continue;
            }
            let most = room.min(u32::try_from(free).unwrap_or(u32::MAX));
            let due = rows::due(&self.db, &name, now, most)?;
            for (seq, state, attempt) in due {
                if handed > HANDED {
                    break;
                }
                handed += self.take(&name, seq, state, attempt, now)?;
            }
            if let Some(target) = self.targets.get_mut(&name) {
                target.next = Next::Unknown;
            }
        }
        Ok(())
    }

    /// Gives one out; returns the size of its body.
    fn take(&mut self, target: &Arc<str>, seq: i64, before: State, attempt: u32, now: i64) -> rusqlite::Result<usize> {
        let job = match rows::job(&self.db, self.seal.as_ref(), seq) {
            Ok(job) => job,
            // The disk itself is in trouble: all of it is tried again.
            Err(e @ rusqlite::Error::SqliteFailure(..)) => return Err(e),
            Err(e) => {
                self.end(seq, State::Dead, &format!("it cannot be read from the spool: {e}"), now)?;
                return Ok(0);
            }
        };
        let expires: Option<i64> =
            self.db.prepare_cached("SELECT expires_at FROM commands WHERE seq = ?1")?.query_row([seq], |r| r.get(0))?;
        if expires.is_some_and(|expires| expires <= now) {
            self.end(seq, State::Expired, "its time was over before it was sent (Fourmi-Expires)", now)?;
            return Ok(0);
        }
        let attempt = attempt.saturating_add(1);
        let history = line(now, State::Running, attempt, "");
        let change =
            rows::Change { state: State::Running, attempt, due: None, status: 0, error: None, history: &history };
        rows::change(&self.db, seq, &change)?;
        self.count(target, before, -1);
        self.count(target, State::Running, 1);
        self.changed.push(seq);
        let key = job.told.key.clone();
        let running = Running { target: target.clone(), key, attempt, counted: Counted::Sent, promised: true };
        self.running.insert(seq, running);
        if let Some(target) = self.targets.get_mut(target) {
            target.gate.begun();
        }
        let bytes = job.request.body.len();
        // The threads take turns.
        let least = self.claims.iter_mut().filter(|c| c.has_room()).min_by_key(|c| c.work.len());
        if let Some(claim) = least {
            claim.work.push(Work::Run(Box::new(Job { attempt, ..job })));
        }
        Ok(bytes)
    }

    /// It is on disk: they may begin.
    pub(super) fn send_claims(&mut self) {
        let claims = std::mem::take(&mut self.claims);
        for claim in claims {
            if claim.work.is_empty() {
                if !claim.reply.is_closed() {
                    self.claims.push_back(claim);
                }
                continue;
            }
            if let Err(work) = claim.reply.send(claim.work) {
                self.nobody_took(work);
            }
        }
    }

    /// Their thread has ended meanwhile: the next process, or another thread, has them from the store.
    fn nobody_took(&mut self, work: Vec<Work>) {
        for work in work {
            match work {
                Work::Run(job) => {
                    let running = self.running.get_mut(&job.seq);
                    if let Some((target, counted)) = running.map(Running::uncounted) {
                        self.uncount(&target, counted);
                    }
                    self.returned.push(job.seq);
                }
                Work::Over(ended) => self.over.push_back(*ended),
            }
        }
    }

    /// The transaction failed: nothing is given out.
    pub(super) fn take_claims_back(&mut self) {
        for claim in &mut self.claims {
            for work in claim.work.drain(..) {
                if let Work::Over(ended) = work {
                    self.over.push_back(*ended);
                }
            }
        }
    }
}
