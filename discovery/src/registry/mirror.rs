//! What another registry holds, taken over as it tells it.

use super::{Catalog, Refused, Registry, settle};
use crate::model::{Check, Definition, Instance, Node, Probe, Record, State, lower, path};

/// A check as another registry tells it. It is done there, so here it is as that one says.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) notes: String,
    pub(crate) state: State,
    pub(crate) output: String,
    pub(crate) held: bool,
    /// The other one does not know yet: what was known here before holds.
    pub(crate) unseen: bool,
}

impl Told {
    fn on(self, node: &str, instance: Option<&str>) -> Check {
        let mut definition = Definition::of_node(node, self.id, Probe::Manual);
        definition.instance = instance.map(str::to_owned);
        (definition.name, definition.notes) = (self.name, self.notes);
        Check {
            state: self.state,
            output: self.output.into(),
            held: self.held,
            unseen: self.unseen,
            ..Check::new(definition)
        }
    }
}

/// One thing that another registry holds, or holds no more.
#[derive(Debug, Clone)]
pub(crate) enum Mirrored {
    /// A node with the checks that are its own.
    Node(Node, Vec<Told>),
    /// A node whose checks stay as they are.
    NodeAlone(Node),
    /// An instance with its checks. Its node is there, or came before it.
    Instance(Instance, Vec<Told>),
    /// A SkyDNS record under its whole name.
    Record(String, Record),
    NoNode(String),
    /// A node and an id on it.
    NoInstance(String, String),
    NoRecord(String),
}

impl Registry {
    /// Takes many things over at once: a reader sees all of them or none. Says of each whether it was taken.
    pub(crate) fn mirror(&self, things: Vec<Mirrored>) -> Vec<Result<(), Refused>> {
        let mut results = Vec::with_capacity(things.len());
        let done = self.change(|catalog| {
            let mut changed = false;
            for thing in things {
                let result = catalog.mirror(thing);
                // One that was refused may have been taken in part.
                changed |= *result.as_ref().unwrap_or(&true);
                results.push(result.map(drop));
            }
            Ok(changed)
        });
        debug_assert!(done.is_ok(), "each has a result of its own");
        results
    }
}

impl Catalog {
    fn mirror(&mut self, thing: Mirrored) -> Result<bool, Refused> {
        match thing {
            Mirrored::Node(node, told) => {
                node.check()?;
                let name = lower(&node.name).into_owned();
                let checks = told.into_iter().map(|told| settle(told.on(&node.name, None)));
                let checks = checks.collect::<Result<Vec<_>, _>>()?;
                let mut changed = self.put_node(node)?;
                let named = |id: &String| checks.iter().any(|check| check.definition.id == *id);
                let old = self.hosts.get(&name).into_iter().flat_map(|host| host.checks.keys());
                let old: Vec<String> = old.filter(|id| !named(id)).cloned().collect();
                for id in old {
                    changed |= self.deregister_check(&name, &id);
                }
                for check in checks {
                    changed |= self.mirror_check(&name, check)?;
                }
                Ok(changed)
            }
            Mirrored::NodeAlone(node) => {
                node.check()?;
                self.put_node(node)
            }
            Mirrored::Instance(mut instance, told) => {
                // The other one keeps it; a file of ours does not.
                instance.transient = true;
                instance.check()?;
                let (node, id) = (lower(&instance.node).into_owned(), instance.id.clone());
                let known = self.instance(&node, &id).is_some();
                let checks = told.into_iter().filter(|told| {
                    // Who was there without that check has it because the other one has not looked yet.
                    !(told.unseen && known && self.definition(&node, &told.id).is_none())
                });
                let checks = checks.map(|told| settle(told.on(&instance.node, Some(&id))));
                let checks = checks.collect::<Result<Vec<_>, _>>()?;
                let mut changed = self.register(instance, checks.clone(), true)?;
                for check in checks {
                    changed |= self.mirror_check(&node, check)?;
                }
                Ok(changed)
            }
            Mirrored::Record(name, record) => {
                let path = path(&name).ok_or(crate::Invalid::Record)?;
                record.check()?;
                self.put_record(path, record)
            }
            Mirrored::NoNode(name) => Ok(self.deregister_node(&name)),
            Mirrored::NoInstance(node, id) => Ok(self.deregister(&node, &id)),
            Mirrored::NoRecord(name) => Ok(path(&name).is_some_and(|path| self.remove_record(&path))),
        }
    }

    fn mirror_check(&mut self, node: &str, check: Check) -> Result<bool, Refused> {
        let (id, state, output) = (check.definition.id.clone(), check.state, check.output.clone());
        let (held, unseen) = (check.held, check.unseen);
        let put = self.put_check(check)?;
        let reported = !unseen && self.report(node, &id, state, &output, held);
        Ok(put || reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn told(id: &str, state: State, unseen: bool) -> Told {
        let (name, output) = (id.to_owned(), state.as_str().to_owned());
        Told { id: id.into(), name, notes: String::new(), state, output, held: false, unseen }
    }

    fn web(checks: Vec<Told>) -> Mirrored {
        Mirrored::Instance(Instance::new("web", "a", "N1", 80), checks)
    }

    fn states(registry: &Registry) -> Vec<(String, State)> {
        let snapshot = registry.snapshot();
        let checks = snapshot.service("web").map(|service| service.members[0].checks.clone()).unwrap_or_default();
        checks.iter().map(|check| (check.definition.id.clone(), check.state)).collect()
    }

    #[test]
    fn what_the_other_does_not_know_stays_as_it_was() {
        let registry = Registry::default();
        let node = Mirrored::NodeAlone(Node::new("n1", IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let is = |id: &str, state| vec![(id.to_owned(), state)];
        let mirror = |thing: Mirrored| assert!(registry.mirror(vec![thing])[0].is_ok());
        mirror(node);
        // Of one that is new nothing is known.
        mirror(web(vec![told("c", State::Critical, true)]));
        assert_eq!(states(&registry), is("c", State::Critical));
        mirror(web(vec![told("c", State::Warning, false)]));
        let number = registry.snapshot().changes();
        mirror(web(vec![told("c", State::Critical, true)]));
        assert_eq!(states(&registry), is("c", State::Warning), "as it was");
        assert_eq!(registry.snapshot().changes(), number, "and nobody is woken");
        mirror(web(vec![told("c", State::Critical, false)]));
        assert_eq!(states(&registry), is("c", State::Critical), "until somebody looked");
        // One without checks has one for the time until it is seen again.
        mirror(web(Vec::new()));
        mirror(web(vec![told("_returned:a", State::Critical, true)]));
        assert!(states(&registry).is_empty());
        mirror(web(vec![told("_returned:a", State::Critical, false)]));
        assert_eq!(states(&registry), is("_returned:a", State::Critical));
    }

    #[test]
    fn many_things_are_seen_at_once_and_one_that_is_refused_keeps_no_other_out() {
        let registry = Registry::default();
        let node = || Node::new("n1", IpAddr::V4(Ipv4Addr::LOCALHOST));
        let draining = Instance { draining: true, ..Instance::new("web", "d", "n1", 80) };
        let results = registry.mirror(vec![
            web(Vec::new()),
            Mirrored::Node(node(), vec![told("n", State::Passing, false)]),
            web(vec![told("c", State::Passing, false)]),
            Mirrored::Instance(draining.clone(), Vec::new()),
            Mirrored::Record("no name!".into(), Record::default()),
        ]);
        let taken: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(taken, [false, true, true, true, false]);
        assert_eq!(registry.snapshot().changes(), 1);
        assert_eq!(registry.snapshot().usable("web").count(), 1, "one drains");
        registry.mirror(vec![Mirrored::Instance(draining, Vec::new())]);
        assert_eq!(registry.snapshot().usable("web").count(), 1, "and goes on to when it is told again");
        registry.mirror(vec![Mirrored::Node(node(), Vec::new()), Mirrored::NoInstance("n1".into(), "a".into())]);
        let snapshot = registry.snapshot();
        assert!(snapshot.node("n1").unwrap().checks.is_empty() && snapshot.len() == 1);
        registry.mirror(vec![Mirrored::NoNode("N1".into())]);
        assert!(registry.snapshot().nodes().next().is_none());
    }
}
