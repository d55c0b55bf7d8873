//! The services of the plan on the control thread: their instances, and what checks them.

use super::certificates::{Certificates, Use};
use super::service::{Connectors, Service, Wanted};
use crate::config::{self, Address, Plan, Ready};
use crate::pipeline::{Behind, Directory, Served};
use crate::tls::ClientTls;
use crate::upstream::health::{Check, State};
use crate::upstream::names::{self, Resolver};
use crate::upstream::{Member, Policy};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

/// Who hears that a service's instances changed: its name, and when one of them is up or down, which, whether it is up,
/// and whether that is the first word of it.
pub(super) type Changed = Rc<dyn Fn(&str, Option<(&str, bool, bool)>)>;

/// Every service of the plan.
pub(super) struct Services {
    worker: RefCell<Option<Rc<Service>>>,
    outbound: RefCell<Vec<Rc<Service>>>,
    /// Those of the gateway, by their place in its file; none where it is the worker.
    gateway: RefCell<Vec<Option<Rc<Service>>>>,
    /// Those that only the registry knows, by name.
    pub(super) registered: RefCell<BTreeMap<Arc<str>, Rc<Service>>>,
    /// The same for the data threads.
    pub(super) directory: Arc<Directory>,
    dns: RefCell<Option<names::Settings>>,
    resolver: RefCell<Rc<Resolver>>,
}

impl Default for Services {
    fn default() -> Services {
        let resolver = Rc::new(Resolver::new(names::Settings::default()));
        Services {
            worker: RefCell::default(),
            outbound: RefCell::default(),
            gateway: RefCell::default(),
            registered: RefCell::default(),
            directory: Arc::default(),
            dns: RefCell::default(),
            resolver: RefCell::new(resolver),
        }
    }
}

impl Services {
    /// Takes over a plan. Services that stay keep their instances, and those what is known of them.
    pub(super) fn follow(&self, plan: &Plan, certificates: &Certificates) {
        let wanted =
            |name: &Arc<str>, addresses: &[Address], tls: &ClientTls, policy: &Arc<Policy>, check, of: (Use, Use)| {
                Wanted {
                    addresses: addresses.to_vec(),
                    registered: false,
                    policy: policy.clone(),
                    check,
                    tls: Connectors::new(name, addresses, (tls, policy), certificates, of),
                    zone: plan.zone.clone(),
                }
            };
        let checked = |policy: &Policy| match policy.health.active.is_off() {
            true => Check::Connect,
            false => Check::Active(Box::new(policy.health.active.clone())),
        };
        let mut worker = self.worker.borrow_mut();
        let old = worker.take();
        *worker = plan.worker.as_ref().map(|w| {
            let check = match &w.ready {
                Ready::Connect => checked(&w.policy),
                Ready::Http { path, interval } => Check::Ready { path: path.clone(), interval: *interval },
            };
            let old = old.filter(|s| s.name == plan.identity.service);
            Service::renewed(
                old,
                &plan.identity.service,
                wanted(
                    &plan.identity.service,
                    &w.addresses,
                    &w.tls,
                    &w.policy,
                    check,
                    (Use::Worker, Use::WorkerChecks),
                ),
            )
        });
        let renewed = |old: &HashMap<Arc<str>, Rc<Service>>, s: &config::Service, of| {
            let old = old.get(&s.name).cloned();
            let registered = s.addresses.is_empty();
            // Those of the registry stay until it says otherwise.
            let known = old.as_ref().filter(|_| registered).map(|old| old.wanted.borrow().addresses.clone());
            let addresses = known.as_deref().unwrap_or(&s.addresses);
            let wanted = wanted(&s.name, addresses, &s.tls, &s.policy, checked(&s.policy), of);
            Service::renewed(old, &s.name, Wanted { registered, ..wanted })
        };
        let by_name = |all: Vec<Rc<Service>>| all.into_iter().map(|s| (s.name.clone(), s)).collect::<HashMap<_, _>>();
        let mut outbound = self.outbound.borrow_mut();
        let old = by_name(std::mem::take(&mut *outbound));
        *outbound = plan.outbound.iter().map(|s| renewed(&old, s, (Use::Outbound, Use::OutboundChecks))).collect();
        let mut gateway = self.gateway.borrow_mut();
        let old = by_name(std::mem::take(&mut *gateway).into_iter().flatten().collect());
        let new = plan.gateway.as_ref().map(|g| g.services.as_slice()).unwrap_or_default();
        let of = (Use::Gateway, Use::GatewayChecks);
        *gateway = new.iter().map(|s| s.as_ref().map(|s| renewed(&old, s, of))).collect();
    }

    /// Looks up every name, and checks every instance; nothing else is looked up or checked from now on.
    pub(super) fn begin(&self, dns: &names::Settings, changed: &Changed) {
        if self.dns.borrow().as_ref() != Some(dns) {
            *self.dns.borrow_mut() = Some(dns.clone());
            *self.resolver.borrow_mut() = Rc::new(Resolver::new(dns.clone()));
            self.all().iter().for_each(|s| s.stop_look_ups());
        }
        let resolver = self.resolver.borrow().clone();
        for service in self.all() {
            service.look_up(&resolver, changed);
            service.check(changed);
        }
    }

    /// Why an instance is not given commands, in words.
    pub(super) fn why_out(&self, service: &str, instance: &str) -> String {
        let members = self.named(service).map(|s| s.members());
        let shown = members.iter().flat_map(|m| m.iter()).find(|m| *m.label == *instance).map(|m| m.standing.shown());
        match shown {
            Some(s) if s.state == State::ForcedDown => "taken out by hand".into(),
            Some(s) => s.last_failure.unwrap_or_else(|| "nobody has reached it yet".into()),
            None => "it is gone".into(),
        }
    }

    /// The service of this name.
    pub(super) fn named(&self, name: &str) -> Option<Rc<Service>> {
        self.all().into_iter().find(|s| *s.name == *name)
    }

    /// The worker, every outbound service, every one of the gateway, and those that only the registry knows.
    pub(super) fn all(&self) -> Vec<Rc<Service>> {
        let (worker, outbound, gateway) = (self.worker.borrow(), self.outbound.borrow(), self.gateway.borrow());
        let registered = self.registered.borrow();
        let configured = worker.iter().chain(outbound.iter()).chain(gateway.iter().flatten());
        configured.chain(registered.values()).cloned().collect()
    }

    /// The outbound services whose instances the registry knows.
    pub(super) fn outbound_registered(&self) -> Vec<Rc<Service>> {
        self.outbound.borrow().iter().filter(|s| s.is_registered()).cloned().collect()
    }

    /// Looks up the names of one service, and looks for its lost instances.
    pub(super) fn tend(&self, service: &Rc<Service>, changed: &Changed) {
        service.look_up(&self.resolver.borrow().clone(), changed);
        service.check(changed);
    }

    /// Those of the gateway, by their place in its file.
    pub(super) fn of_gateway(&self) -> Vec<Option<Rc<Service>>> {
        self.gateway.borrow().clone()
    }

    /// The gateway with its services, for the data threads.
    pub(super) fn gateway(&self, plan: &Plan) -> Option<Behind> {
        let services = self.gateway.borrow().iter().map(|s| s.as_ref().map(|s| s.served())).collect();
        plan.gateway.as_ref().map(|g| Behind { gateway: g.gateway.clone(), services })
    }

    /// The local worker, for the data threads.
    pub(super) fn worker(&self) -> Option<Served> {
        self.worker.borrow().as_ref().map(|s| s.served())
    }

    /// The outbound services, for the data threads.
    pub(super) fn outbound(&self, plan: &Plan) -> Vec<Served> {
        let gate = |name: &str| plan.outbound.iter().find(|s| *s.name == *name).and_then(|s| s.gate.clone());
        let delivery = |name: &str| plan.outbound.iter().find(|s| *s.name == *name).and_then(|s| s.delivery.clone());
        self.outbound
            .borrow()
            .iter()
            .map(|s| Served { gate: gate(&s.name), delivery: delivery(&s.name), ..s.served() })
            .collect()
    }

    /// The worker's instances.
    pub(super) fn instances_of_worker(&self) -> Option<Arc<[Member]>> {
        self.worker.borrow().as_ref().map(|s| s.members())
    }
}
