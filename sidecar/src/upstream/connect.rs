//! From a target to a connected socket.

use super::target::{Place, Target};
use crate::codec::Socket;
use crate::tls::Connector;
use socket2::SockRef;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::{TcpStream, UnixStream};

/// Addresses of a name; an address is its own.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("the name {host} has no address")));
    }
    Ok(found)
}

/// Connects to the first of the addresses that takes us, or to the unix socket.
pub async fn connect(place: &Place, addresses: &[SocketAddr]) -> io::Result<Socket> {
    match place {
        Place::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        Place::Tcp(host, _) => {
            let mut last = None;
            for address in addresses {
                match TcpStream::connect(address).await {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        // A worker that vanishes without a word is noticed in minutes, not hours.
                        let _ = SockRef::from(&stream).set_keepalive(true);
                        return Ok(Socket::Tcp(stream));
                    }
                    Err(e) => last = Some(e),
                }
            }
            Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"))))
        }
    }
}

/// Makes a session over a connection, as the target's scheme wants it.
pub(super) async fn secure(socket: Socket, target: &Target, connector: &Connector) -> io::Result<Socket> {
    let host = match &target.place {
        Place::Tcp(host, _) => host.as_str(),
        Place::Unix(_) => "localhost",
    };
    let socket = socket.connect(host, connector).await?;
    if target.scheme.is_two() && !socket.speaks_two() {
        let why = format!("{host} does not agree to HTTP/2 (ALPN): try https:// instead of h2://");
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    Ok(socket)
}

/// Whether an address is one of this machine's, however it is written.
pub(super) fn is_this_machine(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return false };
    interfaces.filter_map(|i| i.address).any(|a| {
        let v4 = a.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let v6 = a.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
        v4.or(v6) == Some(ip)
    })
}
