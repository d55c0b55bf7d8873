//! The instances of one upstream in their order: first by rank, then by zone, then by the algorithm.

use super::set::{Choice, Look, Member, Set};
use super::{Algorithm, Peer, SLOTS, SLOTS_MAX};
use fastrand::Rng;
use std::cell::Cell;
use std::time::Instant;

/// Envoy's overprovisioning factor: a zone is full enough as long as its usable weight, times this, reaches all of it.
const OVERPROVISIONED: f64 = 1.4;

/// Instances of the same rank.
#[derive(Debug)]
pub(super) struct Rank {
    pub(super) rank: u32,
    pub(super) near: Set,
    pub(super) far: Set,
}

/// Picks instances. Built when they change, for one thread.
#[derive(Debug)]
pub struct Balancer {
    algorithm: Algorithm,
    /// The lowest, which is preferred, first.
    ranks: Box<[Rank]>,
    /// The state of the generator of random numbers.
    seed: Cell<u64>,
}

impl Balancer {
    /// For these instances, with the usual number of slots. Every pick must be given the same ones in the same order.
    pub fn new<P: Peer>(algorithm: Algorithm, peers: &[P]) -> Balancer {
        Balancer::with(algorithm, SLOTS, fastrand::u64(..), peers)
    }

    /// The same with a size for wheel or ring, and a seed for whatever is drawn.
    pub fn with<P: Peer>(algorithm: Algorithm, slots: usize, seed: u64, peers: &[P]) -> Balancer {
        let slots = slots.min(SLOTS_MAX);
        let mut rng = Rng::with_seed(seed);
        let mut ranks: Vec<u32> = peers.iter().map(P::rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let mut set = |rank: u32, near: bool| {
            let of = |p: &P| p.weight() > 0 && p.rank() == rank && p.near() == near;
            let of = (0..).zip(peers).filter(|(_, p)| of(p));
            let members = of.map(|(at, p)| Member { at, weight: p.weight() }).collect();
            Set::new(algorithm, slots, members, peers, &mut rng)
        };
        let ranks = ranks.into_iter().map(|rank| Rank { rank, near: set(rank, true), far: set(rank, false) }).collect();
        Balancer { algorithm, ranks, seed: Cell::new(rng.get_seed()) }
    }

    /// By which algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The instance that gets the next command; none when none is usable. Drained ones (weight 0) never do.
    ///
    /// `usable` may be asked more than once of the same instance and must not change its mind meanwhile. `key` is for
    /// consistent hashing: without one it is drawn.
    pub fn pick<P: Peer>(
        &self,
        peers: &[P],
        usable: impl Fn(&P) -> bool,
        key: Option<u64>,
        now: Instant,
    ) -> Option<usize> {
        let mut rng = Rng::with_seed(self.seed.get());
        let (set, choice) = self.choose(&Look { peers, usable, now }, key, &mut rng)?;
        self.seed.set(rng.get_seed());
        set.commit(choice);
        Some(choice.at)
    }

    /// What a pick would give now: nothing is changed by it.
    pub(super) fn peek<P: Peer>(&self, look: &Look<'_, P, impl Fn(&P) -> bool>, key: Option<u64>) -> Option<usize> {
        let mut rng = Rng::with_seed(self.seed.get());
        self.choose(look, key, &mut rng).map(|(_, choice)| choice.at)
    }

    fn choose<P: Peer>(
        &self,
        look: &Look<'_, P, impl Fn(&P) -> bool>,
        key: Option<u64>,
        rng: &mut Rng,
    ) -> Option<(&Set, Choice)> {
        self.ranks.iter().find_map(|rank| {
            let (first, second) = rank.zones(look, || drawn(key.filter(|_| self.hashes()), rng));
            let choose = |set: &'_ Set, rng: &mut Rng| set.choose(look, key, rng);
            if let Some(choice) = choose(first, rng) {
                return Some((first, choice));
            }
            choose(second, rng).map(|choice| (second, choice))
        })
    }

    fn hashes(&self) -> bool {
        self.algorithm == Algorithm::ConsistentHashing
    }

    /// The ranks, the preferred one first.
    pub(super) fn ranks(&self) -> &[Rank] {
        &self.ranks
    }
}

impl Rank {
    /// The zone that is asked for an instance, and the one that is asked when it has none.
    fn zones<P: Peer>(&self, look: &Look<'_, P, impl Fn(&P) -> bool>, drawn: impl FnOnce() -> f64) -> (&Set, &Set) {
        match self.near_share(look) {
            share if share >= 1.0 || (share > 0.0 && drawn() < share) => (&self.near, &self.far),
            _ => (&self.far, &self.near),
        }
    }

    /// The share of commands that stay in the zone. Envoy's rule: all of them while what is usable of it, times 1.4,
    /// reaches the whole; else as much as that, and the others take the rest. When they can't take the rest either,
    /// both get their part of what can be taken.
    pub(super) fn near_share<P: Peer>(&self, look: &Look<'_, P, impl Fn(&P) -> bool>) -> f64 {
        if self.far.weight == 0 {
            return 1.0;
        }
        let near = health(&self.near, look);
        if near == 0.0 || near >= 1.0 {
            return near;
        }
        near / (near + health(&self.far, look)).min(1.0)
    }
}

/// The part of a zone's load that it can take.
fn health<P: Peer>(set: &Set, look: &Look<'_, P, impl Fn(&P) -> bool>) -> f64 {
    match set.weight {
        0 => 0.0,
        all => (set.usable_weight(look) as f64 / all as f64 * OVERPROVISIONED).min(1.0),
    }
}

/// From 0 to 1; for a key always the same, so that it stays in its zone.
fn drawn(key: Option<u64>, rng: &mut Rng) -> f64 {
    match key {
        // Another order than the ring's: all keys of one stretch shall not go the same way.
        Some(key) => Rng::with_seed(key).f64(),
        None => rng.f64(),
    }
}
