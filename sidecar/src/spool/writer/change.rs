//! What an operator does to stored commands.

use super::super::store::query::{self, Filter};
use super::super::store::rows::{self, line};
use super::super::{New, State};
use super::Writer;
use std::sync::Arc;

/// Among those that are paused: what there is nothing of yet.
pub(super) const ALL: &str = "*";
/// As many are changed in one go, so that nobody waits long for the disk meanwhile; who wants more asks again.
const MOST: usize = 200;

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Change {
    /// To those that a filter means.
    Many {
        /// What.
        what: What,
        /// Which.
        filter: Box<Filter>,
        /// Behind this place.
        after: i64,
    },
    /// To one.
    One {
        /// What.
        what: What,
        /// Its place.
        seq: i64,
    },
    /// Nothing of this target is sent from now on; none: of any, also of those to come.
    Pause(Option<String>),
    /// It is again.
    Resume(Option<String>),
    /// Puts these in, as they were elsewhere.
    Import(Vec<Import>),
}

/// What is done to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It runs again: what is dead, unknown, cancelled or expired; attempts are counted on, or from the beginning.
    Retry {
        /// From the beginning.
        reset: bool,
    },
    /// It does not run any more: what waits.
    Cancel,
    /// It is forgotten: anything that is not being sent.
    Discard,
}

/// A command from elsewhere.
#[derive(Debug, Clone)]
pub struct Import {
    /// The command.
    pub new: New,
    /// Its states so far.
    pub history: String,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changed {
    /// To how many.
    pub count: u64,
    /// Left as they were: not in a state for it, or there already.
    pub left: u64,
    /// Where there may be more: ask again from there.
    pub next: Option<i64>,
}

impl Writer {
    pub(super) fn change(&mut self, change: &Change, now: i64) -> rusqlite::Result<Result<Changed, String>> {
        match change {
            Change::Many { what, filter, after } => {
                // What cannot be sent is passed over: it must not take the place of what can.
                let sendable = filter.sendable || matches!(what, What::Retry { .. });
                let filter = Filter { states: allowed(*what, filter), sendable, ..Filter::clone(filter) };
                if filter.states.is_empty() {
                    return Ok(Ok(Changed::default()));
                }
                let seqs = query::places(&self.db, &filter, *after, MOST)?;
                let next = seqs.last().copied().filter(|_| seqs.len() == MOST);
                let mut done = Changed { next, ..Changed::default() };
                for seq in seqs {
                    match self.one(*what, seq, now)? {
                        Ok(()) => done.count += 1,
                        Err(_) => done.left += 1,
                    }
                }
                Ok(Ok(done))
            }
            Change::One { what, seq } => {
                let done = self.one(*what, *seq, now)?;
                Ok(done.map(|()| Changed { count: 1, ..Changed::default() }))
            }
            Change::Pause(target) => self.pause(target.as_deref(), true).map(Ok),
            Change::Resume(target) => self.pause(target.as_deref(), false).map(Ok),
            Change::Import(all) => self.import(all).map(Ok),
        }
    }

    fn one(&mut self, what: What, seq: i64, now: i64) -> rusqlite::Result<Result<(), String>> {
        let Some((target, key, state, attempt)) = rows::place(&self.db, seq)? else {
            return Ok(Err("there is no such command".into()));
        };
        if !allowed(what, &Filter::default()).contains(&state) {
            let can = match what {
                What::Retry { .. } => "what is dead, unknown, cancelled or expired can be retried",
                What::Cancel => "only what waits can be cancelled",
                What::Discard => "what is running cannot be discarded",
            };
            return Ok(Err(format!("it is {}; {can}", state.as_str())));
        }
        if matches!(what, What::Retry { .. }) && !rows::has_request(&self.db, seq)? {
            let why = "its request was not kept, as it was sent while its caller waited: find out whether it was done; if \
                       not, discard it and let its caller send it again";
            return Ok(Err(why.into()));
        }
        match what {
            What::Cancel => self.end(seq, State::Cancelled, "cancelled by hand", now)?,
            What::Discard => {
                self.drop_row(seq, state, &target)?;
                let target = self.target(&target);
                self.pass_on(&target, key.as_deref(), now)?;
            }
            What::Retry { reset } => {
                let attempt = if reset { 0 } else { attempt };
                let held = match &key {
                    Some(key) => rows::is_held(&self.db, &target, key)?,
                    None => false,
                };
                let history = line(now, State::Ready, attempt, "again by hand");
                let change = rows::Change {
                    state: State::Ready,
                    attempt,
                    due: (!held).then_some(now),
                    status: 0,
                    error: None,
                    history: &history,
                };
                rows::change(&self.db, seq, &change)?;
                let sql = "UPDATE commands SET expires_at = NULL, finished_at = NULL, wants_at = ?2 WHERE seq = ?1";
                self.db.prepare_cached(sql)?.execute(rusqlite::params![seq, now])?;
                let target = self.target(&target);
                self.count(&target, state, -1);
                self.count(&target, State::Ready, 1);
                self.sooner(&target, now);
                self.changed.push(seq);
            }
        }
        Ok(Ok(()))
    }

    fn pause(&mut self, target: Option<&str>, paused: bool) -> rusqlite::Result<Changed> {
        if let Some(target) = target {
            self.target(target);
        }
        // One goes on: what else there is stays as it is, each by its own word.
        if self.paused && !paused && target.is_some() {
            self.db.execute_batch("DELETE FROM paused WHERE target = '*'")?;
            for name in self.targets.iter().filter(|(_, t)| t.gate.paused).map(|(name, _)| name) {
                self.db.prepare_cached("INSERT OR REPLACE INTO paused (target) VALUES (?1)")?.execute([&**name])?;
            }
            self.paused = false;
        }
        let names: Vec<Arc<str>> =
            self.targets.keys().filter(|name| target.is_none_or(|t| t == &***name)).cloned().collect();
        let everything = target.is_none().then(|| Arc::from(ALL));
        let mut done = Changed::default();
        for name in everything.into_iter().chain(names) {
            let sql = match paused {
                true => "INSERT OR REPLACE INTO paused (target) VALUES (?1)",
                false => "DELETE FROM paused WHERE target = ?1",
            };
            self.db.prepare_cached(sql)?.execute([&*name])?;
            if let Some(target) = self.targets.get_mut(&name) {
                match target.gate.paused == paused {
                    true => done.left += 1,
                    false => done.count += 1,
                }
                target.gate.paused = paused;
                target.forget();
            }
        }
        if target.is_none() {
            self.paused = paused;
        }
        Ok(done)
    }

    fn import(&mut self, all: &[Import]) -> rusqlite::Result<Changed> {
        let mut done = Changed::default();
        for Import { new, history } in all {
            let told = &new.told;
            let bytes = new.request.body.len() + new.request.head.len();
            if rows::known(&self.db, &told.id, &told.scope())?.is_some() || self.no_room(bytes, false).is_some() {
                done.left += 1;
                continue;
            }
            // What was being sent elsewhere may not have arrived.
            let state = match new.state {
                State::Running if told.came.at_most_once => State::Unknown,
                State::Running => State::Ready,
                state => state,
            };
            let target = self.target(&told.target());
            let held = match &told.key {
                Some(key) => rows::is_held(&self.db, &target, key)?,
                None => false,
            };
            let due = (state.waits() && !held).then_some(new.due);
            self.last += 1;
            let seq = self.last;
            let token = format!("{seq}-{:032x}", fastrand::u128(..));
            let place = (seq, token.as_str(), &*target);
            rows::insert(&self.db, self.seal.as_ref(), place, new, (state, new.attempt, due), history)?;
            self.disk.grew(bytes);
            self.count(&target, state, 1);
            if let Some(due) = due {
                self.sooner(&target, due);
            }
            done.count += 1;
        }
        Ok(done)
    }
}

/// The states in which that can be done, of those that a filter means.
fn allowed(what: What, filter: &Filter) -> Vec<State> {
    let can = |state: &State| match what {
        What::Retry { .. } => state.may_retry(),
        What::Cancel => state.waits(),
        What::Discard => *state != State::Running,
    };
    State::ALL.into_iter().filter(|s| can(s) && (filter.states.is_empty() || filter.states.contains(s))).collect()
}
