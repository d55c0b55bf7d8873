//! `delivery`: how a route's commands are delivered, in a gateway's file. Kong has no such plugin; the fields are those of
//! `commands:` in Fourmi's own configuration, with times in seconds, as Kong writes them.

use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Delivery, Exchange, Mode, RetryLater, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use std::sync::Arc;
use std::time::Duration;

/// After those that let a command in or refuse it.
pub(super) const PLUGIN: Plugin = Plugin { name: "delivery", priority: 10, build };

/// A hundred years.
const LONGEST: f64 = 3.2e9;

struct Way(Arc<Delivery>);

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let usual = Delivery::default();
    let seconds = |fields: &mut Fields<'_>, key, usual: Duration| {
        fields.number(key, 0.001, LONGEST).map_or(usual, Duration::from_secs_f64)
    };
    let delivery = Delivery {
        mode: match fields.one_of("mode", &["sync", "async", "auto"], "sync") {
            "async" => Mode::Async,
            "auto" => Mode::Auto,
            _ => Mode::Sync,
        },
        wait: seconds(&mut fields, "wait", usual.wait),
        save_on_fail: fields.flag("save_on_fail", false),
        at_most_once: fields.flag("at_most_once", false),
        idempotency: fields.flag("idempotency", false),
        allow_async: fields.flag("allow_async", true),
        allow_schedule: fields.flag("allow_schedule", true),
        horizon: seconds(&mut fields, "horizon", usual.horizon),
        retry: RetryLater {
            delays: match fields.integers("retry_delays", 1, 86_400) {
                Some(delays) if !delays.is_empty() => {
                    delays.into_iter().map(|s| Duration::from_secs(u64::try_from(s).unwrap_or(1))).collect()
                }
                _ => usual.retry.delays,
            },
            jitter: fields.number("retry_jitter", 0.0, 1.0).unwrap_or(usual.retry.jitter),
            max_attempts: fields
                .integer("retry_max_attempts", 1, 10_000)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(usual.retry.max_attempts),
            max_age: seconds(&mut fields, "retry_max_age", usual.retry.max_age),
            statuses: match fields.integers("retry_statuses", 400, 599) {
                Some(all) => all.into_iter().filter_map(|n| u16::try_from(n).ok()).collect(),
                None => usual.retry.statuses,
            },
        },
    };
    fields.finish()?;
    Ok(Arc::new(Way(Arc::new(delivery))))
}

impl Middleware for Way {
    fn name(&self) -> &'static str {
        PLUGIN.name
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        exchange.delivery = Some(self.0.clone());
        Verdict::Next
    }

    fn explain(&self, _: &Exchange) -> String {
        match (self.0.mode, self.0.save_on_fail) {
            (Mode::Async, _) => "stored, and answered 202".to_owned(),
            (Mode::Auto, _) => format!("stored when its worker takes more than {:?}", self.0.wait),
            (Mode::Sync, true) => "stored when its worker fails".to_owned(),
            (Mode::Sync, false) => String::new(),
        }
    }
}
