//! The instances of one service as one thread sees them, and the choice among them.

use super::balance::{Balancer, Explained, Peer};
use super::breaker::Breaker;
use super::budget::Budget;
use super::endpoint::Around;
use super::health::below_threshold;
use super::pool::{Endpoints, Pool};
use super::queue::{Concurrency, Queue};
use super::{Endpoint, Policy, Scheme};
use crate::exchange::{Tell, Timeouts};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The limit of instances of ZeroMQ that have none of their own.
const MESSAGES: Concurrency = Concurrency { max: 16, queue: 1000, wait: Duration::from_secs(60) };

/// What one thread knows of a service. It outlives changes of plan.
pub struct Kept {
    /// The service.
    name: Arc<str>,
    pool: Arc<Pool>,
    endpoints: RefCell<HashMap<Arc<str>, Rc<Endpoint>>>,
    around: Rc<Around>,
    /// The circuit breaker.
    pub breaker: Breaker,
    budget: RefCell<Option<(super::budget::Share, Rc<Budget>)>>,
}

impl Kept {
    /// Nothing yet of the instances of a pool.
    pub fn new(name: Arc<str>, pool: Arc<Pool>, tell: Rc<dyn Tell>) -> Rc<Self> {
        let around = Around::new(name.clone(), pool.clone(), tell);
        Rc::new(Kept {
            name,
            pool,
            endpoints: RefCell::default(),
            around,
            breaker: Breaker::new(Instant::now()),
            budget: RefCell::default(),
        })
    }

    /// Whether these are the instances of that pool.
    pub fn is_of(&self, pool: &Arc<Pool>) -> bool {
        Arc::ptr_eq(&self.pool, pool)
    }

    /// Closes connections that were not used lately, and puts aside what commands earned.
    pub fn sweep(&self, now: Instant, timeouts: &Timeouts) {
        self.renew_after(timeouts.upstream_age);
        for endpoint in self.endpoints.borrow().values() {
            endpoint.sweep(now, timeouts.upstream_idle);
        }
        if let Some((_, budget)) = &*self.budget.borrow() {
            budget.settle();
        }
    }

    /// Connections made from now on take no further command after this long.
    pub fn renew_after(&self, age: Duration) {
        self.around.age.set(age);
    }

    /// No instance may turn out to be one of these, where we ourselves listen.
    pub fn keep_off(&self, own: Rc<[SocketAddr]>) {
        *self.around.own.borrow_mut() = own;
    }

    /// The circuit breaker is not asked any more.
    fn forget_breaker(&self) {
        if self.breaker.reset() {
            self.pool.breaker(false);
        }
    }

    fn budget(&self, share: super::budget::Share) -> Rc<Budget> {
        let mut budget = self.budget.borrow_mut();
        match &*budget {
            Some((known, budget)) if *known == share => budget.clone(),
            _ => {
                let made = Rc::new(Budget::new(share));
                *budget = Some((share, made.clone()));
                made
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.forget_breaker();
    }
}

/// A current set of instances.
pub struct Set {
    version: u64,
    /// Every instance.
    pub endpoints: Vec<Rc<Endpoint>>,
    /// Whether one of them speaks ZeroMQ.
    messages: bool,
    balancer: Balancer,
}

/// A service as a plan wants it.
pub struct Cluster {
    kept: Rc<Kept>,
    /// How its commands are sent.
    pub policy: Arc<Policy>,
    /// How much may be retried.
    pub budget: Rc<Budget>,
    /// Whether a command waits for an instance to come up; not so for hosts that a caller merely names.
    pub holds: bool,
    set: RefCell<Rc<Set>>,
}

/// What a choice looks at beside the instances.
#[derive(Default)]
pub struct Choice {
    /// For consistent hashing.
    pub key: Option<u64>,
    /// Whether the command may run twice, and so may find out whether an instance is well again.
    pub repeats: bool,
}

/// What there is to choose.
pub enum Pick {
    /// This one.
    One(Rc<Endpoint>),
    /// Some could take it, and have no room.
    Full,
    /// None can be used now.
    None,
}

impl Cluster {
    /// A cluster of the pool's instances.
    pub fn new(kept: Rc<Kept>, policy: Arc<Policy>, holds: bool) -> Rc<Self> {
        let budget = kept.budget(policy.retries.budget);
        kept.around.slow_start.set(policy.balance.slow_start);
        *kept.around.outlet.borrow_mut() = policy.zmq.clone();
        if policy.breaker.is_none() {
            kept.forget_breaker();
        }
        let balancer = Balancer::new::<Rc<Endpoint>>(policy.balance.algorithm, &[]);
        let none = Rc::new(Set { version: u64::MAX, endpoints: Vec::new(), messages: false, balancer });
        Rc::new(Cluster { kept, policy, budget, holds, set: RefCell::new(none) })
    }

    /// What outlives the plan.
    pub fn kept(&self) -> &Rc<Kept> {
        &self.kept
    }

    /// The service.
    pub fn name(&self) -> &str {
        &self.kept.name
    }

    /// The pool behind.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.kept.pool
    }

    /// Commands that wait for room.
    pub fn queue(&self) -> &Rc<Queue> {
        &self.kept.around.queue
    }

    /// The instances of now.
    pub fn set(&self) -> Rc<Set> {
        if self.set.borrow().version != self.kept.pool.version() {
            self.renew();
        }
        self.set.borrow().clone()
    }

    #[cold]
    fn renew(&self) {
        let (version, members) = self.kept.pool.current();
        let mut known = self.kept.endpoints.borrow_mut();
        known.retain(|label, _| members.iter().any(|m| m.label == *label));
        let endpoints = members
            .iter()
            .map(|member| match known.get(&member.label) {
                // Who trusts others now, or wants another name in the certificate, does not use connections of before.
                Some(endpoint) if endpoint.tls == member.tls && endpoint.target == member.target => {
                    endpoint.moved(member);
                    endpoint.clone()
                }
                _ => {
                    let endpoint = Endpoint::new(member, self.kept.around.clone());
                    known.insert(member.label.clone(), endpoint.clone());
                    endpoint
                }
            })
            .collect::<Vec<_>>();
        let balance = &self.policy.balance;
        let balancer = Balancer::with(balance.algorithm, balance.slots, fastrand::u64(..), &endpoints);
        let messages = endpoints.iter().any(|e| e.target.scheme == Scheme::Zmq);
        *self.set.borrow_mut() = Rc::new(Set { version, endpoints, messages, balancer });
    }

    /// The most commands that an instance may hold.
    pub fn most(&self) -> Option<u32> {
        self.limit().map(|c| c.max)
    }

    /// Whether an instance of it speaks ZeroMQ.
    pub fn speaks_messages(&self) -> bool {
        self.set().messages
    }

    /// How many commands an instance is given at once. Those of ZeroMQ always have a limit: what lies in an instance's
    /// socket is lost with it.
    pub fn limit(&self) -> Option<Concurrency> {
        self.policy.concurrency.or_else(|| self.set().messages.then_some(MESSAGES))
    }

    /// The instance that the next command goes to, not one of those `tried`. A suspect one whose time has come is given
    /// it to prove itself, one command at a time (see [`Endpoint::reserve`]).
    pub fn pick(&self, now: Instant, choice: &Choice, tried: &[Rc<Endpoint>]) -> Pick {
        let set = self.set();
        let most = self.most();
        let free = |e: &Rc<Endpoint>| {
            e.available(now) && (tried.is_empty() || !tried.iter().any(|t| Rc::ptr_eq(t, e))) && e.has_room(most)
        };
        // A key stays with its instance: only its own keys find out whether a suspect one is well.
        if self.kept.around.suspects.get() > 0
            && choice.key.is_none()
            && let Some(suspect) = set.endpoints.iter().find(|e| e.suspect() && e.weight() > 0 && free(e))
        {
            return Pick::One(suspect.clone());
        }
        let threshold = self.policy.health.threshold;
        if threshold > 0 && below_threshold(threshold, set.endpoints.iter().map(|e| (e.weight(), e.available(now)))) {
            return Pick::None;
        }
        let pick = |usable: &dyn Fn(&Rc<Endpoint>) -> bool| set.balancer.pick(&set.endpoints, usable, choice.key, now);
        let picked = match (set.endpoints.as_slice(), choice.repeats) {
            // Most services have one, and nothing to weigh.
            ([only], _) => (only.weight() > 0 && free(only)).then_some(0),
            (_, true) => pick(&free),
            // Others first, where one may have to be proved.
            (_, false) => pick(&|e| free(e) && !e.is_trial(now)).or_else(|| pick(&free)),
        };
        match picked.and_then(|at| set.endpoints.get(at)) {
            Some(e) => Pick::One(e.clone()),
            None if most.is_some() && set.endpoints.iter().any(|e| e.available(now) && !e.has_room(most)) => Pick::Full,
            None => Pick::None,
        }
    }

    /// What the next pick would do, and why.
    pub fn explain(&self, now: Instant, key: Option<u64>) -> Explained {
        let set = self.set();
        let most = self.most();
        set.balancer.explain(&set.endpoints, |e| e.available(now) && e.has_room(most), key, now)
    }

    /// When the first of them may be tried again.
    pub fn next_try(&self) -> Option<Instant> {
        self.set().endpoints.iter().filter_map(|e| e.next_try()).min()
    }
}
