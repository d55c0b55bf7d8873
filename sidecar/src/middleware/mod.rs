//! What happens to a command on its road. One file each; [`ALL`] is the one list.

mod body_limit;
mod logger;
mod metrics;

use crate::exchange::{Exchange, Fault, Limits, Tell};
use crate::sink::Show;

/// What a middleware wants of the request.
#[derive(Debug)]
pub enum Verdict {
    /// Go on.
    Next,
    /// Answer with this fault instead.
    Refuse(Fault),
}

/// One behaviour on the road. Synchronous; a hook that is not named in [`Middleware::hooks`] is never called and
/// costs nothing.
pub trait Middleware: Send + Sync {
    /// Its name, as documents and explanations show it.
    fn name(&self) -> &'static str;
    /// The hooks that it implements.
    fn hooks(&self) -> Hooks;
    /// Before the body is read: access.
    fn on_request(&self, exchange: &mut Exchange, tell: &dyn Tell) -> Verdict {
        let _ = (exchange, tell);
        Verdict::Next
    }
    /// After the last byte, or when the exchange was given up.
    fn on_done(&self, exchange: &Exchange, tell: &dyn Tell) {
        let _ = (exchange, tell);
    }
}

/// Which hooks a middleware implements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hooks {
    /// [`Middleware::on_request`].
    pub request: bool,
    /// [`Middleware::on_done`].
    pub done: bool,
}

/// Builds a middleware from its settings, or none when it has nothing to do.
type Build = fn(&Settings) -> Option<Box<dyn Middleware>>;

/// What middlewares are built from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sizes and counts.
    pub limits: Limits,
    /// Whether any log sink listens.
    pub logs: bool,
    /// What records show of requests.
    pub show: Show,
}

/// Every middleware, in the order in which requests pass them.
const ALL: &[Build] = &[logger::build, metrics::build, body_limit::build];

/// The middlewares of a route, sorted by hook at load time.
pub struct Chain {
    all: Vec<Box<dyn Middleware>>,
    request: Vec<usize>,
    done: Vec<usize>,
}

impl Chain {
    /// Builds every middleware that has something to do.
    pub fn new(settings: &Settings) -> Self {
        let all: Vec<_> = ALL.iter().filter_map(|build| build(settings)).collect();
        let with = |wanted: fn(Hooks) -> bool| {
            all.iter().enumerate().filter(|(_, m)| wanted(m.hooks())).map(|(i, _)| i).collect::<Vec<_>>()
        };
        let request = with(|h| h.request);
        // Answers and ends pass in reverse.
        let done = with(|h| h.done).into_iter().rev().collect();
        Chain { request, done, all }
    }

    /// Asks each in turn until one refuses.
    pub fn on_request(&self, exchange: &mut Exchange, tell: &dyn Tell) -> Verdict {
        for &i in &self.request {
            match self.all[i].on_request(exchange, tell) {
                Verdict::Next => {}
                refused => return refused,
            }
        }
        Verdict::Next
    }

    /// Tells each, in reverse.
    pub fn on_done(&self, exchange: &Exchange, tell: &dyn Tell) {
        for &i in &self.done {
            self.all[i].on_done(exchange, tell);
        }
    }

    /// Their names, in order.
    pub fn names(&self) -> Vec<&'static str> {
        self.all.iter().map(|m| m.name()).collect()
    }
}
