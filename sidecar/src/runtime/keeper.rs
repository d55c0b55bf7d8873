//! What the control thread knows and can do: the running plan, reload, drain, readiness.

use super::blueprint;
use super::certificates::Certificates;
use super::gateway;
use super::limits;
use super::listen;
use super::registry::Running;
use super::services::{Changed, Services};
use super::targets;
use super::upstreams;
use super::worker::{Order, Shared};
use super::{Said, said};
use crate::admin::{Control, Hand, Part, Reloaded, Request};
use crate::config::{self, Admin, Bind, Listener, LoadOptions, Loaded, Plan};
use crate::exchange::{Direction, Exchange, Head, Headers, Identity, Protocol};
use crate::lines::Lines;
use crate::pipeline::Blueprint;
use crate::sink::{Event, EventKind, Eyes, Hub};
use crate::spool::{Spool, State};
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

/// Counters of limits that one answer shows.
const LIMITS_SHOWN: usize = 100;

/// The control thread's state.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) load: LoadOptions,
    pub(super) said: Said,
    /// What `fourmi check` said last, and when.
    pub(super) checked: RefCell<Option<(Instant, Value)>>,
    /// Descriptors that the process may have.
    files: u64,
    loaded: RefCell<Loaded>,
    pub(super) hub: Rc<Hub>,
    /// Takes the worker's own lines.
    pub(super) lines: Rc<Lines>,
    pub(super) services: Services,
    /// The registry, when this process has one.
    pub(super) discovery: RefCell<Option<Rc<Running>>>,
    /// The store of accepted commands, when there is one.
    pub(super) spool: Option<Spool>,
    /// Of listeners and of connections to instances.
    pub(super) certificates: Certificates,
    orders: RefCell<Vec<mpsc::Sender<Order>>>,
    draining: Cell<bool>,
    stopping: Cell<bool>,
    stop: Notify,
    started: Instant,
    last_reload: RefCell<Option<String>>,
    /// One reload at a time.
    reloading: Mutex<()>,
}

impl Keeper {
    pub(super) fn new(
        load: LoadOptions,
        loaded: Loaded,
        hub: Rc<Hub>,
        lines: Rc<Lines>,
        files: u64,
        spool: Option<Spool>,
    ) -> Self {
        Keeper {
            shared: Arc::default(),
            load,
            said: Said::default(),
            checked: RefCell::default(),
            files,
            loaded: RefCell::new(loaded),
            hub,
            lines,
            services: Services::default(),
            discovery: RefCell::default(),
            spool,
            certificates: Certificates::default(),
            orders: RefCell::default(),
            draining: Cell::new(false),
            stopping: Cell::new(false),
            stop: Notify::new(),
            started: Instant::now(),
            last_reload: RefCell::new(None),
            reloading: Mutex::new(()),
        }
    }

    /// With the command line's words.
    pub(super) fn saying(mut self, said: Said) -> Self {
        self.said = said;
        self
    }

    pub(super) fn plan(&self) -> Arc<Plan> {
        self.loaded.borrow().plan.clone()
    }

    pub(super) fn draw(&self, plan: &Plan) -> Blueprint {
        self.services.follow(plan, &self.certificates);
        blueprint::draw(plan, &self.services, self.spool.as_ref())
    }

    /// Looks at the files of certificates.
    pub(super) async fn look_at_certificates(&self) {
        self.certificates.look(&self.hub).await;
    }

    /// Sets how many connections there may be.
    pub(super) fn allow_connections(&self, plan: &Plan) {
        self.shared.connections_max.store(limits::connections(plan, self.files), Ordering::Relaxed);
    }

    pub(super) fn begin(&self, orders: Vec<mpsc::Sender<Order>>) {
        *self.orders.borrow_mut() = orders;
    }

    pub(super) async fn order(&self, order: impl Fn() -> Order) {
        let orders = self.orders.borrow().clone();
        for to in orders {
            let _ = to.send(order()).await;
        }
    }

    /// Checks every instance of the plan, and no other.
    pub(super) fn check(self: &Rc<Self>) {
        self.services.begin(&self.plan().dns, &self.changed());
        self.count_instances();
    }

    /// Tells of instances that come and go, are up or down.
    pub(super) fn changed(self: &Rc<Self>) -> Changed {
        let keeper = self.clone();
        Rc::new(move |service, what| {
            keeper.count_instances();
            let Some((instance, up, first)) = what else { return };
            let why = || keeper.services.why_out(service, instance);
            if up {
                tracing::info!(service, instance, "an instance is ready");
            } else if first {
                tracing::info!(service, instance, "waiting for an instance: {}", why());
            } else {
                tracing::warn!(service, instance, "an instance is not ready: {}", why());
            }
            if !first {
                let (what, kind) = match up {
                    true => ("is back", EventKind::Success),
                    false => ("is ejected", EventKind::Warning),
                };
                let key = format!("{service} {instance}");
                keeper.event(format!("{service}: the instance {instance} {what}"), String::new(), kind, Some(key));
            }
        })
    }

    /// Tells receivers that know events.
    pub(super) fn event(&self, title: String, text: String, kind: EventKind, aggregation_key: Option<String>) {
        self.hub.event(Event { title, text, kind, aggregation_key });
    }

    /// The service, for people.
    pub(super) fn service(&self) -> Arc<str> {
        self.plan().identity.service.clone()
    }

    fn count_instances(&self) {
        for service in self.services.all().iter().filter(|s| !self.counts_itself(&s.name)) {
            let members = service.members();
            let up = members.iter().filter(|m| m.standing.up()).count();
            self.hub.set_instances(&service.name, "passing", up as u64);
            self.hub.set_instances(&service.name, "critical", (members.len() - up) as u64);
        }
        for service in self.services.all() {
            self.hub.set_waiting(&service.name, service.pool.counter());
        }
        let targets = self.plan().gateway.as_ref().map(|gateway| targets::of(gateway, &self.services));
        self.hub.set_targets(targets.unwrap_or_default());
    }

    pub(super) fn stopping(&self) {
        self.draining.set(true);
        self.stopping.set(true);
    }

    pub(super) async fn stop_asked(&self) {
        self.stop.notified().await;
    }

    /// Resolves when every thread has ended its connections of a direction.
    pub(super) async fn drain_all(&self, direction: Direction) {
        let orders = self.orders.borrow().clone();
        let mut waits = Vec::new();
        for to in orders {
            let (done, wait) = oneshot::channel();
            if to.send(Order::Drain(direction, done)).await.is_ok() {
                waits.push(wait);
            }
        }
        for wait in waits {
            let _ = wait.await;
        }
    }

    /// Says what never left, at the end.
    pub(super) fn tell_losses(&self) {
        for s in self.hub.stats() {
            let lost = s.dropped_full + s.dropped_error + s.oversize;
            if lost > 0 {
                let error = s.last_error.as_deref().unwrap_or("too slow");
                tracing::warn!(sink = %s.sink, target = %s.target, lost, "records were lost: {error}");
            }
        }
    }

    /// Socket files end with us.
    pub(super) fn remove_sockets(&self) {
        for listener in &self.plan().listeners {
            if let Bind::Unix(path) = &listener.bind {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    pub(super) fn state(&self) -> Value {
        let plan = self.plan();
        json!({
            "service": &*plan.identity.service,
            "env": &*plan.identity.env,
            "hostname": &*plan.identity.hostname,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "threads": plan.threads,
            "config": super::origin(&plan, &self.load),
            "connections": self.shared.connections.load(Ordering::Relaxed),
            "in_flight": self.hub.in_flight(),
            "draining": self.draining.get(),
            "stopping": self.stopping.get(),
            "last_reload_error": *self.last_reload.borrow(),
            "needs_restart": self.needs_restart(),
            "registry_away_seconds": self.running().and_then(|running| running.away_seconds()),
        })
    }

    /// What the configuration says of the registry and does not hold before a restart.
    fn needs_restart(&self) -> Vec<String> {
        match (self.running(), self.plan().discovery.is_some()) {
            (Some(running), true) => running.restart.borrow().clone(),
            (None, false) => Vec::new(),
            _ => vec!["discovery".into()],
        }
    }

    /// Reads the configuration again. A bad one changes nothing; a good one takes effect before this returns.
    pub(super) async fn reload(self: &Rc<Self>) -> Reloaded {
        let _one = self.reloading.lock().await;
        let result = self.try_reload().await;
        self.hub.count_reload(result.is_ok());
        match &result {
            Ok(what) => {
                tracing::info!("reloaded: {what}");
                self.event(format!("{}: reloaded", self.service()), what.clone(), EventKind::Info, None);
            }
            Err(why) => {
                tracing::error!("the configuration was not reloaded, the old one stays: {why}");
                let title = format!("{}: the configuration was not reloaded", self.service());
                self.event(title, why.clone(), EventKind::Error, None);
            }
        }
        *self.last_reload.borrow_mut() = result.as_ref().err().cloned();
        result
    }

    async fn try_reload(self: &Rc<Self>) -> Reloaded {
        if self.load.path.as_deref().is_some_and(|p| p.as_os_str() == "-") {
            return Err("the configuration came from standard input, which cannot be read twice; give a file".into());
        }
        let loaded = config::load(&self.load).map_err(|report| report.to_string())?;
        let (old, new) = (self.plan(), loaded.plan.clone());
        let mut notes: Vec<String> = loaded.warnings.iter().map(|w| w.plain().trim_end().to_owned()).collect();
        if new.threads != old.threads {
            notes.push("`threads` needs a restart".into());
        }
        if new.admin.as_ref().map(|a| a.listen) != old.admin.as_ref().map(|a| a.listen) {
            notes.push("`admin.listen` needs a restart".into());
        }
        if new.spool != old.spool {
            notes.push("`spool` needs a restart".into());
        }
        // New places first: when one is taken, nothing has changed yet.
        let mut opened = Vec::new();
        for listener in new.listeners.iter().filter(|l| !old.listeners.iter().any(|o| o.is_at(l))) {
            if old.listeners.iter().any(|l| l.bind == listener.bind) {
                return Err(format!("{}: a listener cannot change its kind without a restart", place(listener)));
            }
            let sockets = listen::bind(&listener.bind, old.threads).map_err(|e| listen::explain(&listener.bind, &e))?;
            opened.push((listener.clone(), sockets, self.certificates.open(listener)?));
        }
        let certificates = self.certificates.prepare(&new)?;
        let taking =
            self.lines.follow(&new.worker_logs, &new.logs, &new.show.redactor).map_err(|(message, _)| message)?;
        notes.extend(taking.iter().map(|place| format!("taking lines at {place}")));
        if new.worker_logs.capture != old.worker_logs.capture {
            notes.push("`worker_logs.capture` needs a restart".into());
        }
        self.allow_connections(&new);
        self.certificates.follow(&new, certificates);
        match (&new.discovery, self.running()) {
            (Some(settings), Some(running)) => notes.extend(running.follow(settings).await?),
            (None, None) => {}
            _ => notes.push("`discovery` needs a restart to begin or to end".into()),
        }
        let blueprint = Arc::new(self.draw(&new));
        let tellers = self.hub.reload(&new.identity, &new.told(), &new.metrics);
        *self.loaded.borrow_mut() = loaded;
        let orders = self.orders.borrow().clone();
        let mut waits = Vec::new();
        for (to, teller) in orders.iter().zip(tellers) {
            let (done, wait) = oneshot::channel();
            if to.send(Order::Follow(blueprint.clone(), teller, done)).await.is_ok() {
                waits.push(wait);
            }
        }
        for wait in waits {
            let _ = wait.await;
        }
        for (listener, mut sockets, acceptor) in opened {
            notes.push(format!("listening on {}", place(&listener)));
            for to in &orders {
                if let Some(socket) = sockets.pop() {
                    let _ = to.send(Order::Listen(listener.clone(), socket, acceptor.clone())).await;
                }
            }
        }
        for listener in &new.listeners {
            // It stays where it is, and takes messages in another way.
            if old.listeners.iter().any(|o| o.is_at(listener) && o.inlet != listener.inlet) {
                for to in &orders {
                    let (done, wait) = oneshot::channel();
                    if to.send(Order::Take(listener.clone(), done)).await.is_ok() {
                        let _ = wait.await;
                    }
                }
            }
        }
        for listener in old.listeners.iter().filter(|l| !new.listeners.iter().any(|n| n.is_at(l))) {
            notes.push(format!("no longer listening on {}", place(listener)));
            for to in &orders {
                let (done, wait) = oneshot::channel();
                if to.send(Order::Close(listener.clone(), done)).await.is_ok() {
                    let _ = wait.await;
                }
            }
        }
        self.check();
        self.publish(&self.changed());
        self.certificates.retain(&self.services.all().iter().map(|s| s.name.clone()).collect::<Vec<_>>());
        self.look_at_certificates().await;
        notes.insert(0, "the new configuration is in place".into());
        Ok(notes.join("; "))
    }
}

fn place(listener: &Listener) -> String {
    match &listener.bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Unix(path) => path.display().to_string(),
    }
}

/// The admin listener's view; it holds the keeper by `Rc`, since reloading outlives the request that asks for it.
impl Control for Rc<Keeper> {
    fn settings(&self) -> Admin {
        // It answers, so it was on; switched off by a reload, it stays as strict as it can be.
        let here = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, crate::names::port::ADMIN));
        let off = || Admin { listen: here, token_file: None, read_only: true, peers: Vec::new() };
        self.plan().admin.clone().unwrap_or_else(off)
    }

    fn eyes(&self) -> Eyes {
        self.hub.eyes().clone()
    }

    fn registry(&self) -> Option<Value> {
        Some(self.running()?.listed())
    }

    fn check(&self) -> Value {
        said::check(self)
    }

    fn explain_command(&self, request: &[String], lines: &[String]) -> Result<Value, String> {
        self.said.explain.map_or(Err("nobody here can explain it".into()), |say| say(&self.plan(), request, lines))
    }

    fn identity(&self) -> Arc<Identity> {
        self.plan().identity.clone()
    }

    fn ready(&self) -> Vec<Part> {
        let mut parts = vec![Part {
            name: "drain".into(),
            ready: !self.draining.get(),
            detail: if self.draining.get() { "draining: no new commands, please".into() } else { "serving".into() },
        }];
        if let Some(members) = self.services.instances_of_worker() {
            let up = members.iter().filter(|m| m.standing.up()).count();
            let down: Vec<&str> = members.iter().filter(|m| !m.standing.up()).map(|m| &*m.label).collect();
            let detail = match (down.is_empty(), members.is_empty()) {
                (_, true) => "no instance is known".into(),
                (true, _) => format!("{up} of {up} ready"),
                (false, _) => format!("{up} of {} ready; not: {}", members.len(), down.join(", ")),
            };
            parts.push(Part { name: "worker".into(), ready: up > 0, detail });
        }
        if let Some(spool) = &self.spool {
            let summary = spool.summary();
            let open: i64 = State::ALL.into_iter().filter(|s| !s.is_final()).map(|s| summary.of(s)).sum();
            let waits = format!("{open} commands are not finished, {} are dead", summary.of(State::Dead));
            // Commands that are not stored go on, so it stays in the balance; the others are told 503 each.
            let detail = match summary.trouble {
                None => waits,
                Some(why) => format!("{waits}; nothing is stored: {why}"),
            };
            parts.push(Part { name: "spool".into(), ready: true, detail });
        }
        if let Some(running) = self.running() {
            parts.push(Part { name: "registry".into(), ready: true, detail: running.shown() });
        }
        parts
    }

    fn spool(&self) -> Option<Spool> {
        self.spool.clone()
    }

    fn metrics(&self, into: &mut String) {
        self.hub.prometheus(into);
    }

    fn config(&self) -> Value {
        self.loaded.borrow().shown.json()
    }

    fn sinks(&self) -> Value {
        let stats = self.hub.stats();
        json!(
            stats
                .iter()
                .map(|s| json!({
                    "sink": s.sink, "target": s.target, "state": s.state, "sent": s.sent,
                    "dropped_full": s.dropped_full, "dropped_error": s.dropped_error, "oversize": s.oversize,
                    "last_error": s.last_error, "last_error_age_seconds": s.last_error_age.map(|d| d.as_secs()),
                    "troubles": s.troubles.iter().map(|(why, n)| ((*why).to_owned(), json!(n))).collect::<Map<_, _>>(),
                }))
                .collect::<Vec<_>>()
        )
    }

    fn upstreams(&self) -> Value {
        upstreams::shown(&self.services)
    }

    fn explain(&self, service: &str, request: &Request) -> Option<Value> {
        let mut head = Head::default();
        let (path, query) = request.target.split_once('?').map_or((&*request.target, None), |(p, q)| (p, Some(q)));
        head.set_target(path, query);
        let mut lines = http::HeaderMap::new();
        for (name, value) in &request.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
                lines.append(name, value);
            }
        }
        head.headers = Headers::from_map(&lines);
        let identity = self.plan().identity.clone();
        let exchange = Exchange::begin(&identity, Direction::Outbound, Protocol::Http11, head, &"".into());
        upstreams::explained(&self.services, service, &exchange)
    }

    fn gateway(&self) -> Option<Value> {
        gateway::shown(&self.plan())
    }

    fn has_gateway(&self) -> bool {
        self.plan().gateway.is_some()
    }

    fn consumers(&self, like: Option<&str>) -> Option<Value> {
        gateway::consumers(&self.plan(), like)
    }

    fn limits(&self) -> Value {
        gateway::limits(&self.plan(), LIMITS_SHOWN)
    }

    fn set_health(&self, service: &str, instance: Option<&str>, hand: Hand) -> Result<Value, String> {
        let set = upstreams::set(&self.services, service, instance, hand);
        self.count_instances();
        set
    }

    fn status(&self) -> Value {
        self.state()
    }

    fn reload(&self) -> Pin<Box<dyn Future<Output = Reloaded>>> {
        let keeper = self.clone();
        Box::pin(async move { Keeper::reload(&keeper).await })
    }

    fn drain(&self) {
        if !self.draining.replace(true) {
            self.leave();
            tracing::info!("draining: /readyz says no; commands are still served");
        }
    }

    fn stop(&self) {
        self.stop.notify_one();
    }
}
