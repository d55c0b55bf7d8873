//! Who may ask and who may change: keeps a web page elsewhere from using the browser of somebody here.

use crate::config::Admin;
use crate::names::header;
use http::HeaderMap;
use http::request::Parts;
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
    /// A change asked by a browser without the line that only a page of ours sends.
    NoChangeLine,
    /// Asked from another machine while there is no token.
    Elsewhere,
    /// The token is not there, or not the right one.
    NoToken,
    /// The file of the token cannot be read now, so nobody can have it.
    LostToken,
    /// Nothing can be changed through this listener.
    ReadOnly,
}

/// How somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// They have the token.
    Token,
    /// Nobody needs one for this.
    Open,
}

impl Refusal {
    /// HTTP status.
    pub(super) fn status(self) -> u16 {
        match self {
            Refusal::NoHost => 400,
            Refusal::NoToken => 401,
            Refusal::LostToken => 503,
            _ => 403,
        }
    }

    /// One sentence that says what to do instead.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Refusal::NoHost => "exactly one Host line is needed",
            Refusal::ForeignHost => "ask by IP address, as localhost, or by the machine's own name",
            Refusal::Remote => "changes are taken from this machine only",
            Refusal::CrossOrigin => "changes are not taken from pages of another origin",
            Refusal::NoChangeLine => "a browser sends the header Fourmi-Change with a change",
            Refusal::Elsewhere => {
                "from another machine only health and /metrics are answered: set admin.token_file, and send the token"
            }
            Refusal::NoToken => "send the token of admin.token_file as Authorization: Bearer TOKEN",
            Refusal::LostToken => {
                "the file of admin.token_file cannot be read or holds no token, so nobody can be let in"
            }
            Refusal::ReadOnly => "admin.read_only is set: nothing can be changed here",
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

/// What a browser keeps the token's mark as; cookies are shared by all ports of a host.
pub(super) fn cookie(settings: &Admin) -> String {
    format!("fourmi-{}", settings.listen.port())
}

/// Whether this may be read with this head by this peer. Health is for everybody who can connect: who checks it has
/// no token. Without a token the rest is for this machine, but for the numbers, which are collected from elsewhere.
pub(super) fn may_look(head: &Parts, peer: IpAddr, settings: &Admin) -> Result<Known, Refusal> {
    let path = head.uri.path();
    if matches!(path, "/livez" | "/readyz" | "/healthz") || path.starts_with("/eyes/") {
        return Ok(Known::Open);
    }
    let Some(file) = &settings.token_file else {
        let here = peer.to_canonical().is_loopback();
        return if here || path == "/metrics" { Ok(Known::Open) } else { Err(Refusal::Elsewhere) };
    };
    let token = crate::token::read(file).map_err(|_| Refusal::LostToken)?;
    let lines = |name: &str| head.headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>();
    let shown = lines("authorization").iter().any(|line| {
        let bearer = line.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        bearer.is_some_and(|(_, shown)| crate::token::same(shown.trim(), &token))
    });
    let (name, mark) = (cookie(settings), crate::token::mark(&token));
    let kept = || {
        let all = lines("cookie");
        let mut pairs = all.iter().flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(key, value)| key == name && crate::token::same(value, &mark))
    };
    if shown || kept() { Ok(Known::Token) } else { Err(Refusal::NoToken) }
}

/// Whether a change may be asked with this head by this peer. To log in changes nothing here.
pub(super) fn may_change(
    headers: &HeaderMap,
    peer: IpAddr,
    known: Known,
    login: bool,
    settings: &Admin,
) -> Result<(), Refusal> {
    if known == Known::Open && !peer.to_canonical().is_loopback() {
        return Err(Refusal::Remote);
    }
    if settings.read_only && !login {
        return Err(Refusal::ReadOnly);
    }
    // No page of another origin can send it without our leave, which is never given.
    let browser =
        ["origin", "sec-fetch-site", "sec-fetch-mode", "cookie"].iter().any(|name| headers.contains_key(*name));
    if browser && !headers.contains_key(header::CHANGE) {
        return Err(if foreign(headers) { Refusal::CrossOrigin } else { Refusal::NoChangeLine });
    }
    if foreign(headers) { Err(Refusal::CrossOrigin) } else { Ok(()) }
}

/// Whether a page of another origin asks.
fn foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or(""));
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return true;
    }
    match (text("origin"), text("host")) {
        (None, _) => false,
        // The admin listener speaks plain HTTP; a proxy in front may speak TLS.
        (Some(origin), Some(host))
            if origin
                .strip_prefix("http://")
                .or(origin.strip_prefix("https://"))
                .is_some_and(|o| o.eq_ignore_ascii_case(host)) =>
        {
            false
        }
        _ => true,
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

    fn settings(token_file: Option<std::path::PathBuf>) -> Admin {
        Admin { listen: ([127, 0, 0, 1], 9901).into(), token_file, read_only: false, peers: Vec::new() }
    }

    #[test]
    fn from_elsewhere_only_with_the_token() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1]));
        let look = |path: &str, lines: &[(&'static str, String)], peer, settings: &Admin| {
            let mut request = http::Request::get(path);
            for (name, value) in lines {
                request = request.header(*name, value);
            }
            may_look(&request.body(()).unwrap().into_parts().0, peer, settings)
        };
        let none = settings(None);
        assert_eq!(look("/api/v1/config", &[], here, &none), Ok(Known::Open));
        assert_eq!(look("/api/v1/config", &[], there, &none), Err(Refusal::Elsewhere));
        for path in ["/metrics", "/livez", "/readyz?verbose", "/healthz"] {
            assert_eq!(look(path, &[], there, &none), Ok(Known::Open), "{path}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let with = settings(Some(file.clone()));
        assert_eq!(look("/", &[], here, &with), Err(Refusal::LostToken), "a token that is gone opens nothing");
        std::fs::write(&file, "0123456789abcdef").unwrap();
        let bearer = |token: &str| [("authorization", format!("bearer {token}"))];
        let mark = |name: &str| [("cookie", format!("a=b; {name}={}", crate::token::mark("0123456789abcdef")))];
        for peer in [here, there] {
            assert_eq!(look("/metrics", &[], peer, &with), Err(Refusal::NoToken));
            assert_eq!(look("/readyz", &[], peer, &with), Ok(Known::Open));
            assert_eq!(look("/", &bearer("0123456789abcdef"), peer, &with), Ok(Known::Token));
            assert_eq!(look("/", &bearer("0123456789abcdee"), peer, &with), Err(Refusal::NoToken));
            assert_eq!(look("/", &mark("fourmi-9901"), peer, &with), Ok(Known::Token));
            assert_eq!(look("/", &mark("fourmi-9902"), peer, &with), Err(Refusal::NoToken));
        }
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
        let change = |lines: &[(&'static str, &'static str)], peer| {
            may_change(&head(lines), peer, Known::Open, false, &settings(None))
        };
        assert_eq!(change(&[("host", "localhost:9901")], here), Ok(()));
        let own = [("host", "localhost:9901"), ("origin", "http://localhost:9901")];
        assert_eq!(change(&own, here), Err(Refusal::NoChangeLine));
        assert_eq!(change(&[own[0], own[1], ("fourmi-change", "1")], here), Ok(()));
        assert_eq!(change(&[], "::ffff:127.0.0.1".parse().unwrap()), Ok(()));
        assert_eq!(change(&[], IpAddr::from([10, 0, 0, 1])), Err(Refusal::Remote));
        let there = may_change(&head(&[]), [10, 0, 0, 1].into(), Known::Token, false, &settings(None));
        assert_eq!(there, Ok(()), "who has the token may, from anywhere");
        let mut fixed = settings(None);
        fixed.read_only = true;
        assert_eq!(may_change(&head(&[]), here, Known::Token, false, &fixed), Err(Refusal::ReadOnly));
        assert_eq!(may_change(&head(&[]), here, Known::Token, true, &fixed), Ok(()));
        for origin in ["http://evil.example", "null", "http://localhost", "file://"] {
            let lines = [("host", "localhost:9901"), ("origin", origin)];
            assert_eq!(change(&lines, here), Err(Refusal::CrossOrigin), "{origin}");
        }
        let lines = [("host", "localhost:9901"), ("sec-fetch-site", "cross-site")];
        assert_eq!(change(&lines, here), Err(Refusal::CrossOrigin));
    }
}
