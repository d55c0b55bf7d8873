//! Which one of a plugin's configurations holds for a command: Kong runs exactly one.

use super::known::{Known, Number, number};
use crate::sink::entry::Entry;
use std::collections::HashMap;

/// Where a configuration holds: route, service, consumer, group of consumers; 0 for any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The route.
    pub route: Number,
    /// The service.
    pub service: Number,
    /// The consumer.
    pub consumer: Number,
    /// The group that the consumer belongs to.
    pub group: Number,
}

/// What of a scope is set: route, service, consumer, group.
type Kind = [bool; 4];

/// Kinds of scopes, those that win before those that lose.
const ORDER: [Kind; 12] = [
    [true, true, true, false],
    [true, true, false, true],
    [true, false, true, false],
    [false, true, true, false],
    [true, false, false, true],
    [false, true, false, true],
    [true, true, false, false],
    [false, false, true, false],
    [false, false, false, true],
    [true, false, false, false],
    [false, true, false, false],
    [false, false, false, false],
];

impl Scope {
    fn kind(&self) -> Kind {
        [self.route, self.service, self.consumer, self.group].map(|n| n != 0)
    }
}

/// The configurations of one plugin, by where they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    by: HashMap<Scope, Number>,
    kinds: Vec<Kind>,
}

impl Choice {
    /// Of configurations and their ids. Of two that hold at the same place the first does.
    pub fn new(all: impl Iterator<Item = (Scope, Number)>) -> Choice {
        let mut by = HashMap::new();
        for (scope, id) in all {
            by.entry(scope).or_insert(id);
        }
        let kinds = ORDER.into_iter().filter(|kind| by.keys().any(|scope| scope.kind() == *kind)).collect();
        Choice { by, kinds }
    }

    /// The one that holds for what a route, service and consumer are.
    pub(crate) fn of(&self, here: Scope, groups: &[Number]) -> Option<Number> {
        const NONE: [Number; 1] = [0];
        self.kinds.iter().find_map(|[route, service, consumer, group]| {
            let only = |wanted: bool, n: Number| if wanted { n } else { 0 };
            // What is not known matches nothing that asks for it.
            if (*route && here.route == 0) || (*service && here.service == 0) || (*consumer && here.consumer == 0) {
                return None;
            }
            let groups = if *group { groups } else { &NONE };
            groups.iter().find_map(|group| {
                let scope = Scope {
                    route: only(*route, here.route),
                    service: only(*service, here.service),
                    consumer: only(*consumer, here.consumer),
                    group: *group,
                };
                self.by.get(&scope).copied()
            })
        })
    }

    /// The one that holds for a command.
    pub(crate) fn for_entry(&self, entry: &Entry<'_>, known: &Known) -> Option<Number> {
        let whole = entry.whole.as_ref()?;
        if let [[false, false, false, false]] = self.kinds[..] {
            return self.by.get(&Scope::default()).copied();
        }
        let here = Scope {
            route: number(whole.route),
            service: number(whole.service),
            consumer: number(whole.consumer),
            group: 0,
        };
        let groups = known.consumers.get(&here.consumer).map_or(&[][..], |c| &c.groups);
        self.of(here, groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_configuration_holds_alone() {
        let (route, service, consumer, group) = (1, 2, 3, 4);
        let scope = |kind: Kind| Scope {
            route: if kind[0] { route } else { 0 },
            service: if kind[1] { service } else { 0 },
            consumer: if kind[2] { consumer } else { 0 },
            group: if kind[3] { group } else { 0 },
        };
        let here = Scope { route, service, consumer, group: 0 };
        // Whatever is taken away, the next one of the order holds.
        for from in 0..ORDER.len() {
            let all = ORDER[from..].iter().rev().enumerate().map(|(i, kind)| (scope(*kind), i as u128 + 1));
            let choice = Choice::new(all);
            assert_eq!(choice.of(here, &[9, group]), Some((ORDER.len() - from) as u128), "{from}");
        }
        let choice = Choice::new([(scope(ORDER[9]), 1), (scope(ORDER[7]), 2)].into_iter());
        assert_eq!(choice.of(Scope { route: 7, ..here }, &[]), Some(2), "the consumer's");
        assert_eq!(choice.of(Scope { consumer: 0, ..here }, &[]), Some(1), "the route's");
        assert_eq!(choice.of(Scope { consumer: 0, route: 7, ..here }, &[]), None);
        // Nobody is in the group.
        assert_eq!(Choice::new([(scope(ORDER[8]), 1)].into_iter()).of(here, &[]), None);
    }
}
