//! Groups: who is left when entries of several are found.

use super::find::Found;
use std::collections::BTreeSet;

/// Those of the topmost group, and those of none. The topmost entries decide: when none of them has a group, or they
/// have several, all are kept.
pub(super) fn kept(mut found: Vec<Found<'_>>) -> Vec<Found<'_>> {
    let Some(top) = found.iter().map(|found| found.path.len()).min() else { return found };
    let at_top = found.iter().filter(|found| found.path.len() == top);
    let groups: BTreeSet<&str> =
        at_top.map(|found| found.entry.group.as_str()).filter(|group| !group.is_empty()).collect();
    if let [group] = groups.into_iter().collect::<Vec<_>>()[..] {
        let group = group.to_owned();
        found.retain(|found| found.entry.group.is_empty() || found.entry.group == group);
    }
    found
}
