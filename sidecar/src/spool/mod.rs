//! The durable store of accepted commands that are not finished, and what is remembered of those that are.
//!
//! One thread writes ([`writer`](self)): what came together is committed together, and nothing is promised before its
//! commit is on disk. Another reads for people. The road hands commands in ([`Spool::accept`]) and takes those that are
//! due ([`Spool::claim`]); how they are sent is the road's matter, which this part does not know.

mod command;
pub(crate) mod cron;
pub(crate) mod delivery;
mod gate;
mod handle;
pub mod retry;
mod seal;
pub(crate) mod section;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use crate::exchange::base64;
pub use command::{Came, Ended, Ending, Job, Kept, New, Request, Told, Work};
pub use cron::Entry;
pub use handle::{Accepted, Refused, Spool, Summary};
pub use section::Settings;
pub use state::State;
pub use store::query::{Filter, Listing, Row};
pub use store::{Unusable, kind_of_disk};
pub use writer::{Change, Changed, Import, What};
