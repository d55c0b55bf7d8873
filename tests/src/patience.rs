//! Waiting for what must come true, instead of sleeping and hoping.

use std::time::{Duration, Instant};

/// How long a test waits for what must come: long enough for a busy machine, and only ever spent on failure.
/// `FOURMI_TEST_PATIENCE` (seconds) changes it.
pub fn patience() -> Duration {
    let seconds = std::env::var("FOURMI_TEST_PATIENCE").ok().and_then(|s| s.parse().ok()).unwrap_or(15);
    Duration::from_secs(seconds)
}

/// How long until it is asked again.
const AGAIN: Duration = Duration::from_millis(10);

/// Asks until there is an answer or the time is over.
pub fn within<T>(time: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let give_up = Instant::now() + time;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= give_up {
            return None;
        }
        std::thread::sleep(AGAIN);
    }
}

/// Asks until there is an answer; fails with `what`, and with what `show` says then, when patience ends.
#[track_caller]
pub fn eventually_or<T>(what: &str, ask: impl FnMut() -> Option<T>, show: impl FnOnce() -> String) -> T {
    match within(patience(), ask) {
        Some(answer) => answer,
        None => panic!("waited {:?} in vain: {what}; now:\n{}", patience(), show()),
    }
}

/// [`eventually_or`] with nothing to show.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    eventually_or(what, ask, String::new)
}

/// [`eventually`] for a plain yes or no.
#[track_caller]
pub fn until(what: &str, mut ask: impl FnMut() -> bool) {
    eventually(what, || ask().then_some(()));
}
