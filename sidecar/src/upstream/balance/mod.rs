//! Which instance gets the next command.
//!
//! Pure code of one data thread: what is built when the instances change (wheels, rings) is only read by a pick, and
//! a pick allocates nothing. An instance is whatever answers for a [`Peer`].

mod algorithm;
mod balancer;
mod cookie;
mod ewma;
mod explain;
mod hash;
mod load;
mod peer;
mod ring;
pub(crate) mod section;
mod set;
mod slow_start;
mod wheel;

#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use balancer::Balancer;
pub use cookie::NewCookie;
pub use ewma::{DECAY, Ewma};
pub use explain::{Account, Explained, Why};
pub use hash::{Hash, HashOn, Key};
pub use peer::Peer;
pub use slow_start::SlowStart;

/// Slots of a wheel and points of a ring when the configuration says nothing: Kong's number.
pub const SLOTS: usize = 10_000;
/// As many as the configuration may ask for, as in Kong.
pub const SLOTS_MAX: usize = 65_536;
/// And as few.
pub const SLOTS_MIN: usize = 10;

/// How one upstream is balanced, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// What consistent hashing looks at.
    pub hash: Hash,
    /// Slots of the wheel or points of the ring, at most; each instance has at least one.
    pub slots: usize,
    /// How an instance that has just become usable is spared.
    pub slow_start: SlowStart,
}

impl Settings {
    /// Everything by default, with this algorithm.
    pub fn of(algorithm: Algorithm) -> Settings {
        Settings { algorithm, hash: Hash::default(), slots: SLOTS, slow_start: SlowStart::default() }
    }
}
