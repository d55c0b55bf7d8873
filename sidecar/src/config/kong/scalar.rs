//! The shapes of texts in a Kong file: each says what is wrong in Kong's words, and what to write instead.

use crate::gateway::path::normalized;
use std::net::{IpAddr, Ipv6Addr};

/// What is wrong, and what to do.
pub(super) type Wrong = (String, String);

fn wrong(message: impl Into<String>, fix: impl Into<String>) -> Result<(), Wrong> {
    Err((message.into(), fix.into()))
}

pub(super) fn any(_: &str) -> Result<(), Wrong> {
    Ok(())
}

pub(super) fn filled(text: &str) -> Result<(), Wrong> {
    if text.is_empty() { wrong("length must be at least 1", "write something, or leave the key out") } else { Ok(()) }
}

pub(super) fn uuid(text: &str) -> Result<(), Wrong> {
    match text.parse::<crate::gateway::Id>() {
        Ok(_) => Ok(()),
        Err(e) => wrong(e.to_string(), "write 8-4-4-4-12 hexadecimal digits, or leave the id out: it is computed"),
    }
}

pub(super) fn name(text: &str) -> Result<(), Wrong> {
    filled(text)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~') || !c.is_ascii();
    if !text.chars().all(fits) {
        return wrong(
            format!("invalid value '{text}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"),
            "rename it",
        );
    }
    Ok(())
}

pub(super) fn tag(text: &str) -> Result<(), Wrong> {
    filled(text)?;
    match text.chars().all(|c| !c.is_control() && !matches!(c, ',' | '/')) {
        true => Ok(()),
        false => wrong(
            format!("invalid tag '{text}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"),
            "use another character",
        ),
    }
}

/// A host and perhaps a port.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Host<'a> {
    Ip(IpAddr, Option<u16>),
    Name(&'a str, Option<u16>),
}

pub(super) fn host_and_port(text: &str) -> Option<Host<'_>> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Host::Ip(ip, None));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, after) = rest.split_once(']')?;
        let ip: Ipv6Addr = ip.parse().ok()?;
        let port = match after {
            "" => None,
            _ => Some(self::port(after.strip_prefix(':')?)?),
        };
        return Some(Host::Ip(ip.into(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(self::port(port)?)),
        None => (text, None),
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(Host::Ip(ip, port));
    }
    // Four numbers that are no address are no name either.
    let numbers = host.split('.').count() == 4 && host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let whole = host.strip_suffix('.').unwrap_or(host);
    (!numbers && host.len() <= 253 && whole.split('.').all(label)).then_some(Host::Name(host, port))
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A host without a port.
pub(super) fn host(text: &str) -> Result<(), Wrong> {
    match host_and_port(text) {
        Some(Host::Ip(_, None) | Host::Name(_, None)) => Ok(()),
        Some(_) => wrong("must not have a port", "write the port under `port`"),
        None => wrong(format!("invalid value: {text}"), "write a name or an address, without scheme and path"),
    }
}

/// The name of an upstream.
pub(super) fn upstream(text: &str) -> Result<(), Wrong> {
    match host_and_port(text) {
        None => wrong("Invalid name; must be a valid hostname", "use letters, digits, `-`, `_` and `.`"),
        Some(Host::Ip(..)) => {
            wrong("Invalid name; no ip addresses allowed", "name it, and put the address in a target")
        }
        Some(Host::Name(_, Some(_))) => wrong("Invalid name; no port allowed", "put the port in the targets"),
        Some(Host::Name(_, None)) => Ok(()),
    }
}

pub(super) fn target(text: &str) -> Result<(), Wrong> {
    match host_and_port(text) {
        Some(_) => Ok(()),
        None => wrong(
            format!("Invalid target ('{text}'); not a valid hostname or ip address"),
            "write host, host:port, or [address]:port",
        ),
    }
}

fn wildcard(text: &str, ip_and_port: bool) -> Result<(), Wrong> {
    const FIX: &str = "write *.example.com or example.*";
    if text.matches('*').count() > 1 {
        return wrong("invalid wildcard: must have at most one wildcard", FIX);
    }
    // What stands for the star makes the rest a name that can be checked.
    let plain = match text.split_once('*') {
        None => text.to_owned(),
        Some(("", after)) if after.starts_with('.') => format!("wildcard{after}"),
        Some((before, after)) if before.ends_with('.') && (after.is_empty() || after.starts_with(':')) => {
            format!("{before}wildcard{after}")
        }
        Some(_) => return wrong("invalid wildcard: must be placed at leftmost or rightmost label", FIX),
    };
    match host_and_port(&plain) {
        None => wrong(format!("invalid value: {text}"), "write a name, without scheme and path"),
        Some(Host::Ip(..)) if !ip_and_port => wrong("must not be an IP", "write a name"),
        Some(Host::Name(_, Some(_))) if !ip_and_port => wrong("must not have a port", "write the name alone"),
        Some(_) => Ok(()),
    }
}

pub(super) fn route_host(text: &str) -> Result<(), Wrong> {
    wildcard(text, true)
}

pub(super) fn sni(text: &str) -> Result<(), Wrong> {
    wildcard(text, false)
}

/// Why a path can't be one of a request, as far as characters go.
fn characters(text: &str) -> Result<(), Wrong> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"/._~%-!$&'()*+,;=:@".contains(&b);
    if !text.bytes().all(legal) {
        return wrong(
            format!("invalid path: '{text}' (characters outside of the reserved list of RFC 3986 found)"),
            "write the character as %XX",
        );
    }
    escapes(text)
}

/// Every `%` must be an escape.
fn escapes(text: &str) -> Result<(), Wrong> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        if !rest.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) {
            return wrong(format!("invalid url-encoded value: '{text}'"), "write % as %25");
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    Ok(())
}

/// The path of a service.
pub(super) fn path(text: &str) -> Result<(), Wrong> {
    if !text.starts_with('/') {
        return wrong("should start with: /", format!("write /{text}"));
    }
    if text.contains("//") {
        return wrong("must not have empty segments", "write one slash");
    }
    characters(text)
}

/// The path of a route: a prefix, or `~` and a regular expression.
pub(super) fn route_path(text: &str) -> Result<(), Wrong> {
    if let Some(pattern) = text.strip_prefix('~') {
        if !pattern.starts_with('/') {
            return wrong(
                "should start with: / (fixed path) or ~/ (regex path)",
                format!("write ~/{}", pattern.trim_start_matches('^').trim_start_matches('/')),
            );
        }
        return regex(pattern);
    }
    if !text.starts_with('/') {
        let fix = format!("write /{}", text.trim_start_matches('^'));
        return wrong("should start with: / (fixed path) or ~/ (regex path)", fix);
    }
    if text.contains("//") {
        return wrong("must not have empty segments", "write one slash");
    }
    escapes(text)?;
    let plain = normalized(text);
    if plain != text && !text.bytes().any(|b| !b.is_ascii()) {
        return wrong(format!("non-normalized path, consider use '{plain}' instead"), format!("write {plain}"));
    }
    Ok(())
}

/// A regular expression as Kong's usual router takes them: without look-around and backreferences.
pub(super) fn regex(text: &str) -> Result<(), Wrong> {
    match regex_syntax::Parser::new().parse(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let why = match &error {
                regex_syntax::Error::Parse(e) => e.kind().to_string(),
                regex_syntax::Error::Translate(e) => e.kind().to_string(),
                _ => "unknown".to_owned(),
            };
            wrong(
                format!("invalid regex: '{text}' ({why})"),
                "correct it; look-around and backreferences do not exist, as in Kong's usual router",
            )
        }
    }
}

pub(super) fn method(text: &str) -> Result<(), Wrong> {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase()) {
        true => Ok(()),
        false => wrong(format!("invalid value: {text}"), format!("write {}", text.to_ascii_uppercase())),
    }
}

/// The name of a header.
pub(super) fn header(text: &str) -> Result<(), Wrong> {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
        true => Ok(()),
        false => wrong(
            format!("bad header name '{text}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"),
            "rename the header",
        ),
    }
}

/// The name of a header that a route may look at.
pub(super) fn route_header(text: &str) -> Result<(), Wrong> {
    if text.eq_ignore_ascii_case("host") {
        return wrong(
            "cannot contain 'host' header, which must be specified in the 'hosts' attribute",
            "move it to `hosts`",
        );
    }
    header(text)
}

/// A value of such a header; one with `~*` in front is a regular expression.
pub(super) fn route_header_value(text: &str) -> Result<(), Wrong> {
    text.strip_prefix("~*").map_or(Ok(()), regex)
}

pub(super) fn network(text: &str) -> Result<(), Wrong> {
    match self::net(text) {
        Some(_) => Ok(()),
        None => wrong(format!("invalid ip or cidr range: '{text}'"), "write 10.0.0.1 or 10.0.0.0/8"),
    }
}

pub(super) fn net(text: &str) -> Option<ipnet::IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(ipnet::IpNet::from))
}

pub(super) fn cookie_path(text: &str) -> Result<(), Wrong> {
    path(text)
}

pub(super) fn vault_prefix(text: &str) -> Result<(), Wrong> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let bytes = text.as_bytes();
    let fits = matches!(bytes, [first, middle @ .., last]
        if first.is_ascii_lowercase() && middle.iter().all(|b| inner(*b)) && last.is_ascii_alphanumeric() && inner(*last));
    if !fits {
        return wrong(format!("invalid value: {text}"), "begin with a letter, then a-z, 0-9 and `-`, at least two");
    }
    match super::vault::KINDS.contains(&text) {
        true => wrong(
            format!("must not be one of: {}", super::vault::KINDS.join(", ")),
            "choose a prefix that is no kind of vault",
        ),
        false => Ok(()),
    }
}
