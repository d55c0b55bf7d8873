//! The talk's LoggerMiddleware: one record a command, to every log sink, with what the configuration wants shown of
//! its request.

use super::{Hooks, Middleware, Settings, Verdict};
use crate::exchange::{Exchange, Tell};
use crate::sink::Show;

struct Logger {
    show: Show,
}

pub(super) fn build(settings: &Settings) -> Option<Box<dyn Middleware>> {
    settings.logs.then(|| Box::new(Logger { show: settings.show.clone() }) as Box<dyn Middleware>)
}

impl Middleware for Logger {
    fn name(&self) -> &'static str {
        "logger"
    }

    fn hooks(&self) -> Hooks {
        // Only now the request's header lines are still as they came.
        Hooks { request: !self.show.is_nothing(), done: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        exchange.shown = self.show.of(&exchange.request);
        Verdict::Next
    }

    fn on_done(&self, exchange: &Exchange, tell: &dyn Tell) {
        tell.log(exchange);
    }
}
