//! The keys by which an upstream says how it is balanced. Names and rules are Kong's; `tag` and `slow_start` are ours.

use super::{Algorithm, Hash, HashOn, SLOTS, SLOTS_MAX, SLOTS_MIN, Settings, SlowStart};
use crate::section::{Key, Kind, Shape, Word, Wrong, key, later, word};
use serde::Deserialize;
use std::time::Duration;

const ALGORITHMS: &[Word] = &[
    word(Algorithm::RoundRobin.as_str()),
    word(Algorithm::LeastConnections.as_str()),
    word(Algorithm::Latency.as_str()),
    word(Algorithm::ConsistentHashing.as_str()),
];

const INPUTS: &[Word] = &[
    word("none"),
    word("consumer"),
    word("ip"),
    word("header"),
    word("cookie"),
    word("path"),
    word("query_arg"),
    Word { name: "uri_capture", supported: false },
    word("tag"),
];

/// Its keys.
pub(crate) const KEYS: &[Key] = &[
    key("algorithm", Kind::Word(ALGORITHMS), "How one of several instances is chosen.")
        .or_words("`latency`; `worker`: `least-connections`; `consistent-hashing` with `hash_on`"),
    key("hash_on", Kind::Word(INPUTS), "Commands in which this is the same go to the same instance.")
        .or_words("`none`"),
    key("hash_on_header", Kind::Text(Shape::Header), "The header of `hash_on: header`."),
    key(
        "hash_on_cookie",
        Kind::Text(Shape::Free),
        "The cookie of `hash_on: cookie` or `hash_fallback: cookie`; callers without it are given one.",
    ),
    key("hash_on_cookie_path", Kind::Text(Shape::Path), "Below which path callers send that cookie.").or("/"),
    key("hash_on_query_arg", Kind::Text(Shape::Free), "The query argument of `hash_on: query_arg`."),
    key("hash_on_tag", Kind::Text(Shape::TagKey), "The command's tag of `hash_on: tag`."),
    later("hash_on_uri_capture", "The named group of `hash_on: uri_capture`."),
    key("hash_fallback", Kind::Word(INPUTS), "What counts instead where that is missing.").or_words("`none`"),
    key("hash_fallback_header", Kind::Text(Shape::Header), "The header of `hash_fallback: header`."),
    key("hash_fallback_query_arg", Kind::Text(Shape::Free), "The query argument of `hash_fallback: query_arg`."),
    key("hash_fallback_tag", Kind::Text(Shape::TagKey), "The command's tag of `hash_fallback: tag`."),
    later("hash_fallback_uri_capture", "The named group of `hash_fallback: uri_capture`."),
    key(
        "slots",
        Kind::Count { min: SLOTS_MIN as u64, max: SLOTS_MAX as u64, word: None },
        "How finely weights are kept apart: slots of the wheel, points of the ring.",
    )
    .or("10000"),
    key(
        "slow_start",
        Kind::Duration { min: Duration::from_millis(1), off: true },
        "An instance that has just become usable gets its full share only after this; not with consistent-hashing.",
    )
    .or("off"),
];

/// Their values. Those that were not written are none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Values {
    algorithm: Option<String>,
    hash_on: Option<String>,
    hash_on_header: Option<String>,
    hash_on_cookie: Option<String>,
    hash_on_cookie_path: Option<String>,
    hash_on_query_arg: Option<String>,
    hash_on_tag: Option<String>,
    hash_fallback: Option<String>,
    hash_fallback_header: Option<String>,
    hash_fallback_query_arg: Option<String>,
    hash_fallback_tag: Option<String>,
    slots: Option<usize>,
    slow_start: Option<Duration>,
}

/// The names of the keys that belong to `hash_on` or to `hash_fallback`.
struct Names {
    on: &'static str,
    header: &'static str,
    query_arg: &'static str,
    tag: &'static str,
}

const ON: Names = Names { on: "hash_on", header: "hash_on_header", query_arg: "hash_on_query_arg", tag: "hash_on_tag" };
const FALLBACK: Names = Names {
    on: "hash_fallback",
    header: "hash_fallback_header",
    query_arg: "hash_fallback_query_arg",
    tag: "hash_fallback_tag",
};

impl Values {
    /// What they say together; `usual` is the algorithm when none is written and nothing is hashed.
    ///
    /// # Errors
    /// What is wrong, and with which key.
    pub(crate) fn check(&self, usual: Algorithm) -> Result<Settings, Wrong> {
        let hash = Hash { on: self.input(&ON)?, fallback: self.input(&FALLBACK)? };
        check_fallback(&hash)?;
        let written = match &self.algorithm {
            None => None,
            Some(text) => Some(text.parse::<Algorithm>().map_err(|message| {
                let fix = format!("write one of {}", Algorithm::ALL.map(Algorithm::as_str).join(", "));
                Wrong::new(message, fix).of("algorithm")
            })?),
        };
        let hashes = hash.on != HashOn::None;
        let algorithm = match (written, hashes) {
            (Some(Algorithm::ConsistentHashing), false) => {
                return Err(Wrong::new(
                    "`consistent-hashing` has nothing to hash: all commands would have the same key",
                    "write `hash_on`, such as `hash_on: ip`",
                )
                .of("hash_on"));
            }
            (None | Some(Algorithm::ConsistentHashing), true) => Algorithm::ConsistentHashing,
            (Some(other), true) => {
                return Err(Wrong::new(
                    format!("`{other}` does not look at `hash_on`"),
                    "write `algorithm: consistent-hashing`, or remove `hash_on`",
                )
                .of("algorithm"));
            }
            (written, false) => written.unwrap_or(usual),
        };
        Ok(Settings {
            algorithm,
            hash,
            slots: self.slots.unwrap_or(SLOTS).clamp(SLOTS_MIN, SLOTS_MAX),
            slow_start: SlowStart { window: self.slow_start.unwrap_or_default() },
        })
    }

    fn input(&self, names: &Names) -> Result<HashOn, Wrong> {
        let first = names.on == ON.on;
        let either = |on: &Option<String>, fallback: &Option<String>| {
            let text = if first { on } else { fallback };
            text.clone().filter(|t| !t.is_empty())
        };
        let word = either(&self.hash_on, &self.hash_fallback);
        let header = either(&self.hash_on_header, &self.hash_fallback_header);
        let query_arg = either(&self.hash_on_query_arg, &self.hash_fallback_query_arg);
        let tag = either(&self.hash_on_tag, &self.hash_fallback_tag);
        let Some(word) = word else {
            // Without the word they would silently do nothing.
            let alone = [
                (&header, names.header, "header"),
                (&query_arg, names.query_arg, "query_arg"),
                (&tag, names.tag, "tag"),
            ];
            return match alone.into_iter().find(|(value, ..)| value.is_some()) {
                None => Ok(HashOn::None),
                Some((_, key, word)) => Err(Wrong::new(
                    format!("`{key}` alone does nothing"),
                    format!("write `{}: {word}` too, or remove it", names.on),
                )
                .of(key)),
            };
        };
        let required = |value: Option<String>, key: &'static str| {
            value.map(String::into_boxed_str).ok_or_else(|| missing(names.on, &word, key))
        };
        Ok(match word.as_str() {
            "none" => HashOn::None,
            "consumer" => HashOn::Consumer,
            "ip" => HashOn::Ip,
            "path" => HashOn::Path,
            "header" => HashOn::Header(required(header, names.header)?.to_ascii_lowercase().into()),
            "query_arg" => HashOn::QueryArg(required(query_arg, names.query_arg)?),
            "tag" => HashOn::Tag(required(tag, names.tag)?),
            "cookie" => self.cookie(names.on)?,
            "uri_capture" => {
                return Err(
                    Wrong::later(&format!("`{}: uri_capture`", names.on), "use `path` or `header`").of(names.on)
                );
            }
            _ => {
                let known: Vec<&str> = INPUTS.iter().filter(|w| w.supported).map(|w| w.name).collect();
                let fix = format!("write one of {}", known.join(", "));
                return Err(Wrong::new(format!("`{word}` is nothing that can be hashed"), fix).of(names.on));
            }
        })
    }

    fn cookie(&self, on: &'static str) -> Result<HashOn, Wrong> {
        let name = self.hash_on_cookie.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(missing(on, "cookie", "hash_on_cookie"));
        }
        // RFC 6265, 4.1.1: a token, as the names of headers are.
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let message = format!("`{name}` is no cookie's name");
            return Err(Wrong::new(message, "use letters, digits, `-` and `_`").of("hash_on_cookie"));
        }
        let path = self.hash_on_cookie_path.as_deref().unwrap_or("/");
        if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic() && b != b';') {
            let message = format!("`{path}` is no path of a cookie");
            return Err(
                Wrong::new(message, "write a path such as `/`, without `;` and blanks").of("hash_on_cookie_path")
            );
        }
        Ok(HashOn::Cookie { name: name.into(), path: path.into() })
    }
}

fn missing(on: &str, word: &str, key: &'static str) -> Wrong {
    Wrong::new(format!("`{on}: {word}` needs `{key}`"), format!("write `{key}`")).of(key)
}

/// Whether there can be such a fallback.
fn check_fallback(hash: &Hash) -> Result<(), Wrong> {
    let wrong = |message: &str, fix: &str| Err(Wrong::new(message, fix).of("hash_fallback"));
    match (&hash.on, &hash.fallback) {
        (_, HashOn::None) => Ok(()),
        (HashOn::None, _) => {
            wrong("`hash_fallback` counts only after `hash_on`, which is none", "write `hash_on`, or remove it")
        }
        (HashOn::Cookie { .. }, _) => {
            wrong("a cookie is made where it is missing, so nothing comes after it", "remove `hash_fallback`")
        }
        (on, fallback) if on == fallback => {
            wrong("`hash_fallback` is the same as `hash_on`", "choose another one, or remove it")
        }
        _ => Ok(()),
    }
}
