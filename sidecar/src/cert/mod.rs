//! A small certificate authority for mutual TLS between sidecars: `fourmi cert init`, `issue` and `show`. Who a
//! certificate is for is a SPIFFE ID in it, `spiffe://TRUST_DOMAIN/NAME`.

mod authority;
mod files;
mod issue;
mod kept;
mod name;
mod parsed;
mod show;

pub use authority::{Authority, Init, init};
pub use issue::{DAYS, Issue, Issued, Usage, issue};
pub use kept::Kept;
pub use show::{KeyFile, Shown, show};

use std::time::{SystemTime, UNIX_EPOCH};

/// Clocks differ: a certificate holds from this many seconds before it was made.
const BACKDATED: i64 = 300;
const DAY: i64 = 86_400;

/// Why something was not done, and the exit code that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What is wrong and what to do about it; a second line is a hint.
    pub message: String,
}

impl Failure {
    /// The asked thing cannot be done.
    fn failed(message: impl Into<String>) -> Failure {
        Failure { code: 1, message: message.into() }
    }

    /// What was asked for makes no sense.
    fn usage(message: impl Into<String>) -> Failure {
        Failure { code: 2, message: message.into() }
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time as people and programs read it.
pub fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "never".to_owned(), |t| t.to_string())
}

#[cfg(test)]
mod tests;
