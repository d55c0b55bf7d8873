//! The section `worker_logs:`.

use crate::section::address::{Receiver, unix_path};
use crate::section::{Key, Kind, Shape, Wrong, key, word};
use serde::Deserialize;
use serde_json::Value as Json;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Places that there may be.
const LISTEN_MAX: usize = 16;
/// The port when none is written: GELF's.
const PORT: u16 = crate::names::port::GRAYLOG;

/// The section's keys.
pub(crate) const KEYS: &[Key] = &[
    key(
        "capture",
        Kind::Word(&[word("auto"), word("off")]),
        "`auto`: what the worker of `run -- CMD` writes to its standard output and error goes to the sinks of `logs:`; \
         `off`: it keeps ours.",
    )
    .or("auto"),
    key(
        "listen",
        Kind::List(&Kind::Text(Shape::Free)),
        "Where the worker may send its lines: `udp://` or `tcp://` on loopback (port 12201 by default), `unixgram:/PATH`.",
    )
    .or("[]"),
    key(
        "format",
        Kind::Word(&[word("auto"), word("gelf"), word("syslog"), word("json"), word("text")]),
        "What the lines are; `auto` looks at each.",
    )
    .or("auto"),
];

/// What lines are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Each is looked at.
    #[default]
    Auto,
    /// GELF 1.1.
    Gelf,
    /// Syslog, RFC 5424 or 3164.
    Syslog,
    /// JSON objects of any logger.
    Json,
    /// Text.
    Text,
}

/// Where lines are taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// Datagrams.
    Udp(SocketAddr),
    /// Streams.
    Tcp(SocketAddr),
    /// Datagrams of a unix socket.
    Unixgram(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Udp(a) => write!(f, "udp://{a}"),
            Listen::Tcp(a) => write!(f, "tcp://{a}"),
            Listen::Unixgram(p) => write!(f, "unixgram:{}", p.display()),
        }
    }
}

/// The section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether the output of `run -- CMD` is taken.
    pub capture: bool,
    /// Where lines are taken.
    pub listen: Vec<Listen>,
    /// What they are.
    pub format: Format,
}

#[derive(Deserialize)]
struct Raw {
    capture: String,
    listen: Vec<String>,
    format: Format,
}

impl Settings {
    /// Reads the section's values.
    ///
    /// # Errors
    /// What is wrong, and with which key.
    pub(crate) fn new(values: &Json) -> Result<Settings, Wrong> {
        let raw = Raw::deserialize(values)
            .map_err(|e| Wrong::new(format!("the section cannot be read: {e}"), "see `fourmi schema`"))?;
        let mut listen = Vec::new();
        for text in &raw.listen {
            let place = parse(text).map_err(|w| w.of("listen"))?;
            if listen.contains(&place) {
                return Err(Wrong::new(format!("`{text}` is given twice"), "keep one of them").of("listen"));
            }
            listen.push(place);
        }
        if listen.len() > LISTEN_MAX {
            let message = format!("there are more than {LISTEN_MAX} places");
            return Err(Wrong::new(message, "all lines may come to one place").of("listen"));
        }
        Ok(Settings { capture: raw.capture == "auto", listen, format: raw.format })
    }
}

fn parse(text: &str) -> Result<Listen, Wrong> {
    if let Some(path) = text.strip_prefix("unixgram:") {
        let path = unix_path(path)?;
        // The directory must be there already, or the sender's own logger would be the one to complain.
        return match path.parent().is_none_or(|d| d.as_os_str().is_empty() || d.is_dir()) {
            true => Ok(Listen::Unixgram(path)),
            false => Err(Wrong::new(
                format!("the directory of {} does not exist", path.display()),
                "create it, or use another one",
            )),
        };
    }
    let Receiver::Net { scheme, host, port } = Receiver::parse(text, &["udp", "tcp"], PORT).map_err(|mut wrong| {
        wrong.fix = "write udp://127.0.0.1:12201, tcp://127.0.0.1:12201 or unixgram:/run/fourmi/log.sock".into();
        wrong
    })?
    else {
        return Err(Wrong::new(format!("`{text}` is no place for lines"), "write udp://127.0.0.1:12201"));
    };
    let ip = match host.parse::<IpAddr>() {
        Ok(ip) => Some(ip),
        Err(_) => (host == "localhost").then(|| IpAddr::from([127, 0, 0, 1])),
    };
    match ip.filter(IpAddr::is_loopback) {
        Some(ip) if scheme == "tcp" => Ok(Listen::Tcp(SocketAddr::new(ip, port))),
        Some(ip) => Ok(Listen::Udp(SocketAddr::new(ip, port))),
        None => Err(Wrong::new(
            format!("`{text}` would take lines of other machines, whose word nobody can check"),
            format!("write {scheme}://127.0.0.1:{port}, or unixgram:/PATH; the worker is on this machine"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_this_machine_may_send_lines() {
        let read = |listen: &[&str]| Settings::new(&json!({"capture": "auto", "listen": listen, "format": "json"}));
        let good = read(&["udp://127.0.0.1", "tcp://[::1]:5", "tcp://localhost:6", "unixgram:/tmp/l.sock"]).unwrap();
        let shown: Vec<String> = good.listen.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["udp://127.0.0.1:12201", "tcp://[::1]:5", "tcp://127.0.0.1:6", "unixgram:/tmp/l.sock"]);
        assert_eq!((good.capture, good.format), (true, Format::Json));
        for (bad, says) in [
            ("udp://0.0.0.0:12201", "other machines"),
            ("tcp://10.1.2.3", "other machines"),
            ("udp://logs.example", "other machines"),
            ("http://127.0.0.1", "scheme"),
            ("127.0.0.1:12201", "scheme"),
            ("unixgram:", "path"),
            ("unixgram:/no/such/folder/l.sock", "does not exist"),
        ] {
            let wrong = read(&[bad]).unwrap_err();
            assert_eq!(wrong.key, Some("listen"));
            assert!(wrong.message.contains(says) && !wrong.fix.is_empty(), "{bad}: {wrong:?}");
        }
        assert!(read(&["udp://127.0.0.1", "udp://127.0.0.1:12201"]).is_err());
    }
}
