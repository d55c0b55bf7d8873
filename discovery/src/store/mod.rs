//! Keeps what was registered: in a file for one registry, in etcd for many.

pub mod etcd;
mod file;

use crate::registry::{Limits, Registry};
pub use file::Unusable;
use std::path::Path;
use std::time::SystemTime;

/// A registry whose contents are kept. What is not written yet when it is dropped is written then.
#[derive(Debug)]
pub struct Store(Kind);

#[derive(Debug)]
enum Kind {
    File(file::Store),
    Etcd(etcd::Store),
}

/// How a store stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Since when it cannot be reached; None while it can. What is read meanwhile is what was known last.
    pub away_since: Option<SystemTime>,
    /// What was wrong last, as long as it is.
    pub error: Option<String>,
    /// Where it is at the moment.
    pub endpoint: String,
    /// The newest revision of etcd that is known here.
    pub revision: i64,
    /// Entries that could not be read, since the start.
    pub unreadable: u64,
    /// Entries that had no room here or belong to nothing that is known, since the start.
    pub left_out: u64,
}

impl Store {
    /// Opens a file, or begins one, and reads it.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, Unusable> {
        Ok(Store(Kind::File(file::Store::open(path, limits)?)))
    }

    /// Shares a registry through etcd. While etcd is away this begins nevertheless, and tries on; the error is what only
    /// an operator can mend.
    pub async fn etcd(settings: etcd::Settings, limits: Limits) -> Result<Self, etcd::Unusable> {
        Ok(Store(Kind::Etcd(etcd::Store::start(settings, limits).await?)))
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        match &self.0 {
            Kind::File(file) => file.registry(),
            Kind::Etcd(etcd) => etcd.registry(),
        }
    }

    /// Waits until all that was registered by now would survive a crash. The error is why it would not; it is tried
    /// again all the time.
    pub async fn settled(&self) -> Result<(), String> {
        match &self.0 {
            Kind::File(file) => file.settled().await,
            Kind::Etcd(etcd) => etcd.settled().await,
        }
    }

    /// The same of keys and values.
    pub(crate) async fn keys_settled(&self) -> Result<(), String> {
        match &self.0 {
            Kind::File(file) => file.settled().await,
            // What was ordered was done by etcd itself.
            Kind::Etcd(_) => Ok(()),
        }
    }

    /// Why nothing can be registered now, when that is so. Whoever takes registrations asks before.
    pub fn refuses(&self) -> Option<String> {
        match &self.0 {
            Kind::File(_) => None,
            Kind::Etcd(etcd) => etcd.refuses(),
        }
    }

    /// How it stands. A file is always there.
    pub fn standing(&self) -> Standing {
        match &self.0 {
            Kind::File(_) => Standing::default(),
            Kind::Etcd(etcd) => etcd.standing(),
        }
    }
}

/// Where a registry's counter of changes begins: with the time in microseconds, which no registry outruns, so that no
/// reader sees a number again that it has seen before a restart.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(0)
}
