//! How one request waits, and how a receiver is left alone: never beyond the end of the sink.

use crate::sink::drain::Outlet;
use std::future::Future;
use std::time::{Duration, Instant};

/// Failures in a row after which a sink that is no longer configured gives up.
const RETIRED_TRIES: u32 = 5;
/// The longest pause when Fourmi ends: what cannot be sent in the time that is left is lost.
const LAST_PAUSE: Duration = Duration::from_millis(250);
/// How often a request on its way looks for the end.
const LATE_POLL: Duration = Duration::from_millis(10);

/// The result, or an error when there is no time left before it comes.
pub(super) async fn before_the_end<T>(outlet: &Outlet, work: impl Future<Output = T>) -> Result<T, String> {
    let late = async {
        while !outlet.is_late() {
            tokio::time::sleep(LATE_POLL).await;
        }
    };
    // The clock ticks only while a request is on its way.
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = late => Err("no time left at the end".to_owned()),
    }
}

/// Leaves the receiver alone for this long; false when it is not worth trying again.
pub(super) async fn rest(outlet: &Outlet, pause: Duration, failures: u32) -> Result<(), ()> {
    let begun = Instant::now();
    loop {
        let pause = if outlet.is_stopping() { pause.min(LAST_PAUSE) } else { pause };
        let given_up = outlet.is_ending() && !outlet.is_stopping() && failures >= RETIRED_TRIES;
        if outlet.is_late() || given_up {
            return Err(());
        }
        let left = pause.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        outlet.rest(left).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_waits_beyond_the_end() {
        let outlet = Outlet::new("otlp_metrics", String::new());
        let soon = Duration::from_millis(1);
        assert_eq!(before_the_end(&outlet, async { 7 }).await, Ok(7));
        assert_eq!(rest(&outlet, soon, 99).await, Ok(()), "a sink of now never gives up");
        outlet.retire();
        assert_eq!((rest(&outlet, soon, 1).await, rest(&outlet, soon, RETIRED_TRIES).await), (Ok(()), Err(())));
        outlet.stop(tokio::time::Instant::now() + Duration::from_millis(30));
        assert!(before_the_end(&outlet, std::future::pending::<()>()).await.is_err());
        assert_eq!(rest(&outlet, Duration::from_secs(3600), 1).await, Err(()));
    }
}
