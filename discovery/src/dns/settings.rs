//! What an operator may say about the answers.

use super::labels::{Labels, name_of};
use super::visible::Visible;
use hickory_proto::rr::Name;
use std::net::SocketAddr;
use std::time::Duration;

/// How the names under a domain are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `stock.service.consul`, `n1.node.dc1.consul`.
    Consul,
    /// `1.stock.skydns.local`: a name answers with all that lies under it.
    SkyDns,
}

/// A domain that we answer for.
#[derive(Debug, Clone)]
pub struct Domain {
    pub(crate) name: Name,
    pub(crate) labels: Labels,
    pub(crate) dialect: Dialect,
}

impl Domain {
    /// A domain in a dialect. None when it is no DNS name.
    pub fn new(name: &str, dialect: Dialect) -> Option<Self> {
        let name = name_of(name)?.to_lowercase();
        let labels = Labels::of(&name)?;
        (!labels.is_empty()).then_some(Domain { name, labels, dialect })
    }

    /// How its names are built.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Its name, ending in a dot.
    pub fn name(&self) -> String {
        self.name.to_ascii()
    }
}

/// In which order the members of a service are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Shuffled at every question.
    #[default]
    Shuffled,
    /// Shuffled so that one of twice the weight is twice as often in front.
    Weighted,
}

/// Which recursor is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// In the order given; one that was silent of late comes last.
    #[default]
    Sequential,
    /// In another order at every question.
    Random,
}

/// How long answers may be kept, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ttls {
    /// Services without a rule.
    pub service: u32,
    /// Nodes, addresses, name servers, and names of addresses.
    pub node: u32,
    /// By service: a name, or a beginning with `*` after it. A whole name wins, then the longest beginning.
    pub services: Vec<(String, u32)>,
}

impl Ttls {
    pub(crate) fn of(&self, service: &str) -> u32 {
        let rules = || self.services.iter().map(|(rule, ttl)| (rule.as_str(), *ttl));
        if let Some((_, ttl)) = rules().find(|(rule, _)| rule.eq_ignore_ascii_case(service)) {
            return ttl;
        }
        let begins = |prefix: &str| service.get(..prefix.len()).is_some_and(|s| s.eq_ignore_ascii_case(prefix));
        let prefixes = rules().filter_map(|(rule, ttl)| Some((rule.strip_suffix('*')?, ttl)));
        let longest = prefixes.filter(|(prefix, _)| begins(prefix)).max_by_key(|(prefix, _)| prefix.len());
        longest.map_or(self.service, |(_, ttl)| ttl)
    }
}

/// The numbers of a SOA record, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soa {
    /// Refresh.
    pub refresh: i32,
    /// Retry.
    pub retry: i32,
    /// Expire.
    pub expire: i32,
    /// How long a negative answer may be kept; the SOA record's own time to live too.
    pub min_ttl: u32,
}

/// What the SkyDNS dialect does otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkyDns {
    /// Of records that say nothing.
    pub ttl: u32,
    /// The most that a record may say.
    pub max_ttl: u32,
    /// Of negative answers.
    pub min_ttl: u32,
    /// Of records that were looked up elsewhere, at most.
    pub outside_ttl: u32,
    /// Of records that say nothing.
    pub priority: u16,
    /// The whole name that `local.dns` under the domain means.
    pub local: Option<String>,
    /// The mailbox in SOA records, `@` or a dot after the first word; hostmaster under the domain when None.
    pub hostmaster: Option<String>,
}

impl Default for SkyDns {
    fn default() -> Self {
        SkyDns { ttl: 3600, max_ttl: 3600, min_ttl: 60, outside_ttl: 60, priority: 10, local: None, hostmaster: None }
    }
}

/// Where foreign names are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recursors {
    /// The servers; with none, foreign names are refused.
    pub servers: Vec<SocketAddr>,
    /// Which is asked first.
    pub strategy: Strategy,
    /// How long one has to answer.
    pub timeout: Duration,
    /// Foreign names of fewer labels fail.
    pub ndots: usize,
    /// Whether names of private addresses, which no public server knows, are asked too.
    pub private: bool,
    /// How many answers are kept.
    pub cache: usize,
}

impl Default for Recursors {
    fn default() -> Self {
        Recursors {
            servers: Vec::new(),
            strategy: Strategy::Sequential,
            timeout: Duration::from_secs(2),
            ndots: 0,
            private: false,
            cache: 1024,
        }
    }
}

/// What an operator may say about the answers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The domains we answer for. The first one of Consul's dialect is the one that names of addresses lie in.
    pub domains: Vec<Domain>,
    /// Zones below the domains that were delegated to us by themselves: the owners of SOA and NS records.
    pub zones: Vec<String>,
    /// Our datacenter.
    pub datacenter: String,
    /// The nodes that are name servers.
    pub servers: Vec<String>,
    /// Whether members with a warning are left out too.
    pub only_passing: bool,
    /// In which order members are told.
    pub order: Order,
    /// How long answers may be kept.
    pub ttls: Ttls,
    /// Most answers to a question by UDP without EDNS; 0 is as many as there is room for.
    pub udp_answers: usize,
    /// Most addresses in an answer; 0 is no limit.
    pub addresses: usize,
    /// Whether the TC flag tells that something was cut.
    pub truncate: bool,
    /// The longest answer by UDP, whatever a client would take.
    pub udp_size: u16,
    /// Whether a node's meta comes along as TXT records.
    pub node_meta: bool,
    /// The numbers of SOA records in Consul's dialect.
    pub soa: Soa,
    /// What the SkyDNS dialect does otherwise.
    pub skydns: SkyDns,
    /// Where foreign names are asked.
    pub recursors: Recursors,
    /// So many bytes a second more than it asked with go to one network by UDP; then TC tells it to ask by TCP.
    /// None is no limit.
    pub amplification: Option<u32>,
    /// What may be told.
    pub visible: Visible,
    /// What `version.bind` says; refused when None.
    pub version: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let domains = [("fourmi", Dialect::Consul), ("consul", Dialect::Consul), ("skydns.local", Dialect::SkyDns)];
        Settings {
            domains: domains.iter().filter_map(|(name, dialect)| Domain::new(name, *dialect)).collect(),
            zones: Vec::new(),
            datacenter: "dc1".into(),
            servers: Vec::new(),
            only_passing: false,
            order: Order::Shuffled,
            ttls: Ttls::default(),
            udp_answers: 3,
            addresses: 0,
            truncate: true,
            udp_size: 4096,
            node_meta: true,
            soa: Soa { refresh: 3600, retry: 600, expire: 86_400, min_ttl: 0 },
            skydns: SkyDns::default(),
            recursors: Recursors::default(),
            amplification: Some(1 << 20),
            visible: Visible::default(),
            version: Some(concat!("fourmi ", env!("CARGO_PKG_VERSION")).into()),
        }
    }
}

impl Settings {
    /// What is wrong with the settings, in words for whoever wrote them.
    pub fn check(&self) -> Result<(), String> {
        const WORDS: [&str; 7] = ["service", "connect", "virtual", "ingress", "node", "query", "addr"];
        for (at, domain) in self.domains.iter().enumerate() {
            let (name, first) = (domain.name(), domain.labels.get(0).unwrap_or_default());
            if self.domains.iter().take(at).any(|other| other.labels == domain.labels) {
                return Err(format!("the domain {name} is there twice"));
            }
            if domain.dialect == Dialect::Consul
                && domain.labels.len() > 1
                && (WORDS.contains(&first) || first.eq_ignore_ascii_case(&self.datacenter))
            {
                return Err(format!(
                    "the domain {name} would hide names of the one above it; a zone that was delegated to us belongs \
                     to the zones"
                ));
            }
        }
        let under = |zone: &Labels| self.domains.iter().any(|domain| zone.ends_with(&domain.labels));
        for zone in &self.zones {
            if !name_of(zone).and_then(|name| Labels::of(&name)).is_some_and(|zone| under(&zone)) {
                return Err(format!("the zone {zone} is not in any domain"));
            }
        }
        match self.recursors.servers.iter().find(|server| server.ip().is_unspecified() || server.port() == 0) {
            Some(server) => Err(format!("nobody can be asked at {server}")),
            None => Ok(()),
        }
    }

    /// The domain that a name lies in: the longest.
    pub(crate) fn domain(&self, labels: &Labels) -> Option<&Domain> {
        let under = self.domains.iter().filter(|domain| labels.ends_with(&domain.labels));
        under.max_by_key(|domain| domain.labels.len())
    }

    /// The domain that the names of addresses lie in.
    pub(crate) fn primary(&self) -> Option<&Domain> {
        let consul = self.domains.iter().find(|domain| domain.dialect == Dialect::Consul);
        consul.or(self.domains.first())
    }

    /// The zone that owns a name: the longest of the domain and the zones below it.
    pub(crate) fn zone(&self, domain: &Domain, labels: &Labels) -> Name {
        let zones = self.zones.iter().filter_map(|zone| {
            let name = name_of(zone)?.to_lowercase();
            let zone = Labels::of(&name)?;
            (labels.ends_with(&zone) && zone.ends_with(&domain.labels)).then_some((zone.len(), name))
        });
        zones.max_by_key(|(len, _)| *len).map_or_else(|| domain.name.clone(), |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_say_why() {
        let domains = |names: &[&str]| names.iter().filter_map(|name| Domain::new(name, Dialect::Consul)).collect();
        let with = |names: &[&str]| Settings { domains: domains(names), ..Settings::default() };
        let wrong = [
            (with(&["consul", "Consul."]), "twice"),
            (with(&["consul", "service.consul"]), "zones"),
            (with(&["consul", "dc1.consul"]), "zones"),
            (Settings { zones: vec!["service.example".into()], ..with(&["consul"]) }, "not in any domain"),
            (
                Settings {
                    recursors: Recursors {
                        servers: vec![SocketAddr::from(([0, 0, 0, 0], 53))],
                        ..Recursors::default()
                    },
                    ..Settings::default()
                },
                "0.0.0.0:53",
            ),
        ];
        for (settings, says) in wrong {
            let error = settings.check().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(Settings { zones: vec!["service.consul".into()], ..with(&["consul", "test"]) }.check(), Ok(()));
        assert_eq!(Settings::default().check(), Ok(()));
        assert!(Domain::new("a..b", Dialect::Consul).is_none() && Domain::new("", Dialect::Consul).is_none());
    }

    #[test]
    fn the_best_rule_for_a_service_counts() {
        let services = [("d*", 42), ("db", 10), ("db*", 66)].map(|(rule, ttl)| (rule.to_owned(), ttl)).into();
        let ttls = Ttls { service: 5, node: 0, services };
        assert_eq!(["DB", "dblb", "dk", "api", "d"].map(|service| ttls.of(service)), [10, 66, 42, 5, 42]);
    }
}
