//! Who the caller really is, and telling the next hop. Believed only from trusted networks.

use crate::exchange::Headers;
use crate::names::header::{FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO};
use ipnet::IpNet;
use std::net::IpAddr;

/// Whether an address lies in a trusted network; an IPv4 address written as IPv6 is the IPv4 address.
pub fn is_trusted(ip: IpAddr, networks: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|n| n.contains(&ip))
}

/// The caller's address: from the right, the first that is not a trusted hop (RFC 7239, 7.4 gives the reason: only
/// what trusted hops wrote can be believed). Anything that is no address stops the walk.
pub fn client(headers: &Headers, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let mut caller = peer.to_canonical();
    if headers.contains(X_FORWARDED_FOR) {
        for line in headers.get_all(X_FORWARDED_FOR).collect::<Vec<_>>().into_iter().rev() {
            let Ok(line) = std::str::from_utf8(line) else { return caller };
            for item in line.rsplit(',') {
                if !is_trusted(caller, trusted) {
                    return caller;
                }
                let Some(ip) = address(item) else { return caller };
                caller = ip;
            }
        }
    } else if headers.contains(FORWARDED) {
        for line in headers.get_all(FORWARDED).collect::<Vec<_>>().into_iter().rev() {
            let Ok(line) = std::str::from_utf8(line) else { return caller };
            for element in line.rsplit(',') {
                if !is_trusted(caller, trusted) {
                    return caller;
                }
                let named = element.split(';').find_map(|pair| {
                    let (name, value) = pair.split_once('=')?;
                    name.trim().eq_ignore_ascii_case("for").then_some(value)
                });
                let Some(ip) = named.and_then(address) else { return caller };
                caller = ip;
            }
        }
    }
    caller
}

/// An address as either header writes it: bare, quoted, with a port, IPv6 in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"').trim();
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next()?.parse().ok();
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    let (ip, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    ip.parse().ok()
}

/// Tells the next hop who asked, for which host and by which scheme. What an untrusted peer wrote is replaced.
pub fn extend(headers: &mut Headers, trusted: bool, peer: IpAddr, scheme: &'static str, host: &str, port: u16) {
    use std::fmt::Write as _;
    let mut chain = String::with_capacity(40);
    if trusted {
        for line in headers.get_all(X_FORWARDED_FOR) {
            if let Ok(line) = std::str::from_utf8(line) {
                chain.push_str(line.trim());
                chain.push_str(", ");
            }
        }
    }
    let _ = write!(chain, "{}", peer.to_canonical());
    let begun = trusted && headers.contains(FORWARDED);
    headers.set(X_FORWARDED_FOR, &chain);
    if !trusted || !headers.contains(X_FORWARDED_PROTO) {
        headers.set(X_FORWARDED_PROTO, scheme);
    }
    if (!trusted || !headers.contains(X_FORWARDED_HOST)) && !host.is_empty() {
        headers.set(X_FORWARDED_HOST, host);
    }
    if port != 0 && (!trusted || !headers.contains(X_FORWARDED_PORT)) {
        let mut digits = itoa::Buffer::new();
        headers.set(X_FORWARDED_PORT, digits.format(port));
    }
    if begun {
        let ip = peer.to_canonical();
        let element = match ip {
            IpAddr::V4(_) => format!("for={ip};host=\"{host}\";proto={scheme}"),
            IpAddr::V6(_) => format!("for=\"[{ip}]\";host=\"{host}\";proto={scheme}"),
        };
        headers.append(FORWARDED, element);
    } else if !trusted {
        headers.remove(FORWARDED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trusted_hops_wrote_is_believed() {
        let trusted: Vec<IpNet> = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        for (name, lines, peer, expected) in [
            (X_FORWARDED_FOR, vec!["1.2.3.4"], "127.0.0.1", "1.2.3.4"),
            (X_FORWARDED_FOR, vec!["1.2.3.4"], "9.9.9.9", "9.9.9.9"),
            (X_FORWARDED_FOR, vec!["6.6.6.6, 1.2.3.4, 10.0.0.7"], "127.0.0.1", "1.2.3.4"),
            (X_FORWARDED_FOR, vec!["6.6.6.6", "1.2.3.4"], "10.1.1.1", "1.2.3.4"),
            (X_FORWARDED_FOR, vec!["1.2.3.4, garbage, 10.0.0.7"], "127.0.0.1", "10.0.0.7"),
            (X_FORWARDED_FOR, vec!["1.2.3.4:5678"], "::ffff:127.0.0.1", "1.2.3.4"),
            (FORWARDED, vec!["for=6.6.6.6, for=\"[2001:db8::7]:443\";proto=https"], "127.0.0.1", "2001:db8::7"),
            (FORWARDED, vec!["for=_hidden"], "127.0.0.1", "127.0.0.1"),
        ] {
            let mut headers = Headers::default();
            for line in &lines {
                headers.append(name, line);
            }
            let found = client(&headers, peer.parse().unwrap(), &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{lines:?} from {peer}");
        }
    }

    #[test]
    fn an_untrusted_peer_is_overwritten_and_a_trusted_one_continued() {
        let peer: IpAddr = "10.0.0.9".parse().unwrap();
        let mut headers = Headers::default();
        headers.set(X_FORWARDED_FOR, "1.2.3.4");
        headers.set(FORWARDED, "for=1.2.3.4");
        headers.set(X_FORWARDED_PROTO, "https");
        let mut kept = headers.clone();
        extend(&mut headers, false, peer, "http", "shop", 25001);
        assert_eq!(headers.get(X_FORWARDED_FOR), Some("10.0.0.9"));
        assert_eq!((headers.get(X_FORWARDED_PROTO), headers.get(X_FORWARDED_PORT)), (Some("http"), Some("25001")));
        assert!(!headers.contains(FORWARDED));
        extend(&mut kept, true, peer, "http", "shop", 25001);
        assert_eq!(kept.get(X_FORWARDED_FOR), Some("1.2.3.4, 10.0.0.9"));
        assert_eq!(kept.get(X_FORWARDED_PROTO), Some("https"));
        assert_eq!(kept.get_all(FORWARDED).count(), 2);
    }
}
