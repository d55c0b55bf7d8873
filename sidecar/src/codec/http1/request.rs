//! A request's target and host: one reading for routing, access, logs and forwarding.

use crate::codec::normalize;
use crate::exchange::{Fault, FaultKind, Head};
use std::borrow::Cow;

fn bad(why: &'static str) -> Fault {
    Fault::new(FaultKind::BadRequest, why)
}

/// The parts of a target (RFC 9112, 3.2).
struct Target<'a> {
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

fn parts<'a>(head: &Head, raw: &'a str) -> Result<Target<'a>, Fault> {
    if head.method == http::Method::CONNECT {
        return Ok(Target { authority: Some(raw), path: "/", query: None });
    }
    if raw == "*" {
        return match head.method {
            http::Method::OPTIONS => Ok(Target { authority: None, path: "*", query: None }),
            _ => Err(bad("only OPTIONS is for the server as a whole")),
        };
    }
    if raw.contains('#') {
        return Err(bad("the target holds a fragment"));
    }
    let (authority, rest) = if raw.starts_with('/') {
        (None, raw)
    } else {
        let (scheme, rest) = raw.split_once("://").ok_or_else(|| bad("the target is neither a path nor a URL"))?;
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(bad("only http:// is forwarded; other schemes go through CONNECT"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.is_empty() {
            return Err(bad("the target names no host"));
        }
        (Some(authority), rest)
    };
    Ok(match rest.split_once('?') {
        Some((path, query)) => Target { authority, path, query: Some(query) },
        None => Target { authority, path: rest, query: None },
    })
}

/// What no URI has is written as escapes: some servers take it as UTF-8, some as Latin-1, some not at all.
fn escaped(query: &str) -> Cow<'_, str> {
    let legal = |b: u8| b.is_ascii() && !matches!(b, b'"' | b'<' | b'>');
    if query.bytes().all(legal) {
        return Cow::Borrowed(query);
    }
    let mut out = String::with_capacity(query.len() * 3);
    for b in query.bytes() {
        if legal(b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    Cow::Owned(out)
}

/// Fills in target and authority. The target wins over `Host` (RFC 9112, 3.2.2), which is rewritten to it.
pub(super) fn fill(head: &mut Head, raw: &str, one_one: bool) -> Result<(), Fault> {
    let target = parts(head, raw)?;
    let path = normalize::path(target.path)?;
    head.set_target(&path, target.query.map(escaped).as_deref());
    if target.authority.is_none() {
        head.set_raw_target(raw);
    }
    let mut hosts = head.headers.get_all("host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one Host line"));
    }
    let authority = match (target.authority, host) {
        (Some(target), _) => target,
        (None, Some(host)) => std::str::from_utf8(host).map_err(|_| bad("the Host line is not text"))?,
        (None, None) if one_one => return Err(bad("HTTP/1.1 without a Host line")),
        (None, None) => "",
    };
    let authority = normalize::authority(authority)?;
    head.authority.push_str(&authority);
    drop(hosts);
    if target.authority.is_some() {
        head.headers.set("host", &head.authority);
    }
    Ok(())
}
