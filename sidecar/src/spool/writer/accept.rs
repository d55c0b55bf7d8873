//! Takes a command in, or finds that it is there already.

use super::super::handle::{Accepted, Refused};
use super::super::store::rows::{self, line};
use super::super::{Kept, New, State};
use super::{Counted, Running, Writer};

/// Rows that go together when there is no room.
const ROOM: u32 = 64;

impl Writer {
    fn is_full(&self) -> bool {
        u64::try_from(self.total()).unwrap_or(0) >= self.settings.max_commands
    }

    /// Whether there are so many that old ones should go before their time.
    pub(super) fn is_crowded(&self) -> bool {
        let total = u64::try_from(self.total()).unwrap_or(0);
        self.is_full() || total > self.settings.max_commands.saturating_mul(95) / 100 && total > 1000
    }

    /// Why nothing can be accepted now.
    pub(super) fn no_room(&self, bytes: usize, replaces: bool) -> Option<String> {
        if !replaces && self.is_full() {
            return Some(format!("the spool holds {} commands (spool.max_commands)", self.settings.max_commands));
        }
        self.disk.refuses(bytes)
    }

    /// Stores a command, or finds that it is there. Also says whether it is to be sent at once, from memory.
    pub(super) fn accept(&mut self, new: &New, now: i64) -> rusqlite::Result<Result<(Accepted, bool), Refused>> {
        let told = &new.told;
        let mut instead = None;
        if told.came.id_given
            && let Some(known) = rows::known(&self.db, &told.id, &told.scope())?
        {
            match self.again(new, &known)? {
                Some(answer) => return Ok(answer.map(|a| (a, false))),
                None => instead = Some(known),
            }
        }
        let bytes = new.request.body.len() + new.request.head.len();
        if instead.is_none() && self.is_crowded() {
            // What is only remembered makes room for what is to be done.
            self.forget_oldest(ROOM, now)?;
        }
        if let Some(why) = self.no_room(bytes, instead.is_some()) {
            return Ok(Err(Refused::Full(why)));
        }
        if let Some(known) = instead {
            self.drop_row(known.seq, known.state, &told.target())?;
        }
        let target = self.target(&told.target());
        let held = match &told.key {
            Some(key) if !told.came.once => rows::is_held(&self.db, &target, key)?,
            _ => false,
        };
        let at_once = new.state == State::Ready && new.due <= now && !held && self.takes_more(&target);
        let (state, attempt) = match at_once {
            true => (State::Running, new.attempt + 1),
            false if held && new.in_turn => (State::Ready, 0),
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
            let promised = at_once || new.promised;
            let counted = if at_once { Counted::Sent } else { Counted::Not };
            self.running.insert(seq, Running { target: target.clone(), key, attempt, counted, promised });
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
            // It may still be forgotten: nobody can be promised anything.
            State::Running if !self.running.get(&known.seq).is_some_and(|r| r.promised) => {
                return Ok(Some(Err(Refused::InProgress)));
            }
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
}
