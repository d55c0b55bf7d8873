//! The talk's LoggerMiddleware: one record a command, to every log sink.

use super::{Hooks, Middleware, Settings};
use crate::exchange::{Exchange, Tell};

struct Logger;

pub(super) fn build(settings: &Settings) -> Option<Box<dyn Middleware>> {
    settings.logs.then(|| Box::new(Logger) as Box<dyn Middleware>)
}

impl Middleware for Logger {
    fn name(&self) -> &'static str {
        "logger"
    }

    fn hooks(&self) -> Hooks {
        Hooks { done: true, ..Hooks::default() }
    }

    fn on_done(&self, exchange: &Exchange, tell: &dyn Tell) {
        tell.log(exchange);
    }
}
