//! The plan as the road needs it: compiled, immutable, one copy a worker thread.

use super::directory::Finder;
use super::gated::{Inside, Routed, Taken, Through};
use super::gateway::{Gate, Gateway, Leads};
use super::lane::{Door, Lane};
use crate::command::Rules;
use crate::command::trace::{Sampler, Sampling};
use crate::exchange::{
    Delivery, Direction, Exchange, Fault, FaultKind, Head, Identity, Limits, Protocol, Timeouts, Wants,
};
use crate::middleware::{Chain, Settings};
use crate::names::SUFFIX;
use crate::route::Way;
use crate::sink::Show;
use crate::spool::{self, Spool};
use crate::upstream::{Cluster, Kept, Policy, Pool};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// So many services are named to a caller whose one is not there.
const NAMED: usize = 20;

/// A service: its instances, and how commands are sent to them.
#[derive(Debug, Clone)]
pub struct Served {
    /// Its name.
    pub name: Arc<str>,
    /// Its instances, of now and later; the same pool over changes of plan.
    pub pool: Arc<Pool>,
    /// How commands are sent.
    pub policy: Arc<Policy>,
    /// The middlewares that its commands pass.
    pub gate: Option<Arc<Gate>>,
    /// How its commands are delivered, when it has its own way.
    pub delivery: Option<Arc<Delivery>>,
}

/// A gateway's file with the services of now.
#[derive(Debug, Clone)]
pub struct Behind {
    /// The file, compiled.
    pub gateway: Arc<Gateway>,
    /// Its services, by their place in the file; none where it is the local worker.
    pub services: Vec<Option<Served>>,
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
    /// The local worker.
    pub worker: Option<Served>,
    /// Services of the outbound side.
    pub services: Vec<Served>,
    /// Services that the registry knows, if there is one.
    pub finder: Option<Finder>,
    /// The gateway before the worker, if there is one.
    pub gateway: Option<Behind>,
    /// Where we ourselves listen, to which nothing may be sent back; whether commands come in there, which services may
    /// be sent to.
    pub own: Vec<(SocketAddr, bool)>,
    /// Whether there is an outbound listener.
    pub outbound: bool,
    /// Whether a log sink listens.
    pub logs: bool,
    /// What records show of requests.
    pub show: Show,
    /// How much of a command the sinks want.
    pub whole: Wants,
    /// Which of the traces that begin here are recorded.
    pub sampling: Sampling,
    /// The store of accepted commands.
    pub spool: Option<Spool>,
    /// How commands to the worker are delivered; what else says nothing of its own is retried as it says.
    pub delivery: Arc<Delivery>,
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
    pub(super) whole: Wants,
    pub(super) none: Arc<str>,
    pub(super) spool: Option<Spool>,
    pub(super) delivery: Arc<Delivery>,
    /// The same for what the worker sends: only what callers ask for.
    pub(super) usual: Arc<Delivery>,
    worker: Option<Way>,
    services: HashMap<Arc<str>, (Way, Option<Rc<Routed>>)>,
    finder: Option<Finder>,
    inside: Option<Inside>,
    own: Rc<[SocketAddr]>,
    /// Those of them that no service may turn out to be.
    outbound_own: Rc<[SocketAddr]>,
}

impl Road {
    /// Compiles a blueprint; `kept` finds or makes what this thread knows of a service.
    pub(super) fn new(blueprint: &Blueprint, kept: impl Fn(&Served) -> Rc<Kept>) -> Self {
        let all: Rc<[SocketAddr]> = blueprint.own.iter().map(|(at, _)| *at).collect();
        let outbound: Rc<[SocketAddr]> =
            blueprint.own.iter().filter(|(_, inbound)| !inbound).map(|(at, _)| *at).collect();
        let cluster = |served: &Served, own: &Rc<[SocketAddr]>, holds: bool| {
            let kept = kept(served);
            kept.renew_after(blueprint.timeouts.upstream_age);
            kept.keep_off(own.clone());
            Cluster::new(kept, served.policy.clone(), holds)
        };
        let way = |served: &Served, route: Arc<str>, own: &Rc<[SocketAddr]>| Way {
            service: served.name.clone(),
            route,
            explicit: false,
            cluster: cluster(served, own, true),
            delivery: served.delivery.clone(),
        };
        let inbound = || Some(blueprint.delivery.clone()).filter(|d| d.acts());
        let worker =
            blueprint.worker.as_ref().map(|served| Way { delivery: inbound(), ..way(served, "worker".into(), &all) });
        let services = blueprint.services.iter().map(|s| {
            let way = way(s, s.name.clone(), &outbound);
            let routed = |gate: &Arc<Gate>| Rc::new(Routed { gate: gate.clone(), way: way.clone(), timeouts: None });
            (s.name.clone(), (way.clone(), s.gate.as_ref().map(routed)))
        });
        let services = services.collect();
        let inside = blueprint.gateway.as_ref().map(|behind| {
            let nobody = Served {
                name: "".into(),
                pool: Pool::new(Vec::new()),
                policy: Arc::default(),
                gate: None,
                delivery: None,
            };
            let nowhere = cluster(&nobody, &all, false);
            // Routes that lead to one service share what is known of it. Nobody there is waited for, as in Kong.
            let known: Vec<Option<Rc<Cluster>>> =
                behind.services.iter().map(|s| s.as_ref().map(|s| cluster(s, &all, false))).collect();
            let worker = blueprint.worker.as_ref().map(|served| cluster(served, &all, true));
            Inside::new(&behind.gateway, &blueprint.timeouts, |gate| Way {
                service: match (gate.leads, &gate.via.service) {
                    (Leads::Worker, _) | (_, None) => blueprint.identity.service.clone(),
                    (_, Some(service)) => service.label.clone(),
                },
                route: gate.via.route.as_ref().map_or_else(|| "worker".into(), |r| r.label.clone()),
                explicit: gate.via.route.as_ref().is_some_and(|r| r.name.is_some()),
                delivery: inbound(),
                cluster: match gate.leads {
                    Leads::Nowhere => None,
                    Leads::Worker => worker.clone(),
                    Leads::Service(place) => known.get(place).cloned().flatten(),
                }
                .unwrap_or_else(|| nowhere.clone()),
            })
        });
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
            whole: blueprint.whole,
            none: "".into(),
            spool: blueprint.spool.clone(),
            usual: Arc::new(blueprint.delivery.only_asked()),
            delivery: blueprint.delivery.clone(),
            worker,
            services,
            finder: blueprint.finder.clone(),
            inside,
            own: all,
            outbound_own: outbound,
        }
    }

    /// What this thread knows of each configured service.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Rc<Kept>> {
        let inside = self.inside.iter().flat_map(Inside::ways);
        self.worker.iter().chain(self.services.values().map(|(way, _)| way)).chain(inside).map(|way| way.cluster.kept())
    }

    /// Whether a gateway stands before the worker.
    pub(super) fn has_gateway(&self) -> bool {
        self.inside.is_some()
    }

    /// The way to a service that the registry knows.
    pub(super) fn way_to(&self, service: &Arc<str>, kept: Rc<Kept>, policy: Arc<Policy>) -> Way {
        kept.renew_after(self.timeouts.upstream_age);
        kept.keep_off(self.outbound_own.clone());
        let cluster = Cluster::new(kept, policy, true);
        Way { service: service.clone(), route: service.clone(), explicit: false, cluster, delivery: None }
    }

    /// Tells the sinks of what no exchange of the road tells: the end of a stored command.
    pub(super) fn told(&self, ex: &Exchange, lane: &Lane) {
        self.chain.on_done(ex, &*lane.tell);
    }

    /// How commands of a direction are delivered when nothing says more.
    pub(super) fn delivery_of(&self, direction: Direction) -> &Arc<Delivery> {
        match direction {
            Direction::Inbound => &self.delivery,
            Direction::Outbound => &self.usual,
        }
    }

    /// The way of a stored command, which has been routed and let in before; or why there is none any more.
    pub(super) fn way_back(
        &self,
        lane: &Lane,
        door: &Door,
        (told, head, protocol): (&spool::Told, &Head, Protocol),
    ) -> Result<Taken, String> {
        if door.direction == Direction::Outbound {
            return self.way(lane, door, head, protocol).map_err(|fault| fault.detail.into_owned());
        }
        match (&self.inside, &self.worker) {
            (Some(inside), _) => inside
                .route(&told.route, told.came.matched)
                .ok_or_else(|| format!("its route {} is gone from the gateway", told.route)),
            (None, Some(worker)) => Ok(Taken::plain(worker.clone())),
            (None, None) => Err("there is no `worker:` any more".to_owned()),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let configured = self.services.keys().cloned();
        let registered =
            self.finder.iter().flat_map(|finder| finder.directory.current().1.keys().cloned().collect::<Vec<_>>());
        let mut known: Vec<Arc<str>> = configured.chain(registered).collect();
        known.sort_unstable();
        known.dedup();
        let more = known.len().saturating_sub(NAMED);
        known.truncate(NAMED);
        match (known.is_empty(), more) {
            (true, _) => format!("no service is called {name}, and none is known"),
            (false, 0) => format!("no service is called {name}; known: {}", known.join(", ")),
            (false, more) => format!("no service is called {name}; known: {} and {more} more", known.join(", ")),
        }
    }

    /// Where a command goes.
    pub(super) fn way(&self, lane: &Lane, door: &Door, head: &Head, protocol: Protocol) -> Result<Taken, Fault> {
        if door.direction == Direction::Inbound {
            if let Some(inside) = &self.inside {
                return inside.take(door, head, protocol);
            }
            let Some(worker) = &self.worker else {
                return Err(Fault::new(FaultKind::NotConfigured, "commands come in, but there is no `worker:`"));
            };
            if head.method == http::Method::CONNECT {
                return Err(Fault::new(FaultKind::BadRequest, "CONNECT is for the outbound listener"));
            }
            return Ok(Taken::plain(worker.clone()));
        }
        let host = head.host();
        if host.is_empty() {
            return Err(Fault::new(FaultKind::NoRoute, "the command names no host"));
        }
        // The root of names may be written (RFC 3986 3.2.2).
        let host = host.strip_suffix('.').unwrap_or(host);
        let bare = self.finder.as_ref().map_or_else(
            || host.strip_suffix(SUFFIX),
            |finder| finder.suffixes.iter().find_map(|suffix| host.strip_suffix(suffix.as_str())),
        );
        let name = bare.unwrap_or(host);
        if let Some((way, routed)) = self.services.get(name) {
            return Ok(Taken { way: way.clone(), through: routed.as_ref().map(Through::outbound) });
        }
        if let Some(finder) = &self.finder
            && let Some(way) = lane.discovered(self, finder, name)
        {
            return Ok(Taken::plain(way));
        }
        if bare.is_some() || self.finder.as_ref().is_some_and(|finder| finder.owns(host)) {
            return Err(Fault::new(FaultKind::NoRoute, self.unknown(name)));
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
        if self.own.iter().any(|own| own.port() == port) && is_here(host) {
            let detail =
                format!("{} is this Fourmi itself; name a service in Host, or use this as http_proxy", head.authority);
            return Err(Fault::new(FaultKind::NoRoute, detail));
        }
        let (service, cluster) = lane.named(host, port, &self.own);
        Ok(Taken::plain(Way { service: service.clone(), route: service, explicit: false, cluster, delivery: None }))
    }
}

fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}
