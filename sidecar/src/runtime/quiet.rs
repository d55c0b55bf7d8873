//! Log lines that callers cause: often enough to be seen, seldom enough to fill no disk.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// One line of a kind in this time.
const PAUSE: Duration = Duration::from_secs(10);

/// Says when a line may be written.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    last: Cell<Option<Instant>>,
    kept_back: Cell<u64>,
}

impl Quiet {
    /// How many lines were kept back since the last one, if one may be written now.
    pub(super) fn may_speak(&self, now: Instant) -> Option<u64> {
        if self.last.get().is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.kept_back.set(self.kept_back.get() + 1);
            return None;
        }
        self.last.set(Some(now));
        Some(self.kept_back.replace(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_then_how_many_there_were() {
        let quiet = Quiet::default();
        let now = Instant::now();
        assert_eq!(quiet.may_speak(now), Some(0));
        assert_eq!((quiet.may_speak(now), quiet.may_speak(now + PAUSE / 2)), (None, None));
        assert_eq!(quiet.may_speak(now + PAUSE), Some(2));
    }
}
