//! The order of round robin: every instance stands on the wheel as often as its weight says, evenly spread.

use super::set::Member;
use fastrand::Rng;

/// The places of members on a wheel of about `slots` at most; each has at least one.
///
/// Weights are cut by their common divisor, so equal ones need one slot each. Where an instance begins is drawn:
/// threads and sidecars that start together shall not all begin with the same one.
pub(super) fn build(members: &[Member], slots: usize, rng: &mut Rng) -> Box<[u32]> {
    let divisor = u64::from(members.iter().fold(0, |d, m| gcd(d, m.weight)).max(1));
    let total: u64 = members.iter().map(|m| u64::from(m.weight) / divisor).sum();
    let slots = slots.max(members.len()) as u64;
    let mut places = Vec::new();
    for (member, m) in (0..).zip(members) {
        let exact = u64::from(m.weight) / divisor;
        let count = if total <= slots { exact } else { ((exact * slots + total / 2) / total).max(1) };
        let first = rng.f64();
        places.extend((0..count).map(|k| ((k as f64 + first) / count as f64, member)));
    }
    places.sort_by(|a: &(f64, u32), b| a.0.total_cmp(&b.0));
    places.into_iter().map(|(_, member)| member).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
