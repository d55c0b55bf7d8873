//! The spool on the control thread: opened at start, told of in the metrics, closed at the end.

use super::keeper::Keeper;
use crate::config::Plan;
use crate::names::metric;
use crate::sink::Numbers;
use crate::spool::{self, Spool, State};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Exit codes (sysexits): a spool that cannot be made, a configuration that does not fit it.
const CANNOT_CREATE: u8 = 73;
const CONFIGURATION: u8 = 78;
/// How often it is looked whether what runs has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Opens it, when the plan has one; or says why not, and ends with which code.
pub(super) fn open(plan: &Plan) -> Result<Option<Spool>, (String, u8)> {
    let Some(settings) = &plan.spool else { return Ok(None) };
    let opened = Spool::open(settings).map_err(|unusable| {
        let code = if unusable.configuration { CONFIGURATION } else { CANNOT_CREATE };
        (unusable.message, code)
    })?;
    let summary = opened.summary();
    let open: i64 = State::ALL.into_iter().filter(|s| !s.is_final()).map(|s| summary.of(s)).sum();
    tracing::info!(path = %settings.path.display(), open, dead = summary.of(State::Dead), "the spool is open");
    if let Some(kind) = spool::kind_of_disk(&settings.path) {
        tracing::warn!(
            "the spool is on {kind}, which does not outlive the container: mount a volume at {}",
            settings.path.display()
        );
    }
    Ok(Some(opened))
}

impl Keeper {
    /// Tells of it in the metrics.
    pub(super) fn watch_spool(&self) {
        let Some(spool) = self.spool.clone() else { return };
        self.hub.watch_spool(Arc::new(move || numbers(&spool)));
    }

    /// Takes no more stored commands out.
    pub(super) fn rest(&self) {
        if let Some(spool) = &self.spool {
            spool.rest();
        }
    }

    /// Waits for those that are being sent; what has not ended then is sent again by the next process.
    pub(super) async fn drain_spool(&self, by: Instant) {
        let Some(spool) = &self.spool else { return };
        while spool.summary().of(State::Running) > 0 && Instant::now() < by {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Writes what is not written.
    pub(super) fn close_spool(&self) {
        if let Some(spool) = &self.spool {
            spool.close();
        }
    }
}

fn numbers(spool: &Spool) -> Numbers {
    let summary = spool.summary();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    let mut numbers = Numbers::default();
    for state in State::ALL {
        numbers.gauges.push((metric::SPOOL_COMMANDS, state.as_str(), summary.of(state) as f64));
        let entered = summary.entered.get(&state).copied().unwrap_or(0);
        numbers.counters.push((metric::SPOOL_TRANSITIONS, state.as_str(), entered));
    }
    for state in State::ALL.into_iter().filter(|s| !s.is_final()) {
        let age = summary.oldest.get(&state).map_or(0.0, |at| (now - *at as f64 / 1e3).max(0.0));
        numbers.gauges.push((metric::SPOOL_OLDEST_AGE, state.as_str(), age));
    }
    numbers.gauges.push((metric::SPOOL_BYTES, "", summary.bytes as f64));
    numbers.counters.push((metric::SPOOL_REFUSED, "full", summary.refused));
    numbers
}
