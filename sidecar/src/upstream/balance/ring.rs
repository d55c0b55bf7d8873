//! The ring of consistent hashing, like Ketama's: every instance has many points on it, and a key belongs to the first
//! one after it.

use super::set::Member;
use twox_hash::XxHash64;

/// Points of an instance of the usual weight.
const POINTS: f64 = 160.0;
/// The usual weight: Kong's.
const USUAL: f64 = 100.0;
/// The unit is the usual weight times a power of this. Kong divides by the average, so one that leaves changes the
/// points of all others and moves their keys too; so coarse a step hardly ever changes.
const STEP: f64 = 16.0;
/// The lowest average that goes with the usual weight as unit. Nobody writes weights just about it.
const LOWEST: f64 = 37.0;

/// Points in the order of their places, each with its owner among the members.
#[derive(Debug, Default)]
pub(super) struct Ring {
    places: Box<[u64]>,
    owners: Box<[u32]>,
}

impl Ring {
    /// The ring of these members, of `slots` points at most beyond the one that each has.
    pub(super) fn new<'a>(members: &[Member], slots: usize, name: impl Fn(&Member) -> &'a str) -> Ring {
        let unit = unit(members, slots);
        let mut points = Vec::new();
        for (owner, member) in (0..).zip(members) {
            let name = name(member);
            points.extend((0..count(member, unit)).map(|i| (XxHash64::oneshot(i, name.as_bytes()), name, owner)));
        }
        // By name where two fall together: the order of the members shall not matter.
        points.sort_unstable();
        let places = points.iter().map(|p| p.0).collect();
        Ring { places, owners: points.iter().map(|p: &(u64, &str, u32)| p.2).collect() }
    }

    /// How many points there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The owners of the points from a key on, once around.
    pub(super) fn walk(&self, key: u64) -> impl Iterator<Item = u32> {
        let start = self.places.partition_point(|place| *place < key);
        let (before, after) = self.owners.split_at_checked(start).unwrap_or_default();
        after.iter().chain(before).copied()
    }
}

/// The weight that has [`POINTS`]: an average one has some 60 to 950.
fn unit(members: &[Member], slots: usize) -> f64 {
    let total: f64 = members.iter().map(|m| f64::from(m.weight)).sum();
    let average = (total / members.len().max(1) as f64).max(1.0);
    let mut unit = USUAL * STEP.powf((average / LOWEST).log(STEP).floor());
    let slots = slots.max(members.len()) as f64;
    while total / unit * POINTS > slots {
        unit *= 2.0;
    }
    unit
}

fn count(member: &Member, unit: f64) -> u64 {
    // Never negative, and small by what `unit` is.
    ((f64::from(member.weight) / unit * POINTS) as u64).max(1)
}
