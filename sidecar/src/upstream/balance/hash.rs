//! The key of a command for consistent hashing, by Kong's rules.

use super::cookie::{self, NewCookie};
use crate::exchange::Exchange;
use std::hash::Hasher;
use std::net::IpAddr;
use twox_hash::XxHash64;

/// All sidecars must agree on the key of a command.
const SEED: u64 = 0;

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HashOn {
    /// Nothing.
    #[default]
    None,
    /// The consumer's name.
    Consumer,
    /// The caller's address.
    Ip,
    /// A header; its name in lower case.
    Header(Box<str>),
    /// A cookie, which is made for callers that have none.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// Below which path callers send it.
        path: Box<str>,
    },
    /// The path without the query.
    Path,
    /// An argument of the query.
    QueryArg(Box<str>),
    /// A named group of the route's path.
    UriCapture(Box<str>),
    /// A tag of the command.
    Tag(Box<str>),
}

/// What is hashed, and what instead when it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hash {
    /// First.
    pub on: HashOn,
    /// When that is missing.
    pub fallback: HashOn,
}

/// The key of a command. Computed once: it stays the same when the command is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Key {
    /// The key; none when nothing is hashed.
    pub hash: Option<u64>,
    /// A cookie that was made for it.
    pub cookie: Option<NewCookie>,
}

impl Hash {
    /// The key of this command. When everything is missing, the empty text is hashed, as in Kong: all those commands
    /// go to one instance.
    pub fn key(&self, exchange: &Exchange) -> Key {
        if self.on == HashOn::None {
            return Key::default();
        }
        for on in [&self.on, &self.fallback] {
            if let Some(hash) = on.find(exchange) {
                return Key { hash: Some(hash), cookie: None };
            }
            if let HashOn::Cookie { name, path } = on {
                let cookie = NewCookie::random(name, path);
                return Key { hash: Some(of(cookie.value().as_bytes())), cookie: Some(cookie) };
            }
        }
        Key { hash: Some(of(b"")), cookie: None }
    }
}

impl HashOn {
    /// The hash of the value; none when it is missing. One that is there and empty is not.
    fn find(&self, exchange: &Exchange) -> Option<u64> {
        let headers = &exchange.request.headers;
        match self {
            HashOn::None => None,
            HashOn::Consumer => exchange.consumer.as_ref().map(|c| of(c.as_bytes())),
            HashOn::Ip => exchange.client.or_else(|| exchange.peer.map(|p| p.ip())).map(address),
            // HTTP/2 has no such line.
            HashOn::Header(name) if &**name == "host" => Some(of(exchange.request.authority.as_bytes())),
            HashOn::Header(name) => joined(headers.get_all(name)),
            HashOn::Cookie { name, .. } => cookie::find(headers.get_all("cookie"), name).map(of),
            HashOn::Path => Some(of(exchange.request.path().as_bytes())),
            HashOn::QueryArg(name) => argument(exchange.request.query()?, name),
            HashOn::UriCapture(name) => {
                let number = name.parse::<usize>().ok();
                let is_it = |(at, (known, _)): &(usize, &(Option<std::sync::Arc<str>>, String))| {
                    known.as_deref() == Some(name) || (*at > 0 && number == Some(*at))
                };
                exchange.captures.iter().enumerate().find(is_it).map(|(_, (_, value))| of(value.as_bytes()))
            }
            HashOn::Tag(key) => {
                let tags = &exchange.command.tags;
                tags.iter().find(|(k, _)| **k == **key).map(|(_, value)| of(value.as_bytes()))
            }
        }
    }
}

fn of(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(SEED, bytes)
}

fn address(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => of(&ip.octets()),
        IpAddr::V6(ip) => of(&ip.octets()),
    }
}

/// Several lines of one name are one value.
fn joined<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<u64> {
    let mut hash = XxHash64::with_seed(SEED);
    hash.write(values.next()?);
    for value in values {
        hash.write(b", ");
        hash.write(value);
    }
    Some(hash.finish())
}

/// The values of an argument, whatever their order.
fn argument(query: &str, name: &str) -> Option<u64> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let values = pairs.filter(|(key, _)| decoded(key).eq(name.bytes())).map(|(_, value)| {
        let mut hash = XxHash64::with_seed(SEED);
        if value.bytes().any(|b| matches!(b, b'%' | b'+')) {
            decoded(value).for_each(|b| hash.write(&[b]));
        } else {
            hash.write(value.as_bytes());
        }
        hash.finish()
    });
    values.reduce(u64::wrapping_add)
}

/// Without percent-encoding; what is broken stays as it is.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, used) = match rest {
            [b'%', high, low, ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [b'+', ..] => (b' ', 1),
            [byte, ..] => (*byte, 1),
            [] => return None,
        };
        rest = rest.get(used..).unwrap_or_default();
        Some(byte)
    })
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}
