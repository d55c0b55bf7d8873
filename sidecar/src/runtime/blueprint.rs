//! The plan as the data threads need it.

use super::certificates::Certificates;
use crate::config::{Bind, Plan, Ready, Service};
use crate::exchange::Direction;
use crate::pipeline::{Blueprint, Place};
use crate::tls::Connector;
use crate::upstream::{Check, Scheme, Standing, Target};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// What is known of each instance, kept over changes of plan.
#[derive(Default)]
pub(super) struct Standings(RefCell<HashMap<Key, (Arc<Standing>, Check)>>);

/// An address may stand behind several services, each with a check of its own.
pub(super) type Key = (Arc<str>, Target);

impl Standings {
    /// Draws the plan; instances that stay keep their standing.
    pub(super) fn draw(&self, plan: &Plan, certificates: &Certificates) -> Blueprint {
        let worker = plan.worker.as_ref().map(|w| {
            let check = match &w.ready {
                Ready::Connect => Check::Connect,
                Ready::Http { path, interval } => Check::Http { path: path.clone(), interval: *interval },
            };
            let secure = |s| certificates.connector(&plan.identity.service, s, &w.tls);
            self.places(&plan.identity.service, &w.targets, &check, secure)
        });
        let service = |s: &Service| {
            let secure = |scheme| certificates.connector(&s.name, scheme, &s.tls);
            (s.name.clone(), self.places(&s.name, &s.targets, &Check::Connect, secure))
        };
        let services = plan.outbound.iter().map(service).collect();
        let ports = plan.listeners.iter().filter_map(|l| match &l.bind {
            Bind::Tcp(address) => Some(address.port()),
            Bind::Unix(_) => None,
        });
        Blueprint {
            identity: plan.identity.clone(),
            rules: plan.identify.clone(),
            trusted: plan.trusted.clone(),
            timeouts: plan.timeouts.clone(),
            limits: plan.limits.clone(),
            worker: worker.unwrap_or_default(),
            services,
            own_ports: ports.chain(plan.admin.as_ref().map(|a| a.listen.port())).collect(),
            outbound: plan.listeners.iter().any(|l| l.direction == Direction::Outbound),
            logs: !plan.logs.is_empty() || plan.spans.is_some(),
            show: plan.show.clone(),
            sampling: plan.sampling,
        }
    }

    fn places(
        &self,
        service: &Arc<str>,
        targets: &[Target],
        check: &Check,
        secure: impl Fn(Scheme) -> Option<Connector>,
    ) -> Vec<Place> {
        let mut known = self.0.borrow_mut();
        let mut place = |target: &Target| {
            let entry = known
                .entry((service.clone(), target.clone()))
                .or_insert_with(|| (Standing::new(*check == Check::Connect), check.clone()));
            if entry.1 != *check {
                // Another way of asking begins anew.
                *entry = (Standing::new(*check == Check::Connect), check.clone());
            }
            Place { target: target.clone(), standing: entry.0.clone(), tls: secure(target.scheme) }
        };
        targets.iter().map(&mut place).collect()
    }

    /// The standing of an instance.
    pub(super) fn of(&self, key: &Key) -> Option<(Arc<Standing>, Check)> {
        self.0.borrow().get(key).cloned()
    }

    /// Forgets instances that the plan does not name.
    pub(super) fn retain(&self, wanted: &[Key]) {
        self.0.borrow_mut().retain(|key, _| wanted.contains(key));
    }
}
