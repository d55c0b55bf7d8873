//! One service on the control thread: its instances, what names them, and what checks them.

use super::certificates::{Certificates, Use};
use super::services::Changed;
use crate::config::Address;
use crate::exchange::{ConnectionSide, Counted, Silent};
use crate::pipeline::Served;
use crate::tls::{ClientTls, Connector};
use crate::upstream::health::{Check, Instance, Opener, Speak, keep_checking};
use crate::upstream::names::{Found, Name, Resolver, Update, follow};
use crate::upstream::{Endpoints, Member, Place, Policy, Pool, Scheme, Standing, Target, connect, secure};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// One service. It is the same one over changes of plan, as long as it has its name.
pub(super) struct Service {
    pub(super) name: Arc<str>,
    pub(super) pool: Arc<Pool>,
    pub(super) wanted: RefCell<Wanted>,
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
pub(super) struct Wanted {
    pub(super) addresses: Vec<Address>,
    /// The registry says who its instances are, and finds out how they are: only lost ones are looked for.
    pub(super) registered: bool,
    pub(super) policy: Arc<Policy>,
    pub(super) check: Check,
    pub(super) tls: Connectors,
    pub(super) zone: Option<Arc<str>>,
}

/// How sessions with its instances are made.
#[derive(Default, PartialEq)]
pub(super) struct Connectors {
    one: Option<Connector>,
    two: Option<Connector>,
    /// For checks that want a session whatever the address says.
    check: Option<Connector>,
}

impl Connectors {
    /// Those that a service needs, whose commands and checks are told apart by `of`.
    pub(super) fn new(
        name: &Arc<str>,
        addresses: &[Address],
        (tls, policy): (&ClientTls, &Policy),
        certificates: &Certificates,
        of: (Use, Use),
    ) -> Connectors {
        let over = |wanted: Scheme| {
            let scheme = addresses.iter().map(|a| a.target.scheme).find(|scheme| *scheme == wanted)?;
            certificates.connector(name, scheme, tls, of.0)
        };
        Connectors {
            one: over(Scheme::Https),
            two: over(Scheme::H2),
            check: checked_over(policy, tls).and_then(|(scheme, tls)| certificates.connector(name, scheme, &tls, of.1)),
        }
    }

    fn of(&self, scheme: Scheme) -> Option<Connector> {
        match (scheme.is_secure(), scheme.is_two()) {
            (false, _) => None,
            (true, false) => self.one.clone(),
            (true, true) => self.two.clone(),
        }
    }
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

impl Service {
    pub(super) fn renewed(old: Option<Rc<Service>>, name: &Arc<str>, wanted: Wanted) -> Rc<Service> {
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

    /// Other instances from the registry.
    pub(super) fn register(&self, addresses: Vec<Address>, tls: Connectors) {
        {
            let mut wanted = self.wanted.borrow_mut();
            (wanted.addresses, wanted.tls) = (addresses, tls);
        }
        self.renew();
    }

    /// Whether the registry says who its instances are.
    pub(super) fn is_registered(&self) -> bool {
        self.wanted.borrow().registered
    }

    /// Whether one of its instances was not reached the last time.
    pub(super) fn has_lost(&self) -> bool {
        self.members().iter().any(|m| !m.standing.is_reached()) || !self.checks.borrow().is_empty()
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
                member.priority = member.priority.max(address.priority);
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
    pub(super) fn look_up(self: &Rc<Self>, resolver: &Rc<Resolver>, changed: &Changed) {
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

    pub(super) fn served(&self) -> Served {
        let policy = self.wanted.borrow().policy.clone();
        Served { name: self.name.clone(), pool: self.pool.clone(), policy, gate: None, delivery: None }
    }

    /// The names that cannot be looked up, and why.
    pub(super) fn troubles(&self) -> Vec<(String, String)> {
        self.trouble.borrow().iter().map(|(name, why)| (name.host.clone(), why.clone())).collect()
    }

    /// How its commands are sent.
    pub(super) fn policy(&self) -> Arc<Policy> {
        self.wanted.borrow().policy.clone()
    }

    pub(super) fn check(&self, changed: &Changed) {
        let members = self.members();
        let wanted = self.wanted.borrow();
        let permits = wanted.policy.health.active.permits();
        let mut checks = self.checks.borrow_mut();
        checks.retain(|label, (checked, task)| {
            // The same place may be reached in another way, or be another name's now.
            let is_same = |m: &Member| {
                m.target == checked.target
                    && m.addresses == checked.addresses
                    && (!wanted.only_lost() || !m.standing.is_reached())
            };
            let stays = members.iter().any(|m| m.label == *label && is_same(m));
            if !stays {
                task.abort();
            }
            stays
        });
        for member in members.iter() {
            if checks.contains_key(&member.label) || (wanted.only_lost() && member.standing.is_reached()) {
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
                messages: member.target.scheme == Scheme::Zmq,
                permits: permits.clone(),
            };
            let counted = || Counted::new(Rc::new(Silent), ConnectionSide::Upstream);
            let task = keep_checking(instance, wanted.check.clone(), counted, tell);
            checks.insert(member.label.clone(), (member.clone(), tokio::task::spawn_local(task)));
        }
    }

    pub(super) fn stop_look_ups(&self) {
        self.follows.borrow_mut().drain().for_each(|(_, task)| task.abort());
    }

    fn stop_checks(&self) {
        self.checks.borrow_mut().drain().for_each(|(_, (_, task))| task.abort());
    }
}

impl Wanted {
    /// Whether only instances that could not be reached are asked.
    fn only_lost(&self) -> bool {
        self.registered && self.check == Check::Connect
    }

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
