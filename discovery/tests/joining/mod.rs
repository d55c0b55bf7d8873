//! What the tests of following share: a registry that can die and come back, and a road to it that can be cut.

mod api;
#[path = "../calling/client.rs"]
#[allow(dead_code, reason = "the rows use all of it")]
mod client;
mod hostile;
mod many;
mod own;
pub(crate) mod road;
mod told;

use fourmi_discovery::http::{Server, Settings};
use fourmi_discovery::join::{self, Joined, Status};
use fourmi_discovery::{Address, Check, Definition, Instance, Node, Probe, Registry, Snapshot, State, Store, checks};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A registry that answers, until it is dropped.
pub(crate) struct Central {
    pub(crate) registry: Registry,
    pub(crate) address: SocketAddr,
    pub(crate) server: Server,
    store: Option<Arc<Store>>,
    _checks: JoinSet<()>,
}

pub(crate) fn settings() -> Settings {
    Settings { node: "central".into(), ..Settings::default() }
}

impl Central {
    pub(crate) async fn start() -> Self {
        Central::of((HERE, 0).into(), None, settings()).await
    }

    pub(crate) async fn of(address: SocketAddr, store: Option<Store>, settings: Settings) -> Self {
        let store = store.map(Arc::new);
        let registry = store.as_ref().map_or_else(Registry::default, |store| store.registry().clone());
        let server = Server::start(&[address], registry.clone(), store.clone(), settings).await.unwrap();
        let mut running = JoinSet::new();
        running.spawn(checks::run(registry.clone(), checks::Options::default()));
        Central { address: server.addresses()[0], registry, server, store, _checks: running }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends as if it was killed, as far as others see it.
    pub(crate) async fn kill(self) -> SocketAddr {
        let Central { address, server, store, mut _checks, registry } = self;
        drop((server, registry));
        _checks.shutdown().await;
        // Connections are let go of in their tasks.
        let store = store.map(|store| Arc::downgrade(&store));
        until("the file is let go of", || store.as_ref().is_none_or(|store| store.strong_count() == 0)).await;
        address
    }
}

/// An instance with a check that is as it is told.
pub(crate) fn put(registry: &Registry, node: &str, service: &str, id: &str, ip: [u8; 4], state: State) {
    if registry.snapshot().node(node).is_none() {
        registry.put_node(Node::new(node, IpAddr::from([10, 0, 0, 1]))).unwrap();
    }
    let made = Instance { address: Some(Address::Ip(ip.into())), ..Instance::new(service, id, node, 80) };
    let check = Check::new(Definition::of(&made, format!("c-{id}"), Probe::Manual)).state(state);
    registry.register(made, vec![check], false).unwrap();
}

pub(crate) fn following(url: impl Into<String>) -> join::Settings {
    join::Settings {
        urls: vec![url.into()],
        node: "side".into(),
        address: Address::Ip([10, 9, 9, 9].into()),
        ..join::Settings::default()
    }
}

pub(crate) fn follow(settings: join::Settings) -> (Joined, Registry) {
    let replica = Registry::default();
    (Joined::start(settings, replica.clone()).unwrap(), replica)
}

pub(crate) async fn connected(joined: &Joined) -> Status {
    until("it is connected", || joined.status().connected).await;
    joined.status()
}

/// All that others see of a registry, as text.
pub(crate) fn shown(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    // Our own node stays when nothing is shown on it.
    for entry in snapshot.nodes().filter(|entry| entry.node.name != "side") {
        let checks = |checks: &[Arc<Check>]| -> Vec<String> {
            let one = |c: &Arc<Check>| format!("{}={}:{}", c.definition.id, c.state.as_str(), c.output);
            checks.iter().map(one).collect()
        };
        lines.push(format!("{:?} {:?}", entry.node, checks(&entry.checks)));
        for member in &entry.instances {
            // In whatever case a node was named.
            let node = member.instance.node.to_lowercase();
            let instance = Instance { transient: false, node, ..Instance::clone(&member.instance) };
            lines.push(format!("{instance:?} {:?} {:?}", member.state, checks(&member.checks)));
        }
    }
    lines.extend(snapshot.records().map(|record| format!("{record:?}")));
    lines
}

/// Waits until a replica is what the other one is.
pub(crate) async fn same(central: &Registry, replica: &Registry) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (there, here) = (shown(&central.snapshot()), shown(&replica.snapshot()));
        if there == here {
            return;
        }
        assert!(Instant::now() < end, "there {there:#?}\nhere {here:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Somebody who looks a service up all the time, from a thread of his own.
pub(crate) struct Looking {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Looking {
    /// From now on there are never fewer than that.
    pub(crate) fn at(registry: &Registry, service: &str, least: usize) -> Self {
        let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (registry, service) = (registry.clone(), service.to_owned());
        let (stopped, failing) = (Arc::clone(&stop), Arc::clone(&failed));
        let thread = std::thread::spawn(move || {
            let mut looked = 0;
            while !stopped.load(Ordering::Relaxed) {
                looked += 1;
                if registry.snapshot().usable(&service).count() < least {
                    failing.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            looked
        });
        Looking { stop, failed, thread: Some(thread) }
    }

    /// How many looks there were; none may have failed.
    pub(crate) fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let looked = self.thread.take().unwrap().join().unwrap();
        assert_eq!(self.failed.load(Ordering::Relaxed), 0, "of {looked} looks");
        looked
    }
}
