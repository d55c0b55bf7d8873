//! The keys of a delivery, wherever one is set.

use crate::exchange::{Delivery, Mode, RetryLater};
use crate::section::{Key, Kind, Word, Wrong, key, word};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

const TIME: Kind = Kind::Duration { min: Duration::from_millis(1), off: false };

const MODES: &[Word] = &[word("sync"), word("async"), word("auto")];
const ASKS: &[Word] = &[word("async"), word("schedule")];

/// The keys of a delivery, wherever it is set.
pub(crate) const KEYS: &[Key] = &[
    key(
        "mode",
        Kind::Word(MODES),
        "When the caller is answered: `sync` by the worker, `async` as soon as the command is stored (202), `auto` by \
         the worker if that comes within `wait`, else 202.",
    )
    .or("sync"),
    key("wait", TIME, "How long `auto` waits for the worker.").or("5s"),
    key(
        "save_on_fail",
        Kind::Flag,
        "A command whose worker is away or fails is stored and sent again later; its caller is answered 202.",
    )
    .or("false"),
    key("retry", Kind::Section(RETRY), "When a stored command that failed is sent again."),
    key(
        "at_most_once",
        Kind::Flag,
        "A stored command that was written and not answered is not sent again; it becomes `unknown`.",
    )
    .or("false"),
    key(
        "idempotency",
        Kind::Flag,
        "A command with an `Idempotency-Key` or id of its caller's is done once: the same answer is given again, 409 \
         while it runs, 422 for another request under that id.",
    )
    .or("false"),
    key(
        "allow",
        Kind::List(&Kind::Word(ASKS)),
        "What callers may ask for: `async` (`Prefer: respond-async`, `Fourmi-Mode`), `schedule` (`Fourmi-At`, \
         `Fourmi-Delay`, `Fourmi-Expires`).",
    )
    .or("[async, schedule]"),
    key("horizon", TIME, "How far ahead a command may be scheduled.").or("720h"),
];

const RETRY: &[Key] = &[
    key("delays", Kind::List(&TIME), "Between attempts, from the end of the failed one; the last one repeats.")
        .or("[1s, 5s, 30s, 2m, 10m, 1h]"),
    key("jitter", Kind::Share, "By which share a delay is longer or shorter, at random.").or("0.1"),
    key("max_attempts", Kind::Count { min: 1, max: 10_000, word: None }, "After so many it is dead.").or("12"),
    key("max_age", TIME, "After so long it is dead.").or("24h"),
    key(
        "statuses",
        Kind::List(&Kind::Count { min: 400, max: 599, word: None }),
        "Answers after which it is sent again.",
    )
    .or("[408, 425, 429, 500, 502, 503, 504]"),
];

/// What a section says.
pub(crate) fn delivery(values: &Value) -> Result<Delivery, Wrong> {
    let v = Values::deserialize(values).map_err(|e| Wrong::new(e.to_string(), "see docs/delivery.md"))?;
    let usual = Delivery::default();
    let retry = v.retry.unwrap_or_default();
    let delays = retry.delays.unwrap_or_else(|| usual.retry.delays.clone());
    if delays.is_empty() {
        return Err(Wrong::new("`delays` is empty", "write at least one, such as [1s]").of("retry"));
    }
    let allow = |what: &str, usual: bool| v.allow.as_ref().map_or(usual, |all| all.iter().any(|a| a == what));
    Ok(Delivery {
        mode: match v.mode.as_deref() {
            Some("async") => Mode::Async,
            Some("auto") => Mode::Auto,
            _ => Mode::Sync,
        },
        wait: v.wait.unwrap_or(usual.wait),
        save_on_fail: v.save_on_fail,
        retry: RetryLater {
            delays,
            jitter: retry.jitter.unwrap_or(usual.retry.jitter),
            max_attempts: retry.max_attempts.unwrap_or(usual.retry.max_attempts),
            max_age: retry.max_age.unwrap_or(usual.retry.max_age),
            statuses: retry.statuses.unwrap_or(usual.retry.statuses),
        },
        at_most_once: v.at_most_once,
        idempotency: v.idempotency,
        allow_async: allow("async", usual.allow_async),
        allow_schedule: allow("schedule", usual.allow_schedule),
        horizon: v.horizon.unwrap_or(usual.horizon),
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Values {
    mode: Option<String>,
    wait: Option<Duration>,
    save_on_fail: bool,
    retry: Option<RetryValues>,
    at_most_once: bool,
    idempotency: bool,
    allow: Option<Vec<String>>,
    horizon: Option<Duration>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RetryValues {
    delays: Option<Vec<Duration>>,
    jitter: Option<f64>,
    max_attempts: Option<u32>,
    max_age: Option<Duration>,
    statuses: Option<Vec<u16>>,
}
