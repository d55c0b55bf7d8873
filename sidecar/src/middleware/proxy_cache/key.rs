//! What an answer is the answer to: who asks, by which route, for what. Two commands have the same key only when they
//! agree in everything that is part of it, however their texts are put together.

use super::super::query;
use super::store::Key;
use crate::exchange::{Exchange, Seen};
use crate::names;
use aws_lc_rs::digest::{SHA256, digest};
use std::cell::RefCell;

/// Emptied texts above this are not kept for the next key.
const KEPT_BYTES: usize = 16 << 10;

thread_local! {
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What of the request is part of the key.
pub(super) struct Parts {
    /// Whether the path's case means nothing.
    pub(super) any_case: bool,
    /// The arguments that count, in order; none: all of them.
    pub(super) arguments: Option<Box<[String]>>,
    /// The headers that count, in lower case.
    pub(super) headers: Box<[String]>,
}

/// A text of parts, each with its length before it.
struct Text<'a>(&'a mut Vec<u8>);

impl Text<'_> {
    fn part(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn maybe(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.part(bytes),
            None => self.0.extend_from_slice(&u64::MAX.to_le_bytes()),
        }
    }

    fn header(&mut self, exchange: &Exchange, name: &str) {
        for value in exchange.request.headers.get_all(name) {
            self.part(value);
        }
        self.maybe(None);
    }
}

fn hashed(write: impl FnOnce(&mut Text<'_>)) -> Key {
    TEXT.with_borrow_mut(|text| {
        text.clear();
        write(&mut Text(text));
        let digest = digest(&SHA256, text);
        text.shrink_to(KEPT_BYTES);
        let mut key = Key::default();
        key.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        key
    })
}

impl Parts {
    /// The key of a command.
    pub(super) fn key(&self, exchange: &Exchange) -> Key {
        hashed(|text| {
            let request = &exchange.request;
            let via = exchange.via.as_deref();
            text.maybe(exchange.caller.consumer.as_ref().map(|c| c.id.as_bytes()));
            text.maybe(via.and_then(|v| v.route.as_ref()).map(|r| r.id.as_bytes()));
            text.maybe(via.and_then(|v| v.service.as_ref()).map(|s| s.id.as_bytes()));
            text.part(exchange.direction.as_str().as_bytes());
            text.part(request.method.as_str().as_bytes());
            text.part(if exchange.secure { b"https" } else { b"http" });
            text.part(exchange.host_instead.as_deref().unwrap_or(&request.authority).as_bytes());
            text.maybe(exchange.path_instead.as_deref().map(str::as_bytes));
            if self.any_case {
                text.part(request.path().to_ascii_lowercase().as_bytes());
            } else {
                text.part(request.path().as_bytes());
            }
            self.arguments(request.query().unwrap_or_default(), text);
            for name in &self.headers {
                text.header(exchange, name);
            }
            // What the service is told of the way that the command came.
            if exchange.trusted {
                text.header(exchange, names::header::X_FORWARDED_PROTO);
                text.header(exchange, names::header::X_FORWARDED_HOST);
            }
            text.header(exchange, names::header::COMMAND);
            // Whose session it is, when the service itself knows.
            text.header(exchange, "authorization");
            text.header(exchange, "cookie");
            if let Seen::Whole(body) = &exchange.seen {
                text.part(body);
            }
        })
    }

    /// Arguments in the order of their names, those of one name in their own.
    fn arguments(&self, query: &str, text: &mut Text<'_>) {
        let mut all: Vec<_> = query::written(query).map(|(name, value)| (query::decoded(name), value)).collect();
        match &self.arguments {
            None => all.sort_by(|(a, _), (b, _)| a.cmp(b)),
            Some(names) => {
                let place = |name: &str| names.iter().position(|n| n == name);
                all.retain(|(name, _)| place(name).is_some());
                all.sort_by_key(|(name, _)| place(name));
            }
        }
        for (name, value) in all {
            text.part(name.as_bytes());
            text.maybe(value.map(str::as_bytes));
        }
        text.maybe(None);
    }
}

/// The key of one of the answers that depend on more headers.
pub(super) fn varied(key: &Key, names: &[Box<str>], exchange: &Exchange) -> Key {
    hashed(|text| {
        text.part(key);
        for name in names {
            text.part(name.as_bytes());
            text.header(exchange, name);
        }
    })
}

/// A key as text.
pub(super) fn shown(key: &Key) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS.get(usize::from(value)).copied().unwrap_or_default());
    key.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
