//! `http(s)://host[:port]/path`, as configurations write it.

use http::uri::PathAndQuery;
use std::net::Ipv6Addr;

/// Bytes of a URL.
const LENGTH_MAX: usize = 2048;

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// `https`.
    pub(crate) tls: bool,
    /// Host name or address, IPv6 without brackets.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// Path and query, beginning with a slash.
    pub(crate) path: String,
}

impl Url {
    /// Reads it; without a port it is `default_port`, or that of the scheme. An error says what to write.
    pub(crate) fn parse(text: &str, default_port: Option<u16>) -> Result<Url, String> {
        let wrong = |why: &str| format!("`{text}`: {why}; write http(s)://host[:port]/path");
        if text.len() > LENGTH_MAX {
            return Err(format!("a URL of {} bytes: at most {LENGTH_MAX}", text.len()));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("only http and https are spoken")),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            // Not repeated: it is a password.
            return Err("a URL with a user or password before the host: give them as a header or token".to_owned());
        }
        if path.contains('#') {
            return Err(wrong("a fragment (#) is never sent"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(|| wrong("a bracket is open"))?;
                host.parse::<Ipv6Addr>().map_err(|_| wrong("no IPv6 address in the brackets"))?;
                (host, after)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            return Err(wrong("no valid host"));
        }
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(|| wrong("a port is from 1 to 65535"))?
            }
            None if port.is_empty() => default_port.unwrap_or(if tls { 443 } else { 80 }),
            _ => return Err(wrong("what follows the host is no port")),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        path.parse::<PathAndQuery>().map_err(|_| wrong("the path has characters that must be percent-encoded"))?;
        Ok(Url { tls, host: host.to_owned(), port, path })
    }

    /// What stands in the `host` header (RFC 9112, section 3.2).
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_people_write_them() {
        let url = |text| Url::parse(text, None).unwrap();
        let said = |u: Url| format!("{} {} {} {} {}", u.tls, u.host, u.port, u.path, u.authority());
        assert_eq!(said(url("http://graylog:12201/gelf")), "false graylog 12201 /gelf graylog:12201");
        assert_eq!(said(url("HTTPS://logs.example")), "true logs.example 443 / logs.example");
        assert_eq!(said(url("https://[::1]:8088?a=b")), "true ::1 8088 /?a=b [::1]:8088");
        assert_eq!(Url::parse("http://h/", Some(8126)).unwrap().port, 8126);
        for wrong in [
            "graylog:12201",
            "ftp://h/",
            "http:///x",
            "http://h:0/",
            "http://h:x/",
            "http://h:+1/",
            "http://h:99999/",
            "http://[::1/",
            "http://[h]/",
            "http://[::1]x/",
            "http://h/#f",
            "http://h /",
            "http://h/a b",
            "http://h:/",
        ] {
            let said = Url::parse(wrong, None).unwrap_err();
            assert!(said.contains("write http(s)://"), "{wrong}: {said}");
        }
        let secret = Url::parse("https://user:secret@h/", None).unwrap_err();
        assert!(!secret.contains("secret") && secret.contains("header"), "{secret}");
        assert!(Url::parse(&format!("http://h/{}", "x".repeat(3000)), None).is_err());
    }
}
