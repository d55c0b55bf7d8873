//! Waiting for what must come true, instead of sleeping and hoping.

use std::time::{Duration, Instant};

/// How long a test waits for what must come: long enough for a busy machine, and only ever spent on failure.
/// `FOURMI_TEST_PATIENCE` (seconds) changes it.
pub fn patience() -> Duration {
    let seconds = std::env::var("FOURMI_TEST_PATIENCE").ok().and_then(|s| s.parse().ok()).unwrap_or(15);
    Duration::from_secs(seconds)
}

/// Asks until there is an answer; fails with `what` when patience ends.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + patience();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < give_up, "waited {:?} in vain: {what}", patience());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// [`eventually`] for a plain yes or no.
#[track_caller]
pub fn until(what: &str, mut ask: impl FnMut() -> bool) {
    eventually(what, || ask().then_some(()));
}
