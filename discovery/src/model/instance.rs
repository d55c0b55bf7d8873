//! One member of a service, and what may be said of it.

use super::limits::{Invalid, LONG_MAX, TAGS_MAX, TEXT_MAX, are_keys, is_id, is_label, is_meta};
use super::{Address, State};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much of the commands an instance takes, by how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// While everything is fine.
    pub passing: u16,
    /// While a check complains.
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Self {
        Weights { passing: 1, warning: 1 }
    }
}

/// An address with a port of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaggedAddress {
    /// Where.
    pub address: Address,
    /// The port there.
    pub port: u16,
}

/// One member of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Unique on its node; registering the same id again replaces it.
    pub id: String,
    /// The service it is a member of, compared without case.
    pub service: String,
    /// The node it lives on.
    pub node: String,
    /// Where it is, when that is not where its node is.
    #[serde(default)]
    pub address: Option<Address>,
    /// Its port.
    #[serde(default)]
    pub port: u16,
    /// Its unix socket, when it has one; only kept and told.
    #[serde(default)]
    pub socket: String,
    /// Words to choose by (`v1`, `eu`), in the order given.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What else is known of it.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// Other addresses by what they are for: `lan_ipv4`, `lan_ipv6`, `wan`.
    #[serde(default)]
    pub tagged: BTreeMap<String, TaggedAddress>,
    /// How much of the commands it takes.
    #[serde(default)]
    pub weights: Weights,
    /// Its place in SRV records, lower is asked first. None is the dialect's default.
    #[serde(default)]
    pub priority: Option<u16>,
    /// Whether others may change the tags; only kept and told.
    #[serde(default)]
    pub enable_tag_override: bool,
    /// Whoever registered it says so again at every start, as the configuration does: it is not kept in the file, so
    /// that it is gone when nobody says so any more.
    #[serde(skip)]
    pub transient: bool,
    /// It is going: nobody is sent there, while it ends what it has.
    #[serde(default)]
    pub draining: bool,
}

impl Instance {
    /// A member of a service on a node, at the node's address.
    pub fn new(service: impl Into<String>, id: impl Into<String>, node: impl Into<String>, port: u16) -> Self {
        Instance {
            id: id.into(),
            service: service.into(),
            node: node.into(),
            address: None,
            port,
            socket: String::new(),
            tags: Vec::new(),
            meta: BTreeMap::new(),
            tagged: BTreeMap::new(),
            weights: Weights::default(),
            priority: None,
            enable_tag_override: false,
            transient: false,
            draining: false,
        }
    }

    /// Its weight in that state: none while it is critical.
    pub fn weight(&self, state: State) -> u16 {
        match state {
            State::Passing => self.weights.passing,
            State::Warning => self.weights.warning,
            State::Critical => 0,
        }
    }

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Invalid> {
        if !is_label(&self.service) {
            return Err(Invalid::Name);
        }
        if !is_id(&self.id) {
            return Err(Invalid::Id);
        }
        if self.tags.len() > TAGS_MAX || self.tags.iter().any(|tag| tag.is_empty() || tag.len() > TEXT_MAX) {
            return Err(Invalid::Tags);
        }
        if !are_keys(&self.tagged) || !is_meta(&self.meta) || self.socket.len() > LONG_MAX {
            return Err(Invalid::Meta);
        }
        self.address.iter().try_for_each(Address::check)?;
        self.tagged.values().try_for_each(|tagged| tagged.address.check())
    }
}
