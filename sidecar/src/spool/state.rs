//! What can be said of a stored command.

/// The state of a stored command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Its time has not come.
    Scheduled,
    /// It waits for its turn.
    Ready,
    /// It is in the worker's hands.
    Running,
    /// An attempt has failed, another follows.
    Retrying,
    /// Done.
    Succeeded,
    /// Given up.
    Dead,
    /// Taken back.
    Cancelled,
    /// Its time had passed before it ran.
    Expired,
    /// Written to the worker, no answer, and it must not run twice.
    Unknown,
}

impl State {
    /// All of them.
    pub const ALL: [State; 9] = [
        State::Scheduled,
        State::Ready,
        State::Running,
        State::Retrying,
        State::Succeeded,
        State::Dead,
        State::Cancelled,
        State::Expired,
        State::Unknown,
    ];

    /// The word for it, everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Scheduled => "scheduled",
            State::Ready => "ready",
            State::Running => "running",
            State::Retrying => "retrying",
            State::Succeeded => "succeeded",
            State::Dead => "dead",
            State::Cancelled => "cancelled",
            State::Expired => "expired",
            State::Unknown => "unknown",
        }
    }

    /// The state that a word stands for.
    pub fn parse(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, State::Scheduled | State::Ready | State::Running | State::Retrying)
    }

    /// Whether an operator may let it run again.
    pub fn may_retry(self) -> bool {
        matches!(self, State::Dead | State::Unknown | State::Cancelled | State::Expired)
    }

    /// Whether it waits for something.
    pub fn waits(self) -> bool {
        matches!(self, State::Scheduled | State::Ready | State::Retrying)
    }
}
