//! The server: listens, and holds connections within their limits.

use super::call::known;
use super::edge::{self, Shared};
use super::guard::From;
use super::settings::{Limits, Settings};
use super::stall::Stalling;
use crate::join::{Behind, Joined};
use crate::registry::Registry;
use crate::store::Store;
use foldhash::HashMap;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// After an error of accepting, as when there are no more file handles.
const PAUSE: Duration = Duration::from_millis(100);
/// The least that the library takes as room for a head.
const HEAD_MIN: usize = 8192;
/// Most header lines of a request.
const HEADERS_MAX: usize = 100;

/// A server of Consul's HTTP API. It answers until it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Listens on all these addresses and answers in this runtime. With a store, what changes the registry is answered
    /// when it is written. The error names the address.
    pub async fn start(
        addresses: &[SocketAddr],
        registry: Registry,
        store: Option<Arc<Store>>,
        settings: Settings,
    ) -> io::Result<Self> {
        Self::begin(addresses, registry, (store, None), settings).await
    }

    /// The same beside a registry that is followed. Reads are made from the replica; what is registered with the agent is
    /// ours, and told there; keys and values, and changes of the catalogue, are passed on.
    pub async fn start_joined(addresses: &[SocketAddr], joined: &Joined, settings: Settings) -> io::Result<Self> {
        Self::begin(addresses, joined.replica(), (None, Some(joined.behind())), settings).await
    }

    async fn begin(
        addresses: &[SocketAddr],
        registry: Registry,
        (store, behind): (Option<Arc<Store>>, Option<Behind>),
        settings: Settings,
    ) -> io::Result<Self> {
        let own = behind.as_ref().map_or(&registry, |behind| behind.own());
        known(own, &settings).map_err(|refused| {
            let why = format!("the node {:?} cannot be registered: {refused}", settings.node);
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })?;
        let mut listeners = Vec::with_capacity(addresses.len());
        let mut bound = Vec::with_capacity(addresses.len());
        for address in addresses {
            let listener = TcpListener::bind(address).await.map_err(|error| told(*address, &error))?;
            bound.push(listener.local_addr()?);
            listeners.push(listener);
        }
        let connections = Arc::new(Semaphore::new(settings.limits.connections));
        let clients = Arc::<Clients>::default();
        let shared = Arc::new(Shared::new(registry, (store, behind), settings));
        let mut tasks = JoinSet::new();
        let waiting = Arc::clone(&shared);
        tasks.spawn(async move { waiting.waiting.follow().await });
        let here = Arc::clone(&shared);
        tasks.spawn(async move {
            if let Some(waiting) = &here.waiting_here {
                waiting.follow().await;
            }
        });
        let changes = Arc::clone(&shared);
        tasks.spawn(async move { changes.changes.follow().await });
        for listener in listeners {
            tasks.spawn(accept(listener, Arc::clone(&shared), Arc::clone(&connections), Arc::clone(&clients)));
        }
        Ok(Server { shared, addresses: bound, _tasks: tasks })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers by other settings from now on. Requests on their way keep those they began with, and how many connections
    /// there may be in all stays.
    pub fn reload(&self, settings: Settings) {
        self.shared.reload(settings);
    }

    /// How many requests there were: the route, the class of the status (`2xx`), the number.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.shared.counts.all()
    }
}

/// How many connections each client has.
#[derive(Debug, Default)]
struct Clients(Mutex<HashMap<IpAddr, usize>>);

/// A connection that counts until it is dropped.
struct Counted {
    clients: Arc<Clients>,
    ip: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut clients = self.clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.ip);
            }
        }
    }
}

impl Counted {
    /// None when the client has enough. All clients of this machine share an address, so they have no limit.
    fn new(clients: &Arc<Clients>, ip: IpAddr, most: usize, permit: OwnedSemaphorePermit) -> Option<Self> {
        let mut counts = clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&ip).copied().unwrap_or(0);
        if count >= most && !ip.is_loopback() {
            return None;
        }
        counts.insert(ip, count + 1);
        drop(counts);
        Some(Counted { clients: Arc::clone(clients), ip, _permit: permit })
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: Arc<Semaphore>, clients: Arc<Clients>) {
    let inside = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let mut open = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let accepted = loop {
            tokio::select! {
                // A connection that fails is the client's to open again.
                Some(_) = open.join_next() => {}
                accepted = listener.accept() => break accepted,
            }
        };
        match accepted {
            Ok((stream, from)) => {
                let client = from.ip().to_canonical();
                let limits = shared.current().settings.limits.clone();
                if let Some(counted) = Counted::new(&clients, client, limits.of_one_client, permit) {
                    let talk = talk(stream, From { client, inside }, Arc::clone(&shared), limits);
                    open.spawn(async move {
                        talk.await;
                        drop(counted);
                    });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the API was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn talk(stream: TcpStream, from: From, shared: Arc<Shared>, limits: Limits) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(Box::pin(edge::answer(shared, request, from)).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(HEADERS_MAX)
        .max_buf_size(limits.head.max(HEAD_MIN))
        .serve_connection(TokioIo::new(Stalling::new(stream, limits.write_time)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, client = %from.client, "a connection to the API ended early");
    }
}

fn told(address: SocketAddr, error: &io::Error) -> io::Error {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => ": another process has the port; Consul's own agent has 8500",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot listen for Consul's API on {address}: {error}{remedy}"))
}
