//! One look-up of a name, with what was known before standing in for what fails.

use super::question::seconds;
use super::resolver::{Host, Resolver};
use super::system::System;
use super::{Found, INSTANCES_MAX, Name, all};
use hickory_proto::rr::{RData, Record, rdata::SRV};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How many hosts of SRV records are looked up at once.
const HOSTS_AT_ONCE: usize = 16;
/// How soon a name of the hosts file is looked at again, in seconds.
const HOSTS_FILE_TTL: u32 = 2;

/// A host's addresses, sorted, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) v4: Vec<Ipv4Addr>,
    pub(super) v6: Vec<Ipv6Addr>,
}

impl Addresses {
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(super) fn sorted(mut self) -> Addresses {
        self.v4.sort_unstable();
        self.v4.dedup();
        self.v6.sort_unstable();
        self.v6.dedup();
        self
    }

    fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Addresses {
        let mut by_family = Addresses::default();
        addresses.into_iter().for_each(|ip| by_family.add(ip));
        by_family.sorted()
    }

    fn add(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.v4.push(ip),
            IpAddr::V6(ip) => self.v6.push(ip),
        }
    }
}

/// What the last good answers said, by host.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    hosts: HashMap<String, Addresses>,
    /// The full name that had the records.
    settled: Option<String>,
}

/// What a look-up brought.
#[derive(Debug)]
pub(super) struct Look {
    /// In a fixed order, each once.
    pub(super) found: Vec<Found>,
    /// How long it holds.
    pub(super) holds: Duration,
    /// What failed or is odd.
    pub(super) trouble: Option<String>,
    /// Something failed, so it is to be tried again soon.
    pub(super) failed: bool,
    /// What to remember if this counts.
    pub(super) memory: Memory,
}

impl Look {
    /// Whether every server that was asked says that nothing is there.
    pub(super) fn is_gone(&self) -> bool {
        self.found.is_empty() && !self.failed
    }
}

/// Looks a name up.
pub(super) async fn look(name: &Name, resolver: &Resolver, before: &Memory) -> Look {
    let mut round = Round {
        resolver,
        system: resolver.system(),
        file: resolver.hosts(),
        before,
        memory: Memory { hosts: HashMap::new(), settled: before.settled.clone() },
        ttl: u32::MAX,
        failed: None,
        nothing: None,
    };
    let mut found = match (name.address(), name.is_service()) {
        (Some(ip), _) => instances(&Addresses::of([ip]), name.port.unwrap_or_default()),
        (None, true) => round.service(&name.host).await,
        (None, false) => round.host(&name.host, name.port.unwrap_or_default()).await,
    };
    // Of two records for one place the one of better priority stays.
    found.sort_by(|a, b| (&a.addresses, a.priority, b.weight).cmp(&(&b.addresses, b.priority, a.weight)));
    found.dedup_by(|a, b| a.addresses == b.addresses);
    let Round { memory, ttl, failed, nothing, .. } = round;
    let trouble = match found.len() {
        _ if failed.is_some() => failed.clone(),
        0 => nothing,
        n if n > INSTANCES_MAX => Some(format!("{n} instances, of which {INSTANCES_MAX} are used")),
        _ => None,
    };
    found.truncate(INSTANCES_MAX);
    Look {
        found,
        holds: Duration::from_secs(ttl.into()),
        failed: failed.is_some(),
        trouble: trouble.map(|why| format!("`{}`: {why}", name.host)),
        memory,
    }
}

/// A look-up on its way.
struct Round<'a> {
    resolver: &'a Resolver,
    system: System,
    /// The hosts file's text.
    file: String,
    before: &'a Memory,
    memory: Memory,
    ttl: u32,
    /// The first failure.
    failed: Option<String>,
    /// Why there is nothing, if there is.
    nothing: Option<String>,
}

impl Round<'_> {
    fn holds(&mut self, ttl: u32) {
        self.ttl = self.ttl.min(ttl);
    }

    async fn ask(&self, host: &str, settled: Option<&str>) -> Host {
        self.resolver.host(&self.system, &self.file, host, settled).await
    }

    async fn host(&mut self, host: &str, port: u16) -> Vec<Found> {
        let heard = self.ask(host, self.before.settled.as_deref()).await;
        // Only an answer says where the records are; what stands in for a failure does not.
        if let Some(full) = heard.has_records() {
            self.memory.settled = Some(full.to_owned());
        }
        let addresses = self.settle(host, heard);
        instances(&addresses, port)
    }

    async fn service(&mut self, service: &str) -> Vec<Found> {
        let (full, heard) = self.resolver.service(&self.system, service, self.before.settled.as_deref()).await;
        let reply = match heard {
            Ok(reply) => reply,
            Err(no) => {
                self.failed = Some(no.why);
                return Vec::new();
            }
        };
        self.holds(reply.ttl);
        // A target that is the root says that the service is not offered.
        let offered = |data: &RData| match data {
            RData::SRV(srv) if !srv.target.is_root() => Some(srv.clone()),
            _ => None,
        };
        let mut records: Vec<SRV> = reply.records.iter().filter_map(offered).collect();
        records.sort_by(|a, b| (a.priority, &a.target, a.port).cmp(&(b.priority, &b.target, b.port)));
        records.truncate(INSTANCES_MAX);
        if records.is_empty() {
            self.nothing = Some(if reply.exists { "has no SRV record" } else { "does not exist (NXDOMAIN)" }.into());
            return Vec::new();
        }
        self.memory.settled = Some(full);
        let hosts = self.targets(&records, &reply.additional).await;
        let mut found = Vec::new();
        for srv in records {
            let Some(addresses) = hosts.get(&target(&srv.target)) else { continue };
            let places = instances(addresses, srv.port);
            // The weight is the host's; its instances share it.
            let weight = (u32::from(srv.weight) / places.len().max(1) as u32).max(1);
            let name = Some(target(&srv.target).trim_end_matches('.').to_owned());
            found.extend(places.into_iter().map(|f| Found { weight, priority: srv.priority, name: name.clone(), ..f }));
        }
        found
    }

    /// The addresses of SRV's hosts: those that came along, which are all or none of a host's, else looked up.
    async fn targets(&mut self, records: &[SRV], along: &[Record]) -> BTreeMap<String, Addresses> {
        let mut hosts: BTreeMap<String, Addresses> =
            records.iter().map(|srv| (target(&srv.target), Addresses::default())).collect();
        for record in along {
            if let (Some(ip), Some(addresses)) = (record.data.ip_addr(), hosts.get_mut(&target(&record.name))) {
                addresses.add(ip);
                self.holds(seconds(record));
            }
        }
        let missing: Vec<String> = hosts.iter().filter(|(_, a)| a.is_empty()).map(|(host, _)| host.clone()).collect();
        let mut silence = false;
        for some in missing.chunks(HOSTS_AT_ONCE) {
            let heard = match silence {
                false => all(some.iter().map(|host| self.ask(host, None))).await,
                // Nobody there: the others stay what they were, rather than wait for each in turn.
                true => some.iter().map(|host| Host::unasked(host)).collect(),
            };
            silence |= heard.iter().any(Host::is_silence);
            for (host, heard) in some.iter().zip(heard) {
                let addresses = self.settle(host, heard);
                hosts.insert(host.clone(), addresses);
            }
        }
        for (host, addresses) in &mut hosts {
            *addresses = std::mem::take(addresses).sorted();
            self.memory.hosts.insert(host.clone(), addresses.clone());
        }
        hosts
    }

    /// The addresses of a host; a family that failed is what it was.
    fn settle(&mut self, host: &str, heard: Host) -> Addresses {
        let (v4, v6) = match heard {
            Host::File(addresses) => {
                self.holds(HOSTS_FILE_TTL);
                return addresses;
            }
            Host::Dns { v4, v6, .. } => (v4, v6),
        };
        let before = self.before.hosts.get(host);
        let mut addresses = Addresses::default();
        let (mut nothing_holds, mut exists) = (u32::MAX, false);
        for (heard, is_v6) in [(v4, false), (v6, true)] {
            match heard {
                Ok(reply) if reply.records.is_empty() => {
                    nothing_holds = nothing_holds.min(reply.ttl);
                    exists |= reply.exists;
                }
                Ok(reply) => {
                    self.holds(reply.ttl);
                    reply.records.iter().filter_map(RData::ip_addr).for_each(|ip| addresses.add(ip));
                }
                Err(no) => {
                    self.failed.get_or_insert(no.why);
                    match before {
                        Some(before) if is_v6 => addresses.v6.clone_from(&before.v6),
                        Some(before) => addresses.v4.clone_from(&before.v4),
                        None => {}
                    }
                }
            }
        }
        if addresses.is_empty() {
            // That one family has none holds as long as the other's addresses do.
            self.holds(nothing_holds);
            let why = if exists { "has no address" } else { "does not exist (NXDOMAIN)" };
            self.nothing.get_or_insert(why.into());
        }
        let addresses = addresses.sorted();
        self.memory.hosts.insert(host.to_owned(), addresses.clone());
        addresses
    }
}

/// A host of SRV as text, with its last dot: it is looked up as it is.
fn target(name: &hickory_proto::rr::Name) -> String {
    let mut text = name.to_lowercase().to_ascii();
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

/// The instances at these addresses. A service with both families has one address of each for every instance, but DNS
/// does not say which belong together: they are paired in their order, so that there are as many instances as the
/// larger family has addresses, and no instance twice.
fn instances(addresses: &Addresses, port: u16) -> Vec<Found> {
    let pair = |i: usize| {
        let v6 = addresses.v6.get(i).map(|ip| SocketAddr::new(IpAddr::V6(*ip), port));
        let v4 = addresses.v4.get(i).map(|ip| SocketAddr::new(IpAddr::V4(*ip), port));
        Found { addresses: v6.into_iter().chain(v4).collect(), weight: 1, priority: 0, name: None }
    };
    (0..addresses.v4.len().max(addresses.v6.len())).map(pair).collect()
}
