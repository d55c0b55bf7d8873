//! Tries of one hop that failed and were followed by another.

use super::{Exchange, FaultKind};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Failed tries that an exchange remembers; later ones are counted by the retry metric only.
pub const ATTEMPTS_MAX: usize = 16;

/// The longest detail, in bytes; a longer one is cut between characters.
const DETAIL_MAX: usize = 160;

/// One try that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The instance.
    pub upstream: Arc<str>,
    /// When it failed, counted from the command's start.
    pub at: Duration,
    /// What kind of failure: a [`FaultKind::code`].
    pub code: &'static str,
    /// The cause, for people.
    pub detail: Cow<'static, str>,
}

impl Exchange {
    /// Remembers a try that failed.
    pub fn attempt_failed(
        &mut self,
        upstream: &Arc<str>,
        at: Instant,
        kind: FaultKind,
        detail: impl Into<Cow<'static, str>>,
    ) {
        if self.attempts.len() >= ATTEMPTS_MAX {
            return;
        }
        let mut detail = detail.into();
        if detail.len() > DETAIL_MAX {
            detail = Cow::Owned(detail[..detail.floor_char_boundary(DETAIL_MAX)].to_owned());
        }
        let at = at.saturating_duration_since(self.timings.start);
        self.attempts.push(Attempt { upstream: upstream.clone(), at, code: kind.code(), detail });
    }
}
