//! What was taken over from the other registry, and what of our own is shown until it comes back from there.

use super::client::Place;
use crate::model::{Node, lower};
use crate::registry::{Mirrored, Registry, Told};
use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// What one thing is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    /// Before its node when they are taken away in order.
    Instance(String, String),
    Node(String),
    Record(String),
}

impl Key {
    pub(super) fn node(name: &str) -> Self {
        Key::Node(lower(name).into_owned())
    }

    pub(super) fn instance(node: &str, id: &str) -> Self {
        Key::Instance(lower(node).into_owned(), id.to_owned())
    }

    fn of(thing: &Mirrored) -> (Key, bool) {
        match thing {
            Mirrored::Node(node, _) | Mirrored::NodeAlone(node) => (Key::node(&node.name), true),
            Mirrored::NoNode(name) => (Key::node(name), false),
            Mirrored::Instance(instance, _) => (Key::instance(&instance.node, &instance.id), true),
            Mirrored::NoInstance(node, id) => (Key::instance(node, id), false),
            Mirrored::Record(name, _) => (Key::Record(lower(name).into_owned()), true),
            Mirrored::NoRecord(name) => (Key::Record(lower(name).into_owned()), false),
        }
    }

    fn gone(self) -> Mirrored {
        match self {
            Key::Instance(node, id) => Mirrored::NoInstance(node, id),
            Key::Node(name) => Mirrored::NoNode(name),
            Key::Record(name) => Mirrored::NoRecord(name),
        }
    }
}

/// The replica: what of the registry is the other's, and what is our own.
pub(super) struct Replica {
    registry: Registry,
    own: Registry,
    node: Node,
    /// What the other side told, and in which round it did last.
    known: HashMap<Key, u64>,
    round: u64,
    /// Whose it is: the place that was followed last.
    pub(super) place: String,
    /// When what was not named in this round is taken away.
    pub(super) sweep_at: Option<Instant>,
    /// Where the other side has our own instances: their ids there, and the nodes.
    echoes: HashMap<String, BTreeSet<String>>,
    /// Ids of our own instances that are shown as they are here, with their ids at the other side.
    shown: BTreeMap<String, String>,
}

impl Replica {
    pub(super) fn new(registry: Registry, own: Registry, node: Node) -> Self {
        Replica {
            registry,
            own,
            node,
            known: HashMap::default(),
            round: 0,
            place: String::new(),
            sweep_at: None,
            echoes: HashMap::default(),
            shown: BTreeMap::new(),
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// From now on everything is named anew.
    pub(super) fn begin(&mut self) {
        self.round += 1;
        self.sweep_at = None;
    }

    /// Whether it is of another registry than that one.
    pub(super) fn is_of_another(&self, place: &Place) -> bool {
        !self.place.is_empty() && self.place != place.name
    }

    /// Whether the other side told of it.
    pub(super) fn knows(&self, key: &Key) -> bool {
        self.known.contains_key(key)
    }

    /// Takes over what was told. Says how many things were refused.
    pub(super) fn apply(&mut self, mut things: Vec<Mirrored>) -> usize {
        // What is not the other's is not taken away by it.
        things.retain(|thing| {
            let (key, there) = Key::of(thing);
            there || (self.knows(&key) && !self.is_own_node(&key))
        });
        let mut keys: Vec<(Key, bool)> = things.iter().map(Key::of).collect();
        let ids: BTreeSet<String> = self.own_ids();
        for (key, there) in &keys {
            self.echo(key, *there, &ids);
        }
        let told = things.len();
        things.extend(self.own_changes());
        keys.truncate(told);
        let results = self.registry.mirror(things);
        let mut refused = 0;
        for ((key, there), result) in keys.into_iter().zip(results) {
            match (there, result) {
                (true, Ok(())) => drop(self.known.insert(key, self.round)),
                (true, Err(why)) => {
                    tracing::debug!(?key, %why, "what the registry tells is not taken over");
                    refused += 1;
                }
                (false, _) => {
                    self.known.remove(&key);
                }
            }
        }
        refused
    }

    /// Takes away what was not named since the round began.
    pub(super) fn sweep(&mut self) {
        self.sweep_at = None;
        let round = self.round;
        let mut gone: Vec<Key> =
            self.known.iter().filter(|(_, last)| **last < round).map(|(key, _)| key.clone()).collect();
        gone.sort();
        if !gone.is_empty() {
            self.apply(gone.into_iter().map(Key::gone).collect());
        }
    }

    /// Shows our own instances as they are here, as far as the other side does not have them.
    pub(super) fn show_own(&mut self) {
        let changes = self.own_changes();
        for why in self.registry.mirror(changes).into_iter().filter_map(Result::err) {
            tracing::warn!(%why, "an instance of ours is not shown");
        }
    }

    /// The instances of the other side whose services, in lower case, are such.
    pub(super) fn instances(&self, is_such: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let snapshot = self.registry.snapshot();
        let such = snapshot.services.iter().filter(|(name, _)| is_such(name));
        let members = such.flat_map(|(_, service)| service.members.iter());
        let keys = members.map(|member| (lower(&member.node.name).into_owned(), member.instance.id.clone()));
        keys.filter(|(node, id)| self.knows(&Key::instance(node, id))).collect()
    }

    /// The nodes of the other side.
    pub(super) fn nodes(&self) -> Vec<String> {
        let node = |key: &Key| if let Key::Node(name) = key { Some(name.clone()) } else { None };
        self.known.keys().filter_map(node).collect()
    }

    fn is_own_node(&self, key: &Key) -> bool {
        matches!(key, Key::Node(name) if name.eq_ignore_ascii_case(&self.node.name))
    }

    fn own_ids(&self) -> BTreeSet<String> {
        let snapshot = self.own.snapshot();
        let members = snapshot.nodes().flat_map(|node| node.instances.iter());
        members.map(|member| super::remote_id(&self.node.name, &member.instance)).collect()
    }

    fn echo(&mut self, key: &Key, there: bool, ids: &BTreeSet<String>) {
        let Key::Instance(node, id) = key else { return };
        if there && ids.contains(id) {
            self.echoes.entry(id.clone()).or_default().insert(node.clone());
        } else if !there && let Some(nodes) = self.echoes.get_mut(id) {
            nodes.remove(node);
            if nodes.is_empty() {
                self.echoes.remove(id);
            }
        }
    }

    fn own_changes(&mut self) -> Vec<Mirrored> {
        let snapshot = self.own.snapshot();
        let mut changes = Vec::new();
        let mut shown = BTreeMap::new();
        for member in snapshot.nodes().flat_map(|node| node.instances.iter()) {
            let id = super::remote_id(&self.node.name, &member.instance);
            if member.instance.draining || self.echoes.contains_key(&id) {
                continue;
            }
            shown.insert(member.instance.id.clone(), id);
            if changes.is_empty() && self.registry.snapshot().node(&self.node.name).is_none() {
                changes.push(Mirrored::NodeAlone(self.node.clone()));
            }
            let mut instance = member.instance.as_ref().clone();
            instance.node.clone_from(&self.node.name);
            let told = member.checks.iter().map(|check| Told {
                id: check.definition.id.clone(),
                name: check.definition.name.clone(),
                notes: check.definition.notes.clone(),
                state: check.state,
                output: check.output.to_string(),
                held: check.held,
                unseen: false,
            });
            changes.push(Mirrored::Instance(instance, told.collect()));
        }
        for id in self.shown.keys().filter(|id| !shown.contains_key(*id)) {
            // One of the same name came from the other side, and took its place.
            let key = Key::instance(&self.node.name, id);
            let echoed = self.echoes.get(id).is_some_and(|nodes| nodes.contains(&*lower(&self.node.name)));
            if !self.knows(&key) && !echoed {
                changes.push(key.gone());
            }
        }
        self.shown = shown;
        changes
    }
}
