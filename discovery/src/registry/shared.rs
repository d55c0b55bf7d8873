//! A registry that several share through a store: what the others have written, and who does which checks.

use super::catalog::{Catalog, Key};
use super::{Refused, Registry, settle};
use crate::model::{Check, Definition, Instance, Node, Probe, Record, State, lower};
use crate::snapshot::Snapshot;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The check that is shown of a node whose registry is not there.
const AWAY: &str = "_registry";

/// Who does the checks of which node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owners {
    /// Our own node, in lower case.
    pub(crate) own: String,
    /// Nodes that have another registry, which does their checks.
    pub(crate) others: BTreeSet<String>,
    /// Whether we do those of nodes without any.
    pub(crate) rest: bool,
}

/// What somebody else has written.
#[derive(Debug)]
pub(crate) enum Heard {
    Node(Node),
    Instance(Instance),
    Check(Box<Definition>),
    /// How a check is: its node and id, state, output, and whether it is held back.
    How(String, String, State, String, bool),
    Record(String, Record),
    Gone(Key),
    /// Whether the registry of a node is not there.
    Away(String, bool),
}

impl Owners {
    /// Whether a node, in lower case, has no registry: what is known of it is only what somebody says.
    pub(crate) fn has_none(&self, node: &str) -> bool {
        node != self.own && !self.others.contains(node)
    }

    pub(super) fn are_we(&self, node: &str) -> bool {
        node == self.own || self.rest && self.has_none(node)
    }
}

impl Registry {
    /// Takes over what others have written, all at once. What we have changed ourselves and not written yet is later,
    /// and stays. Returns what was refused.
    pub(crate) fn follow(&self, told: Vec<Heard>) -> Vec<Refused> {
        let mut refused = Vec::new();
        let _ = self.change(|catalog| Ok(catalog.follow(told, &mut refused)));
        refused
    }

    /// From now on others share it, and do checks too.
    pub(crate) fn share(&self, owners: Owners) {
        let _ = self.change(|catalog| Ok(catalog.share(owners)));
    }

    /// As [`Registry::take_unsaved`], with what it holds at the same moment.
    pub(crate) fn take_changes<T>(&self, read: impl Fn(&Catalog, &Key) -> T) -> (Arc<Snapshot>, Vec<(Key, T)>) {
        let inner = &mut *self.lock();
        let keys = inner.catalog.take_unsaved();
        let read = keys.into_iter().map(|key| {
            let value = read(&inner.catalog, &key);
            (key, value)
        });
        let rows = read.collect();
        (inner.publisher.publish(&mut inner.catalog), rows)
    }

    /// Forgets that these were to be written.
    pub(crate) fn forget_unsaved(&self, keys: impl Iterator<Item = Key>) {
        let inner = &mut *self.lock();
        keys.for_each(|key| inner.catalog.forget_unsaved(&key));
    }

    /// Reads in the tables.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Catalog) -> T) -> T {
        read(&self.lock().catalog)
    }
}

impl Catalog {
    fn share(&mut self, owners: Owners) -> bool {
        if self.owners.as_ref() == Some(&owners) {
            return false;
        }
        self.owners = Some(owners);
        self.touched.definitions = true;
        let nodes: Vec<String> = self.hosts.keys().cloned().collect();
        nodes.iter().for_each(|node| self.touch_node(node));
        true
    }

    fn follow(&mut self, told: Vec<Heard>, refused: &mut Vec<Refused>) -> bool {
        let unsaved = self.unsaved.take();
        let mut changed = false;
        for one in told {
            let key = one.key();
            if unsaved.as_ref().zip(key.as_ref()).is_some_and(|(unsaved, key)| unsaved.contains(key)) {
                continue;
            }
            match self.follow_one(one) {
                Ok(one) => changed |= one,
                Err(why) => refused.push(why),
            }
        }
        self.unsaved = unsaved;
        changed
    }

    fn follow_one(&mut self, told: Heard) -> Result<bool, Refused> {
        match told {
            Heard::Node(node) => {
                node.check()?;
                self.put_node(node)
            }
            Heard::Instance(instance) => {
                instance.check()?;
                let node = lower(&instance.node).into_owned();
                if self.instance(&node, &instance.id) == Some(&instance) {
                    return Ok(false);
                }
                let (id, draining) = (instance.id.clone(), instance.draining);
                let changed = self.register(instance, Vec::new(), false)?;
                Ok(self.drain(&node, &id, draining) || changed)
            }
            Heard::Check(definition) => {
                let node = lower(&definition.node).into_owned();
                let known = self.hosts.get(&node).and_then(|host| host.check(&definition.id));
                // How it is comes by itself, and only when that changes.
                let known = known.filter(|known| known.definition.instance == definition.instance);
                let check = match known {
                    Some(known) => Check { definition: Arc::new(*definition), ..Check::clone(known) },
                    None => Check::new(*definition),
                };
                self.put_check(settle(check)?)
            }
            Heard::How(node, id, state, output, held) => Ok(self.is_now(node, &id, state, &output, held)),
            Heard::Record(path, record) => {
                record.check()?;
                self.put_record(path, record)
            }
            Heard::Gone(key) => Ok(match &key {
                Key::Node(node) => self.deregister_node(node),
                Key::Instance(node, id) => self.deregister(node, id),
                Key::Check(node, id) => self.deregister_check(node, id),
                Key::Record(path) => self.remove_record(path),
            }),
            Heard::Away(node, away) => Ok(self.away(&node, away)),
        }
    }

    fn away(&mut self, node: &str, away: bool) -> bool {
        let Some(host) = self.hosts.get_mut(node).filter(|host| host.away.is_some() != away) else { return false };
        host.away = away.then(|| {
            let definition = Definition::of_node(&host.node.name, AWAY, Probe::Manual);
            let name = "Registry of the node".into();
            let output = "the registry that looks after this node is not there".into();
            Arc::new(Check { output, ..Check::new(Definition { name, ..definition }) })
        });
        self.touch_node(node);
        true
    }

    fn forget_unsaved(&mut self, key: &Key) {
        self.unsaved.as_mut().map(|keys| keys.remove(key));
    }

    /// The keys of all that is there.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for (name, host) in &self.hosts {
            keys.insert(Key::Node(name.clone()));
            keys.extend(host.instances.keys().map(|id| Key::Instance(name.clone(), id.clone())));
            keys.extend(host.owners.keys().map(|id| Key::Check(name.clone(), id.clone())));
        }
        keys.extend(self.records.keys().map(|path| Key::Record(path.to_string())));
        keys
    }

    /// How a check is.
    pub(crate) fn check(&self, node: &str, id: &str) -> Option<&Check> {
        self.hosts.get(node).and_then(|host| host.check(id)).map(|check| &**check)
    }

    /// Whether what is known of a node is only what somebody says: there is no registry on it.
    pub(crate) fn has_no_registry(&self, node: &str) -> bool {
        self.owners.as_ref().is_some_and(|owners| owners.has_none(node))
    }

    /// Whether the checks of a node are ours to do.
    pub(super) fn are_checks_ours(&self, node: &str) -> bool {
        self.owners.as_ref().is_none_or(|owners| owners.are_we(node))
    }
}

impl Heard {
    /// What it would write, if it were ours.
    fn key(&self) -> Option<Key> {
        let own = |node: &str| lower(node).into_owned();
        Some(match self {
            Heard::Node(node) => Key::Node(own(&node.name)),
            Heard::Instance(instance) => Key::Instance(own(&instance.node), instance.id.clone()),
            Heard::Check(check) => Key::Check(own(&check.node), check.id.clone()),
            Heard::How(node, id, ..) => Key::Check(own(node), id.clone()),
            Heard::Record(path, _) => Key::Record(path.clone()),
            Heard::Gone(key) => key.clone(),
            Heard::Away(..) => return None,
        })
    }
}
