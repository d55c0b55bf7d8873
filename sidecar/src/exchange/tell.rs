//! What the road tells the sinks, without knowing them.

use super::{Direction, Exchange};
use std::rc::Rc;

/// The worker thread's side of the sinks. Nothing here blocks, locks or sends.
pub trait Tell {
    /// Commands on their way: one more (+1), one less (-1).
    fn in_flight(&self, direction: Direction, delta: i64);
    /// The worker is given a command: its own log lines may be about it.
    fn begun(&self, exchange: &Exchange);
    /// Writes its record to every log sink.
    fn log(&self, exchange: &Exchange);
    /// Counts its end.
    fn count(&self, exchange: &Exchange);
    /// Something was refused before it was a command, or a command was refused by a limit.
    fn rejected(&self, reason: &'static str);
    /// A command is sent again.
    fn retried(&self, reason: &'static str);
    /// A command would have been sent again, but for this.
    fn retry_skipped(&self, reason: &'static str) {
        let _ = reason;
    }
    /// A limit could not be counted as its file asks, for this reason.
    fn limit_fallback(&self, reason: &'static str) {
        let _ = reason;
    }
    /// An instance answered, and nobody waited for it any more, for this reason.
    fn answer_dropped(&self, reason: &'static str) {
        let _ = reason;
    }
    /// Connections of callers or to instances: opened (+1), closed (-1).
    fn connection(&self, side: ConnectionSide, delta: i64);
}

/// Tells nobody: for what is no command, such as a check.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Tell for Silent {
    fn in_flight(&self, _: Direction, _: i64) {}
    fn begun(&self, _: &Exchange) {}
    fn log(&self, _: &Exchange) {}
    fn count(&self, _: &Exchange) {}
    fn rejected(&self, _: &'static str) {}
    fn retried(&self, _: &'static str) {}
    fn connection(&self, _: ConnectionSide, _: i64) {}
}

/// Whose connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionSide {
    /// A caller's.
    Client,
    /// One to an instance.
    Upstream,
}

impl ConnectionSide {
    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectionSide::Client => "client",
            ConnectionSide::Upstream => "upstream",
        }
    }
}

/// Counts one connection for as long as it lives.
pub struct Counted(Rc<dyn Tell>, ConnectionSide);

impl Counted {
    /// One more.
    pub fn new(tell: Rc<dyn Tell>, side: ConnectionSide) -> Self {
        tell.connection(side, 1);
        Counted(tell, side)
    }

    /// To whom else of it is told.
    pub fn tell(&self) -> &dyn Tell {
        &*self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection(self.1, -1);
    }
}
