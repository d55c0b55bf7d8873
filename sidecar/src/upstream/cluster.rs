//! The instances of one service: least in flight wins, those that fail are left alone for a while.

use super::Endpoint;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

/// The instances of one service.
pub struct Cluster {
    /// Every instance.
    pub endpoints: Vec<Rc<Endpoint>>,
    /// Whether a command waits for an instance to come up; not so for hosts that a caller merely names.
    pub holds: bool,
    turn: Cell<usize>,
}

impl Cluster {
    /// A cluster of these instances.
    pub fn new(endpoints: Vec<Rc<Endpoint>>, holds: bool) -> Rc<Self> {
        Rc::new(Cluster { endpoints, holds, turn: Cell::new(0) })
    }

    /// The available instance with the fewest commands in flight, not one of those `tried`; a suspect one only when
    /// there is no other. Ties go round.
    pub fn pick(&self, now: Instant, tried: &[Rc<Endpoint>]) -> Option<Rc<Endpoint>> {
        let n = self.endpoints.len();
        if n == 1 {
            let only = &self.endpoints[0];
            return (only.available(now) && tried.is_empty()).then(|| only.clone());
        }
        let start = self.turn.get();
        self.turn.set(start.wrapping_add(1));
        let mut best: Option<&Rc<Endpoint>> = None;
        for i in 0..n {
            let e = &self.endpoints[start.wrapping_add(i) % n];
            if !e.available(now) || tried.iter().any(|t| Rc::ptr_eq(t, e)) {
                continue;
            }
            // A suspect whose time has come gets the next command to prove itself; one at a time (see `reserve`).
            if e.suspect() {
                return Some(e.clone());
            }
            if best.is_none_or(|b| e.load() < b.load()) {
                best = Some(e);
            }
        }
        best.cloned()
    }

    /// When the first of them may be tried again.
    pub fn next_try(&self) -> Option<Instant> {
        self.endpoints.iter().filter_map(|e| e.next_try()).min()
    }
}
