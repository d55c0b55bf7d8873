//! Services, upstreams and targets of a Kong file as services of ours, with Kong's defaults.

use super::certificates;
use crate::config::plan::{Address, Service};
use crate::gateway::Wrong;
use crate::gateway::entity::{self, Entities, Protocol, Target, Upstream};
use crate::pipeline::gateway::WORKER;
use crate::upstream::balance::{Algorithm, Hash, HashOn, Settings, SlowStart};
use crate::upstream::health::{Active, Health, Limits, Passive, Speak, Statuses};
use crate::upstream::{Place, Policy, Retries, Scheme};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// A service as it is sent to; none for the local worker.
pub(super) fn service(entities: &Entities, service: &entity::Service) -> Result<Option<Service>, Wrong> {
    let scheme = match service.protocol {
        Protocol::Http => Scheme::Http,
        Protocol::Https => Scheme::Https,
        Protocol::Grpc => Scheme::H2c,
        Protocol::Grpcs => Scheme::H2,
        other => {
            let message = format!("services over {} are not supported yet", other.as_str());
            return Err(Wrong::new("protocol", message, "remove the service, or write http, https, grpc or grpcs"));
        }
    };
    if service.host == WORKER {
        return Ok(None);
    }
    let place = entities.upstreams.iter().position(|u| u.name == service.host);
    let upstream = place.and_then(|p| entities.upstreams.get(p));
    let addresses = match place {
        Some(place) => {
            let mine = entities.targets.iter().filter(|t| t.upstream == place);
            mine.map(|t| Address { target: of_target(scheme, t), weight: t.weight.into(), priority: 0, zone: None })
                .collect()
        }
        None => {
            let place = Place::Tcp(bare(&service.host), service.port);
            vec![Address { target: crate::upstream::Target { scheme, place }, weight: 100, priority: 0, zone: None }]
        }
    };
    let tls = certificates::of_service(entities, service, upstream)?;
    let label = service.name.clone().unwrap_or_else(|| service.host.clone());
    Ok(Some(Service {
        name: label.into(),
        addresses,
        tls,
        policy: Arc::new(policy(service, upstream)),
        gate: None,
        delivery: None,
    }))
}

/// Names by which services can be told apart: one that is there twice is followed by a number.
pub(super) fn named_apart(services: Vec<Option<Service>>) -> Vec<Option<Service>> {
    let mut seen: HashSet<Arc<str>> = HashSet::new();
    let apart = |service: Service| {
        let mut name = service.name.clone();
        let mut n = 2;
        while !seen.insert(name.clone()) {
            name = format!("{}-{n}", service.name).into();
            n += 1;
        }
        Service { name, ..service }
    };
    let mut apart = apart;
    services.into_iter().map(|s| s.map(&mut apart)).collect()
}

fn of_target(scheme: Scheme, target: &Target) -> crate::upstream::Target {
    crate::upstream::Target { scheme, place: Place::Tcp(bare(&target.host), target.port) }
}

fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn policy(service: &entity::Service, upstream: Option<&Upstream>) -> Policy {
    // Kong sends again only what cannot have run, or may run twice by its method.
    let retries = Retries { attempts: service.retries.into(), idempotency_key: false, ..Retries::default() };
    let Some(upstream) = upstream else {
        let health = Health { passive: Passive::kong(), ..Health::default() };
        return Policy { balance: Settings::of(Algorithm::RoundRobin), health, retries, ..Policy::default() };
    };
    let hash = Hash {
        on: hash(&upstream.hash_on, &upstream.hash_on_cookie_path),
        fallback: hash(&upstream.hash_fallback, &upstream.hash_on_cookie_path),
    };
    let algorithm = match upstream.algorithm {
        // Without anything to hash all commands would go to one instance.
        entity::Algorithm::ConsistentHashing if hash.on == HashOn::None => Algorithm::RoundRobin,
        entity::Algorithm::RoundRobin => Algorithm::RoundRobin,
        entity::Algorithm::LeastConnections => Algorithm::LeastConnections,
        entity::Algorithm::ConsistentHashing => Algorithm::ConsistentHashing,
        entity::Algorithm::Latency => Algorithm::Latency,
    };
    let slots = usize::try_from(upstream.slots).unwrap_or(crate::upstream::balance::SLOTS);
    Policy {
        balance: Settings { algorithm, hash, slots, slow_start: SlowStart::default() },
        health: health(&upstream.healthchecks),
        retries,
        ..Policy::default()
    }
}

fn hash(on: &entity::HashOn, cookie_path: &str) -> HashOn {
    let boxed = |text: &str| text.to_owned().into_boxed_str();
    match on {
        entity::HashOn::None => HashOn::None,
        entity::HashOn::Consumer => HashOn::Consumer,
        entity::HashOn::Ip => HashOn::Ip,
        entity::HashOn::Header(name) => HashOn::Header(boxed(&name.to_ascii_lowercase())),
        entity::HashOn::Cookie(name) => HashOn::Cookie { name: boxed(name), path: boxed(cookie_path) },
        entity::HashOn::Path => HashOn::Path,
        entity::HashOn::QueryArg(name) => HashOn::QueryArg(boxed(name)),
        entity::HashOn::UriCapture(name) => HashOn::UriCapture(boxed(name)),
    }
}

fn health(checks: &entity::Healthchecks) -> Health {
    let standard = Active::default();
    let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
    let limits = |good: &entity::Good, ill: &entity::Ill| Limits {
        healthy: Statuses::of(good.http_statuses.iter().copied()),
        successes: good.successes,
        unhealthy: Statuses::of(ill.http_statuses.iter().copied()),
        http_failures: ill.http_failures,
        tcp_failures: ill.tcp_failures,
        timeouts: ill.timeouts,
    };
    let (active, passive) = (&checks.active, &checks.passive);
    let lines = |(name, values): &(String, Vec<String>)| {
        values.iter().map(|v| (name.to_ascii_lowercase(), v.clone())).collect::<Vec<_>>()
    };
    Health {
        active: Active {
            speak: match active.kind {
                Protocol::Https => Speak::Https,
                Protocol::Tcp | Protocol::Tls => Speak::Tcp,
                Protocol::Grpc => Speak::Grpc,
                Protocol::Grpcs => Speak::Grpcs,
                _ => Speak::Http,
            },
            timeout: if active.timeout > 0.0 { seconds(active.timeout) } else { standard.timeout },
            concurrency: active.concurrency,
            path: active.http_path.clone(),
            headers: active.headers.iter().flat_map(lines).collect(),
            sni: active.https_sni.clone(),
            verify: active.https_verify_certificate,
            limits: limits(&active.healthy, &active.unhealthy),
            healthy_interval: seconds(active.healthy.interval),
            unhealthy_interval: seconds(active.unhealthy.interval),
        },
        passive: Passive { limits: limits(&passive.healthy, &passive.unhealthy), ..Passive::kong() },
        threshold: checks.threshold.clamp(0.0, 100.0) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::ClientTls;

    #[test]
    fn services_of_one_name_are_told_apart() {
        let one = |name: &str| {
            let (addresses, tls) = (Vec::new(), ClientTls::default());
            Some(Service { name: name.into(), addresses, tls, policy: Arc::default(), gate: None, delivery: None })
        };
        let all = named_apart(vec![one("a"), None, one("a"), one("a-2"), one("a")]);
        let names: Vec<&str> = all.iter().flatten().map(|s| &*s.name).collect();
        assert_eq!(names, ["a", "a-2", "a-2-2", "a-3"]);
    }
}
