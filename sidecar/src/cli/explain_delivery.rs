//! `fourmi explain` on delivery: when a caller is answered, what is stored, and when that is sent again.

use super::explain::Explained;
use super::explain_kong;
use crate::config::{Plan, duration_text};
use crate::exchange::{Delivery, Direction, Mode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How a command would be delivered.
#[derive(Debug)]
pub(crate) struct Delivered {
    delivery: Arc<Delivery>,
    /// There is something to store it in.
    stored: bool,
    /// Its route's own mode holds for it: it changes something.
    changes: bool,
    /// Where its key is, beside the header.
    key: Option<String>,
}

impl Delivered {
    /// For a command of this direction, when its way says nothing of its own.
    fn new(plan: &Plan, delivery: Arc<Delivery>, method: &str) -> Delivered {
        Delivered {
            delivery,
            stored: plan.spool.is_some(),
            changes: !matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE"),
            key: plan.identify.key.clone(),
        }
    }

    /// Without a gateway before the worker, or for what the worker sends.
    pub(crate) fn of(plan: &Plan, explained: &Explained) -> Delivered {
        let delivery = match explained.direction() {
            Direction::Inbound => plan.delivery.clone(),
            Direction::Outbound => {
                let service = plan.outbound.iter().find(|s| *s.name == *explained.service());
                service.and_then(|s| s.delivery.clone()).unwrap_or_else(|| Arc::new(plan.delivery.only_asked()))
            }
        };
        Delivered::new(plan, explained.chosen().unwrap_or(delivery), explained.method())
    }

    /// Behind a gateway: its middleware `delivery` is before what holds for all.
    pub(crate) fn behind(plan: &Plan, explained: &explain_kong::Explained) -> Delivered {
        let delivery = explained.chosen().unwrap_or_else(|| plan.delivery.clone());
        Delivered::new(plan, delivery, explained.method())
    }

    /// For people: names and what stands behind them.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let d = &self.delivery;
        if !self.stored {
            return vec![("delivery", "at once; nothing can be stored, for there is no `spool:`".to_owned())];
        }
        let mode = match (d.mode, self.changes) {
            (_, false) => "sync: answered by whom it is sent to, for it only reads".to_owned(),
            (Mode::Sync, true) => "sync: answered by whom it is sent to".to_owned(),
            (Mode::Async, true) => "async: stored, and answered 202".to_owned(),
            (Mode::Auto, true) => format!("auto: answered 202 when it takes more than {}", duration_text(d.wait)),
        };
        let save = match d.save_on_fail && self.changes {
            true => "; save_on_fail: stored and answered 202 when that is away or fails",
            false => "; what fails is not stored",
        };
        let save = if d.mode == Mode::Async && self.changes { "" } else { save };
        let once = match (d.at_most_once, d.idempotency) {
            (true, true) => "at_most_once: unknown when it was not answered; idempotency: once by its caller's id",
            (true, false) => "at_most_once: unknown when it was not answered",
            (false, true) => "at least once when it is stored; idempotency: once by its caller's id",
            (false, false) => "at least once when it is stored",
        };
        let r = &d.retry;
        let delays: Vec<String> = r.delays.iter().map(|d| duration_text(*d)).collect();
        let statuses: Vec<String> = r.statuses.iter().map(u16::to_string).collect();
        let retry = format!(
            "when it is stored: after {} ± {} %, {} attempt{}, {} at most; for {}",
            delays.join(", "),
            (r.jitter * 100.0).round(),
            r.max_attempts,
            if r.max_attempts == 1 { "" } else { "s" },
            duration_text(r.max_age),
            if statuses.is_empty() { "no status".to_owned() } else { statuses.join(" ") },
        );
        let allow = match (d.allow_async, d.allow_schedule) {
            (false, false) => "callers may ask for nothing".to_owned(),
            (true, false) => "callers may ask for async".to_owned(),
            (asks, true) => format!(
                "callers may ask for {}schedule ({} ahead at most)",
                if asks { "async, " } else { "" },
                duration_text(d.horizon)
            ),
        };
        let key = match &self.key {
            Some(pointer) => format!("Fourmi-Key of a trusted caller, else {pointer} of its body"),
            None => "Fourmi-Key of a trusted caller".to_owned(),
        };
        vec![
            ("delivery", format!("{mode}{save}")),
            ("once", once.to_owned()),
            ("retry", retry),
            ("allow", allow),
            ("key", key),
        ]
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let d = &self.delivery;
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let word = |mode: Mode| match mode {
            Mode::Sync => "sync",
            Mode::Async => "async",
            Mode::Auto => "auto",
        };
        let allow = [("async", d.allow_async), ("schedule", d.allow_schedule)];
        let allow: Vec<&str> = allow.into_iter().filter(|(_, is)| *is).map(|(word, _)| word).collect();
        json!({
            "stored": self.stored,
            "mode": word(if self.changes && self.stored { d.mode } else { Mode::Sync }),
            "wait_ms": ms(d.wait),
            "save_on_fail": d.save_on_fail && self.changes && self.stored,
            "at_most_once": d.at_most_once,
            "idempotency": d.idempotency,
            "retry": {
                "delays_ms": d.retry.delays.iter().copied().map(ms).collect::<Vec<_>>(), "jitter": d.retry.jitter,
                "max_attempts": d.retry.max_attempts, "max_age_ms": ms(d.retry.max_age), "statuses": d.retry.statuses,
            },
            "allow": allow,
            "horizon_ms": ms(d.horizon),
            "key": self.key,
        })
    }
}
