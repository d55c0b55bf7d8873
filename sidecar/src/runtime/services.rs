//! The services of the plan on the control thread: their instances, and what checks them.

use crate::config::{Address, Plan, Ready};
use crate::exchange::{ConnectionSide, Counted, Direction, Exchange, Tell};
use crate::pipeline::Served;
use crate::upstream::{Check, Endpoints, Member, Policy, Pool, Standing, keep_checking};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Who hears that an instance is up or down: service, instance, whether it is up, whether that is the first word of it.
pub(super) type Changed = Rc<dyn Fn(&str, &str, bool, bool)>;

/// Every service of the plan.
#[derive(Default)]
pub(super) struct Services {
    worker: RefCell<Option<Rc<Service>>>,
    outbound: RefCell<Vec<Rc<Service>>>,
}

/// One service. It is the same one over changes of plan, as long as it has its name.
pub(super) struct Service {
    pub(super) name: Arc<str>,
    pub(super) pool: Arc<Pool>,
    wanted: RefCell<Wanted>,
    checks: RefCell<HashMap<Arc<str>, JoinHandle<()>>>,
}

/// What the plan says of it.
struct Wanted {
    addresses: Vec<Address>,
    policy: Arc<Policy>,
    check: Check,
    zone: Option<Arc<str>>,
}

impl Services {
    /// Takes over a plan. Services that stay keep their instances, and those what is known of them.
    pub(super) fn follow(&self, plan: &Plan) {
        let wanted = |addresses: &[Address], policy: &Arc<Policy>, check| Wanted {
            addresses: addresses.to_vec(),
            policy: policy.clone(),
            check,
            zone: plan.zone.clone(),
        };
        let mut worker = self.worker.borrow_mut();
        let old = worker.take();
        *worker = plan.worker.as_ref().map(|w| {
            let check = match &w.ready {
                Ready::Connect => Check::Connect,
                Ready::Http { path, interval } => Check::Http { path: path.clone(), interval: *interval },
            };
            let old = old.filter(|s| s.name == plan.identity.service);
            Service::renewed(old, &plan.identity.service, wanted(&w.addresses, &w.policy, check))
        });
        let mut outbound = self.outbound.borrow_mut();
        let old = std::mem::take(&mut *outbound);
        *outbound = plan
            .outbound
            .iter()
            .map(|s| {
                let old = old.iter().find(|o| o.name == s.name).cloned();
                Service::renewed(old, &s.name, wanted(&s.addresses, &s.policy, Check::Connect))
            })
            .collect();
    }

    /// Checks every instance, and no other.
    pub(super) fn check(&self, changed: &Changed) {
        for service in self.all() {
            service.check(changed);
        }
    }

    /// The worker and every outbound service.
    pub(super) fn all(&self) -> Vec<Rc<Service>> {
        self.worker.borrow().iter().chain(self.outbound.borrow().iter()).cloned().collect()
    }

    /// The local worker, for the data threads.
    pub(super) fn worker(&self) -> Option<Served> {
        self.worker.borrow().as_ref().map(|s| s.served())
    }

    /// The outbound services, for the data threads.
    pub(super) fn outbound(&self) -> Vec<Served> {
        self.outbound.borrow().iter().map(|s| s.served()).collect()
    }

    /// The worker's instances.
    pub(super) fn instances_of_worker(&self) -> Option<Arc<[Member]>> {
        self.worker.borrow().as_ref().map(|s| s.members())
    }
}

impl Service {
    fn renewed(old: Option<Rc<Service>>, name: &Arc<str>, wanted: Wanted) -> Rc<Service> {
        match old {
            Some(service) => {
                // Another way of asking begins anew.
                if service.wanted.borrow().check != wanted.check {
                    service.pool.replace(Vec::new());
                    service.stop_checks();
                }
                *service.wanted.borrow_mut() = wanted;
                service.renew();
                service
            }
            None => {
                let service = Rc::new(Service {
                    name: name.clone(),
                    pool: Pool::new(Vec::new()),
                    wanted: RefCell::new(wanted),
                    checks: RefCell::default(),
                });
                service.renew();
                service
            }
        }
    }

    /// Puts the instances of now into the pool, if they are others than before.
    fn renew(&self) {
        let wanted = self.wanted.borrow();
        let known = self.members();
        let mut members: Vec<Member> = Vec::new();
        for address in &wanted.addresses {
            let mut member = Member::new(address.target.clone(), Standing::new(wanted.check == Check::Connect));
            if members.iter().any(|m| m.label == member.label) {
                continue;
            }
            member.weight = address.weight;
            member.near = address.zone.is_none() || wanted.zone.is_none() || address.zone == wanted.zone;
            if let Some(known) = known.iter().find(|k| k.label == member.label) {
                member.standing = known.standing.clone();
                member.load = known.load.clone();
            }
            members.push(member);
        }
        let same = members.len() == known.len() && members.iter().zip(known.iter()).all(|(a, b)| a.is_same(b));
        if !same {
            self.pool.replace(members);
        }
    }

    pub(super) fn members(&self) -> Arc<[Member]> {
        self.pool.current().1
    }

    fn served(&self) -> Served {
        Served { name: self.name.clone(), pool: self.pool.clone(), policy: self.wanted.borrow().policy.clone() }
    }

    /// Its instances and how they are, for people.
    pub(super) fn shown(&self) -> Value {
        let one = |m: &Member| {
            let load = m.load.total();
            json!({
                "address": &*m.label,
                "ready": m.standing.up(),
                "weight": m.weight,
                "in_flight": load.in_flight,
                "latency_ms": f64::from(load.latency) / 1000.0,
                "idle_connections": load.idle,
                "commands": load.commands,
            })
        };
        json!({
            "service": &*self.name,
            "open_breakers": self.pool.open_breakers(),
            "waiting": self.pool.waiting(),
            "instances": self.members().iter().map(one).collect::<Vec<_>>(),
        })
    }

    fn check(&self, changed: &Changed) {
        let members = self.members();
        let check = self.wanted.borrow().check.clone();
        let mut checks = self.checks.borrow_mut();
        checks.retain(|label, task| {
            let stays = members.iter().any(|m| m.label == *label);
            if !stays {
                task.abort();
            }
            stays
        });
        for member in members.iter().filter(|m| !checks.contains_key(&m.label)).cloned().collect::<Vec<_>>() {
            let (service, label) = (self.name.clone(), member.label.clone());
            let changed = changed.clone();
            let first = std::cell::Cell::new(true);
            let tell = move |up: bool| changed(&service, &label, up, first.replace(false));
            let counted = || Counted::new(Rc::new(Silent), ConnectionSide::Upstream);
            let task = keep_checking(member.target.clone(), check.clone(), member.standing.clone(), counted, tell);
            checks.insert(member.label.clone(), tokio::task::spawn_local(task));
        }
    }

    fn stop_checks(&self) {
        for (_, task) in self.checks.borrow_mut().drain() {
            task.abort();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop_checks();
    }
}

/// Checks are not commands and their connections are not counted.
struct Silent;

impl Tell for Silent {
    fn in_flight(&self, _: Direction, _: i64) {}
    fn begun(&self, _: &Exchange) {}
    fn log(&self, _: &Exchange) {}
    fn count(&self, _: &Exchange) {}
    fn rejected(&self, _: &'static str) {}
    fn retried(&self, _: &'static str) {}
    fn connection(&self, _: ConnectionSide, _: i64) {}
}
