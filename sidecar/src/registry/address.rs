//! Where this machine is, when nobody says.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// Addresses that nobody has (RFC 5737, RFC 3849); nothing is sent to them.
const OUTSIDE: [(&str, &str); 2] = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];

/// The address that this machine would use towards others; loopback when it has no network.
pub(super) fn own() -> IpAddr {
    let towards = |(from, to): &(&str, &str)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|own| own.ip()).filter(|ip| !ip.is_unspecified())
    };
    OUTSIDE.iter().find_map(towards).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
