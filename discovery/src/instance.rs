//! One member of a service, and what may be said of it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Longest service name: one DNS label (RFC 1035 2.3.4), because names are asked by DNS.
pub(crate) const NAME_MAX: usize = 63;
/// Longest instance id and longest tag.
pub(crate) const TEXT_MAX: usize = 255;
/// Most tags of one instance.
pub(crate) const TAGS_MAX: usize = 64;

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Its checks are fine.
    Passing,
    /// It works, with a complaint; it still gets commands.
    Warning,
    /// It must not get commands.
    Critical,
}

impl State {
    /// The word that answers, records and labels carry.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Passing => "passing",
            State::Warning => "warning",
            State::Critical => "critical",
        }
    }

    /// Whether commands may go there.
    pub fn usable(self) -> bool {
        self != State::Critical
    }
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An address.
    Ip(IpAddr),
    /// A host name that whoever connects must look up.
    Name(Arc<str>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => ip.fmt(f),
            Address::Name(name) => f.write_str(name),
        }
    }
}

/// One member of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Unique within its service; registering the same id again replaces it.
    pub id: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// Its port.
    pub port: u16,
    /// Words to choose by (`v1`, `eu`), in the order given.
    pub tags: Vec<Arc<str>>,
    /// How it is.
    pub state: State,
}

impl Instance {
    /// An instance that is critical until somebody says otherwise, as in Consul: unknown is not healthy.
    pub fn new(id: impl Into<Arc<str>>, address: IpAddr, port: u16) -> Self {
        Instance { id: id.into(), address: Address::Ip(address), port, tags: Vec::new(), state: State::Critical }
    }

    /// The same, in another state.
    pub fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// Whether every part is within its limit.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.id.is_empty() || self.id.len() > TEXT_MAX || self.id.chars().any(char::is_control) {
            return Err(Invalid::Id);
        }
        if let Address::Name(name) = &self.address
            && (name.is_empty() || name.len() > TEXT_MAX || !name.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(Invalid::Address);
        }
        if self.tags.len() > TAGS_MAX {
            return Err(Invalid::Tags);
        }
        match self.tags.iter().all(|tag| !tag.is_empty() && tag.len() <= TEXT_MAX) {
            true => Ok(()),
            false => Err(Invalid::Tags),
        }
    }
}

/// The key of a service: lower case, because DNS compares without case. None when it is no DNS label.
pub(crate) fn key(name: &str) -> Option<String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    let bytes = name.as_bytes();
    let fits = bytes.len() <= NAME_MAX && bytes.iter().all(|b| legal(*b));
    (fits && edge(bytes.first()) && edge(bytes.last())).then(|| name.to_ascii_lowercase())
}

/// What is wrong with an instance or a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// The service's name is no DNS label.
    Name,
    /// The id is empty, too long or holds control characters.
    Id,
    /// The address is no host name.
    Address,
    /// Too many tags, or an empty or long one.
    Tags,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Name => write!(f, "a service's name is 1 to {NAME_MAX} letters, digits, '-' or '_'"),
            Invalid::Id => write!(f, "an id is 1 to {TEXT_MAX} bytes without control characters"),
            Invalid::Address => write!(f, "the address is no host name"),
            Invalid::Tags => write!(f, "at most {TAGS_MAX} tags of 1 to {TEXT_MAX} bytes"),
        }
    }
}

impl std::error::Error for Invalid {}
