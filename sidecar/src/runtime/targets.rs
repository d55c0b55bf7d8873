//! How the targets of a gateway's upstreams are, for the series that have Kong's names.

use super::service::Service;
use super::services::Services;
use crate::config::GatewayPlan;
use crate::sink::kong::Target;
use crate::upstream::Member;
use std::collections::HashSet;

/// Every address of every target once, however many services lead to its upstream.
pub(super) fn of(gateway: &GatewayPlan, services: &Services) -> Vec<Target> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for (service, upstream) in services.of_gateway().iter().zip(&gateway.upstreams) {
        let (Some(service), Some(upstream)) = (service, upstream) else { continue };
        for target in of_service(service, upstream) {
            if seen.insert((target.upstream.clone(), target.target.clone(), target.address.clone())) {
                all.push(target);
            }
        }
    }
    all
}

fn of_service(service: &Service, upstream: &str) -> Vec<Target> {
    let health = &service.policy().health;
    let unchecked = health.active.is_off() && health.passive.limits.is_off();
    let target = |target: &str, address: String, state| Target {
        upstream: upstream.to_owned(),
        target: target.to_owned(),
        address,
        state,
    };
    let state = |member: &Member| match (unchecked, member.standing.up()) {
        (true, _) => "healthchecks_off",
        (false, true) => "healthy",
        (false, false) => "unhealthy",
    };
    let mut all = Vec::new();
    for member in service.members().iter() {
        let place = member.target.to_string();
        let place = place.split_once("://").map_or(place.as_str(), |(_, place)| place);
        match member.addresses.first() {
            Some(address) => all.push(target(place, address.to_string(), state(member))),
            None => all.push(target(place, place.to_owned(), state(member))),
        }
    }
    all.extend(service.troubles().into_iter().map(|(name, _)| target(&name, String::new(), "dns_error")));
    all
}
