//! The talk's MetricsMiddleware: a count per outcome and tag, and the execution times.

use super::{Hooks, Middleware, Settings};
use crate::exchange::{Exchange, Tell};

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
        tell.count(exchange);
    }
}
