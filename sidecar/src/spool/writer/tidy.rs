//! What is done about once a second: ends what has expired, forgets what is old, tells what there is.

use super::super::State;
use super::super::store::{query, rows};
use super::{SWEPT, Writer, change};
use std::sync::PoisonError;
use std::time::Duration;

/// So many services are kept track of without a second look.
const TARGETS: usize = 256;

/// A clock that is set back by less, in milliseconds, is not worth a thought.
const STEP: i64 = 1000;
/// So often is it written down although nothing else is, in milliseconds.
const NOTED: i64 = 60_000;

impl Writer {
    /// Ends what has expired and forgets what is old.
    pub(super) fn sweep(&mut self, now: i64) -> rusqlite::Result<()> {
        let expired = rows::seqs(
            &self.db,
            "SELECT seq FROM commands WHERE expires_at IS NOT NULL AND open AND expires_at <= ?1 AND state <> 'running'
             LIMIT ?2",
            &[&now, &SWEPT],
        )?;
        for seq in expired {
            self.end(seq, State::Expired, "its time was over before it was sent (Fourmi-Expires)", now)?;
        }
        self.look_at_clock(now)?;
        let age = |d: Duration| now.saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let (keep, dead) = (age(self.settings.keep), age(self.settings.keep_dead));
        // When there are too many, the oldest successes go before their time.
        if self.is_crowded() || self.disk.is_crowded() {
            self.forget_oldest(SWEPT, now)?;
        }
        for state in [State::Succeeded, State::Dead, State::Cancelled, State::Expired, State::Unknown] {
            let before = match state {
                State::Succeeded => keep,
                _ => dead,
            };
            let old = rows::seqs(
                &self.db,
                "SELECT seq FROM commands WHERE state = ?1 AND finished_at < ?3 ORDER BY finished_at LIMIT ?2",
                &[&state.as_str(), &(5 * SWEPT), &before],
            )?;
            for seq in old {
                if let Some((target, ..)) = rows::place(&self.db, seq)? {
                    self.drop_row(seq, state, &target)?;
                }
            }
        }
        self.prune()
    }

    /// Set back, the clock would hold back what was due, or waits, by the one before. What is scheduled is meant as the
    /// clock on the wall says, and stays.
    pub(super) fn look_at_clock(&mut self, now: i64) -> rusqlite::Result<()> {
        let step = self.clock.saturating_sub(now);
        if step > STEP {
            // What is left of a wait stays, as far as that is known.
            let sql = "UPDATE commands SET wants_at = max(min(wants_at, ?1), wants_at - ?2),
                              due_at = max(min(due_at, ?1), due_at - ?2)
                       WHERE state IN ('ready', 'retrying') AND (wants_at > ?1 OR due_at > ?1)";
            let mended = self.db.prepare_cached(sql)?.execute([now, step])?;
            tracing::warn!("the clock was set back by {} s: {mended} stored commands follow it", step / 1000);
            self.targets.values_mut().for_each(super::serve::Target::forget);
        }
        self.clock_next = Some(now);
        Ok(())
    }

    /// Writes down how late it is, for the next process: with something else that is written, or now and then.
    pub(super) fn note_clock(&mut self) -> rusqlite::Result<()> {
        let Some(now) = self.clock_next else { return Ok(()) };
        let writes = !self.dirty.is_empty() || !self.changed.is_empty();
        if writes || now < self.clock || now.saturating_sub(self.noted) > NOTED {
            let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES ('clock', ?1)";
            self.db.prepare_cached(sql)?.execute([now])?;
            self.noted = now;
        }
        Ok(())
    }

    /// Forgets the oldest successes, as many.
    pub(super) fn forget_oldest(&mut self, most: u32, now: i64) -> rusqlite::Result<()> {
        let old = rows::seqs(
            &self.db,
            "SELECT seq FROM commands WHERE state = 'succeeded' AND finished_at <= ?2 ORDER BY finished_at LIMIT ?1",
            &[&most, &now],
        )?;
        for seq in old {
            if let Some((target, ..)) = rows::place(&self.db, seq)? {
                self.drop_row(seq, State::Succeeded, &target)?;
            }
        }
        Ok(())
    }

    /// Forgets services that there is nothing of any more: callers may name many hosts.
    fn prune(&mut self) -> rusqlite::Result<()> {
        if self.targets.len() < TARGETS {
            return Ok(());
        }
        self.write_counts()?;
        let counts = &self.counts;
        let is_used = |name: &std::sync::Arc<str>| {
            State::ALL.into_iter().any(|state| counts.get(&(name.clone(), state)).is_some_and(|n| *n != 0))
        };
        self.targets.retain(|name, target| target.gate.paused || !target.gate.is_idle() || is_used(name));
        self.counts.retain(|_, n| *n != 0);
        self.db.execute_batch("DELETE FROM counts WHERE n = 0")
    }

    /// Tells others what there is.
    pub(super) fn tell(&self, looked: bool) {
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
