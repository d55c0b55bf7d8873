//! A gateway's file, compiled: the table of routes, and for each what lies behind it. Shared by all threads.

use crate::exchange::{Named, Via};
use crate::gateway::entity::{Entities, Plugin, Protocol, Route, Service};
use crate::gateway::people::People;
use crate::gateway::{self, Id};
use crate::middleware::line::{Held, Line, Slot};
use crate::middleware::plugin::{Scope, Setup, find};
use crate::middleware::{Middleware, PLUGINS};
use crate::route::Table;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// The host of a service that stands for the local worker.
pub const WORKER: &str = "worker";

/// A gateway's file, compiled.
pub struct Gateway {
    /// Which route takes a command; its targets are places in `gates`.
    pub(super) table: Table,
    /// What lies behind each route, in the order of the file; none where nothing leads.
    gates: Vec<Arc<Gate>>,
    /// What lies behind everything, when the file has no routes.
    implicit: Option<Arc<Gate>>,
    /// Who may call.
    pub people: Arc<People>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("routes", &self.gates.len()).finish_non_exhaustive()
    }
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    /// Nowhere: a middleware has to answer.
    Nowhere,
    /// To the local worker.
    Worker,
    /// To the service at this place of the file.
    Service(usize),
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("via", &self.via).finish_non_exhaustive()
    }
}

/// What lies behind a route.
pub struct Gate {
    /// Route and service, for records and limits.
    pub via: Arc<Via>,
    /// Its middlewares.
    pub line: Line,
    /// Where it leads.
    pub leads: Leads,
    /// The service's own path; `/` if it has none.
    pub path: String,
    /// What the instance is called in `Host`; none: as the caller said.
    pub host: Option<String>,
    /// Whether the matched part of the path is cut.
    pub strip: bool,
    /// How long a connection may take, and how long an instance may say nothing.
    pub timeouts: Option<(Duration, Duration)>,
    /// What callers are answered that should come by TLS.
    pub redirect: u16,
    /// Whether somebody wants to know what the groups of the route's expression matched.
    pub captures: bool,
}

/// Something that is wrong with one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// In which list of the file.
    pub list: List,
    /// Its place there.
    pub place: usize,
    /// What is wrong.
    pub wrong: gateway::Wrong,
}

/// A list of a gateway's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `routes`.
    Routes,
    /// `plugins`.
    Plugins,
}

/// Plugins that tell rather than do: sinks are made of them.
pub const TELLING: &[&str] = &[
    "http-log",
    "tcp-log",
    "udp-log",
    "file-log",
    "syslog",
    "loggly",
    "statsd",
    "datadog",
    "prometheus",
    "opentelemetry",
    "zipkin",
];

impl Gateway {
    /// Compiles a file.
    ///
    /// # Errors
    /// Everything that is wrong with its routes and plugins.
    pub fn new(entities: &Entities) -> Result<Gateway, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let people = Arc::new(People::new(entities));
        let built = Built::new(entities, &people, &mut mistakes);
        let table = entities.table().unwrap_or_else(|wrong| {
            mistakes.extend(wrong.into_iter().map(|w| Mistake {
                list: List::Routes,
                place: w.rule,
                wrong: gateway::Wrong::new(w.field, w.message, ""),
            }));
            Table::default()
        });
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let services: Vec<Option<Named>> = entities.services.iter().map(|s| Some(named_service(s))).collect();
        let gates = entities.routes.iter().enumerate().map(|(place, route)| {
            let service = route.service.and_then(|s| Some((s, entities.services.get(s)?)));
            let via = Via {
                route: Some(named(route.id, route.name.as_deref(), None)),
                service: route.service.and_then(|s| services.get(s)?.clone()),
            };
            Arc::new(gate(entities, route, service, via, built.line(Some(place), route.service)))
        });
        let gates: Vec<Arc<Gate>> = gates.collect();
        let implicit = entities.routes.is_empty().then(|| {
            let via = Via { route: None, service: None };
            Arc::new(Gate {
                via: Arc::new(via),
                captures: false,
                line: built.line(None, None),
                leads: Leads::Worker,
                path: "/".to_owned(),
                host: None,
                strip: false,
                timeouts: None,
                redirect: 426,
            })
        });
        Ok(Gateway { table, gates, implicit, people })
    }

    /// What lies behind each route, in the order of the file.
    pub fn gates(&self) -> &[Arc<Gate>] {
        &self.gates
    }

    /// What lies behind everything, when the file has no routes.
    pub fn implicit(&self) -> Option<&Arc<Gate>> {
        self.implicit.as_ref()
    }

    /// Which route takes a command.
    pub fn table(&self) -> &Table {
        &self.table
    }
}

fn named(id: Id, name: Option<&str>, else_label: Option<&str>) -> Named {
    let id: Arc<str> = id.to_string().into();
    let name: Option<Arc<str>> = name.map(Arc::from);
    let label = name.clone().or_else(|| else_label.map(Arc::from)).unwrap_or_else(|| id.clone());
    Named { id, name, label }
}

fn named_service(service: &Service) -> Named {
    named(service.id, service.name.as_deref(), Some(&service.host))
}

fn gate(entities: &Entities, route: &Route, service: Option<(usize, &Service)>, via: Via, line: Line) -> Gate {
    let leads = match service {
        None => Leads::Nowhere,
        Some((_, s)) if s.host == WORKER => Leads::Worker,
        Some((place, _)) => Leads::Service(place),
    };
    let upstream_at = service.and_then(|(_, s)| entities.upstreams.iter().position(|u| u.name == s.host));
    let upstream = upstream_at.and_then(|at| entities.upstreams.get(at));
    let hashes_captures = upstream.is_some_and(|u| {
        use crate::gateway::entity::HashOn::UriCapture;
        matches!(u.hash_on, UriCapture(_)) || matches!(u.hash_fallback, UriCapture(_))
    });
    let ms = |ms: u32| Duration::from_millis(ms.into());
    Gate {
        captures: hashes_captures || line.wants_captures(),
        via: Arc::new(via),
        line,
        leads,
        path: service.and_then(|(_, s)| s.path.clone()).unwrap_or_else(|| "/".to_owned()),
        host: match service {
            Some((_, s)) if !route.preserve_host && leads != Leads::Worker => Some(host(entities, s, upstream_at)),
            _ => None,
        },
        strip: route.strip_path,
        timeouts: service.filter(|_| leads != Leads::Worker).map(|(_, s)| (ms(s.connect_timeout), ms(s.read_timeout))),
        redirect: route.https_redirect_status_code,
    }
}

/// What an instance is called, with its port unless that is usual: as the upstream says, else as its targets are
/// written if they are all the same, else as the service says.
fn host(entities: &Entities, service: &Service, upstream: Option<usize>) -> String {
    if let Some(name) = upstream.and_then(|at| entities.upstreams.get(at)?.host_header.clone()) {
        return name;
    }
    let mut targets = entities.targets.iter().filter(|t| Some(t.upstream) == upstream).map(|t| (&t.host, t.port));
    let same = targets.next().filter(|first| targets.all(|t| t == *first));
    let (name, port) = match (upstream, same) {
        (None, _) => (&service.host, Some(service.port)),
        (Some(_), Some((host, port))) => (host, Some(port)),
        (Some(_), None) => (&service.host, None),
    };
    let usual = match service.protocol {
        Protocol::Https | Protocol::Grpcs => 443,
        _ => 80,
    };
    let name = if name.contains(':') && !name.starts_with('[') { format!("[{name}]") } else { name.clone() };
    match port.filter(|port| *port != usual) {
        Some(port) => format!("{name}:{port}"),
        None => name,
    }
}

/// Every middleware of a file, built once, and where each holds.
struct Built<'a> {
    entities: &'a Entities,
    made: Vec<Option<Arc<dyn Middleware>>>,
    by_route: HashMap<usize, Vec<usize>>,
    by_service: HashMap<usize, Vec<usize>>,
    everywhere: Vec<usize>,
    /// The places of the groups in the order of their names.
    group_order: Vec<u32>,
}

impl<'a> Built<'a> {
    fn new(entities: &'a Entities, people: &Arc<People>, mistakes: &mut Vec<Mistake>) -> Built<'a> {
        let mut groups: Vec<usize> = (0..entities.consumer_groups.len()).collect();
        groups.sort_by_key(|g| entities.consumer_groups.get(*g).map(|g| g.name.as_str()));
        let mut built = Built {
            entities,
            made: Vec::with_capacity(entities.plugins.len()),
            by_route: HashMap::new(),
            by_service: HashMap::new(),
            everywhere: Vec::new(),
            group_order: groups.into_iter().filter_map(|g| u32::try_from(g).ok()).collect(),
        };
        for (place, plugin) in entities.plugins.iter().enumerate() {
            let made = make(entities, plugin, people).unwrap_or_else(|wrong| {
                mistakes.extend(wrong.into_iter().map(|wrong| Mistake { list: List::Plugins, place, wrong }));
                None
            });
            if made.is_some() && plugin.enabled {
                match (plugin.route, plugin.service) {
                    (Some(route), _) => built.by_route.entry(route).or_default().push(place),
                    (None, Some(service)) => built.by_service.entry(service).or_default().push(place),
                    (None, None) => built.everywhere.push(place),
                }
            }
            built.made.push(made);
        }
        built
    }

    /// The middlewares of a route, in their order.
    fn line(&self, route: Option<usize>, service: Option<usize>) -> Line {
        let places = self.places(route, service);
        let mut slots: BTreeMap<(std::cmp::Reverse<i32>, &str), Slot> = BTreeMap::new();
        for place in places {
            let (Some(plugin), Some(Some(made))) = (self.entities.plugins.get(place), self.made.get(place)) else {
                continue;
            };
            let Some(kind) = find(&plugin.name) else { continue };
            if plugin.service.is_some_and(|s| Some(s) != service) {
                continue;
            }
            let held = Held { rank: rank(plugin), middleware: made.clone() };
            let slot = slots.entry((std::cmp::Reverse(kind.priority), kind.name)).or_default();
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            match (plugin.consumer, plugin.consumer_group) {
                (Some(consumer), _) => slot.of_consumer(number(consumer), held),
                (None, Some(group)) => slot.of_group(number(group), held),
                (None, None) => slot.of_all(held),
            }
        }
        let mut slots: Vec<Slot> = slots.into_values().collect();
        slots.iter_mut().for_each(|slot| slot.sort_groups(&self.group_order));
        Line::new(slots)
    }

    fn places(&self, route: Option<usize>, service: Option<usize>) -> Vec<usize> {
        let none: &[usize] = &[];
        let route = route.and_then(|r| self.by_route.get(&r)).map_or(none, Vec::as_slice);
        let service = service.and_then(|s| self.by_service.get(&s)).map_or(none, Vec::as_slice);
        [route, service, &self.everywhere].concat()
    }
}

/// The middleware of a plugin; none for those that tell, which are sinks.
fn make(
    entities: &Entities,
    plugin: &Plugin,
    people: &Arc<People>,
) -> Result<Option<Arc<dyn Middleware>>, Vec<gateway::Wrong>> {
    let speaks = |p: &Protocol| matches!(p, Protocol::Http | Protocol::Https | Protocol::Grpc | Protocol::Grpcs);
    if TELLING.contains(&plugin.name.as_str()) || !plugin.protocols.iter().any(speaks) {
        return Ok(None);
    }
    let Some(kind) = find(&plugin.name) else {
        let mut known: Vec<&str> = PLUGINS.iter().map(|p| p.name).chain(TELLING.iter().copied()).collect();
        known.sort_unstable();
        let message = format!("{} is not supported yet", plugin.name);
        return Err(vec![gateway::Wrong::new("name", message, format!("remove it; there are: {}", known.join(", ")))]);
    };
    let id = |id: Id| id.to_string();
    let route = plugin.route.and_then(|r| entities.routes.get(r)).map(|r| id(r.id));
    let service = plugin.service.and_then(|s| entities.services.get(s)).map(|s| id(s.id));
    let consumer = plugin.consumer.and_then(|c| entities.consumers.get(c)).map(|c| id(c.id));
    let scope = Scope { route: route.as_deref(), service: service.as_deref(), consumer: consumer.as_deref() };
    (kind.build)(&Setup { id: &plugin.id.to_string(), config: &plugin.config, scope, people }).map(Some)
}

/// The lower goes first: what is bound to more, and to a consumer rather than to a group.
fn rank(plugin: &Plugin) -> u8 {
    let who = (plugin.consumer.is_some(), plugin.consumer_group.is_some());
    match (who, plugin.route.is_some(), plugin.service.is_some()) {
        ((true, _), true, true) => 0,
        ((_, true), true, true) => 1,
        ((true, _), true, false) => 2,
        ((true, _), false, true) => 3,
        ((_, true), true, false) => 4,
        ((_, true), false, true) => 5,
        (_, true, true) => 6,
        ((true, _), false, false) => 7,
        ((_, true), false, false) => 8,
        (_, true, false) => 9,
        (_, false, true) => 10,
        (_, false, false) => 11,
    }
}
