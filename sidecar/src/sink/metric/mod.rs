//! Counting: cells that one worker writes, and their sums.

mod registry;
mod series;
mod view;

pub(crate) use registry::{Connection, Levels, Registry, Sample, WorkerCells};
pub(crate) use series::{BOUNDS, Distribution, Duration3, Totals};
pub(crate) use view::{Label, Labels, SeriesKey, WorkerSeries};
