//! The keys that `worker:` and each of `outbound[].services` have in common.

use super::balance::{Algorithm, section as balance};
use super::breaker;
use super::budget::Share;
use super::health::{Health, section as health};
use super::policy::{Policy, Retries};
use super::queue::Concurrency;
use super::zmq;
use crate::section::{Key, Kind, Shape, Wrong, join, key};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const SOME_TIME: Kind = Kind::Duration { min: Duration::from_millis(1), off: false };
const TIME_OR_OFF: Kind = Kind::Duration { min: Duration::from_millis(1), off: true };

/// One address and what is said of it.
pub(crate) const ADDRESS: &[Key] = &[
    key("url", Kind::Text(Shape::Target), "Where it listens; a name may stand for several instances.").required(),
    key("weight", Kind::Count { min: 0, max: 65_535, word: None }, "Its share of the commands; 0 is given none.")
        .or("100"),
    key("zone", Kind::Text(Shape::Free), "The zone that it is in."),
];

/// Addresses: one, or a list.
pub(crate) const ADDRESSES: Kind = Kind::OneOrMany(&Kind::Short("url", ADDRESS));

/// How commands are sent to a service.
pub(crate) const POLICY: &[Key] = &join::<{ balance::KEYS.len() + SENDING.len() }>(&[balance::KEYS, SENDING]);

const SENDING: &[Key] = &[
    key("healthchecks", Kind::Section(health::KEYS), "What is found out about the instances, and what comes of it."),
    key("retries", Kind::Short("attempts", RETRIES), "What is sent again, and how often."),
    key("hedge", TIME_OR_OFF, "A read without an answer after this long is asked of a second instance, too.").or("off"),
    key("circuit_breaker", Kind::Section(BREAKER), "When the service is left alone because it mostly fails."),
    key("concurrency", Kind::Short("max", CONCURRENCY), "How many commands an instance is given at once."),
    key("zmq", Kind::Section(zmq::KEYS), "How a `zmq+tcp` or `zmq+ipc` instance is spoken to."),
];

const RETRIES: &[Key] = &[
    key(
        "attempts",
        Kind::Count { min: 0, max: 100, word: None },
        "Further attempts of a command that may run twice. What cannot have run is sent again anyway.",
    )
    .or("2"),
    key(
        "statuses",
        Kind::List(&Kind::Count { min: 400, max: 599, word: None }),
        "Answers after which another instance is asked, if the command may run twice.",
    )
    .or("[]"),
    key("per_try", TIME_OR_OFF, "How long one attempt may take to its answer's head.").or("off"),
    key("idempotent", Kind::Flag, "Every command of the service may run twice, whatever its method.").or("false"),
    key("idempotency_key", Kind::Flag, "A command with an `Idempotency-Key` may run twice.").or("true"),
    key("body", Kind::Bytes { min: 0, max: 16 << 20 }, "The largest body that is kept to be sent again.").or("64KiB"),
    key("budget", Kind::Short("share", BUDGET), "How many retries there may be, so that no storm feeds itself."),
];

const BUDGET: &[Key] = &[
    key("share", Kind::Share, "Retries for each command.").or("0.2"),
    key("least", Kind::Count { min: 0, max: 100_000, word: None }, "Retries a second that are always allowed.")
        .or("10"),
    key(
        "window",
        Kind::Duration { min: Duration::from_secs(1), off: false },
        "How long a command counts, 60s at most.",
    )
    .or("10s"),
];

const BREAKER: &[Key] = &[
    key("failures", Kind::Share, "The share of failed commands that opens it.").required(),
    key("least", Kind::Count { min: 1, max: 1_000_000, word: None }, "Commands that a window must have to count.")
        .or("20"),
    key("window", SOME_TIME, "How long commands are counted together.").or("10s"),
    key("open", SOME_TIME, "How long it stays open before one command may find out.").or("5s"),
];

const CONCURRENCY: &[Key] = &[
    key("max", Kind::Count { min: 1, max: 1_000_000, word: None }, "Commands at one instance at once, of all threads.")
        .required(),
    key(
        "queue",
        Kind::Count { min: 0, max: 1_000_000, word: None },
        "Commands that wait, for each instance and thread.",
    )
    .or("100"),
    key("wait", SOME_TIME, "How long one waits, before 503.").or("1s"),
];

#[derive(Deserialize)]
struct Values {
    #[serde(flatten)]
    balance: balance::Values,
    healthchecks: Value,
    retries: RetryValues,
    hedge: Option<Duration>,
    circuit_breaker: Option<BreakerValues>,
    concurrency: Option<ConcurrencyValues>,
    #[serde(default)]
    zmq: Value,
}

#[derive(Deserialize)]
struct RetryValues {
    attempts: u32,
    statuses: Vec<u16>,
    per_try: Option<Duration>,
    idempotent: bool,
    idempotency_key: bool,
    body: usize,
    budget: BudgetValues,
}

#[derive(Deserialize)]
struct BudgetValues {
    share: f64,
    least: u32,
    window: Duration,
}

#[derive(Deserialize)]
struct BreakerValues {
    failures: f64,
    least: u32,
    window: Duration,
    open: Duration,
}

#[derive(Deserialize)]
struct ConcurrencyValues {
    max: u32,
    queue: u32,
    wait: Duration,
}

/// What is wrong in a section of the section.
fn inside(key: &'static str, wrong: Wrong) -> Wrong {
    let message = match wrong.key {
        Some(inner) => format!("{inner}: {}", wrong.message),
        None => wrong.message,
    };
    Wrong { message, key: Some(key), ..wrong }
}

/// What the section says.
pub(super) fn policy(values: &Value, usual: Algorithm) -> Result<Policy, Wrong> {
    let v = Values::deserialize(values).map_err(|e| Wrong::new(e.to_string(), "correct the section"))?;
    let r = v.retries;
    let budget = Share { ratio: r.budget.share, least: r.budget.least, window: r.budget.window };
    if budget.window > Duration::from_secs(60) {
        return Err(Wrong::new("the budget's window is at most 60s", "write 60s or less").of("retries"));
    }
    if r.attempts == 0 && (!r.statuses.is_empty() || r.per_try.is_some()) {
        let message = "statuses and per_try say when to try again, and attempts: 0 says never";
        return Err(Wrong::new(message, "set attempts, or remove them").of("retries"));
    }
    if v.circuit_breaker.as_ref().is_some_and(|b| b.failures == 0.0) {
        let message = "a breaker with failures: 0 would open at the first command";
        return Err(Wrong::new(message, "write a share such as 0.5").of("circuit_breaker"));
    }
    Ok(Policy {
        balance: v.balance.check(usual)?,
        health: Health::new(&v.healthchecks).map_err(|wrong| inside("healthchecks", wrong))?,
        retries: Retries {
            attempts: r.attempts,
            statuses: r.statuses,
            per_try: r.per_try,
            idempotent: r.idempotent,
            idempotency_key: r.idempotency_key,
            body: r.body,
            budget,
        },
        hedge: v.hedge,
        breaker: v.circuit_breaker.map(|b| breaker::Settings {
            failures: b.failures,
            least: b.least,
            window: b.window,
            open: b.open,
        }),
        concurrency: v.concurrency.map(|c| Concurrency { max: c.max, queue: c.queue, wait: c.wait }),
        zmq: Arc::new(zmq::outlet(&v.zmq).map_err(|wrong| inside("zmq", wrong))?),
    })
}
