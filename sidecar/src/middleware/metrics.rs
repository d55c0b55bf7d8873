//! The talk's MetricsMiddleware: a count per outcome and tag, and the execution times.

use super::{Hooks, Middleware, Settings};
use crate::exchange::{Exchange, Part, Tell};

struct Metrics;

pub(super) fn build(_: &Settings) -> Option<Box<dyn Middleware>> {
    Some(Box::new(Metrics))
}

impl Middleware for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn hooks(&self) -> Hooks {
        Hooks { done: true, ..Hooks::default() }
    }

    fn on_done(&self, exchange: &Exchange, tell: &dyn Tell) {
        // A stored command is counted once, when it has ended.
        if matches!(exchange.part, Part::Whole | Part::Final) {
            tell.count(exchange);
        }
    }
}
