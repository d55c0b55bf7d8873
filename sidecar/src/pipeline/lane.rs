//! What one worker thread owns: its road, its instances, its way to the sinks. Shared with no other thread.

use super::directory::{Finder, Listed};
use super::handling::{Handled, Handling};
use super::road::{Blueprint, Road, Served};
use crate::codec::server::Life;
use crate::exchange::{Direction, Exchange, Tell};
use crate::names::OTHER;
use crate::route::Way;
use crate::tls::Session;
use crate::upstream::{Cluster, Kept, Member, Place, Policy, Pool, Scheme, Standing, Target};
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
    /// How it is.
    pub session: Option<Session>,
    /// The server name that was asked for in the handshake, in lower case.
    pub sni: Option<Arc<str>>,
    /// Who the other end has proved to be, by its certificate.
    pub identity: Option<Arc<str>>,
    /// The names of its certificate.
    pub names: Option<Arc<[Arc<str>]>>,
    /// The connection's keeper.
    pub life: Rc<Life>,
    /// Counts the connection as long as it or a tunnel out of it stands.
    pub _present: Box<dyn std::any::Any>,
}

/// What one worker thread owns.
pub struct Lane {
    road: RefCell<Rc<Road>>,
    kept: Keeping,
    named: RefCell<HashMap<String, Named>>,
    found: RefCell<Found>,
    /// Hosts that have a label of their own, for the life of the thread.
    labels: RefCell<HashSet<Arc<str>>>,
    handled: Rc<Handled>,
    /// How hosts that callers named are sent to.
    plain: Arc<Policy>,
    /// The sinks' side of this thread.
    pub tell: Rc<dyn Tell>,
}

/// What the thread knows of each service, over changes of plan; the pool is what makes a service the same one.
type Keeping = RefCell<HashMap<*const Pool, Rc<Kept>>>;

/// Services of the registry that commands went to, and those that there are.
#[derive(Default)]
struct Found {
    /// The count that the list belongs to.
    version: u64,
    listed: Listed,
    ways: HashMap<Arc<str>, Way>,
}

pub(super) struct Named {
    pub(super) service: Arc<str>,
    pub(super) cluster: Rc<Cluster>,
    used: Instant,
}

impl Lane {
    /// A lane on the road that a blueprint draws.
    pub fn new(blueprint: &Blueprint, tell: Rc<dyn Tell>) -> Rc<Self> {
        let kept = RefCell::default();
        let road = Road::new(blueprint, |served| keep(&kept, &tell, served));
        Rc::new(Lane {
            road: RefCell::new(Rc::new(road)),
            kept,
            named: RefCell::default(),
            found: RefCell::default(),
            labels: RefCell::default(),
            handled: Rc::default(),
            plain: Arc::default(),
            tell,
        })
    }

    /// From now on, new exchanges take the road of this blueprint; those on their way keep theirs.
    pub fn follow(&self, blueprint: &Blueprint) {
        let road = Road::new(blueprint, |served| keep(&self.kept, &self.tell, served));
        let mut found = self.found.borrow_mut();
        let Found { listed, ways, .. } = &mut *found;
        for (name, way) in ways.iter_mut() {
            if let Some(served) = listed.get(name) {
                *way = road.way_to(name, way.cluster.kept().clone(), served.policy.clone());
            }
        }
        let used: Vec<*const Kept> =
            road.kept().chain(ways.values().map(|way| way.cluster.kept())).map(Rc::as_ptr).collect();
        self.kept.borrow_mut().retain(|_, kept| used.contains(&Rc::as_ptr(kept)));
        *self.road.borrow_mut() = Rc::new(road);
    }

    /// The road of now.
    pub fn road(&self) -> Rc<Road> {
        self.road.borrow().clone()
    }

    /// The way to a service that the registry knows.
    pub(super) fn discovered(&self, road: &Road, finder: &Finder, name: &str) -> Option<Way> {
        let mut found = self.found.borrow_mut();
        let Found { version, listed, ways } = &mut *found;
        if *version != finder.directory.version() {
            (*version, *listed) = finder.directory.current();
            ways.retain(|name, way| {
                let stays = listed.get(name).is_some_and(|served| way.cluster.kept().is_of(&served.pool));
                if !stays {
                    self.kept.borrow_mut().retain(|_, kept| !Rc::ptr_eq(kept, way.cluster.kept()));
                }
                stays
            });
        }
        if let Some(way) = ways.get(name) {
            return Some(way.clone());
        }
        let (name, served) = listed.get_key_value(name)?;
        let way = road.way_to(name, keep(&self.kept, &self.tell, served), served.policy.clone());
        ways.insert(name.clone(), way.clone());
        Some(way)
    }

    /// The way to a host that no configuration names.
    pub(super) fn named(&self, host: &str, port: u16, own: &Rc<[SocketAddr]>) -> (Arc<str>, Rc<Cluster>) {
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
        let service = self.label(host);
        let member = Member::new(target, Standing::new(false));
        let kept = Kept::new(service.clone(), Pool::new(vec![member]), self.tell.clone());
        kept.keep_off(own.clone());
        let cluster = Cluster::new(kept, self.plain.clone(), false);
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
        let road = self.road();
        for kept in self.kept.borrow().values() {
            kept.sweep(now, &road.timeouts);
        }
        for named in self.named.borrow().values() {
            named.cluster.kept().sweep(now, &road.timeouts);
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

/// Services keep their connections and what is known of them over a change of plan.
fn keep(kept: &Keeping, tell: &Rc<dyn Tell>, served: &Served) -> Rc<Kept> {
    let made = || Kept::new(served.name.clone(), served.pool.clone(), tell.clone());
    kept.borrow_mut().entry(Arc::as_ptr(&served.pool)).or_insert_with(made).clone()
}
