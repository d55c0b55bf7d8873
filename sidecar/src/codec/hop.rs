//! What belongs to one connection only and never goes to the next hop (RFC 9110 section 7.6.1).

use crate::exchange::Headers;

/// Every name that [`kind`] knows.
const NAMES: [&str; 10] = [
    "connection",
    "te",
    "upgrade",
    "keep-alive",
    "proxy",
    "proxy-connection",
    "proxy-authorization",
    "transfer-encoding",
    "expect",
    "http2-settings",
];

const CONNECTION: u8 = 1;
const TE: u8 = 2;
const UPGRADE: u8 = 4;
const OTHER: u8 = 8;

/// Removes what belongs to one connection only: `Connection` and what it names, `Keep-Alive`, `Proxy`,
/// `Proxy-Connection`, `Proxy-Authorization`, `Transfer-Encoding`, `Expect`, `HTTP2-Settings`, `TE` (kept as `te: trailers` if it named
/// them) and `Upgrade`. With `keep_upgrade` the upgrade goes on, as `connection: upgrade` and its own line; an
/// upgrade to `h2c` never does, because it would open a way past every rule.
pub fn hop_by_hop(headers: &mut Headers, keep_upgrade: bool) {
    if !headers.may_have_any(&NAMES) {
        return;
    }
    let mut seen = 0;
    for (name, _) in headers.iter() {
        seen |= kind(name);
    }
    if seen == 0 {
        return;
    }
    if seen & CONNECTION != 0 {
        remove_named(headers);
        headers.remove("connection");
    }
    if seen & TE != 0 {
        let trailers = wants_trailers(headers);
        if trailers {
            headers.set("te", "trailers");
        } else {
            headers.remove("te");
        }
    }
    if seen & UPGRADE != 0 {
        let h2c = |v: &[u8]| v.split(|b| *b == b',').any(|p| p.trim_ascii().eq_ignore_ascii_case(b"h2c"));
        if keep_upgrade && !headers.get_all("upgrade").any(h2c) {
            headers.set("connection", "upgrade");
        } else {
            headers.remove("upgrade");
        }
    }
    if seen & OTHER != 0 {
        headers.retain(|n| kind(n) != OTHER);
    }
}

/// Whether `TE` says that trailers are read (RFC 9110, 10.1.4).
pub fn wants_trailers(headers: &Headers) -> bool {
    headers.get_all("te").any(|v| {
        v.split(|b| *b == b',')
            .any(|t| t.split(|b| *b == b';').next().is_some_and(|t| t.trim_ascii().eq_ignore_ascii_case(b"trailers")))
    })
}

fn kind(name: &str) -> u8 {
    match name {
        "connection" => CONNECTION,
        "te" => TE,
        "upgrade" => UPGRADE,
        // Nobody has defined `Proxy`; a worker that speaks CGI takes it for its own HTTP_PROXY.
        "keep-alive"
        | "proxy"
        | "proxy-connection"
        | "proxy-authorization"
        | "transfer-encoding"
        | "expect"
        | "http2-settings" => OTHER,
        _ => 0,
    }
}

/// Removes the lines that `Connection` names, and what names them: lines of the same names that are written afterwards
/// are none of this connection's.
pub fn named_by_connection(headers: &mut Headers) {
    let usual = |line: &[u8]| line.split(|b| *b == b',').all(|token| is_usual(token.trim_ascii()));
    if !headers.contains("connection") || headers.get_all("connection").all(usual) {
        return;
    }
    remove_named(headers);
    let lines = headers.get_all("connection").flat_map(|line| line.split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    let kept = lines.filter(|token| !token.is_empty() && is_usual(token)).collect::<Vec<_>>().join(&b", "[..]);
    if kept.is_empty() {
        headers.remove("connection");
    } else {
        headers.set("connection", kept);
    }
}

/// Whether what `Connection` says names nothing that is not handled by its own rule.
fn is_usual(token: &[u8]) -> bool {
    [&b"keep-alive"[..], b"close", b"upgrade", b"te", b""].iter().any(|usual| token.eq_ignore_ascii_case(usual))
}

/// Removes the lines that `Connection` names, but for those that a caller must not be able to take away from the
/// next hop: framing, who calls, and what we say about the caller.
fn remove_named(headers: &mut Headers) {
    let named: Vec<String> = headers
        .get_all("connection")
        .flat_map(|v| v.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|t| !is_usual(t))
        .filter_map(|t| std::str::from_utf8(t).ok())
        .map(str::to_ascii_lowercase)
        .filter(|n| !end_to_end(n))
        .collect();
    for name in named {
        headers.remove(&name);
    }
}

fn end_to_end(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "authorization"
            | "cookie"
            | "set-cookie"
            | "date"
            | "forwarded"
            | "via"
            | "idempotency-key"
            | "traceparent"
            | "tracestate"
            | "connection"
    ) || name.starts_with("x-forwarded-")
        || name.starts_with(crate::names::header::PREFIX)
}

/// Names that say who calls, from where and which command it is: ours to write.
fn ours(name: &str) -> bool {
    ["fourmi-", "x-forwarded-", "ce-", "x-b3-", "x-consumer-"].iter().any(|p| name.starts_with(p))
        || matches!(name, "forwarded" | "traceparent" | "tracestate" | "x-real-ip")
        || matches!(name, "x-anonymous-consumer" | "x-authenticated-groups" | "x-credential-identifier")
}

/// Removes lines that CGI, WSGI and their kin cannot tell from ours: there `Fourmi_Id` and `Fourmi-Id` are one
/// variable.
pub fn look_alikes(headers: &mut Headers) {
    let alike = |name: &str| {
        let plain = || name.replace('_', "-");
        name.contains('_') && (ours(&plain()) || kind(&plain()) != 0 || plain() == "content-length")
    };
    if headers.iter().any(|(name, _)| alike(name)) {
        headers.retain(|name| !alike(name));
    }
}

/// Trailers carry neither framing nor what only the head may say (RFC 9110, 6.5.1).
pub fn trailers(trailers: &mut http::HeaderMap) {
    let head_only = |name: &str| {
        matches!(
            name,
            "host" | "content-length" | "content-encoding" | "content-type" | "authorization" | "cookie" | "trailer"
        )
    };
    let refused: Vec<http::HeaderName> = trailers
        .keys()
        .filter(|n| ours(&n.as_str().replace('_', "-")) || kind(n.as_str()) != 0 || head_only(n.as_str()))
        .cloned()
        .collect();
    for name in refused {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[(&'static str, &str)], keep_upgrade: bool) -> Vec<String> {
        let mut headers = Headers::default();
        for (name, value) in lines {
            assert!(headers.append(name, value));
        }
        hop_by_hop(&mut headers, keep_upgrade);
        let mut left: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v))).collect();
        left.sort();
        left
    }

    #[test]
    fn only_what_goes_to_the_end_stays() {
        assert_eq!(after(&[("host", "a"), ("accept", "b")], false), ["accept: b", "host: a"]);
        assert_eq!(
            after(
                &[
                    ("host", "a"),
                    ("connection", "Close, X-Mine"),
                    ("connection", "x-other,, Host, content-length, Authorization, X-Forwarded-For, Fourmi-Id"),
                    ("x-mine", "1"),
                    ("x-mine", "2"),
                    ("x-other", "3"),
                    ("content-length", "0"),
                    ("authorization", "s"),
                    ("x-forwarded-for", "1.1.1.1"),
                    ("fourmi-id", "7"),
                    ("keep-alive", "timeout=5"),
                    ("proxy-connection", "keep-alive"),
                    ("proxy-authorization", "s"),
                    ("transfer-encoding", "chunked"),
                    ("expect", "100-continue"),
                ],
                false
            ),
            ["authorization: s", "content-length: 0", "fourmi-id: 7", "host: a", "x-forwarded-for: 1.1.1.1"]
        );
    }

    #[test]
    fn what_is_written_later_stays() {
        let mut headers = Headers::default();
        for (name, value) in
            [("connection", "X-Consumer-Username, Upgrade"), ("x-consumer-username", "root"), ("upgrade", "x")]
        {
            headers.append(name, value);
        }
        named_by_connection(&mut headers);
        assert_eq!((headers.get("connection"), headers.contains("x-consumer-username")), (Some("Upgrade"), false));
        headers.set("x-consumer-username", "shop");
        hop_by_hop(&mut headers, false);
        assert_eq!(headers.get("x-consumer-username"), Some("shop"));
        for name in ["X_Consumer_Username", "content_length", "Transfer_Encoding", "x_anonymous-consumer", "x_other"] {
            let mut headers = Headers::default();
            headers.add(&name.to_ascii_lowercase(), "1");
            look_alikes(&mut headers);
            assert_eq!(headers.is_empty(), name != "x_other", "{name}");
        }
    }

    #[test]
    fn every_name_is_looked_for() {
        for name in NAMES {
            assert_ne!(kind(name), 0, "{name}");
            assert!(after(&[("x", "1"), (name, "1")], false).len() == 1, "{name}");
        }
    }

    #[test]
    fn te_and_upgrade() {
        assert_eq!(after(&[("te", "gzip, Trailers;q=1"), ("connection", "TE")], false), ["te: trailers"]);
        assert!(after(&[("te", "gzip")], false).is_empty());
        let upgrade = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "k")];
        assert_eq!(after(&upgrade, false), ["sec-websocket-key: k"]);
        assert_eq!(after(&upgrade, true), ["connection: upgrade", "sec-websocket-key: k", "upgrade: websocket"]);
        let h2c = [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "H2C"), ("http2-settings", "AA")];
        assert!(after(&h2c, true).is_empty());
    }
}
