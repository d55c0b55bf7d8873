//! Services and their instances for people: what the admin API shows, explains and changes.

use super::service::Service;
use super::services::Services;
use crate::admin::Hand;
use crate::exchange::Exchange;
use crate::upstream::balance::{Account, Balancer, Peer, Why};
use crate::upstream::health::{State, below_threshold};
use crate::upstream::{Member, Total};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Every service with its instances.
pub(super) fn shown(services: &Services) -> Value {
    services.all().iter().map(|s| service(s)).collect()
}

fn service(service: &Service) -> Value {
    let policy = service.policy();
    let members = service.members();
    json!({
        "service": &*service.name,
        "algorithm": policy.balance.algorithm.as_str(),
        "open_breakers": service.pool.open_breakers(),
        "waiting": service.pool.waiting(),
        "spared": service.pool.floor().spared(),
        "refuses": refuses(service),
        "troubles": service.troubles().iter().map(|(name, why)| json!({"name": name, "why": why})).collect::<Vec<_>>(),
        "instances": members.iter().map(instance).collect::<Vec<_>>(),
    })
}

/// Why no command to the service would be served now, if that is so for it as a whole.
fn refuses(service: &Service) -> Option<String> {
    let (policy, members) = (service.policy(), service.members());
    let threshold = policy.health.threshold;
    let usable = |m: &Member| (m.weight, m.standing.up());
    if service.pool.open_breakers() > 0 {
        return Some("the circuit breaker is open: most commands failed lately".into());
    }
    if !members.is_empty() && members.iter().all(|m| m.weight == 0) {
        return Some("every instance has the weight 0".into());
    }
    if threshold > 0 && below_threshold(threshold, members.iter().map(usable)) {
        return Some(format!("no more than {threshold} % of its weight can be used (healthchecks.threshold)"));
    }
    None
}

fn seconds(time: Option<Duration>) -> Value {
    time.map_or(Value::Null, |t| json!((t.as_secs_f64() * 1000.0).round() / 1000.0))
}

fn instance(member: &Member) -> Value {
    let load = member.load.total();
    let s = member.standing.shown();
    json!({
        "address": &*member.label,
        "name": member.target.to_string(),
        "addresses": member.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "ready": member.standing.up(),
        "state": s.state.as_str(),
        "weight": member.weight,
        "priority": member.priority,
        "near": member.near,
        "in_flight": load.in_flight,
        "latency_ms": f64::from(load.latency) / 1000.0,
        "idle_connections": load.idle,
        "commands": load.commands,
        "failures": {
            "http": s.passive.http_failures, "tcp": s.passive.tcp_failures, "timeouts": s.passive.timeouts,
        },
        "ejections": s.ejected_total,
        "ejected_for_seconds": seconds(s.ejected_for),
        "last_failure": s.last_failure,
        "last_failure_seconds_ago": seconds(s.last_failure_ago),
    })
}

/// An instance as a balancer on the control thread sees it: by what the data threads tell of it.
struct Seen<'a> {
    member: &'a Member,
    load: Total,
}

impl Peer for Seen<'_> {
    fn name(&self) -> &str {
        &self.member.label
    }
    fn in_flight(&self) -> u32 {
        self.load.in_flight
    }
    fn cost(&self, _: Instant) -> Option<f64> {
        (self.load.latency > 0).then(|| f64::from(self.load.latency) / 1e6)
    }
    fn weight(&self) -> u32 {
        self.member.weight
    }
    fn rank(&self) -> u32 {
        self.member.priority.into()
    }
    fn near(&self) -> bool {
        self.member.near
    }
}

/// Which instance a command to this service would be given now, and why.
pub(super) fn explained(services: &Services, name: &str, request: &Exchange) -> Option<Value> {
    let service = services.named(name)?;
    let policy = service.policy();
    let key = policy.balance.hash.key(request).hash;
    let members = service.members();
    let seen: Vec<Seen<'_>> = members.iter().map(|member| Seen { member, load: member.load.total() }).collect();
    let balance = &policy.balance;
    let balancer = Balancer::with(balance.algorithm, balance.slots, fastrand::u64(..), &seen);
    let most = policy.concurrency.map(|c| c.max);
    let usable = |s: &Seen<'_>| s.member.standing.up() && most.is_none_or(|most| s.load.in_flight < most);
    let explained = balancer.explain(&seen, usable, key, Instant::now());
    let peers: Vec<Value> = explained
        .peers
        .iter()
        .zip(members.iter())
        .map(|(account, member)| {
            json!({
                "address": &*member.label,
                "state": member.standing.state().as_str(),
                "weight": account.weight,
                "in_flight": account.in_flight,
                "latency_ms": account.cost.map(|s| (s * 1e6).round() / 1e3),
                "load": account.load,
                "why": why(account, member, most),
            })
        })
        .collect();
    let refuses = refuses(&service);
    let picked = explained.picked.filter(|_| refuses.is_none()).and_then(|at| members.get(at)).map(|m| &*m.label);
    Some(json!({
        "service": &*service.name,
        "algorithm": balance.algorithm.as_str(),
        "picked": picked,
        "refuses": refuses,
        "instances": peers,
    }))
}

fn why(account: &Account, member: &Member, most: Option<u32>) -> String {
    let state = member.standing.state();
    let failure = member.standing.shown().last_failure.map(|why| format!(": {why}")).unwrap_or_default();
    match account.why {
        Why::Picked(algorithm) => format!("picked by {algorithm}"),
        Why::Another(algorithm) => format!("usable; {algorithm} prefers another now"),
        Why::Drained => "its weight is 0".into(),
        Why::Unusable if most.is_some_and(|most| account.in_flight >= most) => {
            format!("it has no room: {} commands (concurrency.max)", account.in_flight)
        }
        Why::Unusable if state == State::Healthy => format!("its last connection failed{failure}"),
        Why::Unusable => format!("it is {}{failure}", state.as_str()),
        Why::Rank(lower) => format!("instances of priority {lower} come first"),
        Why::Zone => "it is in another zone, and ours is enough".into(),
    }
}

/// Does it to one instance of a service, or to all of them when none is named. Says what is wrong if there is none.
pub(super) fn set(services: &Services, name: &str, instance: Option<&str>, hand: Hand) -> Result<Value, String> {
    let Some(service) = services.named(name) else {
        let known: Vec<String> = services.all().iter().map(|s| s.name.to_string()).collect();
        return Err(format!("no service is called {name}; known: {}", known.join(", ")));
    };
    let members = service.members();
    let meant: Vec<&Member> = members.iter().filter(|m| instance.is_none_or(|i| *m.label == *i)).collect();
    if meant.is_empty() {
        let known: Vec<&str> = members.iter().map(|m| &*m.label).collect();
        let what = instance.unwrap_or("one");
        return Err(format!("{name} has no instance {what}; it has: {}", known.join(", ")));
    }
    for member in &meant {
        match hand {
            Hand::Up => member.standing.force(Some(true)),
            Hand::Down => member.standing.force(Some(false)),
            Hand::Auto => {
                member.standing.force(None);
                member.standing.heal();
            }
        }
        tracing::info!(service = name, instance = &*member.label, "set by hand: {hand:?}");
    }
    Ok(meant.iter().map(|m| self::instance(m)).collect())
}
