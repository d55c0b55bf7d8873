//! Counting: cells that one worker writes, and their sums.

mod idle;
mod registry;
mod series;
mod view;

pub use registry::{Absence, Numbers, Queries, Spooled};
pub(crate) use registry::{Levels, Reason, Registry, Sample, WorkerCells};
pub(crate) use series::{BOUNDS, Distribution, Duration3, Sampling, Totals};
pub(crate) use view::{Labels, SeriesKey, WorkerSeries};

#[cfg(test)]
mod tests;
