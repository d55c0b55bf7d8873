//! What is registered: nodes, instances of services, checks, and SkyDNS's records.

mod check;
mod instance;
mod limits;
mod node;
mod record;

pub use check::{Alias, Check, Definition, Probe, SCRIPTS_REFUSED, Timing, Tls};
pub use instance::{Instance, TaggedAddress, Weights};
pub use limits::Invalid;
pub(crate) use limits::{cut, lower};
pub use node::{Address, Node};
pub use record::Record;
pub(crate) use record::{label, path};

/// How an instance or a check is; the greater, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Its checks are fine.
    Passing,
    /// It works, with a complaint; it still gets commands.
    Warning,
    /// It must not get commands.
    Critical,
}

impl State {
    /// The word that answers, records and labels carry.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Passing => "passing",
            State::Warning => "warning",
            State::Critical => "critical",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<State> {
        [State::Passing, State::Warning, State::Critical].into_iter().find(|state| state.as_str() == word)
    }

    /// Whether commands may go there.
    pub fn usable(self) -> bool {
        self != State::Critical
    }
}
