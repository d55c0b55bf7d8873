//! What the registry held at one moment.

use crate::model::{Address, Check, Instance, Node, Record, State, lower};
use foldhash::HashMap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// One member of a service with all that decides about it.
#[derive(Debug, Clone)]
pub struct Member {
    /// The instance.
    pub instance: Arc<Instance>,
    /// Its node.
    pub node: Arc<Node>,
    /// Its own checks, sorted by id.
    pub checks: Arc<[Arc<Check>]>,
    /// Its node's checks, sorted by id.
    pub node_checks: Arc<[Arc<Check>]>,
    /// The worst of its checks and its node's.
    pub state: State,
    /// It would be usable were it not held back for changing too often.
    pub(crate) held: bool,
}

impl Member {
    /// Whether commands may go there.
    pub fn usable(&self) -> bool {
        self.state.usable() && !self.instance.draining
    }

    /// Where it is: its own address, or else its node's.
    pub fn address(&self) -> &Address {
        self.instance.address.as_ref().unwrap_or(&self.node.address)
    }

    /// How much of the commands it takes now.
    pub fn weight(&self) -> u16 {
        self.instance.weight(self.state)
    }
}

/// One service at one moment.
#[derive(Debug)]
pub struct Service {
    /// Its name as the first member wrote it.
    pub name: String,
    /// Sorted by node and id, so that two readers see the same order.
    pub members: Box<[Arc<Member>]>,
    /// The change that touched it last.
    pub changed: u64,
}

impl Service {
    /// The members that may get commands.
    pub fn usable(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.iter().filter(|member| member.usable())
    }
}

/// One node at one moment.
#[derive(Debug)]
pub struct NodeEntry {
    /// The node.
    pub node: Arc<Node>,
    /// The checks that speak of the node itself.
    pub checks: Arc<[Arc<Check>]>,
    /// The instances that live on it, sorted by id.
    pub instances: Box<[Arc<Member>]>,
    /// The change that touched it last.
    pub changed: u64,
    /// Whether its checks are ours to do.
    pub(crate) ours: bool,
}

impl NodeEntry {
    /// Its own checks and those of all that lives on it.
    pub(crate) fn all_checks(&self) -> impl Iterator<Item = &Arc<Check>> {
        self.checks.iter().chain(self.instances.iter().flat_map(|member| member.checks.iter()))
    }
}

/// Who has an address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Owner {
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) instance: Option<Arc<Instance>>,
}

/// What the registry held at one moment. Never changes; ask the registry for a newer one.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(crate) services: Arc<BTreeMap<Arc<str>, Arc<Service>>>,
    pub(crate) nodes: Arc<BTreeMap<Arc<str>, Arc<NodeEntry>>>,
    pub(crate) records: Arc<BTreeMap<Arc<str>, Arc<Record>>>,
    pub(crate) owners: Arc<HashMap<IpAddr, Owner>>,
    pub(crate) gone: Arc<Gone>,
    pub(crate) gone_nodes: Arc<Gone>,
    pub(crate) changes: u64,
    pub(crate) registered: u64,
    pub(crate) known: u64,
}

/// When services or nodes that are no more were touched last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gone {
    pub(crate) names: BTreeMap<Arc<str>, u64>,
    /// That of all which are not in the table any more.
    pub(crate) others: u64,
}

impl Gone {
    pub(crate) fn changed(&self, name: &str) -> u64 {
        self.names.get(name).copied().unwrap_or(self.others)
    }
}

impl Snapshot {
    /// A service, whatever the state of its members. The name compares without case.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(&*lower(name)).map(|service| &**service)
    }

    /// The instances of a service that may get commands.
    pub fn usable(&self, name: &str) -> impl Iterator<Item = &Arc<Member>> {
        self.service(name).into_iter().flat_map(Service::usable)
    }

    /// All services, sorted by name.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values().map(|service| &**service)
    }

    /// A node. The name compares without case.
    pub fn node(&self, name: &str) -> Option<&NodeEntry> {
        self.nodes.get(&*lower(name)).map(|node| &**node)
    }

    /// All nodes, sorted by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeEntry> {
        self.nodes.values().map(|node| &**node)
    }

    /// All checks.
    pub fn checks(&self) -> impl Iterator<Item = &Arc<Check>> {
        self.nodes().flat_map(NodeEntry::all_checks)
    }

    /// The checks that are ours to do: of our own node, when several registries share a store.
    pub(crate) fn own_checks(&self) -> impl Iterator<Item = &Arc<Check>> {
        self.nodes().filter(|node| node.ours).flat_map(NodeEntry::all_checks)
    }

    /// All SkyDNS records by name.
    pub fn records(&self) -> impl Iterator<Item = (String, &Record)> {
        let name = |path: &str| path.split('/').rev().collect::<Vec<_>>().join(".");
        self.records.iter().map(move |(path, record)| (name(path), &**record))
    }

    /// Counts the changes until this snapshot; a later snapshot never has a smaller one.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The value of [`Self::changes`] when this service last changed. One that is not there changed last when it
    /// went, and one that never was there never changes when others do.
    pub fn changed(&self, name: &str) -> u64 {
        let name = lower(name);
        let there = self.services.get(&*name).map(|service| service.changed);
        there.unwrap_or_else(|| self.gone.changed(&name))
    }

    /// The same of a node: its own checks, what lives on it, and the checks of that.
    pub fn node_changed(&self, name: &str) -> u64 {
        let name = lower(name);
        let there = self.nodes.get(&*name).map(|node| node.changed);
        there.unwrap_or_else(|| self.gone_nodes.changed(&name))
    }

    /// The value of [`Self::changes`] when a node or an instance last came, went or was registered otherwise. How they
    /// are does not count.
    pub fn registered(&self) -> u64 {
        self.registered
    }

    /// The value of [`Self::changes`] when anything of a node, an instance or a check last changed. SkyDNS records do
    /// not count.
    pub fn known(&self) -> u64 {
        self.known
    }

    /// How many instances there are over all services.
    pub fn len(&self) -> usize {
        self.services.values().map(|service| service.members.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }
}
