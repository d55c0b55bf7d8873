//! What the control thread makes of the registry's changes: the pools of services.

use super::{LOOK_AFTER, Running, TOGETHER};
use crate::config::{Address, Plan};
use crate::exchange::Direction;
use crate::pipeline::Served;
use crate::runtime::blueprint;
use crate::runtime::certificates::Use;
use crate::runtime::keeper::Keeper;
use crate::runtime::service::{Connectors, Service, Wanted};
use crate::runtime::services::Changed;
use crate::tls::ClientTls;
use crate::upstream::health::Check;
use crate::upstream::{Place, Policy, Scheme, Target};
use fourmi_discovery::{Member, Snapshot, State};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Publishes every change of the registry, and looks after instances that were not reached.
pub(in crate::runtime) async fn watch(keeper: Rc<Keeper>, changed: Changed) {
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
    pub(in crate::runtime) async fn discover(&self, plan: &Plan) -> io::Result<()> {
        let Some(settings) = &plan.discovery else { return Ok(()) };
        let tls = settings.api_tls.as_ref().map(|tls| self.certificates.open_api(tls));
        let tls = tls.transpose().map_err(io::Error::other)?;
        let running = Running::start(settings.clone(), blueprint::private(plan), tls).await?;
        self.hub.count_queries(running.counts.clone());
        if let Some(absence) = running.absence() {
            self.hub.watch_registry(absence);
        }
        *self.discovery.borrow_mut() = Some(Rc::new(running));
        Ok(())
    }

    /// The registry that runs here.
    pub(in crate::runtime) fn running(&self) -> Option<Rc<Running>> {
        self.discovery.borrow().clone()
    }

    /// Leaves the registry, before anything is ended; how long others may not have noticed.
    pub(in crate::runtime) fn leave(&self) -> Option<Duration> {
        self.running().and_then(|running| running.leave(&self.plan()))
    }

    /// Ends the registry, with everything written.
    pub(in crate::runtime) async fn undiscover(&self) {
        if let Some(running) = self.running() {
            running.stop().await;
        }
    }

    /// Tells how many instances of what changed are in which state.
    fn count(&self, running: &Running, snapshot: &Snapshot, since: u64) {
        let mut counted = running.counted.borrow_mut();
        for service in snapshot.services().filter(|service| service.changed > since) {
            let name = service.name.to_ascii_lowercase();
            for (state, word) in [State::Passing, State::Warning, State::Critical].map(|state| (state, state.as_str()))
            {
                let there = service.members.iter().filter(|member| member.state == state).count() as u64;
                self.hub.set_instances(&name, word, there);
            }
            counted.insert(name);
        }
        if counted.len() != snapshot.services().count() {
            counted.retain(|name| {
                let stays = snapshot.service(name).is_some();
                if !stays {
                    self.hub.forget_instances(name);
                }
                stays
            });
        }
    }

    /// Whether the registry counts the instances of a service.
    pub(in crate::runtime) fn counts_itself(&self, service: &str) -> bool {
        self.running().is_some_and(|running| running.counted.borrow().contains(service))
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
    pub(in crate::runtime) fn publish(&self, changed: &Changed) {
        let Some(running) = self.running().filter(|running| !running.left.get()) else { return };
        let snapshot = running.registry.snapshot();
        let since = running.published.replace(snapshot.changes());
        let plan = self.plan();
        self.count(&running, &snapshot, since);
        if !plan.listeners.iter().any(|l| l.direction == Direction::Outbound) {
            // Nobody can send there from here.
            return;
        }
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
            registered.retain(|name, _| snapshot.service(name).is_some() && !configured(name));
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

/// Where commands to a member go; none when it has no port, or speaks nothing that commands are sent in.
fn address(member: &Member) -> Option<Address> {
    let meta = |key: &str| member.instance.meta.get(key).or_else(|| member.node.meta.get(key));
    let scheme = match meta("scheme").map(String::as_str) {
        Some("h2c" | "grpc") => Scheme::H2c,
        Some("https") => Scheme::Https,
        Some("h2" | "grpcs") => Scheme::H2,
        Some("zmq" | "zmq+tcp") => Scheme::Zmq,
        None | Some("http" | "") => Scheme::Http,
        // It speaks something else: nobody is sent there in HTTP.
        Some(_) => return None,
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
