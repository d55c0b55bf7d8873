//! Who may ask and who may change: keeps a web page elsewhere from using the browser of somebody here.

use http::HeaderMap;
use std::net::{IpAddr, Ipv6Addr};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No `Host` line, or more than one: RFC 9112 3.2 asks for 400.
    NoHost,
    /// A name that is not ours: the trick of DNS rebinding needs one.
    ForeignHost,
    /// A change asked from another machine.
    Remote,
    /// A change asked by a page of another origin.
    CrossOrigin,
}

impl Refusal {
    /// HTTP status.
    pub(super) fn status(self) -> u16 {
        if self == Refusal::NoHost { 400 } else { 403 }
    }

    /// One sentence that says what to do instead.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Refusal::NoHost => "exactly one Host line is needed",
            Refusal::ForeignHost => "ask by IP address, as localhost, or by the machine's own name",
            Refusal::Remote => "changes are taken from this machine only",
            Refusal::CrossOrigin => "changes are not taken from pages of another origin",
        }
    }
}

/// The machine's name as the kernel knows it.
pub(super) fn machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

/// Whether anything may be asked with this head. `names` are the machine's own.
pub(super) fn may_ask(http11: bool, headers: &HeaderMap, names: &[&str]) -> Result<(), Refusal> {
    let mut hosts = headers.get_all("host").iter();
    let (host, more) = (hosts.next(), hosts.next());
    match (host, more) {
        (None, _) if http11 => Err(Refusal::NoHost),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err(Refusal::NoHost),
        (Some(host), None) => match host.to_str() {
            Ok(host) if ours(host, names) => Ok(()),
            _ => Err(Refusal::ForeignHost),
        },
    }
}

/// Whether a change may be asked with this head by this peer.
pub(super) fn may_change(headers: &HeaderMap, peer: IpAddr) -> Result<(), Refusal> {
    if !peer.to_canonical().is_loopback() {
        return Err(Refusal::Remote);
    }
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or(""));
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return Err(Refusal::CrossOrigin);
    }
    match (text("origin"), text("host")) {
        (None, _) => Ok(()),
        // The admin listener speaks plain HTTP; a proxy in front may speak TLS.
        (Some(origin), Some(host))
            if origin
                .strip_prefix("http://")
                .or(origin.strip_prefix("https://"))
                .is_some_and(|o| o.eq_ignore_ascii_case(host)) =>
        {
            Ok(())
        }
        _ => Err(Refusal::CrossOrigin),
    }
}

/// Whether a `Host` value names this machine: an IP literal, localhost, or one of its names; any port.
fn ours(host: &str, names: &[&str]) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((ip, port)) = rest.split_once(']') else { return false };
        return ip.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return false,
        None => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<std::net::Ipv4Addr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|n| n.eq_ignore_ascii_case(name))
}

fn is_port(text: &str) -> bool {
    text.is_empty() || (text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, http::HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_our_own_names_may_be_asked() {
        let ask = |host| may_ask(true, &head(&[("host", host)]), &["pay-3"]);
        for host in ["127.0.0.1:9901", "10.2.3.4", "[::1]:9901", "[::1]", "localhost:80", "LOCALHOST.", "Pay-3:9901"] {
            assert_eq!(ask(host), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "pay-3.evil.example", "", "[evil]", "a:b", "127.0.0.1:x"]
        {
            assert_eq!(ask(host), Err(Refusal::ForeignHost), "{host}");
        }
        assert_eq!(may_ask(true, &head(&[]), &[]), Err(Refusal::NoHost));
        assert_eq!(may_ask(false, &head(&[]), &[]), Ok(()), "HTTP/1.0 has no Host");
        assert_eq!(may_ask(true, &head(&[("host", "localhost"), ("host", "evil")]), &[]), Err(Refusal::NoHost));
    }

    #[test]
    fn changes_come_from_here_and_from_our_own_page() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let change = |lines: &[(&'static str, &'static str)], peer| may_change(&head(lines), peer);
        assert_eq!(change(&[("host", "localhost:9901")], here), Ok(()));
        assert_eq!(change(&[("host", "localhost:9901"), ("origin", "http://localhost:9901")], here), Ok(()));
        assert_eq!(change(&[], "::ffff:127.0.0.1".parse().unwrap()), Ok(()));
        assert_eq!(change(&[], IpAddr::from([10, 0, 0, 1])), Err(Refusal::Remote));
        for origin in ["http://evil.example", "null", "http://localhost", "file://"] {
            let lines = [("host", "localhost:9901"), ("origin", origin)];
            assert_eq!(change(&lines, here), Err(Refusal::CrossOrigin), "{origin}");
        }
        let lines = [("host", "localhost:9901"), ("sec-fetch-site", "cross-site")];
        assert_eq!(change(&lines, here), Err(Refusal::CrossOrigin));
    }
}
