//! The health of instances: what checks, commands and people say of them, in one place that all threads look at.

mod active;
mod counters;
mod floor;
mod limits;
mod passive;
mod probe;
pub(crate) mod section;
mod standing;
mod word;

pub use active::{Active, Check, Instance, Speak, keep_checking};
pub use counters::Counts;
pub use floor::Floor;
pub use limits::{Limits, Report, Statuses, below_threshold};
pub use passive::{Change, Ejection, Passive};
pub use probe::Opener;
pub use section::Health;
pub use standing::{Shown, Standing, State, Trial};
