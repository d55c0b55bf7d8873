//! Why a pick would choose which instance.

use super::set::{Look, Set};
use super::{Algorithm, Balancer, Peer};
use std::fmt;
use std::time::Instant;

/// What the next pick would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// Who would be picked.
    pub picked: Option<usize>,
    /// Every instance, in the order of the peers.
    pub peers: Vec<Account>,
}

/// One instance and its figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// Its rank.
    pub rank: u32,
    /// Whether it is in our zone.
    pub near: bool,
    /// Commands that it holds.
    pub in_flight: u32,
    /// The seconds that it is expected to take, if known.
    pub cost: Option<f64>,
    /// The part of its weight that counts now.
    pub ramp: f64,
    /// The load by which the algorithm compares; the lowest wins.
    pub load: Option<f64>,
    /// The share of commands that its zone gets now, from 0 to 1.
    pub share: f64,
    /// Why it would, or would not, be picked.
    pub why: Why,
}

/// Why an instance would, or would not, be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is the one, by this algorithm.
    Picked(Algorithm),
    /// It could have been, but by this algorithm another one is.
    Another(Algorithm),
    /// Its weight is 0.
    Drained,
    /// It is down, ejected, full, or was tried before.
    Unusable,
    /// Instances of this lower rank are usable.
    Rank(u32),
    /// It is in another zone, and those of ours are enough.
    Zone,
}

impl Balancer {
    /// What [`Balancer::pick`] would do now, and why. Changes nothing: the next pick does just that, as long as the
    /// instances stay as they are.
    pub fn explain<P: Peer>(
        &self,
        peers: &[P],
        usable: impl Fn(&P) -> bool,
        key: Option<u64>,
        now: Instant,
    ) -> Explained {
        let look = Look { peers, usable, now };
        let picked = self.peek(&look, key);
        let mut accounts: Vec<Account> = peers.iter().map(|p| account(p, now)).collect();
        let mut serving = None;
        for rank in self.ranks() {
            let has_usable = rank.near.any(&look) || rank.far.any(&look);
            let share = if has_usable && serving.is_none() { rank.near_share(&look) } else { 0.0 };
            let mut tell = |set: &Set, share: f64| {
                for member in set.members() {
                    let at = member.at as usize;
                    let (Some(account), Some(peer)) = (accounts.get_mut(at), peers.get(at)) else { continue };
                    account.load = set.load(peer, member.weight, now);
                    account.share = share;
                    account.why = match serving {
                        _ if look.usable(member).is_none() => Why::Unusable,
                        _ if picked == Some(at) => Why::Picked(self.algorithm()),
                        Some(lower) => Why::Rank(lower),
                        None if share == 0.0 => Why::Zone,
                        None => Why::Another(self.algorithm()),
                    };
                }
            };
            tell(&rank.near, share);
            tell(&rank.far, if has_usable && serving.is_none() { 1.0 - share } else { 0.0 });
            if has_usable && serving.is_none() {
                serving = Some(rank.rank);
            }
        }
        Explained { algorithm: self.algorithm(), picked, peers: accounts }
    }
}

/// Figures of an instance that is in no set: a drained one.
fn account(peer: &impl Peer, now: Instant) -> Account {
    Account {
        name: peer.name().to_owned(),
        weight: peer.weight(),
        rank: peer.rank(),
        near: peer.near(),
        in_flight: peer.in_flight(),
        cost: peer.cost(now),
        ramp: peer.ramp(now),
        load: None,
        share: 0.0,
        why: Why::Drained,
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Why::Picked(Algorithm::RoundRobin) => "it is its turn",
            Why::Picked(Algorithm::LeastConnections) => "fewest commands in flight for its weight",
            Why::Picked(Algorithm::Latency) => "the better of the two that were drawn",
            Why::Picked(Algorithm::ConsistentHashing) => "first usable one on the ring after the key",
            Why::Another(Algorithm::RoundRobin) => "it is another one's turn",
            Why::Another(Algorithm::LeastConnections) => "another one has fewer in flight, or as few and the turn",
            Why::Another(Algorithm::Latency) => "not drawn, or the worse of two",
            Why::Another(Algorithm::ConsistentHashing) => "the key belongs to another one",
            Why::Drained => "weight 0: drained",
            Why::Unusable => "not usable now",
            Why::Rank(lower) => return write!(f, "only when none of rank {lower} is usable"),
            Why::Zone => "in another zone, and ours is enough",
        };
        f.write_str(text)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if matches!(self.why, Why::Picked(_)) { "picked" } else { "not picked" };
        write!(f, "{}: {word}: {}; weight {}", self.name, self.why, self.weight)?;
        if self.ramp < 1.0 {
            write!(f, " (starting, {:.0} % of it)", self.ramp * 100.0)?;
        }
        write!(f, ", rank {}, {}", self.rank, if self.near { "near" } else { "far" })?;
        if self.share > 0.0 && self.share < 1.0 {
            write!(f, " (its zone gets {:.0} %)", self.share * 100.0)?;
        }
        write!(f, ", {} in flight", self.in_flight)?;
        match self.cost {
            Some(seconds) => write!(f, ", {:.1} ms", seconds * 1000.0),
            None => f.write_str(", latency unknown"),
        }?;
        self.load.map_or(Ok(()), |load| write!(f, ", load {load:.3e}"))
    }
}
