//! What middlewares that limit have in common: whom they count, in which windows, where the counters are, and the
//! counters that processes share.

mod cell;
mod entry;
mod place;
pub(crate) mod queue;
mod shared;
mod show;
mod table;
mod who;
pub(crate) mod window;

pub(crate) use cell::{COUNT_MAX, SLIDING_MAX};
pub(crate) use entry::{Entry, Limit, Taken};
pub(crate) use place::{Place, RATE_LIMITING, RATE_SHAPING, RESPONSE_RATELIMITING};
pub(crate) use shared::{Shared, Wish, policy, remember, windows, without};
pub use show::show;
pub(crate) use table::with;
pub(crate) use who::By;

use crate::exchange::Tell;
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use window::{PERIODS, Period};

/// Why a limit could not be counted as its file asks, in the words of the metric.
pub(crate) const REASONS: [&str; 5] = ["redis-away", "redis-late", "redis-error", "redis-busy", "forgotten"];
/// The place of the last of them: a counter was forgotten before its window was over.
pub(crate) const FORGOTTEN: usize = 4;

/// What has happened and was not told yet, by the reasons.
static UNTOLD: [AtomicU32; REASONS.len()] = [const { AtomicU32::new(0) }; REASONS.len()];
/// Whether there is any, so that a look is one read.
static ANY: AtomicU32 = AtomicU32::new(0);

/// Something happened, somewhere where nobody can be told.
pub(crate) fn happened(reason: usize) {
    if let Some(untold) = UNTOLD.get(reason) {
        untold.fetch_add(1, Relaxed);
        ANY.store(1, Relaxed);
    }
}

/// Tells what has happened since the last time.
pub(crate) fn tell_what_happened(tell: &dyn Tell) {
    if ANY.load(Relaxed) == 0 {
        return;
    }
    ANY.store(0, Relaxed);
    for (untold, reason) in UNTOLD.iter().zip(REASONS) {
        for _ in 0..untold.swap(0, Relaxed) {
            tell.limit_fallback(reason);
        }
    }
}

/// Reads the limits of a record: one field for each period. Anything that is no whole number counts as the next one.
pub(crate) fn periods(fields: &mut Fields<'_>) -> Vec<Limit> {
    let all = Period::ALL.map(|period| (period, fields.positive(period.word())));
    let set: Vec<(Period, f64)> = all.into_iter().filter_map(|(period, most)| Some((period, most?))).collect();
    if set.is_empty() && Period::ALL.iter().all(|period| !fields.has(period.word())) {
        let names = Period::ALL.map(|period| format!("'{}'", period.word())).join(", ");
        fields.entity(format!("at least one of these fields must be non-empty: {names}"), "write `minute: 60`");
    }
    let pairs = set.iter().enumerate().flat_map(|(i, a)| set.iter().skip(i + 1).map(move |b| (a, b)));
    if let Some(((shorter, few), (longer, many))) = pairs.into_iter().find(|((_, few), (_, many))| many < few) {
        let (shorter, longer) = (shorter.word(), longer.word());
        fields.entity(
            format!("The limit for {longer}({many:.1}) cannot be lower than the limit for {shorter}({few:.1})"),
            format!("raise `{longer}`, or lower `{shorter}`"),
        );
    }
    set.into_iter().map(|(period, most)| Limit { period, most: (most.ceil() as u64).min(COUNT_MAX) }).collect()
}

/// The limits of a record that stands under a name of its own.
pub(crate) fn periods_of(config: &serde_json::Value) -> Result<Vec<Limit>, Vec<Wrong>> {
    let mut fields = Fields::new(config);
    let limits = periods(&mut fields);
    fields.finish().map(|()| limits)
}

const _: () = assert!(PERIODS == Period::ALL.len());
