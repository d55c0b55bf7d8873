//! A machine, and where it is.

use super::limits::{Invalid, NAME_MAX, TEXT_MAX, are_keys, is_id, is_meta, is_name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Where a node or an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Address {
    /// An address.
    Ip(IpAddr),
    /// A host name that whoever connects must look up.
    Name(String),
}

impl Address {
    /// The address that a text means: an IP address, or else a name.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Address::Name(text.into()), Address::Ip)
    }

    /// The IP address, when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Ip(ip) => Some(*ip),
            Address::Name(_) => None,
        }
    }

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Invalid> {
        let fine = match self {
            Address::Ip(ip) => !ip.is_unspecified(),
            Address::Name(name) => {
                let bare = name.strip_suffix('.').unwrap_or(name);
                let label = |label: &str| (1..=NAME_MAX).contains(&label.len());
                let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
                // Whatever ends in a number was meant to be an address: `10.0.0.300`.
                let last = bare.rsplit('.').next().unwrap_or_default();
                let numeric = last.bytes().all(|b| b.is_ascii_digit());
                bare.len() < TEXT_MAX - 1 && bare.bytes().all(legal) && bare.split('.').all(label) && !numeric
            }
        };
        if fine { Ok(()) } else { Err(Invalid::Address) }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Address::Ip(ip)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => ip.fmt(f),
            Address::Name(name) => f.write_str(name),
        }
    }
}

/// A machine that instances live on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Unique, compared without case.
    pub name: String,
    /// An identifier of its own, when it has one.
    #[serde(default)]
    pub id: String,
    /// Where it is.
    pub address: Address,
    /// Other addresses by what they are for: `lan_ipv4`, `lan_ipv6`, `wan`.
    #[serde(default)]
    pub tagged: BTreeMap<String, Address>,
    /// What else is known of it; told in TXT records.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
}

impl Node {
    /// A node of that name at that address.
    pub fn new(name: impl Into<String>, address: impl Into<Address>) -> Self {
        Node {
            name: name.into(),
            id: String::new(),
            address: address.into(),
            tagged: BTreeMap::new(),
            meta: BTreeMap::new(),
        }
    }

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Invalid> {
        if !is_name(&self.name) || self.name.ends_with('.') {
            return Err(Invalid::Node);
        }
        if !self.id.is_empty() && !is_id(&self.id) {
            return Err(Invalid::Id);
        }
        if !are_keys(&self.tagged) || !is_meta(&self.meta) {
            return Err(Invalid::Meta);
        }
        self.address.check()?;
        self.tagged.values().try_for_each(Address::check)
    }
}
