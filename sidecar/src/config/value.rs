//! Scalars: durations, sizes, addresses. Each function says what is wrong and what to write instead.

use super::plan::Bind;
use crate::section::address::{Receiver, authority, no_path, scheme, unix_path};
use crate::section::{Shape, Wrong};
use crate::upstream::{Place, Scheme, Target};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

fn wrong<T>(message: impl Into<String>, fix: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::new(message, fix))
}

fn later<T>(what: &str, fix: &str) -> Result<T, Wrong> {
    Err(Wrong::later(what, fix))
}

/// Whether a text has its shape.
pub(crate) fn check(shape: Shape, text: &str) -> Result<(), Wrong> {
    match shape {
        Shape::Free => free(text).map(drop),
        Shape::Target => target(text).map(drop),
        Shape::Listen(port) => listen(text, port).map(drop),
        Shape::Socket => socket(text).map(drop),
        Shape::Receiver(schemes, port) => Receiver::parse(text, schemes, port).map(drop),
        Shape::Network => network(text).map(drop),
        Shape::Prefix => match text.is_empty() {
            true => Ok(()),
            false => free(text).map(drop),
        },
        Shape::DnsName => dns_name(text).map(drop),
        Shape::Pointer => pointer(text).map(drop),
        Shape::Path => http_path(text).map(drop),
        Shape::TagKey => tag_key(text).map(drop),
        Shape::ServiceName => service_name(text).map(drop),
        Shape::File => file(text).map(drop),
        Shape::Field => field(text).map(drop),
        Shape::Secret => secret(text),
        Shape::Header => header(text).map(drop),
    }
}

/// A file's path.
pub(crate) fn file(text: &str) -> Result<PathBuf, Wrong> {
    match text.is_empty() || text.contains('\0') || text.len() > 4096 {
        true => wrong(format!("`{text}` is no path of a file"), "write a path"),
        false => Ok(PathBuf::from(text)),
    }
}

/// A token or password.
fn secret(text: &str) -> Result<(), Wrong> {
    match text.trim() {
        "" => wrong("the text is empty", "write the secret, or name a file that holds it"),
        t if t.len() > 8192 => wrong("the secret is longer than 8192 bytes", "is it the right one?"),
        t if !t.bytes().all(|b| (b' '..=b'~').contains(&b)) => {
            wrong("the secret has characters that no header can carry", "use plain ASCII without line breaks")
        }
        _ => Ok(()),
    }
}

/// A header's name.
fn header(text: &str) -> Result<http::HeaderName, Wrong> {
    http::HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        Wrong::new(format!("`{shown}` is no header's name"), "use letters, digits and `-`")
    })
}

/// The name of a record's field, without GELF's underscore.
pub(crate) fn field(text: &str) -> Result<String, Wrong> {
    let fits = !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    match (fits, text) {
        (false, _) => wrong(
            format!("`{text}` is no field's name"),
            "use letters, digits, `_`, `-` and `.`, without the underscore in front that GELF writes",
        ),
        (true, "id") => wrong("no field may be called `id`: GELF keeps `_id` for itself", "choose another name"),
        (true, _) => Ok(text.to_owned()),
    }
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

/// A duration, or a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, Wrong> {
    let text = text.trim();
    match text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        true => duration(&format!("{text}s")),
        false => duration(text),
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

/// Where a worker or an instance of a service is.
pub(crate) fn target(text: &str) -> Result<Target, Wrong> {
    const SCHEMES: &str = "use http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT, h2://HOST:PORT (over TLS), \
                           zmq+tcp://HOST:PORT, zmq+ipc:///PATH, unix:/PATH or h2c+unix:/PATH";
    if let Some((_, more)) = text.split_once(',')
        && scheme(more.trim_start()).is_some()
    {
        let list: Vec<String> = text.split(',').map(|one| format!("\"{}\"", one.trim())).collect();
        return wrong(format!("`{text}` is several addresses"), format!("write a list: [{}]", list.join(", ")));
    }
    for (prefix, scheme) in [("unix:", Scheme::Http), ("h2c+unix:", Scheme::H2c), ("zmq+ipc://", Scheme::Zmq)] {
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
        "https" => Scheme::Https,
        "h2" => Scheme::H2,
        "zmq+tcp" => Scheme::Zmq,
        "zmq+inproc" | "fcgi" | "fcgi+unix" | "grpc" | "grpcs" => {
            return later(&format!("the scheme `{word}`"), SCHEMES);
        }
        _ => return wrong(format!("unknown scheme `{word}`"), SCHEMES),
    };
    let usual = match scheme {
        // ZeroMQ has no port of its own; this is where another Fourmi takes it.
        Scheme::Zmq => crate::names::port::INBOUND,
        scheme if scheme.is_secure() => 443,
        _ => 80,
    };
    let (host, port) = authority(no_path(rest)?, Some(usual))?;
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok();
    if scheme == Scheme::Zmq && here && authority(rest, None).is_err() {
        return wrong(format!("`{text}` has no port"), format!("write it behind the host: {text}:25001"));
    }
    if port == 0 {
        return wrong("nobody listens on port 0", "write the worker's port");
    }
    Ok(Target { scheme, place: Place::Tcp(host, port) })
}

/// Whether a listener's address says that it encrypts.
pub(crate) fn is_https(text: &str) -> bool {
    scheme(text).is_some_and(|(word, _)| word == "https")
}

/// Whether a listener's address says that it takes messages of ZeroMQ only.
pub(crate) fn is_zmq(text: &str) -> bool {
    scheme(text).is_some_and(|(word, _)| word.starts_with("zmq+"))
}

/// Where a data listener listens.
pub(crate) fn listen(text: &str, default_port: u16) -> Result<Bind, Wrong> {
    const SCHEMES: &str =
        "use http://ADDRESS:PORT, https://ADDRESS:PORT, zmq+tcp://ADDRESS:PORT, zmq+ipc:///PATH or unix:/PATH";
    if let Some(path) = text.strip_prefix("unix:").or_else(|| text.strip_prefix("zmq+ipc://")) {
        return Ok(Bind::Unix(unix_path(path)?));
    }
    let Some((word, rest)) = scheme(text) else {
        return wrong(format!("`{text}` has no scheme"), format!("write http://{text}, or {SCHEMES}"));
    };
    match word.as_str() {
        "http" | "https" | "zmq+tcp" => {}
        "h2" => return wrong("`h2` is not a listener's scheme", "write https://: it takes HTTP/1 and HTTP/2"),
        "h2c" => return wrong("`h2c` is not a listener's scheme", "write http://: it takes HTTP/1 and HTTP/2"),
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

/// A name that DNS can carry (RFC 1035 2.3.4), as people write it.
fn dns_name(text: &str) -> Result<&str, Wrong> {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let bare = text.strip_suffix('.').unwrap_or(text);
    match bare.len() <= 253 && bare.split('.').all(label) {
        true => Ok(text),
        false => wrong(
            format!("`{text}` is no DNS name"),
            "write labels of letters, digits, `-` and `_` with dots between them, such as skydns.local",
        ),
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
