//! Instances of one rank and zone, and the choice among them.

use super::load;
use super::ring::Ring;
use super::{Algorithm, Peer, wheel};
use fastrand::Rng;
use std::cell::Cell;
use std::cmp::Ordering;
use std::time::Instant;

/// Unusable instances that are passed one by one before all of them are looked at instead.
const STEPS: usize = 64;
/// Pairs that are drawn blindly before the usable ones are looked up.
const DRAWS: usize = 4;

/// An instance that may get commands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// Which of the peers.
    pub(super) at: u32,
    /// Never 0.
    pub(super) weight: u32,
}

/// What a pick looks at.
pub(super) struct Look<'a, P, F> {
    pub(super) peers: &'a [P],
    pub(super) usable: F,
    pub(super) now: Instant,
}

impl<P: Peer, F: Fn(&P) -> bool> Look<'_, P, F> {
    /// The peer behind a member, when it may be given a command.
    pub(super) fn usable(&self, member: &Member) -> Option<&P> {
        self.peers.get(member.at as usize).filter(|p| (self.usable)(p))
    }
}

/// What the algorithm has prepared.
#[derive(Debug)]
enum Prepared {
    Nothing(Algorithm),
    Wheel(Box<[u32]>),
    Ring(Ring),
}

/// Which member was chosen, and whose turn it is then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// Which of the peers.
    pub(super) at: usize,
    turn: usize,
}

/// Instances of one rank and zone.
#[derive(Debug)]
pub(super) struct Set {
    members: Box<[Member]>,
    /// Their weights together.
    pub(super) weight: u64,
    prepared: Prepared,
    turn: Cell<usize>,
}

impl Set {
    /// Prepares what the algorithm needs.
    pub(super) fn new<P: Peer>(
        algorithm: Algorithm,
        slots: usize,
        members: Vec<Member>,
        peers: &[P],
        rng: &mut Rng,
    ) -> Set {
        let name = |m: &Member| peers.get(m.at as usize).map_or("", |p| p.name());
        let prepared = match algorithm {
            Algorithm::RoundRobin => Prepared::Wheel(wheel::build(&members, slots, rng)),
            Algorithm::ConsistentHashing => Prepared::Ring(Ring::new(&members, slots, name)),
            Algorithm::LeastConnections | Algorithm::Latency => Prepared::Nothing(algorithm),
        };
        let weight = members.iter().map(|m| u64::from(m.weight)).sum();
        let turn = Cell::new(rng.usize(..members.len().max(1)));
        Set { members: members.into(), weight, prepared, turn }
    }

    /// The weights of those that are usable.
    pub(super) fn usable_weight<P: Peer>(&self, look: &Look<'_, P, impl Fn(&P) -> bool>) -> u64 {
        self.members.iter().filter(|m| look.usable(m).is_some()).map(|m| u64::from(m.weight)).sum()
    }

    /// Whether one is usable.
    pub(super) fn any<P: Peer>(&self, look: &Look<'_, P, impl Fn(&P) -> bool>) -> bool {
        self.members.iter().any(|m| look.usable(m).is_some())
    }

    /// A usable one, if there is any; whose turn it is changes with [`Set::commit`] only.
    pub(super) fn choose<P: Peer>(
        &self,
        look: &Look<'_, P, impl Fn(&P) -> bool>,
        key: Option<u64>,
        rng: &mut Rng,
    ) -> Option<Choice> {
        match &self.prepared {
            Prepared::Wheel(wheel) => self.in_turn(wheel, look, rng),
            Prepared::Ring(ring) => self.owner(ring, look, key.unwrap_or_else(|| rng.u64(..))),
            Prepared::Nothing(Algorithm::Latency) => self.better_of_two(look, rng),
            Prepared::Nothing(_) => self.least(look),
        }
    }

    /// The choice holds.
    pub(super) fn commit(&self, choice: Choice) {
        self.turn.set(choice.turn);
    }

    fn choice(&self, member: usize, turn: usize) -> Option<Choice> {
        self.members.get(member).map(|m| Choice { at: m.at as usize, turn })
    }

    /// The next one on the wheel. Those passed over lose their turn: the others then share it by their weights, as if
    /// the wheel were without them.
    fn in_turn<P: Peer>(
        &self,
        wheel: &[u32],
        look: &Look<'_, P, impl Fn(&P) -> bool>,
        rng: &mut Rng,
    ) -> Option<Choice> {
        let start = self.turn.get() % wheel.len().max(1);
        let (before, after) = wheel.split_at_checked(start)?;
        let mut turn = start;
        for member in after.iter().chain(before).take(STEPS) {
            turn += 1;
            let at = *member as usize;
            let Some(peer) = self.members.get(at).and_then(|m| look.usable(m)) else { continue };
            let ramp = load::ramp(peer, look.now);
            if ramp >= 1.0 || rng.f64() < ramp {
                return self.choice(at, turn);
            }
        }
        self.choice(self.drawn(look, rng)?, turn)
    }

    /// A usable one drawn by weight.
    fn drawn<P: Peer>(&self, look: &Look<'_, P, impl Fn(&P) -> bool>, rng: &mut Rng) -> Option<usize> {
        let strength = |m: &Member| look.usable(m).map(|p| load::strength(p, m.weight, look.now));
        let mut left = rng.f64() * self.members.iter().filter_map(strength).sum::<f64>();
        let mut last = None;
        for (at, member) in self.members.iter().enumerate() {
            let Some(strength) = strength(member) else { continue };
            last = Some(at);
            left -= strength;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// The one whose point follows the key, or the next usable one.
    fn owner<P: Peer>(&self, ring: &Ring, look: &Look<'_, P, impl Fn(&P) -> bool>, key: u64) -> Option<Choice> {
        for (step, owner) in ring.walk(key).enumerate() {
            if step == STEPS && !self.any(look) {
                return None;
            }
            if self.members.get(owner as usize).is_some_and(|m| look.usable(m).is_some()) {
                return self.choice(owner as usize, 0);
            }
        }
        None
    }

    /// The one with the fewest commands for its weight; among equals the one after the last that was chosen.
    fn least<P: Peer>(&self, look: &Look<'_, P, impl Fn(&P) -> bool>) -> Option<Choice> {
        let n = self.members.len();
        let start = self.turn.get() % n.max(1);
        let mut best: Option<(usize, f64)> = None;
        for at in (start..n).chain(0..start) {
            let Some(member) = self.members.get(at) else { continue };
            let Some(peer) = look.usable(member) else { continue };
            let load = load::connections(peer, member.weight, look.now);
            if best.is_none_or(|(_, least)| load < least) {
                best = Some((at, load));
            }
        }
        best.and_then(|(at, _)| self.choice(at, at + 1))
    }

    /// Power of two choices.
    fn better_of_two<P: Peer>(&self, look: &Look<'_, P, impl Fn(&P) -> bool>, rng: &mut Rng) -> Option<Choice> {
        let (one, other) = self.two(look, rng)?;
        let Some(other) = other else { return self.choice(one, 0) };
        let of = |at: usize| self.members.get(at).and_then(|m| look.peers.get(m.at as usize).map(|p| (p, m.weight)));
        let ((first, weight), (second, beside)) = (of(one)?, of(other)?);
        let now = look.now;
        let order = match (load::is_sluggish(first, second, now), load::is_sluggish(second, first, now)) {
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            _ => load::latency(first, weight, now).partial_cmp(&load::latency(second, beside, now)),
        };
        let better = match order {
            Some(Ordering::Less) => one,
            Some(Ordering::Greater) => other,
            // Equal ones came in the order of their places.
            _ => rng.choice([one, other])?,
        };
        self.choice(better, 0)
    }

    /// Two usable ones, each pair as likely as any other; or the only one.
    fn two<P: Peer>(&self, look: &Look<'_, P, impl Fn(&P) -> bool>, rng: &mut Rng) -> Option<(usize, Option<usize>)> {
        let n = self.members.len();
        let usable = |at: usize| self.members.get(at).is_some_and(|m| look.usable(m).is_some());
        if n > 2 {
            for _ in 0..DRAWS {
                let one = rng.usize(..n);
                let other = rng.usize(..n - 1);
                let other = if other >= one { other + 1 } else { other };
                if usable(one) && usable(other) {
                    return Some((one, Some(other)));
                }
            }
        }
        // Reservoir sampling: a later one takes the place of either with the same chance.
        let (mut one, mut other) = (None, None);
        for (seen, at) in (0..n).filter(|at| usable(*at)).enumerate() {
            match (seen, rng.usize(..=seen)) {
                (0, _) => one = Some(at),
                (1, _) => other = Some(at),
                (_, 0) => one = Some(at),
                (_, 1) => other = Some(at),
                _ => {}
            }
        }
        one.map(|one| (one, other))
    }

    /// The load by which the algorithm compares, if it does.
    pub(super) fn load<P: Peer>(&self, peer: &P, weight: u32, now: Instant) -> Option<f64> {
        match &self.prepared {
            Prepared::Nothing(Algorithm::Latency) => Some(load::latency(peer, weight, now)),
            Prepared::Nothing(_) => Some(load::connections(peer, weight, now)),
            Prepared::Wheel(_) | Prepared::Ring(_) => None,
        }
    }

    /// The peers among it.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    #[cfg(test)]
    pub(super) fn prepared_len(&self) -> usize {
        match &self.prepared {
            Prepared::Nothing(_) => 0,
            Prepared::Wheel(wheel) => wheel.len(),
            Prepared::Ring(ring) => ring.len(),
        }
    }
}
