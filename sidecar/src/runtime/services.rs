//! The services of the plan on the control thread: their instances, and what checks them.

use super::certificates::{Certificates, Use};
use crate::config::{self, Address, Plan, Ready};
use crate::exchange::{ConnectionSide, Counted, Silent};
use crate::pipeline::{Behind, Served};
use crate::tls::{ClientTls, Connector};
use crate::upstream::health::{Check, Instance, Opener, Speak, State, keep_checking};
use crate::upstream::names::{self, Found, Name, Resolver, Update, follow};
use crate::upstream::{Endpoints, Member, Place, Policy, Pool, Scheme, Standing, Target, connect, secure};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Who hears that a service's instances changed: its name, and when one of them is up or down, which, whether it is up,
/// and whether that is the first word of it.
pub(super) type Changed = Rc<dyn Fn(&str, Option<(&str, bool, bool)>)>;

/// Every service of the plan.
pub(super) struct Services {
    worker: RefCell<Option<Rc<Service>>>,
    outbound: RefCell<Vec<Rc<Service>>>,
    /// Those of the gateway, by their place in its file; none where it is the worker.
    gateway: RefCell<Vec<Option<Rc<Service>>>>,
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
            dns: RefCell::default(),
            resolver: RefCell::new(resolver),
        }
    }
}

/// One service. It is the same one over changes of plan, as long as it has its name.
pub(super) struct Service {
    pub(super) name: Arc<str>,
    pub(super) pool: Arc<Pool>,
    wanted: RefCell<Wanted>,
    /// What names stand for now; none before the first answer.
    found: RefCell<HashMap<Name, Vec<Found>>>,
    /// What is wrong with the answers.
    trouble: RefCell<HashMap<Name, String>>,
    follows: RefCell<HashMap<Name, JoinHandle<()>>>,
    checks: RefCell<Checks>,
}

/// Running checks by label, with the instance as it is checked.
type Checks = HashMap<Arc<str>, (Member, JoinHandle<()>)>;

/// What the plan says of it.
struct Wanted {
    addresses: Vec<Address>,
    policy: Arc<Policy>,
    check: Check,
    tls: Connectors,
    zone: Option<Arc<str>>,
}

/// How sessions with its instances are made.
#[derive(PartialEq)]
struct Connectors {
    one: Option<Connector>,
    two: Option<Connector>,
    /// For checks that want a session whatever the address says.
    check: Option<Connector>,
}

impl Connectors {
    fn of(&self, scheme: Scheme) -> Option<Connector> {
        match (scheme.is_secure(), scheme.is_two()) {
            (false, _) => None,
            (true, false) => self.one.clone(),
            (true, true) => self.two.clone(),
        }
    }
}

/// A scheme that one of the addresses has.
fn over(addresses: &[Address], scheme: Scheme) -> Option<Scheme> {
    addresses.iter().any(|a| a.target.scheme == scheme).then_some(scheme)
}

/// The sessions of `healthchecks.active` of the types https and grpcs.
fn checked_over(policy: &Policy, tls: &ClientTls) -> Option<(Scheme, ClientTls)> {
    let active = &policy.health.active;
    if active.is_off() || !active.speak.is_tls() {
        return None;
    }
    let tls = ClientTls {
        server_name: active.sni.clone().or_else(|| tls.server_name.clone()),
        verify: tls.verify && active.verify,
        ..tls.clone()
    };
    let scheme = if active.speak == Speak::Grpcs { Scheme::H2 } else { Scheme::Https };
    Some((scheme, tls))
}

impl Services {
    /// Takes over a plan. Services that stay keep their instances, and those what is known of them.
    pub(super) fn follow(&self, plan: &Plan, certificates: &Certificates) {
        let wanted = |name: &Arc<str>,
                      addresses: &[Address],
                      tls: &ClientTls,
                      policy: &Arc<Policy>,
                      check,
                      of: (Use, Use)| Wanted {
            addresses: addresses.to_vec(),
            policy: policy.clone(),
            check,
            tls: Connectors {
                one: over(addresses, Scheme::Https).and_then(|scheme| certificates.connector(name, scheme, tls, of.0)),
                two: over(addresses, Scheme::H2).and_then(|scheme| certificates.connector(name, scheme, tls, of.0)),
                check: checked_over(policy, tls)
                    .and_then(|(scheme, tls)| certificates.connector(name, scheme, &tls, of.1)),
            },
            zone: plan.zone.clone(),
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
            let wanted = wanted(&s.name, &s.addresses, &s.tls, &s.policy, checked(&s.policy), of);
            Service::renewed(old.get(&s.name).cloned(), &s.name, wanted)
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

    /// The worker, every outbound service, and every one of the gateway.
    pub(super) fn all(&self) -> Vec<Rc<Service>> {
        let (worker, outbound, gateway) = (self.worker.borrow(), self.outbound.borrow(), self.gateway.borrow());
        worker.iter().chain(outbound.iter()).chain(gateway.iter().flatten()).cloned().collect()
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
        self.outbound.borrow().iter().map(|s| Served { gate: gate(&s.name), ..s.served() }).collect()
    }

    /// The worker's instances.
    pub(super) fn instances_of_worker(&self) -> Option<Arc<[Member]>> {
        self.worker.borrow().as_ref().map(|s| s.members())
    }
}

impl Service {
    fn renewed(old: Option<Rc<Service>>, name: &Arc<str>, wanted: Wanted) -> Rc<Service> {
        let service = match old {
            Some(service) => {
                let other = {
                    let now = service.wanted.borrow();
                    now.check != wanted.check || now.tls != wanted.tls
                };
                *service.wanted.borrow_mut() = wanted;
                if other {
                    service.stop_checks();
                    let gated = service.wanted.borrow().is_gated();
                    service.members().iter().for_each(|m| m.standing.forget_checks(gated));
                }
                service
            }
            None => Rc::new(Service {
                name: name.clone(),
                pool: Pool::new(Vec::new()),
                wanted: RefCell::new(wanted),
                found: RefCell::default(),
                trouble: RefCell::default(),
                follows: RefCell::default(),
                checks: RefCell::default(),
            }),
        };
        service.renew();
        service
    }

    /// Puts the instances of now into the pool, if they are others than before.
    fn renew(&self) {
        let wanted = self.wanted.borrow();
        let known = self.members();
        let found = self.found.borrow();
        let mut members: Vec<Member> = Vec::new();
        for address in &wanted.addresses {
            let places = match name(&address.target) {
                None => vec![Member::new(address.target.clone(), Standing::new(wanted.is_gated()))],
                Some(name) => {
                    let found = found.get(&name).map(Vec::as_slice).unwrap_or_default();
                    found.iter().map(|f| member(&address.target, &name, f, wanted.is_gated())).collect()
                }
            };
            for mut member in places {
                if members.iter().any(|m| m.label == member.label) {
                    continue;
                }
                member.weight = member.weight.saturating_mul(address.weight);
                member.tls = wanted.tls.of(member.target.scheme);
                member.near = address.zone.is_none() || wanted.zone.is_none() || address.zone == wanted.zone;
                if let Some(known) = known.iter().find(|k| k.label == member.label) {
                    member.standing = known.standing.clone();
                    member.load = known.load.clone();
                }
                members.push(member);
            }
        }
        let same = members.len() == known.len() && members.iter().zip(known.iter()).all(|(a, b)| a.is_same(b));
        if !same {
            self.pool.replace(members);
        }
    }

    /// Follows the names of its addresses.
    fn look_up(self: &Rc<Self>, resolver: &Rc<Resolver>, changed: &Changed) {
        let names: Vec<Name> = self.wanted.borrow().addresses.iter().filter_map(|a| name(&a.target)).collect();
        self.follows.borrow_mut().retain(|name, task| {
            let stays = names.contains(name);
            if !stays {
                task.abort();
                self.found.borrow_mut().remove(name);
                self.trouble.borrow_mut().remove(name);
            }
            stays
        });
        for name in names {
            if self.follows.borrow().contains_key(&name) {
                continue;
            }
            let (service, changed, of) = (Rc::downgrade(self), changed.clone(), name.clone());
            let publish = move |update| {
                if let Some(service) = service.upgrade() {
                    service.updated(&of, update, &changed);
                }
            };
            let task = tokio::task::spawn_local(follow(name.clone(), resolver.clone(), publish));
            self.follows.borrow_mut().insert(name, task);
        }
    }

    fn updated(&self, name: &Name, update: Update, changed: &Changed) {
        match update {
            Update::Instances(found) => {
                let n = found.len();
                let had = self.found.borrow_mut().insert(name.clone(), found).is_some();
                match n {
                    0 => tracing::warn!(service = &*self.name, name = name.host, "the name has no instance now"),
                    _ if had => tracing::info!(service = &*self.name, name = name.host, "the name has {n} instances"),
                    _ => tracing::debug!(service = &*self.name, name = name.host, "the name has {n} instances"),
                }
                self.renew();
                self.check(changed);
                changed(&self.name, None);
            }
            Update::Trouble(Some(why)) => {
                tracing::warn!(service = &*self.name, name = name.host, "the name cannot be looked up: {why}");
                self.trouble.borrow_mut().insert(name.clone(), why);
            }
            Update::Trouble(None) => {
                tracing::info!(service = &*self.name, name = name.host, "the name can be looked up again");
                self.trouble.borrow_mut().remove(name);
            }
        }
    }

    pub(super) fn members(&self) -> Arc<[Member]> {
        self.pool.current().1
    }

    fn served(&self) -> Served {
        let policy = self.wanted.borrow().policy.clone();
        Served { name: self.name.clone(), pool: self.pool.clone(), policy, gate: None }
    }

    /// The names that cannot be looked up, and why.
    pub(super) fn troubles(&self) -> Vec<(String, String)> {
        self.trouble.borrow().iter().map(|(name, why)| (name.host.clone(), why.clone())).collect()
    }

    /// How its commands are sent.
    pub(super) fn policy(&self) -> Arc<Policy> {
        self.wanted.borrow().policy.clone()
    }

    fn check(&self, changed: &Changed) {
        let members = self.members();
        let wanted = self.wanted.borrow();
        let permits = wanted.policy.health.active.permits();
        let mut checks = self.checks.borrow_mut();
        checks.retain(|label, (checked, task)| {
            // The same place may be reached in another way, or be another name's now.
            let is_same = |m: &Member| m.target == checked.target && m.addresses == checked.addresses;
            let stays = members.iter().any(|m| m.label == *label && is_same(m));
            if !stays {
                task.abort();
            }
            stays
        });
        for member in members.iter() {
            if checks.contains_key(&member.label) {
                continue;
            }
            let (service, label) = (self.name.clone(), member.label.clone());
            let changed = changed.clone();
            let first = std::cell::Cell::new(true);
            let tell = move |up: bool| changed(&service, Some((&label, up, first.replace(false))));
            let instance = Instance {
                standing: member.standing.clone(),
                floor: self.pool.floor().clone(),
                ejection: wanted.policy.health.passive.ejection,
                open: opener(member, wanted.tls.check.clone()),
                authority: authority(&member.target),
                two: member.target.scheme.is_two(),
                permits: permits.clone(),
            };
            let counted = || Counted::new(Rc::new(Silent), ConnectionSide::Upstream);
            let task = keep_checking(instance, wanted.check.clone(), counted, tell);
            checks.insert(member.label.clone(), (member.clone(), tokio::task::spawn_local(task)));
        }
    }

    fn stop_look_ups(&self) {
        self.follows.borrow_mut().drain().for_each(|(_, task)| task.abort());
    }

    fn stop_checks(&self) {
        self.checks.borrow_mut().drain().for_each(|(_, (_, task))| task.abort());
    }
}

impl Wanted {
    /// Whether an instance gets no command before its check has succeeded.
    fn is_gated(&self) -> bool {
        matches!(self.check, Check::Ready { .. })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop_look_ups();
        self.stop_checks();
    }
}

/// What has to be looked up to know where a target is.
fn name(target: &Target) -> Option<Name> {
    match &target.place {
        Place::Tcp(host, port) if host.parse::<IpAddr>().is_err() => {
            Some(Name { host: host.clone(), port: Some(*port) })
        }
        _ => None,
    }
}

/// An instance that a name stands for.
fn member(target: &Target, name: &Name, found: &Found, gated: bool) -> Member {
    let port = found.addresses.first().map_or(0, SocketAddr::port);
    // The host that is spoken to is the one whose certificate is wanted, so its name stays.
    let host = found.name.clone().unwrap_or_else(|| name.host.clone());
    let mut member = Member::new(Target { scheme: target.scheme, place: Place::Tcp(host, port) }, Standing::new(gated));
    let local = name.host == "localhost" || name.host.ends_with(".localhost");
    if let (Some(first), false) = (found.addresses.first(), local) {
        let place = Place::Tcp(first.ip().to_string(), first.port());
        member.label = Target { scheme: target.scheme, place }.to_string().into();
    }
    member.addresses = found.addresses.as_slice().into();
    member.priority = found.priority;
    member.weight = if name.is_service() { found.weight } else { 1 };
    member
}

/// Connects for a check.
fn opener(member: &Member, over: Option<Connector>) -> Opener {
    let (target, addresses) = (member.target.clone(), member.addresses.clone());
    let tls = over.or_else(|| member.tls.clone());
    Box::new(move || {
        let (target, addresses, tls) = (target.clone(), addresses.clone(), tls.clone());
        Box::pin(async move {
            let socket = connect(&target.place, &addresses).await?;
            match tls {
                None => Ok(socket),
                Some(connector) => secure(socket, &target, &connector).await,
            }
        })
    })
}

/// What an instance is called in `Host`.
fn authority(target: &Target) -> String {
    match &target.place {
        Place::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        Place::Tcp(host, port) => format!("{host}:{port}"),
        Place::Unix(_) => "localhost".to_owned(),
    }
}
