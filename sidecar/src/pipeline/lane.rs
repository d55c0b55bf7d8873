//! What one worker thread owns: its road, its instances, its way to the sinks. Shared with no other thread.

use super::handling::{Handled, Handling};
use super::road::{Blueprint, Road};
use crate::codec::server::Life;
use crate::exchange::{Direction, Exchange, Tell};
use crate::names::OTHER;
use crate::upstream::{Cluster, Endpoint, Place, Scheme, Standing, Target};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Hosts that callers named and that are remembered with their connections.
const NAMED_MAX: usize = 256;

/// Where one connection came in.
pub struct Door {
    /// Whose commands come in here.
    pub direction: Direction,
    /// The listener's own address, when it is TCP.
    pub local: Option<SocketAddr>,
    /// The other end: of the connection, or as a trusted PROXY protocol header tells it.
    pub peer: Option<SocketAddr>,
    /// Whether its forwarded and Fourmi headers are believed.
    pub trusted: bool,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// Who the other end has proved to be, by its certificate.
    pub identity: Option<Arc<str>>,
    /// The connection's keeper.
    pub life: Rc<Life>,
    /// Counts the connection as long as it or a tunnel out of it stands.
    pub _present: Box<dyn std::any::Any>,
}

/// What one worker thread owns.
pub struct Lane {
    road: RefCell<Rc<Road>>,
    endpoints: Endpoints,
    named: RefCell<HashMap<String, Named>>,
    /// Hosts that have a label of their own, for the life of the thread.
    labels: RefCell<HashSet<Arc<str>>>,
    handled: Rc<Handled>,
    /// The sinks' side of this thread.
    pub tell: Rc<dyn Tell>,
}

/// By place and by standing: one address behind two services is two instances, each with its own check.
type Endpoints = RefCell<HashMap<(Target, *const Standing), Rc<Endpoint>>>;

pub(super) struct Named {
    pub(super) service: Arc<str>,
    pub(super) cluster: Rc<Cluster>,
    used: Instant,
}

impl Lane {
    /// A lane on the road that a blueprint draws.
    pub fn new(blueprint: &Blueprint, tell: Rc<dyn Tell>) -> Rc<Self> {
        let endpoints = RefCell::default();
        let road = Road::new(blueprint, |place| keep(&endpoints, &tell, place));
        Rc::new(Lane {
            road: RefCell::new(Rc::new(road)),
            endpoints,
            named: RefCell::default(),
            labels: RefCell::default(),
            handled: Rc::default(),
            tell,
        })
    }

    /// From now on, new exchanges take the road of this blueprint; those on their way keep theirs.
    pub fn follow(&self, blueprint: &Blueprint) {
        let road = Road::new(blueprint, |place| keep(&self.endpoints, &self.tell, place));
        let used: Vec<Rc<Endpoint>> = road.endpoints().cloned().collect();
        self.endpoints.borrow_mut().retain(|_, e| used.iter().any(|u| Rc::ptr_eq(u, e)));
        *self.road.borrow_mut() = Rc::new(road);
    }

    /// The road of now.
    pub fn road(&self) -> Rc<Road> {
        self.road.borrow().clone()
    }

    /// The way to a host that no configuration names.
    pub(super) fn named(&self, host: &str, port: u16, own: &Rc<[u16]>) -> (Arc<str>, Rc<Cluster>) {
        let key = format!("{host}:{port}");
        let mut named = self.named.borrow_mut();
        if let Some(known) = named.get_mut(&key) {
            known.used = Instant::now();
            return (known.service.clone(), known.cluster.clone());
        }
        if named.len() >= NAMED_MAX
            && let Some(oldest) = named.iter().min_by_key(|(_, n)| n.used).map(|(k, _)| k.clone())
        {
            named.remove(&oldest);
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let target = Target { scheme: Scheme::Http, place: Place::Tcp(bare.to_owned(), port) };
        let ready = Standing::new(true);
        let cluster = Cluster::new(vec![Endpoint::stranger(target, ready, self.tell.clone(), own.clone())], false);
        let service = self.label(host);
        named.insert(key, Named { service: service.clone(), cluster: cluster.clone(), used: Instant::now() });
        (service, cluster)
    }

    /// The label of a host that a caller named: its name, as long as there are not too many.
    fn label(&self, host: &str) -> Arc<str> {
        let mut labels = self.labels.borrow_mut();
        if let Some(known) = labels.get(host) {
            return known.clone();
        }
        if labels.len() >= NAMED_MAX {
            return OTHER.into();
        }
        let label: Arc<str> = host.into();
        labels.insert(label.clone());
        label
    }

    /// Closes connections to instances that were not used lately.
    pub fn sweep(&self, now: Instant) {
        let age = self.road().timeouts.upstream_idle;
        for endpoint in self.endpoints.borrow().values() {
            endpoint.sweep(now, age);
        }
        for named in self.named.borrow().values() {
            named.cluster.endpoints.iter().for_each(|e| e.sweep(now, age));
        }
    }

    /// Counts a refusal.
    pub fn rejected(&self, reason: &'static str) {
        self.tell.rejected(reason);
    }

    /// Remembers a command that the worker handles now.
    pub(super) fn handle(&self, road: &Road, ex: &Exchange) -> Option<Handling> {
        (road.outbound && ex.direction == Direction::Inbound).then(|| self.handled.add(ex))
    }

    /// Gives a command that the worker sends the trace and parent of the one that it handles.
    pub(super) fn inherit(&self, road: &Road, ex: &mut Exchange) {
        if road.outbound && ex.direction == Direction::Outbound {
            self.handled.inherit(ex);
        }
    }
}

/// Instances keep their connections and their standing over a change of plan, unless others are trusted then.
fn keep(endpoints: &Endpoints, tell: &Rc<dyn Tell>, place: &super::Place) -> Rc<Endpoint> {
    let super::Place { target, standing, tls } = place;
    let mut endpoints = endpoints.borrow_mut();
    let key = (target.clone(), Arc::as_ptr(standing));
    match endpoints.get(&key) {
        Some(known) if known.tls == *tls => known.clone(),
        _ => {
            let made = Endpoint::new(target.clone(), standing.clone(), tls.clone(), tell.clone());
            endpoints.insert(key, made.clone());
            made
        }
    }
}
