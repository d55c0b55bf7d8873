//! Services that nobody configured: those that the registry knows, by name.

use super::road::Served;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Services by their names in lower case.
pub type Listed = Arc<HashMap<Arc<str>, Served>>;

/// The services of the registry: replaced by the control thread when one comes or goes, read by the data threads. Who
/// the members of a service are is in its pool.
#[derive(Debug, Default)]
pub struct Directory {
    version: AtomicU64,
    services: Mutex<Listed>,
}

impl Directory {
    /// Puts other services in the place of those of now.
    pub fn replace(&self, services: Listed) {
        *self.services.lock().unwrap_or_else(PoisonError::into_inner) = services;
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Counts the replacements.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The services, and the count that they belong to.
    pub(super) fn current(&self) -> (u64, Listed) {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version(), services.clone())
    }
}

/// How a host's name leads to the registry.
#[derive(Debug, Clone)]
pub struct Finder {
    /// What it knows.
    pub directory: Arc<Directory>,
    /// What may stand behind a service's name, in lower case, with the dot.
    pub suffixes: Arc<[String]>,
    /// The domains of such names, with the dot: a service that is in none of ours is nowhere else.
    pub domains: Arc<[String]>,
}

impl Finder {
    /// Whether a host can be nothing but a service of a domain of ours, whatever it is called.
    pub(super) fn owns(&self, host: &str) -> bool {
        let front = self.domains.iter().find_map(|domain| host.strip_suffix(domain.as_str()));
        front.is_some_and(|front| front.ends_with(".service") || front.contains(".service."))
    }
}
