//! How many retries a service may cause: a share of its commands, so that a storm cannot feed itself.
//!
//! The arithmetic is tower's. Its deposit takes a lock and reads the clock, so commands are counted here and deposited,
//! some at once, when a retry asks, and a few times a second.

use std::cell::Cell;
use std::time::Duration;
use tower::retry::budget::{Budget as _, TpsBudget};

/// Deposits between two looks; more commands than these hold earn nothing more.
const DEPOSITS_MAX: u32 = 10_000;

/// Commands of one deposit; fewer than this have earned nothing yet.
const TOGETHER: u32 = 10;

/// How much may be retried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Retries per command, 0.2 for one in five.
    pub ratio: f64,
    /// Retries a second that are always allowed.
    pub least: u32,
    /// How long a command counts.
    pub window: Duration,
}

impl Default for Share {
    fn default() -> Self {
        Share { ratio: 0.2, least: 10, window: Duration::from_secs(10) }
    }
}

/// One thread's budget for one service.
pub struct Budget {
    tokens: TpsBudget,
    commands: Cell<u32>,
}

impl Budget {
    /// A full one.
    pub fn new(share: Share) -> Self {
        // tower takes a window of 1 to 60 s and a ratio up to 1,000; ours is of one command, tower's of a deposit.
        let window = share.window.clamp(Duration::from_secs(1), Duration::from_secs(60));
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the line")]
        let ratio = (share.ratio * f64::from(TOGETHER)).clamp(0.0, 1000.0) as f32;
        Budget { tokens: TpsBudget::new(window, share.least, ratio), commands: Cell::new(0) }
    }

    /// A command was sent for the first time.
    pub fn earn(&self) {
        self.commands.set(self.commands.get().saturating_add(1));
    }

    /// Puts aside what was earned.
    pub fn settle(&self) {
        let commands = self.commands.get();
        self.commands.set(commands % TOGETHER);
        for _ in 0..(commands / TOGETHER).min(DEPOSITS_MAX) {
            self.tokens.deposit();
        }
    }

    /// Whether one more retry may be; it is taken from the budget.
    pub fn spend(&self) -> bool {
        self.settle();
        self.tokens.withdraw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_commands() {
        let budget = Budget::new(Share { ratio: 0.2, least: 0, window: Duration::from_secs(10) });
        assert!(!budget.spend(), "nothing earned yet");
        for _ in 0..100 {
            budget.earn();
        }
        let spent = (0..100).take_while(|_| budget.spend()).count();
        assert_eq!(spent, 20);

        let budget = Budget::new(Share { ratio: 0.0, least: 5, window: Duration::from_secs(10) });
        assert_eq!((0..100).take_while(|_| budget.spend()).count(), 50, "five a second of ten seconds");
    }
}
