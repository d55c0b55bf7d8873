//! How many requests there were, by route and by how they were answered.

use super::routes::ROUTES;
use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};

const CLASSES: [&str; 4] = ["2xx", "4xx", "5xx", "other"];
/// What no route takes.
const OTHER: &str = "other";

type Cells = [AtomicU64; CLASSES.len()];

/// Counters of requests.
#[derive(Debug)]
pub(super) struct Counts {
    routes: [Cells; ROUTES.len()],
    other: Cells,
}

impl Default for Counts {
    fn default() -> Self {
        Counts { routes: std::array::from_fn(|_| Cells::default()), other: Cells::default() }
    }
}

impl Counts {
    /// One request to a route, by its place in the table: the first one of its path.
    pub(super) fn count(&self, route: Option<usize>, status: StatusCode) {
        let cells = route.and_then(|route| self.routes.get(route)).unwrap_or(&self.other);
        let class = match status.as_u16() {
            200..300 => 0,
            400..500 => 1,
            500..600 => 2,
            _ => 3,
        };
        if let Some(cell) = cells.get(class) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Route, class, and how many, for all that happened.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let routes = ROUTES.iter().map(|route| route.path.trim_end_matches('/')).zip(&self.routes);
        let rows = routes.chain([(OTHER, &self.other)]);
        rows.flat_map(|(route, cells)| {
            CLASSES.iter().zip(cells).map(move |(class, count)| (route, *class, count.load(Ordering::Relaxed)))
        })
        .filter(|(_, _, count)| *count > 0)
    }
}
