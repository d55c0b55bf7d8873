//! What an operator may say about following another registry.

use super::client::Place;
use crate::checks;
use crate::model::{Address, Check, Instance};
use crate::registry::Refused;
use http::HeaderValue;
use rustls::ClientConfig;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// The shortest time until one of ours runs out.
const TTL_MIN: Duration = Duration::from_secs(1);

/// What an operator may say about following another registry.
#[derive(Clone)]
pub struct Settings {
    /// The registries: `http://host:port` or `https://host:port`. One is followed; when it fails the next one is.
    pub urls: Vec<String>,
    /// What the other side lets us by.
    pub token: Option<String>,
    /// Our node.
    pub node: String,
    /// Where it is. An instance without an address of its own is registered with this one.
    pub address: Address,
    /// The datacenter that the other side must be of. Empty is any.
    pub datacenter: String,
    /// Our own instances, with the checks that are done here.
    pub register: Vec<(Instance, Vec<Check>)>,
    /// Whether the stream of another Fourmi is tried. Without it everybody is asked as Consul is.
    pub stream: bool,
    /// Whom to trust, for https.
    pub tls: Option<Arc<ClientConfig>>,
    /// Our instances run out at the other side when nothing was heard of us for so long; at least a second.
    pub ttl: Duration,
    /// An instance of ours that was critical for so long is removed there.
    pub deregister_after: Duration,
    /// For so long after the other side began, what it does not name yet stays: it may not be back yet.
    pub grace: Duration,
    /// How our own checks are done.
    pub checks: checks::Options,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            urls: Vec::new(),
            token: None,
            node: "localhost".into(),
            address: Address::Ip(Ipv4Addr::LOCALHOST.into()),
            datacenter: String::new(),
            register: Vec::new(),
            stream: true,
            tls: None,
            ttl: Duration::from_secs(15),
            deregister_after: Duration::from_secs(60),
            grace: Duration::from_secs(30),
            checks: checks::Options::default(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the token.
        f.debug_struct("Settings").field("urls", &self.urls).field("node", &self.node).finish_non_exhaustive()
    }
}

/// Why it cannot begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

impl Unusable {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Unusable(why.into())
    }

    pub(super) fn refused(what: &str, why: &Refused) -> Self {
        Unusable(format!("{what:?} cannot be registered: {why}"))
    }
}

impl Settings {
    /// The token as it is sent.
    pub(super) fn token_value(&self) -> Option<HeaderValue> {
        // One that cannot be sent was refused at the start.
        self.token.as_ref().and_then(|token| HeaderValue::from_str(token).ok())
    }

    /// The places of the URLs, if all is as it must be.
    pub(super) fn places(&self) -> Result<Vec<Place>, Unusable> {
        let places = self.urls.iter().map(|url| Place::parse(url));
        let places = places.collect::<Result<Vec<_>, _>>().map_err(Unusable::new)?;
        if places.is_empty() {
            return Err(Unusable::new("there is no registry to follow"));
        }
        if self.tls.is_none() && places.iter().any(Place::is_encrypted) {
            return Err(Unusable::new("a registry is https, and nothing says whom to trust"));
        }
        if self.token.as_ref().is_some_and(|token| HeaderValue::from_str(token).is_err()) {
            return Err(Unusable::new("the token has characters that no header can have"));
        }
        if self.ttl < TTL_MIN {
            return Err(Unusable::new(format!("the ttl is at least {TTL_MIN:?}")));
        }
        Ok(places)
    }
}
