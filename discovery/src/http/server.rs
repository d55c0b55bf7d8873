//! The server: listens, and holds connections within their limits.

use super::call::known;
use super::connections::{Connections, Counted};
use super::edge::{self, Shared};
use super::guard::From;
use super::reply::Outgoing;
use super::settings::{Limits, Settings};
use super::stall::Stalling;
use crate::join::{Behind, Joined};
use crate::registry::Registry;
use crate::store::Store;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// After an error of accepting, as when there are no more file handles.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
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
        let connections = Arc::new(Connections::new(settings.limits.connections));
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
            tasks.spawn(accept(listener, Arc::clone(&shared), Arc::clone(&connections)));
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

async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: Arc<Connections>) {
    let inside = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // A connection that fails is the client's to open again.
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let client = from.ip().to_canonical();
                let current = shared.current();
                let limits = current.settings.limits.clone();
                // Until there is a place, further ones wait before the door.
                if let Some(counted) = connections.count(client, limits.of_one_client).await {
                    let (from, shared) = (From { client, inside }, Arc::clone(&shared));
                    open.spawn(async move { greet(stream, from, shared, &current.settings, counted).await });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the API was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn greet(stream: TcpStream, from: From, shared: Arc<Shared>, settings: &Settings, counted: Counted) {
    let _ = stream.set_nodelay(true);
    let limits = &settings.limits;
    let Some(tls) = &settings.tls else { return talk(stream, from, shared, limits, counted).await };
    let handshake = async { TlsAcceptor::from(tls.config()?).accept(stream).await };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE, handshake) => shaken.unwrap_or_else(|late| Err(late.into())),
        () = counted.closed() => return,
    };
    match shaken {
        Ok(stream) => talk(stream, from, shared, limits, counted).await,
        Err(error) => tracing::debug!(%error, client = %from.client, "a TLS handshake with the API failed"),
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    from: From,
    shared: Arc<Shared>,
    limits: &Limits,
    counted: Counted,
) {
    let counted = &counted;
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move {
            let working = counted.work();
            let answer = Box::pin(edge::answer(shared, request, from)).await;
            // A stream has no end of its own, and whoever reads it does not rest.
            if let Outgoing::Stream(_) = answer.body() {
                working.stays();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(HEADERS_MAX)
        .max_buf_size(limits.head.max(HEAD_MIN))
        .serve_connection(TokioIo::new(Stalling::new(stream, limits.write_time)), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = counted.closed() => {
            // An answer that is on its way comes to its end.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
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
