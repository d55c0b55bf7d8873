//! Scalars: durations, sizes, addresses. Each function says what is wrong and what to write instead.

use super::plan::Bind;
use crate::upstream::{Place, Scheme, Target};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Why a value can't be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) fix: String,
}

fn wrong<T>(message: impl Into<String>, fix: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { code: "bad-value", message: message.into(), fix: fix.into() })
}

fn later<T>(what: &str, fix: &str) -> Result<T, Wrong> {
    Err(Wrong { code: "not-supported", message: format!("{what} is not supported yet"), fix: fix.to_owned() })
}

/// `1h30m`, `10s`, `250ms`, `5us`; a number alone only when it is 0.
pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    const FIX: &str = "write a number and a unit: 500ms, 10s, 2m, 1h, 1d";
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return wrong(
            format!("the duration `{text}` has no unit"),
            format!("write `{text}s` for seconds or `{text}ms`"),
        );
    }
    let mut rest = text;
    let mut seconds = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let factor = match unit {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return wrong(format!("`{text}` is no duration"), FIX),
        };
        match number.parse::<f64>() {
            Ok(n) => seconds += n * factor,
            Err(_) => return wrong(format!("`{text}` is no duration"), FIX),
        }
        rest = next;
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(d) if !text.is_empty() && seconds <= 3.2e9 => Ok(d),
        _ => wrong(format!("`{text}` is no duration"), FIX),
    }
}

/// A duration as the configuration writes it.
pub(crate) fn duration_text(d: Duration) -> String {
    let us = d.as_micros();
    match us {
        0 => "0s".into(),
        _ if us.is_multiple_of(3_600_000_000) => format!("{}h", us / 3_600_000_000),
        _ if us.is_multiple_of(60_000_000) => format!("{}m", us / 60_000_000),
        _ if us.is_multiple_of(1_000_000) => format!("{}s", us / 1_000_000),
        _ if us.is_multiple_of(1_000) => format!("{}ms", us / 1_000),
        _ => format!("{us}us"),
    }
}

/// `1GiB`, `64KiB` (powers of 1024), `10MB` (powers of 1000), or bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, Wrong> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)) {
        Some(n) if factor > 0 => Ok(n),
        _ => wrong(format!("`{text}` is no size"), "write a whole number and a unit: 64KiB, 10MiB, 1GiB, 10MB"),
    }
}

/// The scheme and the rest of `scheme://rest`.
fn scheme(text: &str) -> Option<(String, &str)> {
    text.split_once("://").map(|(s, rest)| (s.to_ascii_lowercase(), rest))
}

fn host(text: &str) -> Result<String, Wrong> {
    let fits = !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    match fits {
        true => Ok(text.to_ascii_lowercase()),
        false => {
            wrong(format!("`{text}` is no host name or address"), "write a name, an IPv4 address or [an IPv6 address]")
        }
    }
}

/// Host and port; IPv6 in brackets.
fn authority(text: &str, default: Option<u16>) -> Result<(String, u16), Wrong> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((inside, after)) = rest.split_once(']') else {
                return wrong(format!("`{text}` lacks a closing bracket"), "write [::1]:8080");
            };
            if !matches!(inside.parse::<IpAddr>(), Ok(IpAddr::V6(_))) {
                return wrong(format!("`{inside}` is no IPv6 address"), "write [::1]:8080");
            }
            match after {
                "" => (inside.to_owned(), None),
                _ => match after.strip_prefix(':') {
                    Some(port) => (inside.to_owned(), Some(port)),
                    None => return wrong(format!("`{text}` is no address"), "write [::1]:8080"),
                },
            }
        }
        None if text.matches(':').count() > 1 => {
            return wrong(format!("`{text}` is an IPv6 address without brackets"), format!("write [{text}]:PORT"));
        }
        None => match text.split_once(':') {
            Some((name, port)) => (host(name)?, Some(port)),
            None => (host(text)?, None),
        },
    };
    match (port, default) {
        (None, Some(port)) => Ok((name, port)),
        (None, None) => wrong(format!("`{text}` has no port"), format!("write {text}:PORT")),
        (Some(port), _) => match port.parse::<u16>() {
            Ok(port) if !port.to_string().is_empty() => Ok((name, port)),
            _ => wrong(format!("`{port}` is no port"), "a port is a number from 1 to 65535"),
        },
    }
}

/// Nothing may follow host and port.
fn no_path(rest: &str) -> Result<&str, Wrong> {
    let bare = rest.strip_suffix('/').unwrap_or(rest);
    match bare.find(['/', '?', '#', '@']) {
        None => Ok(bare),
        Some(at) if bare[at..].starts_with('@') => {
            wrong("an address takes no user and password", "remove everything up to the `@`")
        }
        Some(at) => wrong(
            format!("the address has a path, `{}`", &bare[at..]),
            format!("remove it; commands keep their own paths: {}", &bare[..at]),
        ),
    }
}

fn unix_path(text: &str) -> Result<PathBuf, Wrong> {
    // sun_path holds 108 bytes with the closing zero.
    match text.strip_prefix("//").unwrap_or(text) {
        "" => wrong("the socket has no path", "write unix:/run/worker.sock"),
        path if path.len() > 107 => wrong("a socket's path has at most 107 bytes", "use a shorter directory"),
        path if path.contains('\0') => wrong("a path has no zero byte", "remove it"),
        path => Ok(PathBuf::from(path)),
    }
}

/// Where a worker or an instance of a service is.
pub(crate) fn target(text: &str) -> Result<Target, Wrong> {
    const SCHEMES: &str = "use http://HOST:PORT, h2c://HOST:PORT, unix:/PATH or h2c+unix:/PATH";
    for (prefix, scheme) in [("unix:", Scheme::Http), ("h2c+unix:", Scheme::H2c)] {
        if let Some(path) = text.strip_prefix(prefix) {
            return Ok(Target { scheme, place: Place::Unix(unix_path(path)?) });
        }
    }
    let Some((word, rest)) = scheme(text) else {
        return wrong(format!("`{text}` has no scheme"), format!("write http://{text}, or {SCHEMES}"));
    };
    let scheme = match word.as_str() {
        "http" => Scheme::Http,
        "h2c" => Scheme::H2c,
        "https" | "h2" | "zmq+tcp" | "zmq+ipc" | "zmq+inproc" | "fcgi" | "fcgi+unix" | "grpc" | "grpcs" => {
            return later(&format!("the scheme `{word}`"), SCHEMES);
        }
        _ => return wrong(format!("unknown scheme `{word}`"), SCHEMES),
    };
    let (host, port) = authority(no_path(rest)?, Some(80))?;
    if port == 0 {
        return wrong("nobody listens on port 0", "write the worker's port");
    }
    Ok(Target { scheme, place: Place::Tcp(host, port) })
}

/// Where a data listener listens.
pub(crate) fn listen(text: &str, default_port: u16) -> Result<Bind, Wrong> {
    const SCHEMES: &str = "use http://ADDRESS:PORT or unix:/PATH";
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Bind::Unix(unix_path(path)?));
    }
    let Some((word, rest)) = scheme(text) else {
        return wrong(format!("`{text}` has no scheme"), format!("write http://{text}, or {SCHEMES}"));
    };
    match word.as_str() {
        "http" => {}
        "h2c" => return wrong("`h2c` is not a listener's scheme", "write http://: it takes HTTP/1 and HTTP/2"),
        "https" | "zmq+tcp" | "zmq+ipc" => return later(&format!("the scheme `{word}`"), SCHEMES),
        _ => return wrong(format!("unknown scheme `{word}`"), SCHEMES),
    }
    let bare = no_path(rest)?;
    let (host, port) = authority(bare, Some(default_port))?;
    socket_of(&host, port).map(Bind::Tcp)
}

fn socket_of(host: &str, port: u16) -> Result<SocketAddr, Wrong> {
    match host.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, port)),
        Err(_) if host == "localhost" => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
        Err(_) => wrong(
            format!("a listener needs an address of this machine, not the name `{host}`"),
            "write 127.0.0.1, 0.0.0.0, [::] or another address of this machine",
        ),
    }
}

/// `ADDRESS:PORT`, as the admin listener takes it.
pub(crate) fn socket(text: &str) -> Result<SocketAddr, Wrong> {
    let bare = no_path(text.strip_prefix("http://").unwrap_or(text))?;
    let (host, port) = authority(bare, None)?;
    socket_of(&host, port)
}

/// `udp://HOST[:PORT]`.
pub(crate) fn udp(text: &str, default_port: u16) -> Result<(String, u16), Wrong> {
    let Some((word, rest)) = scheme(text) else {
        return wrong(format!("`{text}` has no scheme"), format!("write udp://{text}"));
    };
    match word.as_str() {
        "udp" => {
            let (host, port) = authority(no_path(rest)?, Some(default_port))?;
            match port {
                0 => wrong("nobody listens on port 0", "write the receiver's port"),
                _ => Ok((host, port)),
            }
        }
        "tcp" | "tls" | "http" | "https" => later(&format!("the scheme `{word}`"), "use udp://"),
        _ => wrong(format!("unknown scheme `{word}`"), "use udp://"),
    }
}

/// A network, or an address that stands for itself.
pub(crate) fn network(text: &str) -> Result<IpNet, Wrong> {
    if let Ok(net) = text.parse::<IpNet>() {
        return match net.trunc() == net {
            true => Ok(net),
            false => wrong(format!("`{text}` has bits beyond its prefix"), format!("write {}", net.trunc())),
        };
    }
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(IpNet::from(ip)),
        Err(_) => wrong(format!("`{text}` is no network"), "write it as 10.0.0.0/8, fd00::/8 or an address"),
    }
}

/// A JSON pointer (RFC 6901).
pub(crate) fn pointer(text: &str) -> Result<String, Wrong> {
    let escapes = text.split('~').skip(1).all(|part| part.starts_with(['0', '1']));
    match text.is_empty() || !text.starts_with('/') {
        true => wrong(format!("`{text}` is no JSON pointer"), format!("write `/{}`", text.replace('.', "/"))),
        false if !escapes => {
            wrong(format!("`{text}` has a lone `~`"), "in a JSON pointer `~0` stands for `~` and `~1` for `/`")
        }
        false => Ok(text.to_owned()),
    }
}

/// The path of a request.
pub(crate) fn http_path(text: &str) -> Result<String, Wrong> {
    let fits = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    match fits {
        true => Ok(text.to_owned()),
        false => wrong(format!("`{text}` is no path"), "begin with `/`, percent-encode what is no plain ASCII"),
    }
}

/// A tag's key: what GELF takes as a field name.
pub(crate) fn tag_key(text: &str) -> Result<String, Wrong> {
    let fits = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    match fits {
        true => Ok(text.to_owned()),
        false => wrong(format!("`{text}` is no key of a tag"), "use letters, digits, `_`, `-` and `.`, at most 64"),
    }
}

/// A service's name: it must fit in a host name.
pub(crate) fn service_name(text: &str) -> Result<String, Wrong> {
    let fits = !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    match fits {
        true => Ok(text.to_ascii_lowercase()),
        false => wrong(
            format!("`{text}` is no service name"),
            "use letters, digits, `-` and `_`, at most 63; callers put it in `Host`",
        ),
    }
}

/// Any text that can stand in a log line.
pub(crate) fn free(text: &str) -> Result<String, Wrong> {
    match text.trim() {
        "" => wrong("the text is empty", "write something, or remove the key"),
        t if t.len() > 256 => wrong("the text is longer than 256 bytes", "shorten it"),
        t if t.chars().any(char::is_control) => wrong("the text has control characters", "remove them"),
        t => Ok(t.to_owned()),
    }
}
