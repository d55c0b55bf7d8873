//! From a place to an open connection.

use super::resolver::Resolver;
use super::socket::Line;
use crate::tls::Connector;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long opening may take, TLS included, whatever the number of addresses.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// An address gets at least this.
const ADDRESS_LEAST: Duration = Duration::from_secs(1);

/// Where a stream leads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// Host name or address (IPv6 possibly in brackets), and port.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
        /// Encrypted if set.
        tls: Option<Connector>,
    },
    /// A unix stream socket's file.
    Unix(PathBuf),
}

/// Whether a connection can be opened, TLS included; it is closed at once.
pub(crate) async fn reach(place: Place, limit: Duration) -> io::Result<()> {
    Dial::new(place).open(limit, limit).await.map(drop)
}

/// Opens connections to one place, each time to the next address if the last one did not do.
pub(super) enum Dial {
    Tcp { resolver: Resolver, tls: Option<Connector>, next: usize },
    Unix(PathBuf),
}

impl Dial {
    pub(super) fn new(place: Place) -> Dial {
        match place {
            Place::Tcp { host, port, tls } => Dial::Tcp { resolver: Resolver::new(&host, port), tls, next: 0 },
            Place::Unix(path) => Dial::Unix(path),
        }
    }

    /// Another resolver, for another rhythm.
    pub(super) fn resolve(&mut self, change: impl FnOnce(Resolver) -> Resolver) {
        if let Dial::Tcp { resolver, .. } = self {
            let old = std::mem::replace(resolver, Resolver::new("", 0));
            *resolver = change(old);
        }
    }

    /// Opens a connection. `patience` is how long the system lets bytes stay unacknowledged.
    pub(super) async fn open(&mut self, limit: Duration, patience: Duration) -> io::Result<Line> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
        let (resolver, tls, next) = match self {
            Dial::Unix(path) => return timeout(limit, Line::unix(path)).await.map_err(late)?,
            Dial::Tcp { resolver, tls, next } => (resolver, tls, next),
        };
        resolver.refresh(false).await;
        let trouble = resolver.take_trouble();
        let n = resolver.addresses().len();
        let until = Instant::now() + limit;
        let mut last = None;
        for i in 0..n {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let share = (limit / n as u32).max(ADDRESS_LEAST).min(left);
            let at = (*next + i) % n;
            let address = resolver.addresses()[at];
            let opened = timeout(share, Line::tcp(address, resolver.host(), tls.as_ref(), patience)).await;
            match opened.map_err(late).and_then(|opened| opened) {
                Ok(line) => {
                    *next = at;
                    return Ok(line);
                }
                Err(e) => last = Some(io::Error::new(e.kind(), format!("{address}: {e}"))),
            }
        }
        *next = (*next + 1) % n.max(1);
        resolver.failed();
        Err(last.unwrap_or_else(|| {
            let why = trouble.unwrap_or_else(|| format!("{}: no address", resolver.host()));
            io::Error::new(io::ErrorKind::NotFound, why)
        }))
    }
}
