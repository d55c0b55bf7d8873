//! `discovery.dns`: how names are answered.

use crate::names::port;
use crate::section::{Key, Kind, Shape, Word, Wrong, key, word};
use fourmi_discovery::Node;
use fourmi_discovery::dns::{Dialect, Domain, Order, Recursors, Settings, SkyDns, Soa, Strategy, Ttls};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const ANY_TIME: Kind = Kind::Duration { min: Duration::ZERO, off: false };
const NAMES: Kind = Kind::OneOrMany(&Kind::Text(Shape::DnsName));
const SERVERS: Kind = Kind::List(&Kind::Text(Shape::Free));

/// Its keys.
pub(super) const KEYS: &[Key] = &[
    key("listen", Kind::OneOrMany(&Kind::Text(Shape::Socket)), "Where, by UDP and TCP.").or("127.0.0.1:8600"),
    key("domains", Kind::List(&Kind::Short("name", DOMAIN)), "The domains that are answered for.")
        .or("[fourmi, consul, {name: skydns.local, dialect: skydns}]"),
    key(
        "zones",
        NAMES,
        "Zones below the domains that were delegated here by themselves: the owners of SOA and NS records.",
    ),
    key("ttl", ANY_TIME, "How long answers may be kept, in whole seconds.").or("0s"),
    key("node_ttl", ANY_TIME, "The same of nodes and addresses.").or_words("`ttl`"),
    key(
        "service_ttl",
        Kind::Named(Shape::Free, &ANY_TIME),
        "The same by service; `web*` is every name that begins so.",
    ),
    key("negative_ttl", ANY_TIME, "How long it may be kept that there is nothing.").or("0s"),
    key("only_passing", Kind::Flag, "Whether instances with a warning are left out too.").or("false"),
    key("order", Kind::Word(ORDERS), "`weighted`: one of twice the weight is in front twice as often.").or("shuffled"),
    key(
        "udp_answers",
        Kind::Count { min: 0, max: 1000, word: None },
        "Most answers by UDP without EDNS; 0: what fits.",
    )
    .or("3"),
    key("addresses", Kind::Count { min: 0, max: 10_000, word: None }, "Most addresses in an answer; 0: no limit.")
        .or("0"),
    key("truncate", Kind::Flag, "Whether TC tells that there are more.").or("true"),
    key("udp_size", Kind::Bytes { min: 512, max: 65_467 }, "The longest answer by UDP.").or("4096"),
    key("node_meta", Kind::Flag, "Whether a node's meta comes along as TXT records.").or("true"),
    key("name_servers", Kind::OneOrMany(&Kind::Text(Shape::Free)), "The nodes in NS records.").or_words("this node"),
    key("recursors", SERVERS, "Who is asked for names that are not ours; without any they are refused."),
    key("recursor_strategy", Kind::Word(STRATEGIES), "Which of them is asked first.").or("sequential"),
    key(
        "recursor_timeout",
        Kind::Duration { min: Duration::from_millis(10), off: false },
        "How long one of them has to answer.",
    )
    .or("2s"),
    key("cache", Kind::Count { min: 0, max: 1_000_000, word: None }, "Answers of recursors that are kept.").or("1024"),
    key("ndots", Kind::Count { min: 0, max: 15, word: None }, "Foreign names with fewer labels fail.").or("0"),
    key("private", Kind::Flag, "Whether recursors are asked for the names of private addresses.").or("false"),
    key(
        "amplification",
        Kind::Bytes { min: 0, max: 1 << 30 },
        "Bytes a second that one network gets by UDP beyond what it asked with; 0: no limit.",
    )
    .or("1MiB"),
    key("version", Kind::Flag, "Whether `version.bind` is told.").or("true"),
    key("soa", Kind::Section(SOA), "The numbers of SOA records."),
    key("skydns", Kind::Section(SKYDNS), "What SkyDNS's dialect does otherwise."),
];

const DOMAIN: &[Key] = &[
    key("name", Kind::Text(Shape::DnsName), "The domain.").required(),
    key("dialect", Kind::Word(DIALECTS), "How its names are built.").or_words("`consul`; `skydns` for `skydns.local`"),
];

const DIALECTS: &[Word] = &[word("consul"), word("skydns")];
const ORDERS: &[Word] = &[word("shuffled"), word("weighted")];
const STRATEGIES: &[Word] = &[word("sequential"), word("random")];

const SOA: &[Key] = &[
    key("refresh", ANY_TIME, "How often secondaries look.").or("1h"),
    key("retry", ANY_TIME, "And how often when that fails.").or("10m"),
    key("expire", ANY_TIME, "How long they may answer without us.").or("1d"),
];

const SKYDNS: &[Key] = &[
    key("ttl", ANY_TIME, "Of entries that say nothing.").or("1h"),
    key("max_ttl", ANY_TIME, "The most that an entry may say.").or("1h"),
    key("min_ttl", ANY_TIME, "Of answers that there is nothing.").or("60s"),
    key("priority", Kind::Count { min: 1, max: 65_535, word: None }, "Of entries that say nothing.").or("10"),
    key("local", Kind::Text(Shape::DnsName), "The name that `local.dns` means."),
    key("hostmaster", Kind::Text(Shape::Free), "The mailbox in SOA records.").or_words("hostmaster of the domain"),
];

/// The most domains, zones, recursors and places to listen.
const MANY: usize = 16;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Values {
    listen: Vec<String>,
    domains: Vec<DomainValues>,
    zones: Vec<String>,
    ttl: Duration,
    node_ttl: Option<Duration>,
    service_ttl: BTreeMap<String, Duration>,
    negative_ttl: Duration,
    only_passing: bool,
    order: Option<String>,
    udp_answers: Option<usize>,
    addresses: usize,
    truncate: Option<bool>,
    udp_size: Option<u16>,
    node_meta: Option<bool>,
    name_servers: Vec<String>,
    recursors: Vec<String>,
    recursor_strategy: Option<String>,
    recursor_timeout: Option<Duration>,
    cache: Option<usize>,
    ndots: usize,
    private: bool,
    amplification: Option<u32>,
    version: Option<bool>,
    soa: SoaValues,
    skydns: SkyDnsValues,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DomainValues {
    name: String,
    dialect: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SoaValues {
    refresh: Option<Duration>,
    retry: Option<Duration>,
    expire: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SkyDnsValues {
    ttl: Option<Duration>,
    max_ttl: Option<Duration>,
    min_ttl: Option<Duration>,
    priority: Option<u16>,
    local: Option<String>,
    hostmaster: Option<String>,
}

/// Where it listens and how it answers; without the section it listens nowhere.
pub(super) fn settings(
    values: Option<Values>,
    datacenter: &str,
    node: &Node,
) -> Result<(Vec<SocketAddr>, Settings), Wrong> {
    let standard = Settings { datacenter: datacenter.into(), servers: vec![node.name.clone()], ..Settings::default() };
    let Some(v) = values else { return Ok((Vec::new(), standard)) };
    let listen = listen(&v.listen, port::DNS, "dns.listen")?;
    for (key, n) in [("domains", v.domains.len()), ("zones", v.zones.len()), ("recursors", v.recursors.len())] {
        if n > MANY {
            return Err(Wrong::new(format!("{n} of them"), format!("keep at most {MANY}")).of(whole(key)));
        }
    }
    let mut domains = Vec::new();
    for one in &v.domains {
        let usual =
            if one.name.trim_end_matches('.').eq_ignore_ascii_case("skydns.local") { "skydns" } else { "consul" };
        let dialect = match one.dialect.as_deref().unwrap_or(usual) {
            "skydns" => Dialect::SkyDns,
            _ => Dialect::Consul,
        };
        let domain = Domain::new(&one.name, dialect)
            .ok_or_else(|| Wrong::new(format!("`{}` is no domain", one.name), "write one such as consul"));
        domains.push(domain.map_err(|wrong| wrong.of("dns.domains"))?);
    }
    let service_ttl = v.service_ttl.iter().map(|(rule, ttl)| Ok((rule.clone(), seconds(*ttl, "dns.service_ttl")?)));
    let ttl = seconds(v.ttl, "dns.ttl")?;
    let s = standard.soa;
    let soa = |given: Option<Duration>, usual: i32| -> Result<i32, Wrong> {
        let Some(time) = given else { return Ok(usual) };
        i32::try_from(seconds(time, "dns.soa")?).map_err(|_| Wrong::new("too long", "write less").of("dns.soa"))
    };
    let settings = Settings {
        domains: if domains.is_empty() { standard.domains } else { domains },
        zones: v.zones,
        only_passing: v.only_passing,
        order: if v.order.as_deref() == Some("weighted") { Order::Weighted } else { Order::Shuffled },
        ttls: Ttls {
            service: ttl,
            node: v.node_ttl.map_or(Ok(ttl), |node| seconds(node, "dns.node_ttl"))?,
            services: service_ttl.collect::<Result<_, Wrong>>()?,
        },
        udp_answers: v.udp_answers.unwrap_or(standard.udp_answers),
        addresses: v.addresses,
        truncate: v.truncate.unwrap_or(true),
        udp_size: v.udp_size.unwrap_or(standard.udp_size),
        node_meta: v.node_meta.unwrap_or(true),
        soa: Soa {
            refresh: soa(v.soa.refresh, s.refresh)?,
            retry: soa(v.soa.retry, s.retry)?,
            expire: soa(v.soa.expire, s.expire)?,
            min_ttl: seconds(v.negative_ttl, "dns.negative_ttl")?,
        },
        skydns: v.skydns.settings(standard.skydns)?,
        recursors: Recursors {
            servers: v.recursors.iter().map(|text| server(text)).collect::<Result<_, _>>()?,
            strategy: match v.recursor_strategy.as_deref() {
                Some("random") => Strategy::Random,
                _ => Strategy::Sequential,
            },
            timeout: v.recursor_timeout.unwrap_or(standard.recursors.timeout),
            ndots: v.ndots,
            private: v.private,
            cache: v.cache.unwrap_or(standard.recursors.cache),
        },
        amplification: match v.amplification {
            Some(0) => None,
            given => given.or(standard.amplification),
        },
        visible: standard.visible,
        version: standard.version.filter(|_| v.version != Some(false)),
        servers: if v.name_servers.is_empty() { standard.servers } else { v.name_servers },
        datacenter: standard.datacenter,
    };
    settings.check().map_err(|why| Wrong::new(why, "correct the section").of("dns"))?;
    Ok((listen, settings))
}

impl SkyDnsValues {
    fn settings(self, standard: SkyDns) -> Result<SkyDns, Wrong> {
        let of = |given: Option<Duration>, usual: u32| given.map_or(Ok(usual), |time| seconds(time, "dns.skydns"));
        Ok(SkyDns {
            ttl: of(self.ttl, standard.ttl)?,
            max_ttl: of(self.max_ttl, standard.max_ttl)?,
            min_ttl: of(self.min_ttl, standard.min_ttl)?,
            priority: self.priority.unwrap_or(standard.priority),
            local: self.local.or(standard.local),
            hostmaster: self.hostmaster.or(standard.hostmaster),
            ..standard
        })
    }
}

/// The key with the section before it.
fn whole(key: &str) -> &'static str {
    match key {
        "domains" => "dns.domains",
        "zones" => "dns.zones",
        _ => "dns.recursors",
    }
}

/// DNS tells times in whole seconds (RFC 1035 3.2.1).
fn seconds(time: Duration, key: &'static str) -> Result<u32, Wrong> {
    match u32::try_from(time.as_secs()) {
        Ok(seconds) if time.subsec_nanos() == 0 && seconds <= 0x7fff_ffff => Ok(seconds),
        _ => Err(Wrong::new("DNS tells times in whole seconds", "write 0s, 5s or 1m").of(key)),
    }
}

/// Addresses and ports to listen at.
pub(super) fn listen(texts: &[String], port: u16, key: &'static str) -> Result<Vec<SocketAddr>, Wrong> {
    let usual = [format!("127.0.0.1:{port}")];
    let texts = if texts.is_empty() { &usual[..] } else { texts };
    if texts.len() > MANY {
        return Err(Wrong::new(format!("{} of them", texts.len()), format!("keep at most {MANY}")).of(key));
    }
    let one = |text: &String| {
        let text = text.trim().replacen("localhost:", "127.0.0.1:", 1);
        text.parse::<SocketAddr>().map_err(|_| {
            Wrong::new(format!("`{text}` is no address and port"), format!("write one such as 127.0.0.1:{port}"))
                .of(key)
        })
    };
    texts.iter().map(one).collect()
}

fn server(text: &str) -> Result<SocketAddr, Wrong> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(address), _) if address.port() > 0 => Ok(address),
        (_, Ok(ip)) => Ok(SocketAddr::new(ip, 53)),
        _ => {
            let fix = "write an address such as 10.0.0.2, 127.0.0.1:5353 or [fd00::53]:5353";
            Err(Wrong::new(format!("`{text}` is no address of a DNS server"), fix).of("dns.recursors"))
        }
    }
}
