//! Addresses: what stands behind `to:`, `url:` and the like.

use super::Wrong;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// The scheme and the rest of `scheme://rest`.
pub(crate) fn scheme(text: &str) -> Option<(String, &str)> {
    text.split_once("://").map(|(s, rest)| (s.to_ascii_lowercase(), rest))
}

fn wrong<T>(message: impl Into<String>, fix: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::new(message, fix))
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
pub(crate) fn authority(text: &str, default: Option<u16>) -> Result<(String, u16), Wrong> {
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

fn no_user(rest: &str) -> Result<(), Wrong> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].contains('@') {
        true => wrong("an address takes no user and password", "remove everything up to the `@`"),
        false => Ok(()),
    }
}

/// Nothing may follow host and port.
pub(crate) fn no_path(rest: &str) -> Result<&str, Wrong> {
    let bare = rest.strip_suffix('/').unwrap_or(rest);
    no_user(bare)?;
    match bare.find(['/', '?', '#']) {
        None => Ok(bare),
        Some(at) => wrong(
            format!("the address has a path, `{}`", &bare[at..]),
            format!("remove it; commands keep their own paths: {}", &bare[..at]),
        ),
    }
}

/// The path of a unix socket.
pub(crate) fn unix_path(text: &str) -> Result<PathBuf, Wrong> {
    // sun_path holds 108 bytes with the closing zero.
    match text.strip_prefix("//").unwrap_or(text) {
        "" => wrong("the socket has no path", "write unix:/run/worker.sock"),
        path if path.len() > 107 => wrong("a socket's path has at most 107 bytes", "use a shorter directory"),
        path if path.contains('\0') => wrong("a path has no zero byte", "remove it"),
        path => Ok(PathBuf::from(path)),
    }
}

/// Where a receiver of records or numbers is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// `udp`, `tcp`, `tls`.
    Net {
        /// The scheme.
        scheme: String,
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `http`, `https`.
    Http {
        /// Over TLS.
        tls: bool,
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
        /// Path and query; empty when none was written.
        path: String,
    },
    /// `unix`: a stream; `unixgram`: datagrams.
    Unix {
        /// Whether datagrams.
        datagrams: bool,
        /// The socket's file.
        path: PathBuf,
    },
}

impl Receiver {
    /// Reads an address whose scheme is one of these.
    pub(crate) fn parse(text: &str, schemes: &[&str], default_port: u16) -> Result<Receiver, Wrong> {
        let first = schemes.first().copied().unwrap_or("udp");
        let known = || {
            let all: Vec<String> = schemes
                .iter()
                .map(|s| if s.starts_with("unix") { format!("{s}:/PATH") } else { format!("{s}://HOST[:PORT]") })
                .collect();
            format!("use {}", all.join(", "))
        };
        for (prefix, datagrams) in [("unix:", false), ("unixgram:", true)] {
            if let Some(path) = text.strip_prefix(prefix) {
                let word = prefix.trim_end_matches(':');
                return match schemes.contains(&word) {
                    true => Ok(Receiver::Unix { datagrams, path: unix_path(path)? }),
                    false => wrong(format!("the scheme `{word}` does not fit here"), known()),
                };
            }
        }
        let Some((word, rest)) = scheme(text) else {
            return wrong(format!("`{text}` has no scheme"), format!("write {first}://{text}"));
        };
        if !schemes.contains(&word.as_str()) {
            return wrong(format!("unknown scheme `{word}`"), known());
        }
        if word == "http" || word == "https" {
            no_user(rest)?;
            let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (place, path) = rest.split_at(at);
            let fits = path.bytes().all(|b| b.is_ascii_graphic()) && !path.contains('#');
            if !fits || path.starts_with('?') {
                return wrong(format!("`{path}` is no path"), "begin with `/`, percent-encode what is no plain ASCII");
            }
            let (host, port) = authority(place, Some(default_port))?;
            return some_port(port, Receiver::Http { tls: word == "https", host, port, path: path.to_owned() });
        }
        let (host, port) = authority(no_path(rest)?, Some(default_port))?;
        some_port(port, Receiver::Net { scheme: word, host, port })
    }
}

fn some_port(port: u16, receiver: Receiver) -> Result<Receiver, Wrong> {
    match port {
        0 => wrong("nobody listens on port 0", "write the receiver's port"),
        _ => Ok(receiver),
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        match self {
            Receiver::Net { scheme, host, port } => write!(f, "{scheme}://{}:{port}", bracketed(host)),
            Receiver::Http { tls, host, port, path } => {
                write!(f, "http{}://{}:{port}{path}", if *tls { "s" } else { "" }, bracketed(host))
            }
            Receiver::Unix { datagrams, path } => {
                write!(f, "unix{}:{}", if *datagrams { "gram" } else { "" }, path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_read_back() {
        let all = ["udp", "tcp", "tls", "http", "https", "unix", "unixgram"];
        for (text, shown) in [
            ("udp://Graylog", "udp://graylog:1"),
            ("tcp://[::1]:5", "tcp://[::1]:5"),
            ("https://h/gelf?x=1", "https://h:1/gelf?x=1"),
            ("http://h:9", "http://h:9"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unixgram:///run/a.sock", "unixgram:/run/a.sock"),
        ] {
            assert_eq!(Receiver::parse(text, &all, 1).unwrap().to_string(), shown);
        }
        for text in
            ["h:1", "ftp://h", "udp://h/p", "udp://h:0", "http://u:p@h/", "http://h/a b", "http://h/#x", "unix:"]
        {
            assert!(Receiver::parse(text, &all, 1).is_err(), "{text}");
        }
        assert!(Receiver::parse("unix:/x", &["udp"], 1).is_err());
    }
}
