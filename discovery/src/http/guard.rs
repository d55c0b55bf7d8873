//! Who may ask at all.

use super::failure::Failure;
use super::settings::Settings;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Uri};
use std::net::IpAddr;

/// Where a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct From {
    pub(super) client: IpAddr,
    /// Whether the listener is one of this machine only.
    pub(super) inside: bool,
}

/// Refuses what may not be.
pub(super) fn check(
    settings: &Settings,
    from: From,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    if settings.check_host.unwrap_or(from.inside) {
        // A page may give its own name our address; then the browser lets it read what we answer.
        let named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
        if let Some(host) =
            named.chain(uri.authority().map(http::uri::Authority::as_str)).find(|h| !is_ours(settings, h))
        {
            return Err(Failure::forbidden(format!("Access is restricted: {host:?} is not a name of this server")));
        }
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    if headers.contains_key(ORIGIN) {
        return Err(Failure::forbidden("Access is restricted: a page in a browser may not change anything"));
    }
    let may = from.client.is_loopback() || settings.allow_write.iter().any(|network| network.contains(&from.client));
    match may {
        true => Ok(()),
        false => Err(Failure::forbidden("Access is restricted")),
    }
}

/// Whether we may be called so: an address, this machine, or a name of ours or under it.
fn is_ours(settings: &Settings, host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let is_under = |name: &str| {
        let name = name.trim_matches('.');
        let front = bare.len().checked_sub(name.len()).and_then(|at| bare.split_at_checked(at));
        !name.is_empty()
            && front.is_some_and(|(front, end)| {
                end.eq_ignore_ascii_case(name) && (front.is_empty() || front.ends_with('.'))
            })
    };
    bare.parse::<IpAddr>().is_ok()
        || is_under("localhost")
        || is_under(&settings.node)
        || settings.domains.iter().any(|name| is_under(name))
}

/// Refuses paths that an operator has closed.
pub(super) fn open(settings: &Settings, path: &str) -> Result<(), Failure> {
    match settings.blocked_paths.iter().any(|closed| path.starts_with(closed.as_str())) {
        true => Err(Failure::forbidden("Endpoint is blocked by agent configuration")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_ours_or_not() {
        let settings = Settings { node: "pay-3".into(), ..Settings::default() };
        let ours = [
            "127.0.0.1:8500",
            "127.0.0.1",
            "[::1]:8500",
            "10.0.0.7:8500",
            "localhost",
            "LocalHost:8500",
            "a.localhost",
            "pay-3:8500",
            "PAY-3",
            "registry.service.consul:8500",
            "fourmi.",
            "x.fourmi",
        ];
        let others = [
            "evil.example",
            "evil.example:8500",
            "xlocalhost",
            "127.0.0.1.evil.example",
            "",
            "consul.evil.example",
            "pay-3x",
        ];
        for host in ours {
            assert!(is_ours(&settings, host), "{host}");
        }
        for host in others {
            assert!(!is_ours(&settings, host), "{host}");
        }
    }

    #[test]
    fn who_may_change_anything() {
        let settings = Settings { allow_write: vec!["10.1.0.0/16".parse().unwrap()], ..Settings::default() };
        let uri = Uri::from_static("/v1/agent/service/register");
        let may = |method: &Method, client: &str, headers: &HeaderMap| {
            let from = From { client: client.parse().unwrap(), inside: false };
            check(&settings, from, method, &uri, headers).is_ok()
        };
        let none = HeaderMap::new();
        assert!(may(&Method::PUT, "127.0.0.1", &none) && may(&Method::PUT, "::1", &none));
        assert!(may(&Method::PUT, "10.1.2.3", &none));
        assert!(!may(&Method::PUT, "10.2.0.1", &none) && !may(&Method::DELETE, "10.2.0.1", &none));
        assert!(may(&Method::GET, "10.2.0.1", &none));
        let mut page = HeaderMap::new();
        page.insert(ORIGIN, http::HeaderValue::from_static("http://evil.example"));
        assert!(!may(&Method::PUT, "127.0.0.1", &page) && may(&Method::GET, "127.0.0.1", &page));
        let mut foreign = HeaderMap::new();
        foreign.insert(HOST, http::HeaderValue::from_static("evil.example"));
        assert!(may(&Method::GET, "10.2.0.1", &foreign), "outside of this machine names are anybody's");
        let always = Settings { check_host: Some(true), ..Settings::default() };
        let from = From { client: [10, 2, 0, 1].into(), inside: false };
        assert!(check(&always, from, &Method::GET, &uri, &foreign).is_err());
    }
}
