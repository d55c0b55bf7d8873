//! The server: listens by UDP and TCP.

use super::counts::Counts;
use super::forward::Forwarder;
use super::handler::{Handler, Shared};
use super::quota::Quota;
use super::settings::Settings;
use super::tcp;
use crate::registry::Registry;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// With port 0 one port must be free for both; so often it is tried.
const TRIES: usize = 16;

/// A DNS server. It answers until it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    _udp: hickory_server::server::Server<Handler>,
    _tcp: JoinSet<()>,
}

impl Server {
    /// Listens on all these addresses, by UDP and TCP, and answers in this runtime. The error names the address and,
    /// where that helps, the remedy.
    pub async fn bind(addresses: &[SocketAddr], registry: Registry, settings: Settings) -> io::Result<Self> {
        let mut sockets = Vec::with_capacity(addresses.len());
        for address in addresses {
            sockets.push(listen(*address).await?);
        }
        let mut bound = Vec::with_capacity(addresses.len());
        for (_, listener) in &sockets {
            bound.push(listener.local_addr()?);
        }
        let shared = Arc::new(Shared {
            registry,
            forwarder: Forwarder::new(settings.recursors.cache),
            settings: RwLock::new(without(settings, &bound)),
            quota: Quota::new(),
            counts: Counts::default(),
        });
        let handler = Handler(Arc::clone(&shared));
        let mut udp = hickory_server::server::Server::new(handler.clone());
        let mut tcp = JoinSet::new();
        for (socket, listener) in sockets {
            udp.register_socket(socket);
            tcp.spawn(tcp::serve(listener, handler.clone()));
        }
        Ok(Server { shared, addresses: bound, _udp: udp, _tcp: tcp })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers by other settings from now on. Questions on their way keep those they began with.
    pub fn reload(&self, settings: Settings) {
        let settings = without(settings, &self.addresses);
        if settings.recursors != self.shared.settings().recursors {
            // Others may know other things.
            self.shared.forwarder.forget(settings.recursors.cache);
        }
        *self.shared.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// How many questions there were.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.shared.counts.all()
    }

    /// The same for other threads, for as long as they want it.
    pub fn counter(&self) -> Counter {
        Counter(Arc::clone(&self.shared))
    }
}

/// Counts the questions of a server.
#[derive(Clone)]
pub struct Counter(Arc<Shared>);

impl Counter {
    /// How many there were: the type, the code of the answer in lower case or `dropped`, the number.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.0.counts.all()
    }
}

/// Without us among the recursors: we would ask ourselves.
fn without(mut settings: Settings, ourselves: &[SocketAddr]) -> Arc<Settings> {
    settings.recursors.servers.retain(|server| {
        let we = ourselves.contains(server);
        if we {
            tracing::warn!(%server, "this DNS server is its own recursor; it is left out");
        }
        !we
    });
    Arc::new(settings)
}

async fn listen(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if address.port() == 0 { TRIES } else { 1 };
    loop {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            Ok((UdpSocket::bind(listener.local_addr()?).await?, listener))
        };
        tries -= 1;
        match bound.await {
            Ok(bound) => return Ok(bound),
            Err(_) if tries > 0 => {}
            Err(error) => return Err(told(address, &error)),
        }
    }
}

fn told(address: SocketAddr, error: &io::Error) -> io::Error {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            ": ports below 1024 need CAP_NET_BIND_SERVICE, or redirect port 53 to another one"
        }
        io::ErrorKind::AddrInUse => ": another process has the port; systemd-resolved has 127.0.0.53:53",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot listen for DNS on {address}: {error}{remedy}"))
}
