//! What happens to a command on its road. One file each; [`ALL`] is the one list of those that every command passes,
//! [`PLUGINS`] that of those that a gateway's file names.

mod acl;
mod auth;
mod basic_auth;
mod body_limit;
mod bot_detection;
mod correlation_id;
mod cors;
mod delivery;
mod edit;
mod expression;
mod hmac_auth;
mod ip_restriction;
mod jwt;
mod key_auth;
mod limits;
pub mod line;
mod logger;
mod metrics;
mod mtls_auth;
pub mod plugin;
mod proxy_cache;
mod query;
mod rate_limiting;
mod rate_shaping;
mod redirect;
mod request_size_limiting;
mod request_termination;
mod request_transformer;
mod request_validator;
mod response_ratelimiting;
mod response_transformer;
mod schema;
mod template;
#[cfg(test)]
pub(crate) mod testing;

use crate::exchange::{AnswerHead, Exchange, Fault, Limits, Reply, Tell};
use crate::sink::Show;
use bytes::Bytes;
pub use limits::show as show_limits;
use plugin::Plugin;
use std::pin::Pin;

/// What a middleware wants of the request.
pub enum Verdict {
    /// Go on.
    Next,
    /// Answer with this fault instead.
    Refuse(Fault),
    /// Answer this instead.
    Reply(Box<Reply>),
    /// Read the body, up to so many bytes, and ask again: [`Exchange::seen`] then tells it.
    Body(usize),
    /// Something has to be asked outside first.
    Wait(Waiting<Exchange, Verdict>),
}

/// What a middleware wants of the answer.
pub enum After {
    /// Go on.
    Next,
    /// Answer this instead.
    Reply(Box<Reply>),
    /// Read the body, up to so many bytes, and hand it to [`Middleware::on_answer_body`]. A longer one passes by.
    Body(usize),
    /// Something has to be asked outside first.
    Wait(Waiting<Exchange, After>),
}

/// A question to the outside, and what its answer means for the exchange.
pub type Waiting<X, V> = Pin<Box<dyn Future<Output = Resume<X, V>>>>;

/// Goes on with an exchange after a question was answered.
pub type Resume<X, V> = Box<dyn FnOnce(&mut X) -> V>;

/// One behaviour on the road. Synchronous, unless it has to ask outside; a hook that is not named in
/// [`Middleware::hooks`] is never called and costs nothing.
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
    /// The head of the answer is there, whoever gave it: an instance, a middleware, or Fourmi itself.
    fn on_answer(&self, exchange: &mut Exchange, answer: &mut AnswerHead) -> After {
        let _ = (exchange, answer);
        After::Next
    }
    /// The whole body of an answer, for which [`After::Body`] has asked; returns the one to send. Its length is
    /// announced anew.
    fn on_answer_body(&self, exchange: &mut Exchange, answer: &mut AnswerHead, body: Bytes) -> Bytes {
        let _ = (exchange, answer);
        body
    }
    /// After the last byte, or when the exchange was given up.
    fn on_done(&self, exchange: &Exchange, tell: &dyn Tell) {
        let _ = (exchange, tell);
    }
    /// Whether it looks at [`Exchange::captures`].
    fn wants_captures(&self) -> bool {
        false
    }
    /// What it would do with a command, for people who ask beforehand; empty when there is nothing to say.
    fn explain(&self, exchange: &Exchange) -> String {
        let _ = exchange;
        String::new()
    }
}

/// Which hooks a middleware implements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hooks {
    /// [`Middleware::on_request`].
    pub request: bool,
    /// [`Middleware::on_answer`].
    pub answer: bool,
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

/// Every middleware that a gateway's file may name. A new one is a new file and a new line here.
pub const PLUGINS: &[Plugin] = &[
    acl::PLUGIN,
    basic_auth::PLUGIN,
    bot_detection::PLUGIN,
    correlation_id::PLUGIN,
    cors::PLUGIN,
    delivery::PLUGIN,
    hmac_auth::PLUGIN,
    ip_restriction::PLUGIN,
    jwt::PLUGIN,
    key_auth::PLUGIN,
    mtls_auth::PLUGIN,
    proxy_cache::PLUGIN,
    rate_limiting::PLUGIN,
    rate_shaping::PLUGIN,
    redirect::PLUGIN,
    request_size_limiting::PLUGIN,
    request_termination::PLUGIN,
    request_transformer::PLUGIN,
    request_validator::PLUGIN,
    response_ratelimiting::PLUGIN,
    response_transformer::PLUGIN,
];

/// The middlewares of every command, sorted by hook at load time.
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
