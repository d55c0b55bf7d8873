//! Whom the caller is: forwarded addresses, read only through hops that are trusted, and extended for the next one.

use crate::exchange::Headers;
use crate::names::header as word;
use ipnet::IpNet;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Whether an address lies in one of the networks. An IPv4 address that came in IPv6 form counts as IPv4.
pub fn is_trusted(ip: IpAddr, nets: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    nets.iter().any(|net| net.contains(&ip))
}

/// The caller's address: the first one from the right of `X-Forwarded-For` (else of `Forwarded`) that a trusted hop
/// named and that is not itself trusted; the leftmost if all are. What cannot be read as an address ends the walk.
pub fn client(headers: &Headers, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    if is_trusted(peer, trusted) { behind(headers, peer, trusted) } else { peer.to_canonical() }
}

/// The same behind a peer that is trusted already, by its address or by its certificate.
pub fn behind(headers: &Headers, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if headers.contains(word::X_FORWARDED_FOR) {
        walk(headers.get_all(word::X_FORWARDED_FOR), address, peer, trusted)
    } else if headers.contains(word::FORWARDED) {
        walk(headers.get_all(word::FORWARDED), forwarded_for, peer, trusted)
    } else {
        peer
    }
}

fn walk<'a>(
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    read: fn(&str) -> Option<IpAddr>,
    peer: IpAddr,
    trusted: &[IpNet],
) -> IpAddr {
    let mut current = peer;
    for element in lines.rev().flat_map(|line| line.rsplit(|b| *b == b',')) {
        let element = element.trim_ascii();
        if element.is_empty() {
            continue;
        }
        let Some(ip) = std::str::from_utf8(element).ok().and_then(read) else { break };
        current = ip.to_canonical();
        if !is_trusted(current, trusted) {
            break;
        }
    }
    current
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip);
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// The `for` of one element of `Forwarded` (RFC 7239). A comma inside quotes ends the walk: no address holds one.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })?;
    address(value.strip_prefix('"').map_or(Some(value), |v| v.strip_suffix('"'))?)
}

/// The last peer of this thread as text: it repeats from one request to the next.
struct Peer {
    ip: IpAddr,
    text: String,
}

thread_local! {
    static PEER: RefCell<Peer> = const { RefCell::new(Peer { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), text: String::new() }) };
}

/// Tells the next hop whom we serve: `X-Forwarded-For` (appended to what a trusted peer sent, else replaced),
/// `-Proto`, `-Host` and `-Port` (a trusted peer's stay; no port when it is 0). `Forwarded` is extended where a
/// trusted peer uses it, and removed where an untrusted one does.
pub fn extend(headers: &mut Headers, trusted: bool, peer: IpAddr, scheme: &'static str, host: &str, port: u16) {
    let peer = peer.to_canonical();
    PEER.with_borrow_mut(|last| {
        if last.ip != peer || last.text.is_empty() {
            last.ip = peer;
            last.text = peer.to_string();
        }
        match trusted.then(|| chained(headers, &last.text)).flatten() {
            Some(chain) => headers.set(word::X_FORWARDED_FOR, chain),
            None => headers.set(word::X_FORWARDED_FOR, &last.text),
        };
    });
    let theirs = |headers: &Headers, name: &str| trusted && headers.contains(name);
    if !theirs(headers, word::X_FORWARDED_PROTO) {
        headers.set(word::X_FORWARDED_PROTO, scheme);
    }
    if !theirs(headers, word::X_FORWARDED_HOST) && (host.is_empty() || !headers.set(word::X_FORWARDED_HOST, host)) {
        headers.remove(word::X_FORWARDED_HOST);
    }
    if !theirs(headers, word::X_FORWARDED_PORT) {
        if port == 0 {
            headers.remove(word::X_FORWARDED_PORT);
        } else {
            headers.set(word::X_FORWARDED_PORT, itoa::Buffer::new().format(port));
        }
    }
    if headers.contains(word::FORWARDED) {
        if trusted {
            headers.append(word::FORWARDED, element(peer, scheme, host));
        } else {
            headers.remove(word::FORWARDED);
        }
    }
}

/// Tells the next hop the caller's address alone, in `X-Real-IP`.
pub fn real_ip(headers: &mut Headers, client: IpAddr) {
    let client = client.to_canonical();
    PEER.with_borrow(|last| {
        if last.ip == client && !last.text.is_empty() {
            headers.set(word::X_REAL_IP, &last.text)
        } else {
            headers.set(word::X_REAL_IP, client.to_string())
        }
    });
}

fn chained(headers: &Headers, peer: &str) -> Option<Vec<u8>> {
    if !headers.contains(word::X_FORWARDED_FOR) {
        return None;
    }
    let mut chain = Vec::with_capacity(64);
    for line in headers.get_all(word::X_FORWARDED_FOR) {
        let line = line.trim_ascii();
        if !line.is_empty() {
            chain.extend_from_slice(line);
            chain.extend_from_slice(b", ");
        }
    }
    chain.extend_from_slice(peer.as_bytes());
    Some(chain)
}

fn element(peer: IpAddr, scheme: &str, host: &str) -> String {
    let mut text = match peer {
        IpAddr::V4(ip) => format!("for={ip};proto={scheme}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\";proto={scheme}"),
    };
    if !host.is_empty() && !host.contains(['"', '\\']) {
        text.push_str(";host=\"");
        text.push_str(host);
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in lines {
            assert!(headers.append(name, value));
        }
        headers
    }

    fn nets() -> Vec<IpNet> {
        ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"].iter().map(|n| n.parse().unwrap()).collect()
    }

    #[test]
    fn the_caller_behind_trusted_hops() {
        for (peer, line, expected) in [
            ("203.0.113.9", Some("1.1.1.1"), "203.0.113.9"),
            ("10.0.0.1", None, "10.0.0.1"),
            ("10.0.0.1", Some("1.1.1.1"), "1.1.1.1"),
            ("::ffff:10.0.0.1", Some("1.1.1.1"), "1.1.1.1"),
            ("10.0.0.1", Some("6.6.6.6, 1.1.1.1, 10.2.2.2"), "1.1.1.1"),
            ("10.0.0.1", Some("10.3.3.3, 10.2.2.2"), "10.3.3.3"),
            ("10.0.0.1", Some("6.6.6.6, unknown, 10.2.2.2"), "10.2.2.2"),
            ("10.0.0.1", Some("1.1.1.1:4711,"), "1.1.1.1"),
            ("10.0.0.1", Some("[2001:db8::1]:4711, fd00::7"), "2001:db8::1"),
            ("10.0.0.1", Some(""), "10.0.0.1"),
        ] {
            let h = line.map_or_else(Headers::default, |l| headers(&[("x-forwarded-for", l)]));
            assert_eq!(client(&h, peer.parse().unwrap(), &nets()), expected.parse::<IpAddr>().unwrap(), "{line:?}");
        }
        let two = headers(&[("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "10.1.1.1")]);
        assert_eq!(client(&two, "10.0.0.1".parse().unwrap(), &nets()).to_string(), "9.9.9.9");
        for (line, expected) in [
            ("for=1.1.1.1;proto=https, For=\"[2001:db8::1]:47\";by=x, for=10.2.2.2", "2001:db8::1"),
            ("for=1.1.1.1, for=_hidden", "10.0.0.1"),
            ("host=\"a,b\";for=1.1.1.1", "1.1.1.1"),
            ("for=\"1.1.1.1", "10.0.0.1"),
        ] {
            let h = headers(&[("forwarded", line)]);
            assert_eq!(client(&h, "10.0.0.1".parse().unwrap(), &nets()).to_string(), expected, "{line}");
        }
    }

    #[test]
    fn what_the_next_hop_is_told() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let sent = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("forwarded", "for=1.1.1.1"),
        ];
        let mut h = headers(&sent);
        extend(&mut h, true, peer, "http", "a:1", 25001);
        assert_eq!(h.get("x-forwarded-for"), Some("1.1.1.1, 2.2.2.2, 10.0.0.1"));
        assert_eq!(h.get_all("x-forwarded-for").count(), 1);
        assert_eq!(h.get("x-forwarded-proto"), Some("https"));
        assert_eq!(h.get("x-forwarded-host"), Some("shop.example"));
        assert_eq!(h.get("x-forwarded-port"), Some("25001"));
        let lines: Vec<_> = h.get_all("forwarded").collect();
        assert_eq!(lines, [&b"for=1.1.1.1"[..], b"for=10.0.0.1;proto=http;host=\"a:1\""]);

        let mut h = headers(&sent);
        assert!(h.set("x-forwarded-port", "1"));
        extend(&mut h, false, "2001:db8::9".parse().unwrap(), "http", "", 0);
        let mut left: Vec<_> = h.iter().map(|(n, v)| format!("{n}={}", String::from_utf8_lossy(v))).collect();
        left.sort();
        assert_eq!(left, ["x-forwarded-for=2001:db8::9", "x-forwarded-proto=http"]);
    }
}
