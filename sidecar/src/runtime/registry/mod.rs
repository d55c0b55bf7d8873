//! The registry of this process: a thread of its own that answers names and does checks, so that a flood of questions
//! costs neither commands nor sinks anything, and what the control thread makes of its changes.

mod listed;
mod publish;
mod thread;

pub(super) use publish::watch;

use crate::config::{Bind, Plan};
use crate::exchange::Direction;
use crate::registry::{Place, Settings};
use crate::sink::{Absence, Queries};
use crate::tls::Acceptor;
use crate::upstream::Place as Where;
use fourmi_discovery::join::Status;
use fourmi_discovery::{Instance, Node, Registry, State, Store};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;
use thread::{Begun, Order};
use tokio::sync::watch as told;
use tokio::sync::{mpsc, oneshot};

/// Changes that come together are published together.
const TOGETHER: Duration = Duration::from_millis(10);
/// How often instances that were not reached are looked at.
const LOOK_AFTER: Duration = Duration::from_millis(100);
/// How long those who have looked a name up go on with what they have: a resolver of ours asks again after a second.
const NOTICED: Duration = Duration::from_secs(1);
/// Orders that the thread may have waiting.
const ORDERS: usize = 16;
/// How long it may take to write what is not written yet.
const WRITTEN: Duration = Duration::from_secs(5);

/// The running registry.
pub(super) struct Running {
    pub(super) registry: Registry,
    settings: RefCell<Arc<Settings>>,
    orders: mpsc::Sender<Order>,
    ended: RefCell<Option<oneshot::Receiver<()>>>,
    pub(super) counts: Queries,
    /// The last change that was published.
    published: Cell<u64>,
    /// Our own instances, when another registry is followed, and how that goes.
    joined: Option<(Registry, told::Receiver<Status>)>,
    /// What is kept, for as long as the thread keeps it.
    store: Weak<Store>,
    /// The services whose instances are counted, in lower case.
    counted: RefCell<BTreeSet<String>>,
    /// Whether we have left it: nothing more is published then.
    left: Cell<bool>,
    /// What the configuration says otherwise since the start, and only a restart would follow.
    pub(super) restart: RefCell<Vec<String>>,
}

impl Running {
    /// Starts it; when this returns, names are answered.
    pub(super) async fn start(
        settings: Arc<Settings>,
        own: Vec<SocketAddr>,
        tls: Option<Acceptor>,
    ) -> io::Result<Running> {
        let store = thread::open(&settings.store).await?.map(Arc::new);
        let registry = store.as_ref().map_or_else(Registry::default, |store| store.registry().clone());
        let kept = store.as_ref().map_or_else(Weak::new, Arc::downgrade);
        if settings.join.is_none() {
            register(&registry, &settings, None)?;
        }
        record(&registry, &settings, None)?;
        let (begun, orders, ended) = thread::begin(registry.clone(), store, settings.clone(), (own, tls)).await?;
        let Begun { counts, joined } = begun;
        Ok(Running {
            registry,
            settings: RefCell::new(settings),
            orders,
            ended: RefCell::new(Some(ended)),
            counts,
            published: Cell::new(0),
            joined,
            store: kept,
            counted: RefCell::default(),
            left: Cell::new(false),
            restart: RefCell::default(),
        })
    }

    /// Where our own instances are registered.
    fn own(&self) -> &Registry {
        self.joined.as_ref().map_or(&self.registry, |(own, _)| own)
    }

    /// Follows another configuration. Says what needs a restart.
    pub(super) async fn follow(&self, new: &Arc<Settings>) -> Result<Vec<String>, String> {
        let old = self.settings.borrow().clone();
        let same = [
            ("node", old.node == new.node),
            ("store", old.store == new.store),
            ("join", old.join == new.join),
            ("dns.listen", old.dns == new.dns),
            ("http.listen", old.http == new.http),
            ("http.tls", old.api_tls == new.api_tls),
            ("datacenter", old.answers.datacenter == new.answers.datacenter),
        ];
        let stays = same.iter().filter(|(_, same)| !same);
        // What needs a restart stays as it was.
        let new = &Arc::new(Settings::clone(new).as_on(&old));
        let keys: Vec<String> = stays.map(|(key, _)| format!("discovery.{key}")).collect();
        let notes = keys.iter().map(|key| format!("`{key}` needs a restart")).collect();
        *self.restart.borrow_mut() = keys;
        register(self.own(), new, Some(&old)).map_err(|e| e.to_string())?;
        record(&self.registry, new, Some(&old)).map_err(|e| e.to_string())?;
        let _ = self.orders.send(Order::Answer(new.clone())).await;
        *self.settings.borrow_mut() = new.clone();
        // What is configured by itself now may have been the registry's, and the other way round.
        self.published.set(0);
        Ok(notes)
    }

    /// What it knows, for people.
    pub(super) fn shown(&self) -> String {
        let snapshot = self.registry.snapshot();
        let services = snapshot.services().count();
        let critical =
            snapshot.services().flat_map(|s| s.members.iter()).filter(|m| m.state == State::Critical).count();
        let nodes = snapshot.nodes().count();
        let what = format!("{services} services, {} instances ({critical} critical), {nodes} nodes", snapshot.len());
        match self.away() {
            Some((whom, since, why)) => {
                format!("{what}; {whom} is away for {} s: {why}; this is what was known last", since.as_secs())
            }
            None => what,
        }
    }

    /// For how many seconds we have been cut off from what we share or follow, when we are.
    pub(super) fn away_seconds(&self) -> Option<u64> {
        self.away().map(|(_, since, _)| since.as_secs())
    }

    /// Whom we are cut off from.
    fn away(&self) -> Away {
        away(self.joined.as_ref().map(|(_, status)| status), &self.store)
    }

    /// For how many seconds we have been cut off from the other registry or from etcd; none without one.
    fn absence(&self) -> Option<Absence> {
        let shared = self.joined.is_some() || matches!(self.settings.borrow().store, Place::Etcd(..));
        let (status, store) = (self.joined.as_ref().map(|(_, status)| status.clone()), self.store.clone());
        shared.then(|| -> Absence {
            Arc::new(move || away(status.as_ref(), &store).map_or(0, |(_, since, _)| since.as_secs()))
        })
    }

    /// Nobody is sent any more to what the configuration registers and what goes away with us: our worker, and what
    /// listens for it. Those who are here until the end still are, since the worker may need others while it finishes.
    /// Says how long others may not have noticed.
    pub(super) fn leave(&self, plan: &Plan) -> Option<Duration> {
        self.left.set(true);
        let settings = self.settings.borrow();
        let ours = settings.services.iter().filter(|(instance, _)| goes_with_us(instance, &settings.node, plan));
        let left = ours.filter(|(i, _)| self.own().drain(&settings.node.name, &i.id, true)).count();
        let ttl = Duration::from_secs(settings.answers.ttls.service.into());
        (left > 0 && (!settings.dns.is_empty() || self.joined.is_some())).then_some(ttl + NOTICED)
    }

    /// Ends the thread and waits until everything is written.
    pub(super) async fn stop(&self) {
        let _ = self.orders.send(Order::Stop).await;
        let ended = self.ended.borrow_mut().take();
        if let Some(ended) = ended
            && tokio::time::timeout(WRITTEN, ended).await.is_err()
        {
            tracing::warn!("the registry did not end within {WRITTEN:?}");
        }
    }
}

/// Whom we are cut off from: what it is, for how long, and why.
type Away = Option<(&'static str, Duration, String)>;

fn away(status: Option<&told::Receiver<Status>>, store: &Weak<Store>) -> Away {
    if let Some(status) = status {
        let status = status.borrow();
        let why = || status.error.clone().unwrap_or_else(|| "no answer yet".into());
        return (!status.connected).then(|| ("the other registry", status.since.elapsed(), why()));
    }
    let standing = store.upgrade()?.standing();
    let since = standing.away_since?.elapsed().unwrap_or_default();
    Some(("etcd", since, standing.error.unwrap_or_else(|| "no answer".into())))
}

/// Whether an instance is the worker of this process, or what listens before it.
fn goes_with_us(instance: &Instance, node: &Node, plan: &Plan) -> bool {
    let ip = instance.address.as_ref().unwrap_or(&node.address).ip();
    let local = instance.address.is_none() || ip == node.address.ip() || ip.is_some_and(|ip| ip.is_loopback());
    // A node without an address of its own in the listener's eyes is wherever that listens.
    let here = |at: IpAddr| at.is_unspecified() || instance.address.is_none() || ip == Some(at);
    let listens = plan.listeners.iter().filter(|l| l.direction == Direction::Inbound).any(|l| match &l.bind {
        Bind::Tcp(at) => at.port() == instance.port && here(at.ip()),
        Bind::Unix(_) => false,
    });
    let works = plan.worker.iter().flat_map(|w| &w.addresses).any(|a| match &a.target.place {
        Where::Tcp(host, port) => *port == instance.port && host.parse().map_or(host == "localhost", here),
        Where::Unix(_) => false,
    });
    local && (listens || works)
}

/// Registers what the configuration says, and takes back what it said before and does not any more.
fn register(registry: &Registry, new: &Settings, old: Option<&Settings>) -> io::Result<()> {
    let refused =
        |what: &str, e: fourmi_discovery::Refused| io::Error::other(format!("`{what}` cannot be registered: {e}"));
    let node = &new.node;
    registry.put_node(node.clone()).map_err(|e| refused(&node.name, e))?;
    for (instance, checks) in &new.services {
        registry.register(instance.clone(), checks.clone(), true).map_err(|e| refused(&instance.id, e))?;
    }
    let Some(old) = old else { return Ok(()) };
    for (gone, _) in old.services.iter().filter(|(o, _)| !new.services.iter().any(|(n, _)| n.id == o.id)) {
        registry.deregister(&node.name, &gone.id);
    }
    Ok(())
}

/// The same for entries of SkyDNS.
fn record(registry: &Registry, new: &Settings, old: Option<&Settings>) -> io::Result<()> {
    for (name, record) in &new.records {
        let refused = |e| io::Error::other(format!("`{name}` cannot be registered: {e}"));
        registry.put_record(name, record.clone()).map_err(refused)?;
    }
    for (gone, _) in old.iter().flat_map(|old| &old.records).filter(|(o, _)| !new.records.iter().any(|(n, _)| n == o)) {
        registry.remove_record(gone);
    }
    Ok(())
}
