//! From a target to a connected socket.

use super::names::connect_any;
use super::target::{Place, Target};
use crate::codec::Socket;
use crate::tls::Connector;
use socket2::SockRef;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::UnixStream;

/// Addresses of a name; an address is its own.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
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
        Place::Tcp(host, _) if addresses.is_empty() => {
            Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")))
        }
        Place::Tcp(..) => {
            let stream = connect_any(addresses).await?;
            stream.set_nodelay(true)?;
            // A worker that vanishes without a word is noticed in minutes, not hours.
            let _ = SockRef::from(&stream).set_keepalive(true);
            Ok(Socket::Tcp(stream))
        }
    }
}

/// Makes a session over a connection, as the target's scheme wants it.
pub async fn secure(socket: Socket, target: &Target, connector: &Connector) -> io::Result<Socket> {
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

/// Whether one of these addresses is that of a listener.
pub(super) fn reaches(addresses: &[SocketAddr], listeners: &[SocketAddr]) -> bool {
    let is = |to: &SocketAddr, listener: &SocketAddr| {
        // Asking for the machine's addresses takes its time, and ports seldom agree.
        if to.port() != listener.port() {
            return false;
        }
        let (ip, at) = (to.ip().to_canonical(), listener.ip().to_canonical());
        ip == at
            || (at.is_unspecified() && is_this_machine(ip))
            // What is sent to no address in particular arrives at the loopback one.
            || (ip.is_unspecified() && at.is_loopback())
    };
    addresses.iter().any(|to| listeners.iter().any(|listener| is(to, listener)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_a_listener() {
        for (to, listener, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.2:80", "127.0.0.1:80", false),
            ("127.0.0.2:80", "0.0.0.0:80", true),
            ("[::1]:80", "[::]:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "192.0.2.1:80", false),
            ("192.0.2.1:80", "0.0.0.0:80", false),
        ] {
            let [to, listener] = [to, listener].map(|text| text.parse::<SocketAddr>().unwrap());
            assert_eq!(reaches(&[to], &[listener]), expected, "{to} {listener}");
        }
    }
}
