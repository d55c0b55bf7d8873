//! DNS names as instances: looked up for ever, published when the answer changes.
//!
//! `hickory-proto` makes and reads the messages; who is asked, in which order, and how long an answer holds is ours.
//! Its resolver asks several servers at once, or one after the other without ever getting past a silent one. The
//! order of `/etc/resolv.conf` counts: the second server may not know the names that the first one is for.

mod eyeballs;
mod follow;
mod look;
mod question;
mod resolver;
pub(crate) mod section;
mod system;
#[cfg(test)]
mod tests;
mod wire;

pub use eyeballs::connect_any;
pub use follow::follow;
pub use resolver::{Resolver, Settings};

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;

/// The most instances that one name is taken for.
pub const INSTANCES_MAX: usize = 1024;

/// What is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// A name, or an address (IPv6 without brackets).
    pub host: String,
    /// The port; without it the name is asked for SRV records, which have ports.
    pub port: Option<u16>,
}

impl Name {
    /// Whether it names a service (RFC 2782), whose SRV records say hosts and ports; a port beside it is not used.
    pub fn is_service(&self) -> bool {
        self.address().is_none() && (self.host.starts_with('_') || self.port.is_none())
    }

    /// The address that it is already.
    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// All its addresses: IPv6 first, then IPv4.
    pub addresses: Vec<SocketAddr>,
    /// Its share; of SRV, else 1. Never 0: RFC 2782 means by that the smallest of shares, not none.
    pub weight: u32,
    /// Those of the lowest number come first; 0 without SRV.
    pub priority: u16,
    /// The host that SRV names.
    pub name: Option<String>,
}

/// What [`follow`] has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The instances changed; without any the name is gone.
    Instances(Vec<Found>),
    /// What is wrong with the last answer, or that nothing is any more. The instances stay.
    Trouble(Option<String>),
}

/// Waits for all of them at once, within this task.
async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Option<Pin<Box<F>>>> = futures.into_iter().map(|f| Some(Box::pin(f))).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in running.iter_mut().zip(&mut outputs) {
            match future.as_mut().map(|f| f.as_mut().poll(cx)) {
                Some(Poll::Ready(o)) => (*future, *output) = (None, Some(o)),
                Some(Poll::Pending) => pending = true,
                None => {}
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
