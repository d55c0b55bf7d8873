//! A command at an instance, counted for as long as it is there.

use super::Endpoint;
use crate::upstream::health::Trial;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A command whose answer is awaited.
pub(in crate::upstream) struct Awaited<'a>(&'a Endpoint);

impl<'a> Awaited<'a> {
    /// It is being sent.
    pub(in crate::upstream) fn new(endpoint: &'a Endpoint, now: Instant) -> Self {
        endpoint.awaited.set(endpoint.awaited.get() + 1);
        if endpoint.asked.get().is_none() {
            endpoint.asked.set(Some(now));
        }
        Awaited(endpoint)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let left = self.0.awaited.get().saturating_sub(1);
        self.0.awaited.set(left);
        if left == 0 {
            self.0.asked.set(None);
        }
    }
}

/// Counts one command at an instance for as long as it lives.
pub struct InFlight {
    endpoint: Rc<Endpoint>,
    /// It holds one of a limited number of places.
    limited: bool,
    /// What it owes the instance's health.
    pub(super) trial: Option<Trial>,
}

impl InFlight {
    pub(super) fn new(endpoint: &Rc<Endpoint>, limited: bool) -> Self {
        let load = &endpoint.load;
        // Only this thread writes them.
        load.in_flight.store(load.in_flight.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        InFlight { endpoint: endpoint.clone(), limited, trial: None }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let in_flight = &self.endpoint.load.in_flight;
        in_flight.store(in_flight.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        if let Some(trial) = self.trial {
            self.endpoint.standing.give_up(trial);
        }
        if self.limited {
            self.endpoint.loads.give();
            self.endpoint.around.queue.call();
        }
    }
}
