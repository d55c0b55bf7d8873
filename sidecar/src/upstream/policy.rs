//! How a service's commands are sent: what its section says, ready for the road.

use super::balance::{self, Algorithm};
use super::budget::Share;
use super::health::Health;
use super::queue::Concurrency;
use super::{breaker, section};
use crate::exchange::frames::Outlet;
use crate::section::Wrong;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What is sent again, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    /// Further attempts of a command that may have run, or whose answer was no good.
    pub attempts: u32,
    /// Answers that are no good: another instance is asked.
    pub statuses: Vec<u16>,
    /// How long one attempt may take to its answer's head; none: as long as the command.
    pub per_try: Option<Duration>,
    /// Whether every command may run twice.
    pub idempotent: bool,
    /// Whether a command with an `Idempotency-Key` may.
    pub idempotency_key: bool,
    /// The largest body that is kept so that it can be sent again.
    pub body: usize,
    /// How much of it all there may be.
    pub budget: Share,
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            attempts: 2,
            statuses: Vec::new(),
            per_try: None,
            idempotent: false,
            idempotency_key: true,
            body: 64 << 10,
            budget: Share::default(),
        }
    }
}

/// How a service's commands are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How an instance is chosen.
    pub balance: balance::Settings,
    /// What is found out about their health, and what comes of it.
    pub health: Health,
    /// What is sent again.
    pub retries: Retries,
    /// When a read that has no answer yet is asked of a second instance, too.
    pub hedge: Option<Duration>,
    /// When the service is left alone.
    pub breaker: Option<breaker::Settings>,
    /// How many commands an instance is given at once.
    pub concurrency: Option<Concurrency>,
    /// How instances of ZeroMQ are spoken to.
    pub zmq: Arc<Outlet>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            balance: balance::Settings::of(Algorithm::Latency),
            health: Health::default(),
            retries: Retries::default(),
            hedge: None,
            breaker: None,
            concurrency: None,
            zmq: Arc::default(),
        }
    }
}

impl Policy {
    /// What a section says, or why it can't be; `usual` is the algorithm when it names none.
    pub(crate) fn new(values: &Value, usual: Algorithm) -> Result<Policy, Wrong> {
        section::policy(values, usual)
    }
}
