//! The tables behind a registry, and what a change of them touches.

use super::{Limits, Owners, Refused};
use crate::model::{Check, Definition, Instance, Node, Record, State, cut, lower};
use crate::snapshot::Member;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// A row that the store keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Node(String),
    Instance(String, String),
    Check(String, String),
    Record(String),
}

/// One instance with its own checks.
pub(super) struct Slot {
    pub(super) instance: Arc<Instance>,
    pub(super) checks: BTreeMap<String, Arc<Check>>,
    /// What the last snapshot shows of it; None when that is no longer so.
    pub(super) shown: Option<Arc<Member>>,
}

/// One node with all that lives on it.
pub(super) struct Host {
    pub(super) node: Arc<Node>,
    pub(super) checks: BTreeMap<String, Arc<Check>>,
    pub(super) instances: BTreeMap<String, Slot>,
    /// Which instance a check belongs to, None for the node itself.
    pub(super) owners: BTreeMap<String, Option<String>>,
    /// When somebody reported a check last.
    reported: BTreeMap<String, Instant>,
    /// Shown as a check of the node while its registry is not there.
    pub(super) away: Option<Arc<Check>>,
}

/// What a change touched.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) services: BTreeSet<String>,
    pub(super) nodes: BTreeSet<String>,
    pub(super) records: bool,
    pub(super) addresses: bool,
    pub(super) definitions: bool,
}

/// The tables.
pub(crate) struct Catalog {
    limits: Limits,
    pub(super) hosts: BTreeMap<String, Host>,
    pub(super) services: BTreeMap<String, BTreeSet<(String, String)>>,
    pub(super) records: BTreeMap<Arc<str>, Arc<Record>>,
    instances: usize,
    checks: usize,
    pub(super) touched: Touched,
    pub(super) unsaved: Option<BTreeSet<Key>>,
    /// Who does the checks, when the registry is shared; all are ours otherwise.
    pub(super) owners: Option<Owners>,
}

impl Catalog {
    pub(super) fn new(limits: Limits) -> Self {
        Catalog {
            limits,
            hosts: BTreeMap::new(),
            services: BTreeMap::new(),
            records: BTreeMap::new(),
            instances: 0,
            checks: 0,
            touched: Touched::default(),
            unsaved: None,
            owners: None,
        }
    }

    pub(super) fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    pub(super) fn put_node(&mut self, node: Node) -> Result<bool, Refused> {
        let key = lower(&node.name).into_owned();
        let full = self.hosts.len() >= self.limits.nodes;
        match self.hosts.get_mut(&key) {
            Some(host) if *host.node == node => return Ok(false),
            Some(host) => host.node = Arc::new(node),
            None if full => return Err(Refused::Full("nodes", self.limits.nodes)),
            None => {
                let host = Host {
                    node: Arc::new(node),
                    checks: BTreeMap::new(),
                    instances: BTreeMap::new(),
                    owners: BTreeMap::new(),
                    reported: BTreeMap::new(),
                    away: None,
                };
                self.hosts.insert(key.clone(), host);
            }
        }
        self.touched.addresses = true;
        self.touch_node(&key);
        self.unsaved(Key::Node(key));
        Ok(true)
    }

    pub(super) fn register(&mut self, instance: Instance, checks: Vec<Check>, replace: bool) -> Result<bool, Refused> {
        let node = lower(&instance.node).into_owned();
        let Some(host) = self.hosts.get(&node) else { return Err(Refused::Node(instance.node)) };
        let service = lower(&instance.service).into_owned();
        let id = instance.id.clone();
        let before = host.instances.get(&id);
        // Everything that can be refused is refused before anything is changed.
        if before.is_none() && self.instances >= self.limits.instances {
            return Err(Refused::Full("instances", self.limits.instances));
        }
        if !self.services.contains_key(&service) && self.services.len() >= self.limits.services {
            return Err(Refused::Full("services", self.limits.services));
        }
        let new = checks.iter().filter(|check| !host.owners.contains_key(&check.definition.id)).count();
        if self.checks + new > self.limits.checks {
            return Err(Refused::Full("checks", self.limits.checks));
        }
        let mut changed = false;
        match before {
            Some(slot) => {
                if *slot.instance != instance {
                    changed = true;
                    let old = lower(&slot.instance.service).into_owned();
                    if old != service {
                        self.leave(&old, &node, &id);
                    }
                }
            }
            None => {
                self.instances += 1;
                changed = true;
            }
        }
        if changed {
            self.touched.addresses = true;
            self.touched.services.insert(service.clone());
            self.touched.nodes.insert(node.clone());
            self.services.entry(service).or_default().insert((node.clone(), id.clone()));
            let instance = Arc::new(instance);
            if let Some(host) = self.hosts.get_mut(&node) {
                match host.instances.get_mut(&id) {
                    Some(slot) => (slot.instance, slot.shown) = (instance, None),
                    None => {
                        host.instances.insert(id.clone(), Slot { instance, checks: BTreeMap::new(), shown: None });
                    }
                }
            }
            self.unsaved(Key::Instance(node.clone(), id.clone()));
        }
        let named: BTreeSet<&String> = checks.iter().map(|check| &check.definition.id).collect();
        let old: Vec<String> = match self.hosts.get(&node).and_then(|host| host.instances.get(&id)) {
            Some(slot) => slot.checks.values().map(|check| &check.definition).filter(|c| {
                // One that came back is here, since it says so itself.
                replace && !named.contains(&c.id) || c.probe == crate::Probe::Returned
            }),
            None => return Ok(changed),
        }
        .map(|definition| definition.id.clone())
        .collect();
        for check in old {
            changed |= self.deregister_check(&node, &check);
        }
        for check in checks {
            changed |= self.put_check(check)?;
        }
        Ok(changed)
    }

    pub(super) fn put_check(&mut self, check: Check) -> Result<bool, Refused> {
        let definition = Arc::clone(&check.definition);
        let node = lower(&definition.node).into_owned();
        let Some(host) = self.hosts.get(&node) else { return Err(Refused::Node(definition.node.clone())) };
        if let Some(id) = &definition.instance
            && !host.instances.contains_key(id)
        {
            return Err(Refused::Instance(id.clone()));
        }
        let owner = host.owners.get(&definition.id);
        match owner {
            // One check has one owner: the old one is another check by now.
            Some(owner) if *owner != definition.instance => {
                self.deregister_check(&node, &definition.id);
            }
            Some(_) => {
                let known = host.check(&definition.id);
                if known.is_some_and(|known| known.definition == definition) {
                    return Ok(false);
                }
            }
            None if self.checks >= self.limits.checks => return Err(Refused::Full("checks", self.limits.checks)),
            None => {}
        }
        let Some(host) = self.hosts.get_mut(&node) else { return Ok(false) };
        let checks = match &definition.instance {
            None => Some(&mut host.checks),
            Some(id) => host.instances.get_mut(id).map(|slot| &mut slot.checks),
        };
        if checks.and_then(|checks| checks.insert(definition.id.clone(), Arc::new(check))).is_none() {
            self.checks += 1;
        }
        host.owners.insert(definition.id.clone(), definition.instance.clone());
        self.touched.definitions = true;
        self.touch_checked(&node, definition.instance.as_deref());
        self.unsaved(Key::Check(node, definition.id.clone()));
        Ok(true)
    }

    pub(super) fn deregister(&mut self, node: &str, id: &str) -> bool {
        let node = lower(node).into_owned();
        let Some(host) = self.hosts.get_mut(&node) else { return false };
        let Some(slot) = host.instances.remove(id) else { return false };
        self.instances -= 1;
        self.checks -= slot.checks.len();
        host.owners.retain(|_, owner| owner.as_deref() != Some(id));
        host.reported.retain(|check, _| !slot.checks.contains_key(check));
        for check in slot.checks.into_keys() {
            self.touched.definitions = true;
            self.unsaved(Key::Check(node.clone(), check));
        }
        self.leave(&lower(&slot.instance.service), &node, id);
        self.touched.nodes.insert(node.clone());
        self.touched.addresses = true;
        self.unsaved(Key::Instance(node, id.to_owned()));
        true
    }

    pub(super) fn deregister_check(&mut self, node: &str, id: &str) -> bool {
        let node = lower(node).into_owned();
        let Some(host) = self.hosts.get_mut(&node) else { return false };
        let Some(owner) = host.owners.remove(id) else { return false };
        host.reported.remove(id);
        match &owner {
            None => drop(host.checks.remove(id)),
            Some(instance) => {
                host.instances.get_mut(instance).map(|slot| slot.checks.remove(id));
            }
        }
        self.checks -= 1;
        self.touched.definitions = true;
        self.touch_checked(&node, owner.as_deref());
        self.unsaved(Key::Check(node, id.to_owned()));
        true
    }

    pub(super) fn deregister_node(&mut self, node: &str) -> bool {
        let node = lower(node).into_owned();
        let Some(host) = self.hosts.get(&node) else { return false };
        let ids: Vec<String> = host.instances.keys().cloned().collect();
        let checks: Vec<String> = host.checks.keys().cloned().collect();
        for id in ids {
            self.deregister(&node, &id);
        }
        for check in checks {
            self.deregister_check(&node, &check);
        }
        self.hosts.remove(&node);
        self.touched.nodes.insert(node.clone());
        self.touched.addresses = true;
        self.unsaved(Key::Node(node));
        true
    }

    /// Somebody reported a check.
    pub(super) fn beat(&mut self, node: &str, id: &str, now: Instant) {
        if let Some(host) = self.hosts.get_mut(&*lower(node))
            && host.owners.contains_key(id)
        {
            host.reported.insert(id.to_owned(), now);
        }
    }

    pub(super) fn reported(&self, node: &str, id: &str) -> Option<Instant> {
        self.hosts.get(&*lower(node))?.reported.get(id).copied()
    }

    /// How a check is, and whether anybody has looked at it.
    pub(super) fn standing(&self, node: &str, id: &str) -> Option<(State, bool)> {
        let check = self.hosts.get(&*lower(node))?.check(id)?;
        Some((check.state, check.state != State::Critical || !check.output.is_empty()))
    }

    pub(super) fn report(&mut self, node: &str, id: &str, state: State, output: &str, held: bool) -> bool {
        let node = lower(node).into_owned();
        // Its own registry says how it is, and is not heard here only.
        let elsewhere = self.owners.as_ref().is_some_and(|owners| owners.others.contains(&node));
        !elsewhere && self.is_now(node, id, state, output, held)
    }

    pub(super) fn is_now(&mut self, node: String, id: &str, state: State, output: &str, held: bool) -> bool {
        let Some(host) = self.hosts.get_mut(&node) else { return false };
        let Some(owner) = host.owners.get(id).cloned() else { return false };
        let checks = match &owner {
            None => Some(&mut host.checks),
            Some(instance) => host.instances.get_mut(instance).map(|slot| &mut slot.checks),
        };
        let Some(check) = checks.and_then(|checks| checks.get_mut(id)) else { return false };
        let output = cut(output, check.definition.output_max);
        if check.state == state && check.held == held && !check.unseen && *check.output == *output {
            return false;
        }
        let since = if check.state == state { check.since } else { Instant::now() };
        let definition = Arc::clone(&check.definition);
        *check = Arc::new(Check { definition, state, output: output.into(), since, held, unseen: false });
        self.touch_checked(&node, owner.as_deref());
        if self.has_no_registry(&node) {
            // Nobody would find out again how it is.
            self.unsaved(Key::Check(node, id.to_owned()));
        }
        true
    }

    pub(super) fn drain(&mut self, node: &str, id: &str, draining: bool) -> bool {
        let node = lower(node).into_owned();
        let slot = self.hosts.get_mut(&node).and_then(|host| host.instances.get_mut(id));
        let Some(slot) = slot.filter(|slot| slot.instance.draining != draining) else { return false };
        slot.instance = Arc::new(Instance { draining, ..Instance::clone(&slot.instance) });
        self.touch_checked(&node, Some(id));
        self.unsaved(Key::Instance(node, id.to_owned()));
        true
    }

    pub(super) fn put_record(&mut self, path: String, record: Record) -> Result<bool, Refused> {
        match self.records.get(&*path) {
            Some(known) if **known == record => return Ok(false),
            None if self.records.len() >= self.limits.records => {
                return Err(Refused::Full("records", self.limits.records));
            }
            _ => {}
        }
        self.records.insert(path.as_str().into(), Arc::new(record));
        self.touched.records = true;
        self.unsaved(Key::Record(path));
        Ok(true)
    }

    pub(super) fn remove_record(&mut self, path: &str) -> bool {
        let there = self.records.remove(path).is_some();
        if there {
            self.touched.records = true;
            self.unsaved(Key::Record(path.to_owned()));
        }
        there
    }

    pub(crate) fn node(&self, node: &str) -> Option<&Node> {
        self.hosts.get(node).map(|host| &*host.node)
    }

    pub(crate) fn instance(&self, node: &str, id: &str) -> Option<&Instance> {
        self.hosts.get(node).and_then(|host| host.instances.get(id)).map(|slot| &*slot.instance)
    }

    pub(crate) fn definition(&self, node: &str, id: &str) -> Option<&Definition> {
        self.hosts.get(node).and_then(|host| host.check(id)).map(|check| &*check.definition)
    }

    pub(crate) fn record(&self, path: &str) -> Option<&Record> {
        self.records.get(path).map(|record| &**record)
    }

    pub(super) fn keep_unsaved(&mut self) {
        self.unsaved.get_or_insert_default();
    }

    pub(super) fn take_unsaved(&mut self) -> BTreeSet<Key> {
        self.unsaved.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn put_back(&mut self, keys: impl Iterator<Item = Key>) {
        self.unsaved.get_or_insert_default().extend(keys);
    }

    fn unsaved(&mut self, key: Key) {
        if let Some(keys) = &mut self.unsaved {
            keys.insert(key);
        }
    }

    /// Takes an instance out of a service.
    fn leave(&mut self, service: &str, node: &str, id: &str) {
        self.touched.services.insert(service.to_owned());
        if let Some(members) = self.services.get_mut(service) {
            members.remove(&(node.to_owned(), id.to_owned()));
            if members.is_empty() {
                self.services.remove(service);
            }
        }
    }

    /// A check of that instance, or of the node, changed.
    fn touch_checked(&mut self, node: &str, instance: Option<&str>) {
        let Some(id) = instance else { return self.touch_node(node) };
        self.touched.nodes.insert(node.to_owned());
        if let Some(slot) = self.hosts.get_mut(node).and_then(|host| host.instances.get_mut(id)) {
            slot.shown = None;
            self.touched.services.insert(lower(&slot.instance.service).into_owned());
        }
    }

    /// A node changed, and so did every service that lives on it.
    pub(super) fn touch_node(&mut self, node: &str) {
        self.touched.nodes.insert(node.to_owned());
        let slots = self.hosts.get_mut(node).into_iter().flat_map(|host| host.instances.values_mut());
        for slot in slots {
            slot.shown = None;
            self.touched.services.insert(lower(&slot.instance.service).into_owned());
        }
    }
}

impl Host {
    pub(super) fn check(&self, id: &str) -> Option<&Arc<Check>> {
        match self.owners.get(id)? {
            None => self.checks.get(id),
            Some(instance) => self.instances.get(instance)?.checks.get(id),
        }
    }
}
