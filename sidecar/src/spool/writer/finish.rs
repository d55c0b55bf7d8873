//! How a command ends, or goes on.

use super::super::command::Ended;
use super::super::store::rows::{self, line};
use super::super::{Ending, Kept, State};
use super::{OVER_MAX, Running, Writer};
use std::sync::Arc;
use std::time::Duration;

impl Writer {
    /// What comes of one that was being sent.
    pub(super) fn finish(&mut self, seq: i64, ending: &Ending, now: i64) -> rusqlite::Result<()> {
        let Some(running) = self.running.remove(&seq) else { return Ok(()) };
        let Running { target, key, attempt, .. } = &running;
        let (target, key, attempt) = (target.clone(), key.clone(), *attempt);
        // The same transaction may give it out anew: that is another one.
        self.ended.push((seq, running));
        // What was no attempt is not counted as one.
        let before = attempt.saturating_sub(1);
        let waits = if before == 0 { State::Ready } else { State::Retrying };
        match ending {
            Ending::Forget => {
                rows::delete(&self.db, seq)?;
                self.count(&target, State::Running, -1);
            }
            Ending::Final { state, status, error, answer } => {
                let error = error.as_deref();
                let history = line(now, *state, attempt, error.unwrap_or(""));
                let change =
                    rows::Change { state: *state, attempt, due: None, status: *status, error, history: &history };
                rows::finish(&self.db, self.seal.as_ref(), seq, &change, now, answer)?;
                self.moved(&target, State::Running, *state);
            }
            Ending::Again { after, status, error } => {
                let due = now.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
                let history = line(now, State::Retrying, attempt, error);
                let (state, error) = (State::Retrying, Some(error.as_str()));
                let change = rows::Change { state, attempt, due: Some(due), status: *status, error, history: &history };
                self.wait_again(seq, (&target, key.as_deref()), &change)?;
                self.moved(&target, State::Running, state);
            }
            Ending::Nobody { error } | Ending::Held { error, .. } => {
                let after = if let Ending::Held { after, .. } = ending { *after } else { Duration::ZERO };
                let due = now.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
                // Shown as it is now: its history would be the same lines for ever.
                rows::unsay(&self.db, seq, State::Running, attempt)?;
                let error = Some(error.as_str());
                let change =
                    rows::Change { state: waits, attempt: before, due: Some(due), status: 0, error, history: "" };
                self.wait_again(seq, (&target, key.as_deref()), &change)?;
                self.moved(&target, State::Running, waits);
            }
        }
        self.changed.push(seq);
        self.pass_on(&target, key.as_deref(), now)
    }

    /// It waits for its next turn, unless another of its key has the turn.
    pub(super) fn wait_again(
        &mut self,
        seq: i64,
        (target, key): (&Arc<str>, Option<&str>),
        change: &rows::Change<'_>,
    ) -> rusqlite::Result<()> {
        let held = match key {
            Some(key) => rows::has_turn(&self.db, target, key, seq)?,
            None => false,
        };
        rows::change(&self.db, seq, change)?;
        match (held, change.due) {
            (true, _) => rows::hold(&self.db, seq)?,
            (false, Some(due)) => self.sooner(target, due),
            (false, None) => {}
        }
        Ok(())
    }

    fn moved(&mut self, target: &Arc<str>, from: State, to: State) {
        self.count(target, from, -1);
        self.count(target, to, 1);
    }

    /// The next one of a key gets its turn, when nobody has it.
    pub(super) fn pass_on(&mut self, target: &Arc<str>, key: Option<&str>, now: i64) -> rusqlite::Result<()> {
        if let Some(key) = key {
            rows::release(&self.db, target, key)?;
            self.sooner(target, now);
        }
        Ok(())
    }

    /// One ends without having been sent.
    pub(super) fn end(&mut self, seq: i64, state: State, why: &str, now: i64) -> rusqlite::Result<()> {
        let Some((target, key, before, attempt)) = rows::place(&self.db, seq)? else { return Ok(()) };
        let target = self.target(&target);
        let ended = rows::told(&self.db, seq)?.map(|(told, created)| Ended {
            told,
            state,
            attempt,
            created,
            error: Some(why.to_owned()),
        });
        let history = line(now, state, attempt, why);
        let change = rows::Change { state, attempt, due: None, status: 0, error: Some(why), history: &history };
        rows::finish(&self.db, self.seal.as_ref(), seq, &change, now, &Kept::default())?;
        self.moved(&target, before, state);
        self.changed.push(seq);
        self.pass_on(&target, key.as_deref(), now)?;
        if let Some(ended) = ended
            && self.over.len() + self.over_next.len() < OVER_MAX
        {
            self.over_next.push(ended);
        }
        Ok(())
    }
}
