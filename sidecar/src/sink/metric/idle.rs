//! Series in which nobody counts any more are forgotten, and nothing is lost by it.
//!
//! A worker counts without asking, so it may add to cells while the registry forgets their series. Such cells are
//! closed and put aside with what they held; when the worker has let go of them, what came later is known exactly.

use super::series::{Series, Totals};
use super::view::SeriesKey;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a series may rest before it is forgotten.
pub(super) const IDLE: Duration = Duration::from_secs(600);

/// Since when nothing was counted.
#[derive(Default)]
pub(super) struct Rest {
    count: u64,
    since: Option<Instant>,
}

impl Rest {
    /// Looks at the count; true when it has not moved for so long.
    pub(super) fn is_over(&mut self, count: u64, now: Instant, idle: Duration) -> bool {
        if self.count != count {
            *self = Rest { count, since: Some(now) };
        }
        now.duration_since(*self.since.get_or_insert(now)) >= idle
    }

    /// When the count was first seen as it is.
    pub(super) fn since(&self, now: Instant) -> Instant {
        self.since.unwrap_or(now)
    }
}

/// Cells whose series is forgotten and which a worker may still hold.
pub(super) struct Closed {
    key: SeriesKey,
    cells: Arc<Series>,
    /// How much of it was told.
    seen: Totals,
}

impl Closed {
    /// Closes the cells of a series, of which so much is told.
    pub(super) fn new(key: &SeriesKey, cells: Arc<Series>, seen: Totals) -> Closed {
        cells.close();
        Closed { key: key.clone(), cells, seen }
    }
}

/// Takes out what the workers have let go; what they counted after it was closed.
pub(super) fn let_go(closed: &mut Vec<Closed>) -> Vec<(SeriesKey, Totals)> {
    let mut late = Vec::new();
    closed.retain_mut(|one| {
        let Some(cells) = Arc::get_mut(&mut one.cells) else { return true };
        let more = cells.totals().since(&one.seen);
        if more.count() > 0 {
            late.push((one.key.clone(), more));
        }
        false
    });
    late
}

/// What forgotten series had counted for the tags that are still seen: a counter by tag must not go back while one
/// of its series lives.
#[derive(Default)]
pub(super) struct TagTotals(HashMap<(Arc<str>, Arc<str>), u64>);

impl TagTotals {
    /// Keeps the count of a series that is forgotten.
    pub(super) fn keep(&mut self, key: &SeriesKey, count: u64) {
        if count == 0 {
            return;
        }
        for (label, value) in key.labels() {
            *self.0.entry((label.tag.clone(), value.into())).or_default() += count;
        }
    }

    /// Lets go of tags that no series carries any more.
    pub(super) fn tidy<'a>(&mut self, series: impl Iterator<Item = &'a SeriesKey>) {
        if self.0.is_empty() {
            return;
        }
        let alive: HashSet<(&str, &str)> = series.flat_map(SeriesKey::labels).map(|(l, v)| (&*l.tag, v)).collect();
        self.0.retain(|(tag, value), _| alive.contains(&(&**tag, &**value)));
    }

    /// Tag, value, count.
    pub(super) fn all(&self) -> Vec<(Arc<str>, Arc<str>, u64)> {
        self.0.iter().map(|((tag, value), n)| (tag.clone(), value.clone(), *n)).collect()
    }
}
