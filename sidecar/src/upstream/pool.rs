//! The instances of one service as all threads know them: a current set, and a counter of its changes.

use super::health::Floor;
use super::{Place, Standing, Target};
use crate::tls::Connector;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Instances of one service; what a name resolves to beyond that is left out.
const INSTANCES_MAX: usize = 1024;

/// One instance of a service.
#[derive(Debug, Clone)]
pub struct Member {
    /// Where it is and what is spoken there.
    pub target: Target,
    /// Its addresses, the preferred family first; empty for a unix socket, and for a host whose name is only looked up
    /// when it is connected to.
    pub addresses: Arc<[SocketAddr]>,
    /// Where it is, for records and for people: the same instance has the same text over changes and reloads.
    pub label: Arc<str>,
    /// Its share; 0 is given nothing.
    pub weight: u32,
    /// Lower is preferred; the others are for when none of those can be used (RFC 2782).
    pub priority: u16,
    /// Whether it is in our zone.
    pub near: bool,
    /// How sessions with it are made, when its scheme wants them.
    pub tls: Option<Connector>,
    /// What is known of its health.
    pub standing: Arc<Standing>,
    /// What the threads tell of their use of it, one entry a thread.
    pub load: Arc<Loads>,
}

impl Member {
    /// An instance of which only the place is known.
    pub fn new(target: Target, standing: Arc<Standing>) -> Self {
        let label = target.to_string().into();
        let addresses = match &target.place {
            Place::Tcp(host, port) => host.parse().map(|ip| SocketAddr::new(ip, *port)).into_iter().collect(),
            Place::Unix(_) => Arc::default(),
        };
        Member {
            target,
            addresses,
            label,
            weight: 1,
            priority: 0,
            near: true,
            tls: None,
            standing,
            load: Arc::default(),
        }
    }

    /// Whether a set that has this one instead is the same.
    pub fn is_same(&self, other: &Member) -> bool {
        self.label == other.label
            && self.target == other.target
            && self.addresses == other.addresses
            && (self.weight, self.priority, self.near) == (other.weight, other.priority, other.near)
            && self.tls == other.tls
            && Arc::ptr_eq(&self.standing, &other.standing)
    }
}

/// Where a balancer gets its instances from.
pub trait Endpoints: Send + Sync {
    /// Counts the changes of the set.
    fn version(&self) -> u64;
    /// The set, and the count that it belongs to.
    fn current(&self) -> (u64, Arc<[Member]>);
}

/// A set that the control thread replaces and the data threads read.
#[derive(Debug, Default)]
pub struct Pool {
    version: AtomicU64,
    members: Mutex<Arc<[Member]>>,
    /// How many of them may be ejected at once.
    floor: Arc<Floor>,
    /// Threads whose circuit breaker lets nothing pass.
    open: AtomicU32,
    /// Commands that wait for room.
    waiting: Arc<AtomicU32>,
}

impl Pool {
    /// A set of these, for good or until it is replaced.
    pub fn new(members: Vec<Member>) -> Arc<Self> {
        let pool = Pool::default();
        pool.replace(members);
        Arc::new(pool)
    }

    /// Puts another set in its place.
    pub fn replace(&self, mut members: Vec<Member>) {
        if members.len() > INSTANCES_MAX {
            tracing::warn!("a service of {} instances: {INSTANCES_MAX} of them are used", members.len());
            members.truncate(INSTANCES_MAX);
        }
        self.floor.set(members.iter().map(|m| m.standing.clone()).collect());
        let mut current = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        *current = members.into();
        self.version.fetch_add(1, Ordering::Release);
    }
}

impl Pool {
    /// A thread's circuit breaker has opened, or closed again.
    pub(super) fn breaker(&self, open: bool) {
        if open {
            self.open.fetch_add(1, Ordering::Relaxed);
        } else {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many of them may be ejected at once.
    pub fn floor(&self) -> &Arc<Floor> {
        &self.floor
    }

    /// Counts commands that wait for room.
    pub fn counter(&self) -> Arc<AtomicU32> {
        self.waiting.clone()
    }

    /// Commands that wait for room.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Threads that leave the service alone.
    pub fn open_breakers(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }
}

impl Endpoints for Pool {
    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn current(&self) -> (u64, Arc<[Member]>) {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version(), members.clone())
    }
}

/// What one thread does with one instance. Only that thread writes it, so that reading costs it nothing.
#[derive(Debug, Default)]
pub struct Load {
    /// Commands that it holds.
    pub in_flight: AtomicU32,
    /// The balancer's figure for its latency, in microseconds.
    pub latency: AtomicU32,
    /// Connections that are free.
    pub idle: AtomicU32,
    /// Commands given to it so far.
    pub commands: AtomicU64,
}

/// What all threads do with one instance.
#[derive(Debug, Default)]
pub struct Loads {
    threads: Mutex<Vec<std::sync::Weak<Load>>>,
    /// Commands that it holds; counted only where there may not be any number of them.
    taken: AtomicU32,
    /// Whether it has said that it takes many commands at a time, where it may be one that takes one.
    many: AtomicBool,
}

/// The sum over the threads.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Commands that it holds.
    pub in_flight: u32,
    /// The mean of the threads' figures, in microseconds; 0 when nothing is known.
    pub latency: u32,
    /// Connections that are free.
    pub idle: u32,
    /// Commands given to it so far, by threads that still know it.
    pub commands: u64,
}

impl Loads {
    /// One more thread uses it.
    pub fn join(&self) -> Arc<Load> {
        let mine = Arc::new(Load::default());
        let mut all = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|l| l.strong_count() > 0);
        all.push(Arc::downgrade(&mine));
        mine
    }

    /// What it has said of itself.
    pub(super) fn takes_many(&self, many: bool) {
        self.many.store(many, Ordering::Relaxed);
    }

    /// How many of `max` places it has, when it may be one that takes one command at a time.
    /// Then it has `ahead` more than one.
    pub(super) fn places(&self, max: Option<u32>, ahead: u32) -> Option<u32> {
        if self.many.load(Ordering::Relaxed) {
            return max;
        }
        let places = ahead.saturating_add(1);
        Some(max.map_or(places, |max| max.min(places)))
    }

    /// Takes one of `max` places; false when all are taken.
    pub(super) fn take(&self, max: u32) -> bool {
        let free = self.taken.fetch_add(1, Ordering::Relaxed) < max;
        if !free {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        free
    }

    /// Gives a place back.
    pub(super) fn give(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether one of `max` places is free.
    pub(super) fn has_room(&self, max: u32) -> bool {
        self.taken.load(Ordering::Relaxed) < max
    }

    /// The sum of now.
    pub fn total(&self) -> Total {
        let mut total = Total::default();
        let mut known = 0;
        let mut latency = 0_u64;
        let all = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for load in all.iter().filter_map(std::sync::Weak::upgrade) {
            total.in_flight += load.in_flight.load(Ordering::Relaxed);
            total.idle += load.idle.load(Ordering::Relaxed);
            total.commands += load.commands.load(Ordering::Relaxed);
            let us = load.latency.load(Ordering::Relaxed);
            if us > 0 {
                known += 1;
                latency += u64::from(us);
            }
        }
        total.latency = latency.checked_div(known).and_then(|us| us.try_into().ok()).unwrap_or(0);
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_counts_its_changes_and_loads_add_up() {
        let pool = Pool::new(Vec::new());
        let (first, members) = pool.current();
        assert_eq!((first, members.len()), (pool.version(), 0));
        pool.replace(Vec::new());
        assert!(pool.version() > first);

        let loads = Loads::default();
        let (a, b) = (loads.join(), loads.join());
        a.in_flight.store(2, Ordering::Relaxed);
        b.in_flight.store(3, Ordering::Relaxed);
        a.latency.store(500, Ordering::Relaxed);
        assert_eq!(loads.total(), Total { in_flight: 5, latency: 500, idle: 0, commands: 0 });
        drop(b);
        assert_eq!(loads.total().in_flight, 2);
    }
}
