//! The instances of one service as one thread sees them, and the choice among them.

use super::breaker::Breaker;
use super::budget::Budget;
use super::endpoint::Around;
use super::pool::{Endpoints, Pool};
use super::queue::Queue;
use super::{Endpoint, Policy};
use crate::exchange::{Tell, Timeouts};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    pub fn new(name: Arc<str>, pool: Arc<Pool>, tell: Rc<dyn Tell>, own: Rc<[u16]>) -> Rc<Self> {
        let around = Around::new(Queue::new(pool.counter()), tell, own);
        Rc::new(Kept {
            name,
            pool,
            endpoints: RefCell::default(),
            around,
            breaker: Breaker::new(Instant::now()),
            budget: RefCell::default(),
        })
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

/// A current set of instances.
pub struct Set {
    version: u64,
    /// Every instance.
    pub endpoints: Vec<Rc<Endpoint>>,
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
    turn: Cell<usize>,
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
        let none = Rc::new(Set { version: u64::MAX, endpoints: Vec::new() });
        Rc::new(Cluster { kept, policy, budget, holds, set: RefCell::new(none), turn: Cell::new(0) })
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
                Some(endpoint) => {
                    endpoint.moved(member);
                    endpoint.clone()
                }
                None => {
                    let endpoint = Endpoint::new(member, self.kept.around.clone());
                    known.insert(member.label.clone(), endpoint.clone());
                    endpoint
                }
            })
            .collect();
        *self.set.borrow_mut() = Rc::new(Set { version, endpoints });
    }

    /// The most commands that an instance may hold.
    pub fn most(&self) -> Option<u32> {
        self.policy.concurrency.map(|c| c.max)
    }

    /// The instance that the next command goes to, not one of those `tried`. A suspect one whose time has come is given
    /// it to prove itself, one command at a time (see [`Endpoint::reserve`]).
    pub fn pick(&self, now: Instant, tried: &[Rc<Endpoint>]) -> Pick {
        let set = self.set();
        let most = self.most();
        let n = set.endpoints.len();
        let start = self.turn.get();
        self.turn.set(start.wrapping_add(1));
        let mut best: Option<&Rc<Endpoint>> = None;
        let mut full = false;
        for i in 0..n {
            let e = &set.endpoints[start.wrapping_add(i) % n];
            if !e.available(now) || tried.iter().any(|t| Rc::ptr_eq(t, e)) {
                continue;
            }
            if !e.has_room(most) {
                full = true;
                continue;
            }
            if e.suspect() {
                return Pick::One(e.clone());
            }
            if best.is_none_or(|b| e.in_flight() < b.in_flight()) {
                best = Some(e);
            }
        }
        match best {
            Some(e) => Pick::One(e.clone()),
            None if full => Pick::Full,
            None => Pick::None,
        }
    }

    /// When the first of them may be tried again.
    pub fn next_try(&self) -> Option<Instant> {
        self.set().endpoints.iter().filter_map(|e| e.next_try()).min()
    }
}
