//! From a name to addresses, again and again, never in the way of what is sent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How long an answer is believed.
pub(crate) const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How soon the question is asked again after an error.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
/// How long one question may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many addresses of a name are kept.
const ADDRESSES_MAX: usize = 16;

type Lookup = JoinHandle<io::Result<Vec<SocketAddr>>>;

/// The addresses of one host and port. What was known stays when the name service is away.
pub(crate) struct Resolver {
    host: String,
    port: u16,
    every: Duration,
    again: Duration,
    addresses: Vec<SocketAddr>,
    literal: bool,
    lookup: Option<Lookup>,
    due: Instant,
    trouble: Option<String>,
    #[cfg(test)]
    pub(super) table: Option<std::sync::Arc<std::sync::Mutex<Vec<SocketAddr>>>>,
}

impl Resolver {
    /// Nothing is asked before [`Resolver::refresh`]. A literal address may stand in brackets.
    pub(crate) fn new(host: &str, port: u16) -> Resolver {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let ip = host.parse::<IpAddr>().ok();
        Resolver {
            addresses: ip.map(|ip| SocketAddr::new(ip, port)).into_iter().collect(),
            literal: ip.is_some(),
            host,
            port,
            every: RESOLVE_EVERY,
            again: RESOLVE_AGAIN,
            lookup: None,
            due: Instant::now(),
            trouble: None,
            #[cfg(test)]
            table: None,
        }
    }

    /// Asks this often instead.
    pub(crate) fn every(mut self, period: Duration) -> Resolver {
        self.every = period;
        self.again = self.again.min(period);
        self
    }

    /// The host as it is asked for, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What is known; empty when no question was ever answered.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Asks when it is time and takes the answer when it is there. Waits for it only if `patient` or when no
    /// address is known.
    pub(crate) async fn refresh(&mut self, patient: bool) {
        if self.literal {
            return;
        }
        if self.lookup.is_none() && Instant::now() >= self.due {
            self.lookup = Some(self.ask());
        }
        let Some(lookup) = self.lookup.as_mut() else { return };
        if !lookup.is_finished() && !patient && !self.addresses.is_empty() {
            return;
        }
        let found = match timeout(RESOLVE_TIMEOUT, lookup).await {
            Ok(Ok(Ok(found))) if !found.is_empty() => Ok(found),
            Ok(Ok(Ok(_))) => Err("no address".to_owned()),
            Ok(Ok(Err(e))) => Err(e.to_string()),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err("the resolver does not answer".to_owned()),
        };
        if let Some(lookup) = self.lookup.take() {
            lookup.abort();
        }
        match found {
            Ok(found) => {
                self.due = Instant::now() + self.every;
                self.addresses = found;
            }
            // The old addresses are better than none.
            Err(why) => {
                self.due = Instant::now() + self.again;
                self.trouble = Some(format!("{}: {why}", self.host));
            }
        }
    }

    /// Why the last question had no answer; told once.
    pub(crate) fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    fn ask(&self) -> Lookup {
        #[cfg(test)]
        if let Some(table) = &self.table {
            let found = table.lock().unwrap().clone();
            return tokio::spawn(async move { Ok(found) });
        }
        let (host, port) = (self.host.clone(), self.port);
        tokio::spawn(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await?;
            Ok(found.take(ADDRESSES_MAX).collect())
        })
    }

    /// An address did not take what was sent: the name is asked for again soon.
    pub(crate) fn failed(&mut self) {
        self.due = self.due.min(Instant::now() + self.again);
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        if let Some(lookup) = &self.lookup {
            lookup.abort();
        }
    }
}
