//! `discovery.join`: another registry that this one follows.

use super::secret;
use crate::section::{Key, Kind, Shape, Wrong, key};
use crate::tls::ClientTls;
use crate::tls::section::KEYS as TLS_KEYS;
use fourmi_discovery::Node;
use fourmi_discovery::join::Settings;
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// Its keys.
pub(super) const KEYS: &[Key] = &[
    key(
        "to",
        Kind::OneOrMany(&Kind::Text(Shape::Free)),
        "Its Consul HTTP API, such as http://registry:8500: another Fourmi, or a Consul agent; the next one when one fails.",
    )
    .required(),
    key("token", Kind::Text(Shape::Secret), "What it lets us by."),
    key("token_file", Kind::Text(Shape::File), "A file that holds it."),
    key("stream", Kind::Flag, "Whether another Fourmi is followed by its stream of changes.").or("true"),
    key(
        "ttl",
        Kind::Duration { min: Duration::from_secs(1), off: false },
        "Our instances are critical there when nothing was heard of us for so long.",
    )
    .or("15s"),
    key(
        "deregister_after",
        Kind::Duration { min: Duration::from_secs(10), off: false },
        "And removed when they were critical for so long.",
    )
    .or("1m"),
    key("tls", Kind::Section(TLS_KEYS), "How an `https` one is spoken to.").or_words("the system's authorities"),
];

/// Another registry, and how it is spoken to over TLS.
#[derive(Debug, Clone)]
pub struct Other {
    /// What of it is said.
    pub settings: Settings,
    /// For `https`.
    pub tls: Option<ClientTls>,
}

impl PartialEq for Other {
    fn eq(&self, other: &Other) -> bool {
        let of = |o: &Other| {
            let s = &o.settings;
            (s.urls.clone(), s.token.clone(), s.stream, s.ttl, s.deregister_after, o.tls.clone())
        };
        of(self) == of(other)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Values {
    to: Vec<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    stream: Option<bool>,
    ttl: Option<Duration>,
    deregister_after: Option<Duration>,
    tls: Option<Value>,
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token.
        f.debug_struct("Values").field("to", &self.to).finish_non_exhaustive()
    }
}

/// Whom a node of a datacenter follows.
pub(super) fn other(v: Values, node: &Node, datacenter: &str) -> Result<Other, Wrong> {
    let wrong = |message: String, fix: &str| Wrong::new(message, fix).of("join");
    let token = secret::of(v.token, v.token_file, "token").map_err(|w| w.of("join"))?;
    for url in &v.to {
        let authority = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let authority = authority.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        if !authority.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '@', ' ', '?'])) {
            return Err(wrong(format!("`{url}` is no registry's address"), "write one such as http://registry:8500"));
        }
    }
    let tls = match (v.tls, v.to.iter().any(|url| url.starts_with("https://"))) {
        (Some(tls), _) => Some(ClientTls::of_section(tls).map_err(|w| w.of("join.tls"))?),
        (None, true) => Some(ClientTls::default()),
        (None, false) => None,
    };
    let standard = Settings::default();
    let settings = Settings {
        urls: v.to,
        token,
        node: node.name.clone(),
        address: node.address.clone(),
        datacenter: datacenter.into(),
        stream: v.stream.unwrap_or(true),
        ttl: v.ttl.unwrap_or(standard.ttl),
        deregister_after: v.deregister_after.unwrap_or(standard.deregister_after),
        ..standard
    };
    Ok(Other { settings, tls })
}
