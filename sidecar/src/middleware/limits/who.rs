//! Whom a limit counts: the identifier that Kong would take, too.

use crate::exchange::Exchange;
use crate::gateway::fields::Fields;
use std::fmt::Write as _;
use std::io::Write as _;

/// A longer identifier is counted by its digest.
const IDENTIFIER_MAX: usize = 128;
/// The longest text of an address.
const ADDRESS_MAX: usize = 46;

/// By what commands are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    /// The consumer, else its credential.
    Consumer,
    /// What proved it.
    Credential,
    /// The client's address.
    Ip,
    /// The service.
    Service,
    /// The value of a header line; its name is in lower case.
    Header(String),
    /// One path.
    Path(String),
}

impl By {
    /// Reads `limit_by`, and for those that need it `header_name` and `path`.
    pub(crate) fn read(fields: &mut Fields<'_>, words: &[&'static str], usual: &'static str) -> By {
        let word = fields.one_of("limit_by", words, usual);
        let takes = |name: &str| words.contains(&name);
        let header = if takes("header") { fields.text("header_name") } else { None };
        let path = if takes("path") { fields.text("path") } else { None };
        let mut missing = |key: &str| fields.wrong(key, "required field missing", format!("limit_by {word} needs it"));
        match word {
            "credential" => By::Credential,
            "ip" => By::Ip,
            "service" => By::Service,
            "header" => {
                if header.is_none() {
                    missing("header_name");
                }
                By::Header(header.unwrap_or_default().to_ascii_lowercase())
            }
            "path" => {
                if path.is_none() {
                    missing("path");
                }
                By::Path(path.unwrap_or_default())
            }
            _ => By::Consumer,
        }
    }

    /// The word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            By::Consumer => "consumer",
            By::Credential => "credential",
            By::Ip => "ip",
            By::Service => "service",
            By::Header(_) => "header",
            By::Path(_) => "path",
        }
    }

    /// Hands on the identifier of a command. Where there is none of the wanted kind, it is the client's address.
    pub(crate) fn of<R>(&self, exchange: &Exchange, f: impl FnOnce(&str) -> R) -> R {
        let caller = &exchange.caller;
        let credential = || caller.credential.as_ref().map(|c| &*c.id);
        let found = match self {
            By::Consumer => caller.consumer.as_ref().map(|c| &*c.id).or_else(credential),
            By::Credential => credential(),
            By::Ip => None,
            By::Service => match &exchange.via {
                Some(via) => via.service.as_ref().map(|service| &*service.id),
                None => Some(&*exchange.service),
            },
            By::Header(name) => match exchange.request.headers.get_bytes(name) {
                Some(value) => return text(value, f),
                None => None,
            },
            By::Path(path) => Some(path.as_str()).filter(|path| *path == exchange.request.path()),
        };
        match found {
            Some(found) => text(found.as_bytes(), f),
            None => address(exchange, f),
        }
    }
}

/// A value as a text of bounded length.
fn text<R>(value: &[u8], f: impl FnOnce(&str) -> R) -> R {
    match std::str::from_utf8(value) {
        Ok(text) if text.len() <= IDENTIFIER_MAX => f(text),
        _ => f(&digest(value)),
    }
}

/// What stands for a value that is too long, or not to be shown.
pub(super) fn digest(value: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value);
    let mut hex = String::with_capacity(71);
    hex.push_str("sha256:");
    for byte in digest.as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn address<R>(exchange: &Exchange, f: impl FnOnce(&str) -> R) -> R {
    let Some(ip) = exchange.client.or_else(|| exchange.peer.map(|peer| peer.ip())) else { return f("unix") };
    let mut buffer = [0; ADDRESS_MAX];
    let mut rest = &mut buffer[..];
    let _ = write!(rest, "{}", ip.to_canonical());
    let left = rest.len();
    f(std::str::from_utf8(&buffer[..ADDRESS_MAX - left]).unwrap_or_default())
}
