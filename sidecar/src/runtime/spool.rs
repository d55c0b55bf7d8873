//! The spool on the control thread: opened at start, told of in the metrics, closed at the end.

use super::keeper::Keeper;
use crate::config::Plan;
use crate::names::metric;
use crate::sink::Numbers;
use crate::spool::{self, Entry, Filter, Spool, State};
use std::rc::Rc;
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

/// How often it is looked whether an entry's moment has come: cron knows minutes.
const TICK: Duration = Duration::from_millis(500);

/// Puts the commands of `commands.schedule` into the spool when their moment comes. What was missed while nobody ran is
/// not made up for: as with cron, only an accepted command is never lost.
pub(super) async fn schedule(keeper: Rc<Keeper>) {
    let Some(spool) = keeper.spool.clone() else { return };
    let mut waiting: Vec<(Arc<Entry>, Option<i64>)> = Vec::new();
    loop {
        tokio::time::sleep(TICK).await;
        let plan = keeper.plan();
        let now = millis();
        // One that stays keeps its moment over a reload.
        waiting = plan
            .schedule
            .iter()
            .map(|entry| match waiting.iter().find(|(known, _)| known == entry) {
                Some((known, next)) => (known.clone(), *next),
                None => (entry.clone(), entry.after(now)),
            })
            .collect();
        for (entry, next) in &mut waiting {
            let Some(at) = next.filter(|at| *at <= now) else { continue };
            *next = entry.after(now);
            fire(&spool, entry, &plan.identity.service, at).await;
        }
    }
}

async fn fire(spool: &Spool, entry: &Entry, service: &str, at: i64) {
    if !entry.queues {
        let states = State::ALL.into_iter().filter(|s| !s.is_final()).collect();
        let open = Filter { key: Some(entry.key()), states, ..Filter::default() };
        match spool.count(open).await {
            Ok(0) => {}
            Ok(_) => {
                let name = &entry.name;
                tracing::warn!(name, "left out: the one before has not ended (commands.schedule, overlap: skip)");
                return;
            }
            Err(why) => tracing::warn!(name = entry.name, "it is not known whether the one before has ended: {why}"),
        }
    }
    if let Err(refused) = spool.accept(entry.command(service, at)).await {
        tracing::error!(name = entry.name, "a scheduled command could not be stored: {refused:?}");
    }
}

fn millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
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
