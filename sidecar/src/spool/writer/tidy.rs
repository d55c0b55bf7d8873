//! What is done about once a second: ends what has expired, forgets what is old, tells what there is.

use super::super::State;
use super::super::store::{query, rows};
use super::{SWEPT, Writer, change};
use std::sync::PoisonError;
use std::time::Duration;

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
