//! The plan as the road needs it: compiled, immutable, one copy a worker thread.

use super::lane::{Door, Lane};
use crate::command::Rules;
use crate::command::trace::{Sampler, Sampling};
use crate::exchange::{Direction, Fault, FaultKind, Head, Identity, Limits, Timeouts};
use crate::middleware::{Chain, Settings};
use crate::route::Way;
use crate::sink::Show;
use crate::tls::Connector;
use crate::upstream::{Cluster, Endpoint, Standing, Target};
use ipnet::IpNet;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// An instance and what the control thread's checks say of it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where it is.
    pub target: Target,
    /// What checks and connections say of it.
    pub standing: Arc<Standing>,
    /// How sessions with it are made, when its scheme wants them.
    pub tls: Option<Connector>,
}

/// What a [`Road`] is built from; travels to every worker thread.
#[derive(Debug, Clone)]
pub struct Blueprint {
    /// Who we are.
    pub identity: Arc<Identity>,
    /// How commands are identified.
    pub rules: Rules,
    /// Networks that are believed.
    pub trusted: Arc<[IpNet]>,
    /// Durations.
    pub timeouts: Timeouts,
    /// Sizes and counts.
    pub limits: Limits,
    /// The local worker's instances; empty when there is none.
    pub worker: Vec<Place>,
    /// Services of the outbound side.
    pub services: Vec<(Arc<str>, Vec<Place>)>,
    /// Ports of our own listeners, to which nothing may be sent back.
    pub own_ports: Vec<u16>,
    /// Whether there is an outbound listener.
    pub outbound: bool,
    /// Whether a log sink listens.
    pub logs: bool,
    /// What records show of requests.
    pub show: Show,
    /// Which of the traces that begin here are recorded.
    pub sampling: Sampling,
}

/// The compiled plan.
pub struct Road {
    pub(super) identity: Arc<Identity>,
    pub(super) rules: Rules,
    pub(super) trusted: Arc<[IpNet]>,
    /// Durations.
    pub timeouts: Timeouts,
    /// Sizes and counts.
    pub limits: Limits,
    pub(super) chain: Chain,
    pub(super) sampler: Sampler,
    pub(super) outbound: bool,
    pub(super) none: Arc<str>,
    worker: Option<Way>,
    services: HashMap<Arc<str>, Way>,
    own_ports: Rc<[u16]>,
}

impl Road {
    /// Compiles a blueprint; `endpoint` finds or makes this thread's view of an instance.
    pub(super) fn new(blueprint: &Blueprint, endpoint: impl Fn(&Place) -> Rc<Endpoint>) -> Self {
        let cluster = |places: &[Place]| Cluster::new(places.iter().map(&endpoint).collect(), true);
        let worker = (!blueprint.worker.is_empty()).then(|| Way {
            service: blueprint.identity.service.clone(),
            route: "worker".into(),
            explicit: false,
            cluster: cluster(&blueprint.worker),
        });
        let services = blueprint
            .services
            .iter()
            .map(|(name, places)| {
                let way = Way { service: name.clone(), route: name.clone(), explicit: false, cluster: cluster(places) };
                (name.clone(), way)
            })
            .collect();
        Road {
            identity: blueprint.identity.clone(),
            rules: blueprint.rules.clone(),
            trusted: blueprint.trusted.clone(),
            timeouts: blueprint.timeouts.clone(),
            limits: blueprint.limits.clone(),
            chain: Chain::new(&Settings {
                limits: blueprint.limits.clone(),
                logs: blueprint.logs,
                show: blueprint.show.clone(),
            }),
            sampler: blueprint.sampling.sampler(),
            outbound: blueprint.outbound,
            none: "".into(),
            worker,
            services,
            own_ports: blueprint.own_ports.as_slice().into(),
        }
    }

    /// Every configured instance.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Rc<Endpoint>> {
        self.worker.iter().chain(self.services.values()).flat_map(|w| w.cluster.endpoints.iter())
    }

    /// Where a command goes.
    pub(super) fn way(&self, lane: &Lane, door: &Door, head: &Head) -> Result<Way, Fault> {
        if door.direction == Direction::Inbound {
            let Some(worker) = &self.worker else {
                return Err(Fault::new(FaultKind::NotConfigured, "commands come in, but there is no `worker:`"));
            };
            if head.method == http::Method::CONNECT {
                return Err(Fault::new(FaultKind::BadRequest, "CONNECT is for the outbound listener"));
            }
            return Ok(worker.clone());
        }
        let host = head.host();
        if host.is_empty() {
            return Err(Fault::new(FaultKind::NoRoute, "the command names no host"));
        }
        let name = host.strip_suffix(".service.fourmi").unwrap_or(host);
        if let Some(way) = self.services.get(name) {
            return Ok(way.clone());
        }
        if host.ends_with(".service.fourmi") {
            let known: Vec<&str> = self.services.keys().map(|k| &**k).collect();
            let detail = format!("no service is called {name}; known: {}", known.join(", "));
            return Err(Fault::new(FaultKind::NoRoute, detail));
        }
        let given = head.authority[host.len()..].strip_prefix(':').and_then(|p| p.parse::<u16>().ok());
        let port = match given {
            Some(port) => port,
            None if head.method == http::Method::CONNECT => {
                return Err(Fault::new(FaultKind::BadRequest, "CONNECT without a port"));
            }
            None => 80,
        };
        // A command for our own address would come back to us for ever, or reach the admin API as a neighbour would.
        if self.own_ports.contains(&port) && is_here(host) {
            let detail =
                format!("{} is this Fourmi itself; name a service in Host, or use this as http_proxy", head.authority);
            return Err(Fault::new(FaultKind::NoRoute, detail));
        }
        let (service, cluster) = lane.named(host, port, &self.own_ports);
        Ok(Way { service: service.clone(), route: service, explicit: false, cluster })
    }
}

fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}
