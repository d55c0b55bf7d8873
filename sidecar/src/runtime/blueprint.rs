//! The plan as the data threads need it.

use super::services::Services;
use crate::config::{Bind, Plan};
use crate::exchange::Direction;
use crate::pipeline::{Blueprint, Finder};
use crate::sink::LogSettings;

/// Draws the plan with the services of now.
pub(super) fn draw(plan: &Plan, services: &Services) -> Blueprint {
    let listeners = plan.listeners.iter().filter_map(|l| match &l.bind {
        Bind::Tcp(address) => Some((*address, l.direction == Direction::Inbound)),
        Bind::Unix(_) => None,
    });
    let admin = plan.admin.as_ref().map(|a| (a.listen, false));
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
        own: listeners.chain(admin).collect(),
        outbound: plan.listeners.iter().any(|l| l.direction == Direction::Outbound),
        logs: !plan.logs.is_empty() || plan.spans.is_some(),
        show: plan.show.clone(),
        whole: plan.logs.iter().map(LogSettings::wants).max().unwrap_or_default(),
        sampling: plan.sampling,
    }
}
