//! Where instances are: addresses as the configuration writes them.

use std::path::PathBuf;

/// One address of a worker or service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// What is spoken there.
    pub scheme: Scheme,
    /// Where.
    pub place: Place,
}

/// What an instance speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 with prior knowledge, without TLS.
    H2c,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 over TLS.
    H2,
    /// Messages of ZeroMQ.
    Zmq,
}

impl Scheme {
    /// Whether it is spoken over TLS.
    pub fn is_secure(self) -> bool {
        matches!(self, Scheme::Https | Scheme::H2)
    }

    /// Whether it is HTTP/2.
    pub fn is_two(self) -> bool {
        matches!(self, Scheme::H2c | Scheme::H2)
    }

    /// What is asked for in the TLS handshake.
    pub fn alpn(self) -> &'static [&'static [u8]] {
        if self.is_two() { &[b"h2"] } else { &[b"http/1.1"] }
    }
}

/// Where an instance listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// Host name or address (IPv6 without brackets), and port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::H2c => "h2c",
            Scheme::Https => "https",
            Scheme::H2 => "h2",
            Scheme::Zmq => "zmq+tcp",
        };
        match &self.place {
            Place::Tcp(host, port) if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}"),
            Place::Tcp(host, port) => write!(f, "{scheme}://{host}:{port}"),
            Place::Unix(path) if self.scheme == Scheme::Http => write!(f, "unix:{}", path.display()),
            Place::Unix(path) if self.scheme == Scheme::Zmq => write!(f, "zmq+ipc://{}", path.display()),
            Place::Unix(path) => write!(f, "{scheme}+unix:{}", path.display()),
        }
    }
}
