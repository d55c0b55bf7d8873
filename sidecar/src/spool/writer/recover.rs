//! After a death, and after the disk took nothing: what is true is what stands in the store.

use super::super::handle::Refused;
use super::super::store::rows::{self, line};
use super::super::{Kept, State};
use super::serve::Target;
use super::{Order, Running, Said, Writer, change, now};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

impl Writer {
    /// What was being sent when the last process ended is sent again, unless it must not be.
    pub(super) fn recover(&mut self) -> rusqlite::Result<()> {
        let now = now();
        self.db.execute_batch(super::BEGIN)?;
        self.look_at_clock(now)?;
        let running = rows::seqs(&self.db, "SELECT seq FROM commands WHERE state = 'running'", &[])?;
        for seq in running {
            let (once, most): (bool, bool) =
                self.db.query_row("SELECT once, at_most_once FROM commands WHERE seq = ?1", [seq], |r| {
                    Ok((r.get(0)?, r.get(1)?))
                })?;
            let Some((target, key, _, attempt)) = rows::place(&self.db, seq)? else { continue };
            let target = self.target(&target);
            const WHY: &str = "fourmi ended while it was being sent";
            // What only its caller waited for may be asked for again by it, unless it may have been done.
            if once && !most {
                rows::delete(&self.db, seq)?;
                self.count(&target, State::Running, -1);
                self.pass_on(&target, key.as_deref(), now)?;
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
                false => self.wait_again(seq, (&target, key.as_deref()), &change)?,
            }
            self.count(&target, State::Running, -1);
            self.count(&target, state, 1);
            self.pass_on(&target, key.as_deref(), now)?;
        }
        // Whatever has happened: no key is left without somebody whose turn it is.
        for (target, key) in rows::stranded(&self.db)? {
            let target = self.target(&target);
            self.pass_on(&target, Some(&key), now)?;
        }
        self.note_clock()?;
        self.write_counts()?;
        self.db.execute_batch("COMMIT")?;
        self.clock = self.clock_next.take().unwrap_or(self.clock);
        Ok(())
    }

    /// The same, if it could not be done at the start.
    pub(super) fn refreshed(&mut self) -> rusqlite::Result<()> {
        if self.stale {
            self.reload()?;
            self.stale = false;
        }
        if self.unrecovered {
            self.recover()?;
            self.unrecovered = false;
        }
        Ok(())
    }

    /// None of it is on disk: nothing was accepted, and what has ended is written as soon as it can be.
    pub(super) fn failed(
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
        self.take_ends_back();
        // What this process believed of the store is read from it again.
        match self.reload() {
            Ok(()) => {}
            Err(e) => {
                self.stale = true;
                tracing::error!("the spool cannot be read: {e}");
            }
        }
        let mut again = Vec::new();
        let full = || Refused::Full(why.clone());
        for said in said {
            match said {
                Said::Accepted(reply, _) => {
                    self.refused += 1;
                    let _ = reply.send(Err(full()));
                }
                Said::Promised(reply, _) => drop(reply.send(Err(full()))),
                Said::Changed(reply, _) => drop(reply.send(Err(format!("the spool cannot be written: {why}")))),
            }
        }
        for order in done.into_iter().chain(left) {
            match order {
                Order::Promise(_, reply) => drop(reply.send(Err(full()))),
                Order::Accept(_, reply, _) => {
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

    /// What ended in this transaction has not: it runs as before, and what was given out anew was not.
    fn take_ends_back(&mut self) {
        for (seq, running) in std::mem::take(&mut self.ended) {
            if let Some(anew) = self.running.insert(seq, running) {
                self.uncount(&anew.target, anew.counted);
            }
        }
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
        // A place is not given twice: somebody may watch it.
        let last = self.db.query_row("SELECT coalesce(max(seq), 0) FROM commands", [], |r| r.get(0))?;
        self.last = self.last.max(last);
        let paused = rows::paused(&self.db)?;
        self.paused = paused.iter().any(|target| target == change::ALL);
        for (name, target) in &mut self.targets {
            target.gate.paused = self.paused || paused.iter().any(|p| **p == **name);
        }
        self.targets.values_mut().for_each(Target::forget);
        // Those that were to be begun in this transaction have not.
        let db = &self.db;
        let running: HashSet<i64> =
            rows::seqs(db, "SELECT seq FROM commands WHERE state = 'running'", &[])?.into_iter().collect();
        let (stay, gone) = std::mem::take(&mut self.running).into_iter().partition(|(seq, _)| running.contains(seq));
        self.running = stay;
        let gone: HashMap<i64, Running> = gone;
        gone.values().for_each(|one| self.uncount(&one.target, one.counted));
        Ok(())
    }
}
