//! Makes snapshots of the tables: only what was touched since the last one is made anew.

use super::catalog::{Catalog, Host, Slot, Touched};
use crate::model::{Check, State};
use crate::snapshot::{Gone, Member, NodeEntry, Owner, Service, Snapshot};
use foldhash::HashMap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// So many services, and so many nodes, that are gone are remembered by name.
const GONE_MAX: usize = 1024;

/// The last snapshot, and what has been touched since.
pub(super) struct Publisher {
    last: Arc<Snapshot>,
    changes: u64,
    services: BTreeMap<String, u64>,
    nodes: BTreeMap<String, u64>,
    records: bool,
    addresses: bool,
    registered: u64,
    known: u64,
}

impl Publisher {
    pub(super) fn new(changes: u64) -> Self {
        let gone = Arc::new(Gone { others: changes, ..Gone::default() });
        let (registered, known) = (changes, changes);
        let gone_nodes = Arc::clone(&gone);
        Publisher {
            last: Arc::new(Snapshot { changes, registered, known, gone, gone_nodes, ..Snapshot::default() }),
            changes,
            services: BTreeMap::new(),
            nodes: BTreeMap::new(),
            records: false,
            addresses: false,
            registered,
            known,
        }
    }

    /// Counts a change. Nothing is made until somebody reads.
    pub(super) fn touch(&mut self, touched: Touched) -> u64 {
        self.changes += 1;
        let number = self.changes;
        if touched.addresses {
            self.registered = number;
        }
        if !touched.services.is_empty() || !touched.nodes.is_empty() {
            self.known = number;
        }
        self.services.extend(touched.services.into_iter().map(|name| (name, number)));
        self.nodes.extend(touched.nodes.into_iter().map(|name| (name, number)));
        self.records |= touched.records;
        self.addresses |= touched.addresses;
        number
    }

    pub(super) fn publish(&mut self, catalog: &mut Catalog) -> Arc<Snapshot> {
        if self.last.changes == self.changes {
            return Arc::clone(&self.last);
        }
        let mut next = Snapshot::clone(&self.last);
        (next.changes, next.registered, next.known) = (self.changes, self.registered, self.known);
        if self.addresses {
            next.owners = Arc::new(owners(catalog));
        }
        if self.records {
            next.records = Arc::new(catalog.records.clone());
        }
        self.show(catalog);
        if !self.nodes.is_empty() {
            let mut nodes = BTreeMap::clone(&next.nodes);
            let mut gone = Gone::clone(&next.gone_nodes);
            for (name, changed) in std::mem::take(&mut self.nodes) {
                match catalog.hosts.get(&name) {
                    Some(host) => {
                        gone.names.remove(&*name);
                        let ours = catalog.are_checks_ours(&name);
                        nodes.insert(name.into(), Arc::new(entry(host, changed, ours)));
                    }
                    None => {
                        nodes.remove(&*name);
                        gone.names.insert(name.into(), changed);
                    }
                }
            }
            forget(&mut gone);
            next.nodes = Arc::new(nodes);
            next.gone_nodes = Arc::new(gone);
        }
        if !self.services.is_empty() {
            let mut services = BTreeMap::clone(&next.services);
            let mut gone = Gone::clone(&next.gone);
            for (name, changed) in std::mem::take(&mut self.services) {
                match service(catalog, &name, changed) {
                    Some(service) => {
                        gone.names.remove(&*name);
                        services.insert(name.into(), Arc::new(service));
                    }
                    None => {
                        services.remove(&*name);
                        gone.names.insert(name.into(), changed);
                    }
                }
            }
            forget(&mut gone);
            next.services = Arc::new(services);
            next.gone = Arc::new(gone);
        }
        (self.records, self.addresses) = (false, false);
        self.last = Arc::new(next);
        Arc::clone(&self.last)
    }

    /// Makes what is shown of the instances on touched nodes.
    fn show(&self, catalog: &mut Catalog) {
        for name in self.nodes.keys() {
            let Some(host) = catalog.hosts.get_mut(name) else { continue };
            let node_checks: Arc<[Arc<Check>]> = host.checks.values().chain(&host.away).cloned().collect();
            for slot in host.instances.values_mut().filter(|slot| slot.shown.is_none()) {
                let Slot { instance, checks, shown } = slot;
                let checks: Arc<[Arc<Check>]> = checks.values().cloned().collect();
                let all = || checks.iter().chain(&*node_checks);
                let state = all().map(|check| check.state).max().unwrap_or(State::Passing);
                let unheld = all().filter(|check| !check.held).map(|check| check.state).max();
                *shown = Some(Arc::new(Member {
                    instance: Arc::clone(instance),
                    node: Arc::clone(&host.node),
                    node_checks: Arc::clone(&node_checks),
                    state,
                    held: !state.usable() && unheld.is_none_or(State::usable),
                    checks,
                }));
            }
        }
    }
}

/// Forgets the names that are gone for the longest time, when there are too many.
fn forget(gone: &mut Gone) {
    while gone.names.len() > GONE_MAX {
        let oldest = gone.names.iter().min_by_key(|(_, changed)| **changed).map(|(name, _)| name.clone());
        let changed = oldest.and_then(|name| gone.names.remove(&name));
        gone.others = gone.others.max(changed.unwrap_or(0));
    }
}

fn entry(host: &Host, changed: u64, ours: bool) -> NodeEntry {
    NodeEntry {
        node: Arc::clone(&host.node),
        checks: host.checks.values().chain(&host.away).cloned().collect(),
        instances: host.instances.values().filter_map(|slot| slot.shown.clone()).collect(),
        changed,
        ours,
    }
}

fn service(catalog: &Catalog, name: &str, changed: u64) -> Option<Service> {
    let keys = catalog.services.get(name)?;
    let slots = keys.iter().filter_map(|(node, id)| catalog.hosts.get(node)?.instances.get(id));
    let mut members: Box<[Arc<Member>]> = slots.filter_map(|slot| slot.shown.clone()).collect();
    // Holding back those that change too often never leaves nobody.
    if !members.iter().any(|member| member.usable()) {
        for member in members.iter_mut().filter(|member| member.held) {
            *member = Arc::new(Member { state: State::Warning, ..Member::clone(member) });
        }
    }
    let name = members.first()?.instance.service.clone();
    Some(Service { name, members, changed })
}

/// Who has which address: the first node and the first instance, by name.
fn owners(catalog: &Catalog) -> HashMap<IpAddr, Owner> {
    let mut owners: HashMap<IpAddr, Owner> = HashMap::default();
    for host in catalog.hosts.values() {
        let own = host.node.tagged.values().chain([&host.node.address]);
        for ip in own.filter_map(|address| address.ip()) {
            owners.entry(ip).or_default().node.get_or_insert_with(|| Arc::clone(&host.node));
        }
        for instance in host.instances.values().map(|slot| &slot.instance) {
            let own = instance.tagged.values().map(|tagged| &tagged.address).chain(&instance.address);
            for ip in own.filter_map(|address| address.ip()) {
                owners.entry(ip).or_default().instance.get_or_insert_with(|| Arc::clone(instance));
            }
        }
    }
    owners
}
