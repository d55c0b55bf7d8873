//! What happens to Fourmi itself, told to receivers that know events (DogStatsD).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Events that are kept for sinks which have not told them yet; of more, the oldest go.
const KEPT: usize = 64;

/// How an event looks to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Something does not work.
    Error,
    /// Something works again, or was done.
    Success,
}

impl EventKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Info => "info",
            EventKind::Warning => "warning",
            EventKind::Error => "error",
            EventKind::Success => "success",
        }
    }
}

/// Something that happens seldom and that people want to see beside the curves: start, stop, reload, an instance that
/// is ejected or back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// One line.
    pub title: String,
    /// More lines.
    pub text: String,
    /// How it looks.
    pub kind: EventKind,
    /// Events of one key are shown as one: the instance that comes and goes.
    pub aggregation_key: Option<String>,
}

/// An event with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happened {
    /// Seconds since 1970.
    pub(crate) at: u64,
    /// What.
    pub(crate) event: Event,
}

#[derive(Default)]
struct Kept {
    /// The number of the next one; they count from 0 since the start.
    next: u64,
    last: VecDeque<Arc<Happened>>,
}

/// The last events. Every sink remembers by itself how far it has told.
#[derive(Default)]
pub(crate) struct Events(Mutex<Kept>);

impl Events {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one that happens now.
    pub(crate) fn push(&self, event: Event) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let mut kept = self.kept();
        if kept.last.len() >= KEPT {
            kept.last.pop_front();
        }
        kept.last.push_back(Arc::new(Happened { at, event }));
        kept.next += 1;
    }

    /// The number that the next event gets.
    pub(crate) fn next(&self) -> u64 {
        self.kept().next
    }

    /// The events with these numbers, and how many of them are gone.
    pub(crate) fn between(&self, from: u64, to: u64) -> (Vec<Arc<Happened>>, u64) {
        let kept = self.kept();
        let to = to.min(kept.next);
        let oldest = kept.next - kept.last.len() as u64;
        let first = from.max(oldest);
        let skip = usize::try_from(first - oldest).unwrap_or(usize::MAX);
        let take = usize::try_from(to.saturating_sub(first)).unwrap_or(usize::MAX);
        (kept.last.iter().skip(skip).take(take).cloned().collect(), first.min(to).saturating_sub(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_the_rest_is_counted() {
        let events = Events::default();
        let titles = |from, to| {
            let (found, gone) = events.between(from, to);
            (found.iter().map(|h| h.event.title.clone()).collect::<Vec<_>>(), gone)
        };
        assert_eq!(titles(0, u64::MAX), (vec![], 0));
        for n in 0..100 {
            let event =
                Event { title: n.to_string(), text: String::new(), kind: EventKind::Info, aggregation_key: None };
            events.push(event);
        }
        assert_eq!(events.next(), 100);
        let (all, gone) = titles(0, u64::MAX);
        assert_eq!((all.len(), &*all[0], &*all[63], gone), (64, "36", "99", 36));
        assert_eq!(titles(98, 99), (vec!["98".to_owned()], 0));
        assert_eq!(titles(30, 34), (vec![], 4));
        assert_eq!(titles(100, 100), (vec![], 0));
    }
}
