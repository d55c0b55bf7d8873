//! Instances that speak ZeroMQ: requests as messages, and back.

mod bridge;
pub(crate) mod section;

pub(super) use bridge::{answer, body, message};
pub(crate) use section::{KEYS, outlet};
