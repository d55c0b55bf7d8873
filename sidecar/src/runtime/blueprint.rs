//! The plan as the data threads need it.

use super::services::Services;
use crate::config::{Bind, Plan};
use crate::exchange::Direction;
use crate::pipeline::{Blueprint, Finder};
use crate::sink::LogSettings;
use crate::spool::Spool;
use std::net::SocketAddr;

/// Where we listen for those who look after us and for our own worker: no place that others may be led to.
pub(super) fn private(plan: &Plan) -> Vec<SocketAddr> {
    let outbound = plan.listeners.iter().filter(|l| l.direction == Direction::Outbound).filter_map(|l| match &l.bind {
        Bind::Tcp(address) => Some(*address),
        Bind::Unix(_) => None,
    });
    let registry = plan.discovery.iter().flat_map(|d| d.http.iter().chain(&d.dns).copied());
    outbound.chain(plan.admin.as_ref().map(|a| a.listen)).chain(registry).collect()
}

/// Draws the plan with the services of now.
pub(super) fn draw(plan: &Plan, services: &Services, spool: Option<&Spool>) -> Blueprint {
    let listeners = plan.listeners.iter().filter_map(|l| match &l.bind {
        Bind::Tcp(address) => Some((*address, l.direction == Direction::Inbound)),
        Bind::Unix(_) => None,
    });
    let private = private(plan).into_iter().filter(|at| !plan.listeners.iter().any(|l| l.bind == Bind::Tcp(*at)));
    let private: Vec<_> = private.map(|at| (at, false)).collect();
    Blueprint {
        identity: plan.identity.clone(),
        rules: plan.identify.clone(),
        trusted: plan.trusted.clone(),
        timeouts: plan.timeouts.clone(),
        limits: plan.limits.clone(),
        worker: services.worker(),
        services: services.outbound(plan),
        finder: plan.discovery.as_ref().map(|settings| Finder {
            directory: services.directory.clone(),
            suffixes: settings.suffixes(),
            domains: settings.domains(),
        }),
        gateway: services.gateway(plan),
        own: listeners.chain(private).collect(),
        outbound: plan.listeners.iter().any(|l| l.direction == Direction::Outbound),
        // Without a sink somebody may look by the admin listener.
        logs: !plan.logs.is_empty() || plan.spans.is_some() || plan.admin.is_some(),
        show: plan.show.clone(),
        whole: plan.logs.iter().map(LogSettings::wants).max().unwrap_or_default(),
        sampling: plan.sampling,
        spool: spool.cloned(),
        delivery: plan.delivery.clone(),
    }
}
