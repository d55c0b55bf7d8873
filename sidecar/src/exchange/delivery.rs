//! How commands are delivered: at once or later, and what happens when that fails.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When the caller is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// When the worker has answered.
    #[default]
    Sync,
    /// When the command is stored.
    Async,
    /// When the worker has answered, if that is soon; else when the command is stored.
    Auto,
}

/// How commands of a route or service are delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// When the caller is answered.
    pub mode: Mode,
    /// How long `auto` waits.
    pub wait: Duration,
    /// Whether what fails is stored.
    pub save_on_fail: bool,
    /// When what is stored and failed runs again.
    pub retry: RetryLater,
    /// Whether what was written must not run again.
    pub at_most_once: bool,
    /// Whether a caller's id makes a command one.
    pub idempotency: bool,
    /// Whether callers may ask to be answered at once.
    pub allow_async: bool,
    /// Whether callers may say when.
    pub allow_schedule: bool,
    /// How far ahead.
    pub horizon: Duration,
}

impl Default for Delivery {
    fn default() -> Self {
        Delivery {
            mode: Mode::Sync,
            wait: Duration::from_secs(5),
            save_on_fail: false,
            retry: RetryLater::default(),
            at_most_once: false,
            idempotency: false,
            allow_async: true,
            allow_schedule: true,
            horizon: Duration::from_secs(720 * 3600),
        }
    }
}

impl Delivery {
    /// Whether it does something that no caller asked for.
    pub fn acts(&self) -> bool {
        self.mode != Mode::Sync || self.save_on_fail || self.idempotency
    }

    /// The same for commands that it was not written for: it does only what their callers ask for.
    pub fn only_asked(&self) -> Delivery {
        Delivery { mode: Mode::Sync, save_on_fail: false, idempotency: false, ..self.clone() }
    }
}

/// When a stored command that failed is sent again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryLater {
    /// Between attempts; the last one repeats.
    pub delays: Vec<Duration>,
    /// By which share a delay is longer or shorter.
    pub jitter: f64,
    /// After so many it is dead.
    pub max_attempts: u32,
    /// After so long it is dead.
    pub max_age: Duration,
    /// Answers after which it is sent again.
    pub statuses: Vec<u16>,
}

impl Default for RetryLater {
    fn default() -> Self {
        RetryLater {
            delays: [1, 5, 30, 120, 600, 3600].map(Duration::from_secs).to_vec(),
            jitter: 0.1,
            max_attempts: 12,
            max_age: Duration::from_secs(24 * 3600),
            statuses: vec![408, 425, 429, 500, 502, 503, 504],
        }
    }
}

/// Which part of a command's story an exchange tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// It was stored.
    Accepted,
    /// One attempt of a stored one.
    Attempt,
    /// How a stored one ended.
    Final,
}
