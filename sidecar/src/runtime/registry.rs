//! The registry of this process: a thread of its own that answers names and does checks, so that a flood of questions
//! costs neither commands nor sinks anything, and what the control thread makes of its changes.

use super::certificates::Use;
use super::keeper::Keeper;
use super::service::{Connectors, Service, Wanted};
use super::services::Changed;
use crate::config::{Address, Bind, Plan};
use crate::exchange::Direction;
use crate::pipeline::Served;
use crate::registry::{Place as Kept, Settings};
use crate::sink::Queries;
use crate::tls::ClientTls;
use crate::upstream::health::Check;
use crate::upstream::{Place, Policy, Scheme, Target};
use fourmi_discovery::{Instance, Limits, Member, Node, Registry, Snapshot, State, Store, checks, dns, etcd, http};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
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
const WRITTEN: Duration = Duration::from_secs(2);

/// What the thread is told.
enum Order {
    Answer(Arc<Settings>),
    Stop,
}

/// The running registry.
pub(super) struct Running {
    pub(super) registry: Registry,
    settings: RefCell<Arc<Settings>>,
    orders: mpsc::Sender<Order>,
    ended: RefCell<Option<oneshot::Receiver<()>>>,
    pub(super) counts: Queries,
    /// The last change that was published.
    published: Cell<u64>,
    /// Whether we have left it: nothing more is published then.
    left: Cell<bool>,
}

impl Running {
    /// Starts it; when this returns, names are answered.
    pub(super) async fn start(settings: Arc<Settings>) -> io::Result<Running> {
        let store = open(&settings.store).await?.map(Arc::new);
        let registry = store.as_ref().map_or_else(Registry::default, |store| store.registry().clone());
        register(&registry, &settings, None)?;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (started, has_started) = oneshot::channel();
        let (ended, has_ended) = oneshot::channel();
        let (of_thread, of_registry) = (settings.clone(), registry.clone());
        std::thread::Builder::new().name("discovery".into()).spawn(move || {
            live(of_registry, store.clone(), &of_thread, started, inbox);
            // What is not written yet is written now.
            drop(store);
            let _ = ended.send(());
        })?;
        let counts = has_started.await.map_err(|_| io::Error::other("the registry's thread ended"))??;
        let settings = RefCell::new(settings);
        let ended = RefCell::new(Some(has_ended));
        Ok(Running { registry, settings, orders, ended, counts, published: Cell::new(0), left: Cell::new(false) })
    }

    /// Follows another configuration. Says what needs a restart.
    pub(super) async fn follow(&self, new: &Arc<Settings>) -> Result<Vec<String>, String> {
        let old = self.settings.borrow().clone();
        let same = [
            ("node", old.node == new.node),
            ("store", old.store == new.store),
            ("dns.listen", old.dns == new.dns),
            ("http.listen", old.http == new.http),
            ("datacenter", old.answers.datacenter == new.answers.datacenter),
        ];
        let stays = same.iter().filter(|(_, same)| !same);
        let notes = stays.map(|(key, _)| format!("`discovery.{key}` needs a restart")).collect();
        register(&self.registry, new, Some(&old)).map_err(|e| e.to_string())?;
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
        format!("{services} services, {} instances ({critical} critical), {nodes} nodes", snapshot.len())
    }

    /// Nobody is sent any more to what the configuration registers and what goes away with us: our worker, and what
    /// listens for it. Those who are here until the end still are, since the worker may need others while it finishes.
    /// Says how long others may not have noticed.
    pub(super) fn leave(&self, plan: &Plan) -> Option<Duration> {
        self.left.set(true);
        let settings = self.settings.borrow();
        let ours = settings.services.iter().filter(|(instance, _)| goes_with_us(instance, &settings.node, plan));
        let left = ours.filter(|(i, _)| self.registry.drain(&i.node, &i.id, true)).count();
        let ttl = Duration::from_secs(settings.answers.ttls.service.into());
        (left > 0 && !settings.dns.is_empty()).then_some(ttl + NOTICED)
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

/// Opens what registrations are kept in.
async fn open(place: &Kept) -> io::Result<Option<Store>> {
    match place {
        Kept::Memory => Ok(None),
        Kept::File(path) => {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder).map_err(|e| {
                    let what =
                        format!("cannot create the registry's folder {}: {e} (discovery.store)", folder.display());
                    io::Error::new(e.kind(), what)
                })?;
            }
            Store::open(path, Limits::default()).map(Some).map_err(io::Error::other)
        }
        Kept::Etcd(settings, tls) => {
            let tls = tls.as_ref().map(|tls| tls.config()).transpose().map_err(io::Error::other)?;
            let settings = etcd::Settings { tls, ..(**settings).clone() };
            Store::etcd(settings, Limits::default()).await.map(Some).map_err(io::Error::other)
        }
    }
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
        Place::Tcp(host, port) => *port == instance.port && host.parse().map_or(host == "localhost", here),
        Place::Unix(_) => false,
    });
    local && (listens || works)
}

/// Registers what the configuration says, and takes back what it said before and does not any more.
fn register(registry: &Registry, new: &Settings, old: Option<&Settings>) -> io::Result<()> {
    let refused =
        |what: &str, e: fourmi_discovery::Refused| io::Error::other(format!("`{what}` cannot be registered: {e}"));
    // A node stays what it was until a restart.
    let node = old.map_or(&new.node, |old| &old.node);
    registry.put_node(node.clone()).map_err(|e| refused(&node.name, e))?;
    for (instance, checks) in &new.services {
        let mut instance = instance.clone();
        instance.node.clone_from(&node.name);
        let checks = checks.iter().map(|check| {
            let mut definition = fourmi_discovery::Definition::clone(&check.definition);
            definition.node.clone_from(&node.name);
            fourmi_discovery::Check::new(definition)
        });
        let id = instance.id.clone();
        registry.register(instance, checks.collect(), true).map_err(|e| refused(&id, e))?;
    }
    for (name, record) in &new.records {
        registry.put_record(name, record.clone()).map_err(|e| refused(name, e))?;
    }
    let Some(old) = old else { return Ok(()) };
    for (gone, _) in old.services.iter().filter(|(o, _)| !new.services.iter().any(|(n, _)| n.id == o.id)) {
        registry.deregister(&node.name, &gone.id);
    }
    for (gone, _) in old.records.iter().filter(|(o, _)| !new.records.iter().any(|(n, _)| n == o)) {
        registry.remove_record(gone);
    }
    Ok(())
}

/// The thread.
fn live(
    registry: Registry,
    store: Option<Arc<Store>>,
    settings: &Settings,
    started: oneshot::Sender<io::Result<Queries>>,
    mut orders: mpsc::Receiver<Order>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return drop(started.send(Err(e))),
    };
    runtime.block_on(async {
        tokio::spawn(checks::run(registry.clone(), checks::Options::default()));
        let server = match dns::Server::bind(&settings.dns, registry.clone(), settings.answers.clone()).await {
            Ok(server) => server,
            Err(e) => return drop(started.send(Err(e))),
        };
        let api = match settings.http.is_empty() {
            true => None,
            false => match http::Server::start(&settings.http, registry, store, settings.api.clone()).await {
                Ok(api) => Some(api),
                Err(e) => return drop(started.send(Err(e))),
            },
        };
        let counter = server.counter();
        let counts: Queries = Arc::new(move || counter.all().collect());
        if started.send(Ok(counts)).is_err() {
            return;
        }
        while let Some(order) = orders.recv().await {
            match order {
                Order::Answer(settings) => {
                    server.reload(settings.answers.clone());
                    api.iter().for_each(|api| api.reload(settings.api.clone()));
                }
                Order::Stop => return,
            }
        }
    });
    runtime.shutdown_background();
}

/// Publishes every change of the registry, and looks after instances that were not reached.
pub(super) async fn watch(keeper: Rc<Keeper>, changed: Changed) {
    let Some(running) = keeper.running() else { return };
    let mut changes = running.registry.watch();
    let mut look = tokio::time::interval(LOOK_AFTER);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            told = changes.changed() => {
                if told.is_err() {
                    return;
                }
                changes.borrow_and_update();
                keeper.publish(&changed);
                tokio::time::sleep(TOGETHER).await;
            }
            _ = look.tick() => keeper.look_after_lost(&changed),
        }
    }
}

impl Keeper {
    /// Starts the registry, if the plan has one.
    pub(super) async fn discover(&self, plan: &Plan) -> io::Result<()> {
        let Some(settings) = &plan.discovery else { return Ok(()) };
        let running = Running::start(settings.clone()).await?;
        self.hub.count_queries(running.counts.clone());
        *self.discovery.borrow_mut() = Some(Rc::new(running));
        Ok(())
    }

    /// The registry that runs here.
    pub(super) fn running(&self) -> Option<Rc<Running>> {
        self.discovery.borrow().clone()
    }

    /// Leaves the registry, before anything is ended; how long others may not have noticed.
    pub(super) fn leave(&self) -> Option<Duration> {
        self.running().and_then(|running| running.leave(&self.plan()))
    }

    /// Ends the registry, with everything written.
    pub(super) async fn undiscover(&self) {
        if let Some(running) = self.running() {
            running.stop().await;
        }
    }

    fn tell_instances(&self, service: &str, [passing, warning, critical]: [u64; 3]) {
        self.hub.set_instances(service, "passing", passing);
        self.hub.set_instances(service, "warning", warning);
        self.hub.set_instances(service, "critical", critical);
    }

    /// Looks for instances of the registry that were not reached.
    fn look_after_lost(&self, changed: &Changed) {
        let services = &self.services;
        let registered: Vec<Rc<Service>> = services.registered.borrow().values().cloned().collect();
        for service in services.outbound_registered().iter().chain(&registered).filter(|s| s.has_lost()) {
            service.check(changed);
        }
    }

    /// Takes the services of the registry over into those of the data threads.
    pub(super) fn publish(&self, changed: &Changed) {
        let Some(running) = self.running().filter(|running| !running.left.get()) else { return };
        let snapshot = running.registry.snapshot();
        let since = running.published.replace(snapshot.changes());
        let plan = self.plan();
        for service in self.services.outbound_registered() {
            if snapshot.changed(&service.name) > since {
                let tls = plan.outbound.iter().find(|s| s.name == service.name).map(|s| s.tls.clone());
                self.take_over(&service, &snapshot, &tls.unwrap_or_default());
                self.services.tend(&service, changed);
            }
        }
        let configured = |name: &str| plan.outbound.iter().any(|s| *s.name == *name);
        let mut registered = self.services.registered.borrow_mut();
        let mut listed = false;
        let mut touched = Vec::new();
        for found in snapshot.services() {
            if found.changed <= since {
                continue;
            }
            let name = found.name.to_ascii_lowercase();
            if configured(&name) {
                continue;
            }
            let service = registered.entry(name.as_str().into()).or_insert_with_key(|name| {
                listed = true;
                Service::renewed(None, name, nobody(&plan))
            });
            self.take_over(service, &snapshot, &ClientTls::default());
            touched.push(service.clone());
        }
        let configured_too = plan.outbound.iter().filter(|s| snapshot.service(&s.name).is_some()).count();
        if registered.len() + configured_too != snapshot.services().count() {
            listed = true;
            registered.retain(|name, _| {
                let stays = snapshot.service(name).is_some() && !configured(name);
                if !stays {
                    self.hub.forget_instances(name);
                }
                stays
            });
        }
        if listed {
            let all = registered.iter().map(|(name, service)| (name.clone(), service.served()));
            self.services.directory.replace(Arc::new(all.collect::<HashMap<Arc<str>, Served>>()));
        }
        drop(registered);
        for service in touched {
            self.services.tend(&service, changed);
        }
    }

    fn take_over(&self, service: &Service, snapshot: &Snapshot, tls: &ClientTls) {
        let addresses: Vec<Address> = snapshot.usable(&service.name).filter_map(|m| address(m)).collect();
        let policy = service.policy();
        let tls = Connectors::new(
            &service.name,
            &addresses,
            (tls, &policy),
            &self.certificates,
            (Use::Outbound, Use::OutboundChecks),
        );
        service.register(addresses, tls);
        let of = |state: State| {
            let members = snapshot.service(&service.name).map(|s| &*s.members).unwrap_or_default();
            members.iter().filter(|m| m.state == state).count() as u64
        };
        self.tell_instances(&service.name, [of(State::Passing), of(State::Warning), of(State::Critical)]);
    }
}

/// A service before anything is known of it.
fn nobody(plan: &Plan) -> Wanted {
    Wanted {
        addresses: Vec::new(),
        registered: true,
        policy: Arc::new(Policy::default()),
        check: Check::Connect,
        tls: Connectors::default(),
        zone: plan.zone.clone(),
    }
}

/// Where commands to a member go; none when it has no port.
fn address(member: &Member) -> Option<Address> {
    let meta = |key: &str| member.instance.meta.get(key).or_else(|| member.node.meta.get(key));
    let scheme = match meta("scheme").map(String::as_str) {
        Some("h2c" | "grpc") => Scheme::H2c,
        Some("https") => Scheme::Https,
        Some("h2" | "grpcs") => Scheme::H2,
        _ => Scheme::Http,
    };
    let host = member.address().to_string();
    let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
    (member.instance.port > 0).then(|| Address {
        target: Target { scheme, place: Place::Tcp(host, member.instance.port) },
        weight: member.weight().into(),
        priority: member.instance.priority.unwrap_or(0),
        zone: meta("zone").map(|zone| zone.as_str().into()),
    })
}
