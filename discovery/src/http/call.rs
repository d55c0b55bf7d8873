//! One request as the handlers see it.

use super::access::Rights;
use super::events::Events;
use super::failure::Failure;
use super::settings::Settings;
use crate::keys::Keys;
use crate::registry::Registry;
use crate::snapshot::Snapshot;
use crate::{Node, Refused};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// What follows the question mark, decoded, in order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name, true), decoded(value, true))
        });
        Query(pairs.collect())
    }

    /// The first value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Flags count by being there, whatever they say.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// With `%2F` as `/`, and `+` as a blank where that is so. What is no UTF-8 is shown as such.
pub(super) fn decoded(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let digits = digits.filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        match (first, digits.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', _) if plus => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One request as the handlers see it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) registry: Registry,
    pub(super) settings: Arc<Settings>,
    /// What the path has behind its route.
    pub(super) rest: String,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) rights: Arc<Rights>,
    pub(super) body: Bytes,
    pub(super) from: IpAddr,
    pub(super) events: Arc<Events>,
    /// The instance that it registers.
    pub(super) about: OnceLock<String>,
}

impl Call {
    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(Failure::decode)
    }

    /// What the path has behind its route, which must be there.
    pub(super) fn named(&self, otherwise: &str) -> Result<&str, Failure> {
        match self.rest.as_str() {
            "" => Err(Failure::bad(otherwise)),
            rest => Ok(rest),
        }
    }

    /// Refuses another datacenter than ours.
    pub(super) fn here(&self) -> Result<(), Failure> {
        let named = self.query.get("datacenter").or_else(|| self.query.get("dc")).unwrap_or_default();
        self.settings.is_here(named)
    }

    pub(super) fn keys(&self) -> &Keys {
        self.registry.keys()
    }

    /// Registers our own node if it is not known.
    pub(super) fn own_node(&self) -> Result<(), Failure> {
        Ok(known(&self.registry, &self.settings)?)
    }

    /// What the registry holds now.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.registry.snapshot()
    }
}

impl Settings {
    /// Refuses another datacenter than ours; none is ours.
    pub(super) fn is_here(&self, datacenter: &str) -> Result<(), Failure> {
        match datacenter.is_empty() || datacenter.eq_ignore_ascii_case(&self.datacenter) {
            true => Ok(()),
            false => Err(Failure::internal("No path to datacenter")),
        }
    }
}

/// Registers our own node if it is not known.
pub(super) fn known(registry: &Registry, settings: &Settings) -> Result<(), Refused> {
    if registry.snapshot().node(&settings.node).is_none() {
        registry.put_node(Node::new(&*settings.node, settings.address))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("tag=a&tag=b%2Bc&pretty&filter=Name+%3D%3D+x&bad=%zz%");
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b+c"]);
        assert!(query.has("pretty") && !query.has("wait"));
        assert_eq!(query.get("filter"), Some("Name == x"));
        assert_eq!(query.get("bad"), Some("%zz%"));
        assert_eq!(decoded("service%3Aweb-1+2", false), "service:web-1+2");
    }
}
