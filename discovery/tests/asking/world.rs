//! What a row registers and sets.

use super::peers::{Foreign, Mood, recursor};
use fourmi_discovery::dns::{Dialect, Domain, Server, Settings, Visible};
use fourmi_discovery::http::{Access, Resource, Right, Rule};
use fourmi_discovery::{Address, Check, Definition, Instance, Node, Probe, Record, Registry, State, TaggedAddress};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Puts an entry where the registry learns of it: its name, its JSON, and the seconds of its lease.
pub(crate) type Keep = Box<dyn Fn(&str, &str, Option<u64>) + Send>;

/// Everything a row registers and sets, and the server that tells it.
pub(crate) struct World {
    registry: Registry,
    keep: Option<Keep>,
    settings: Settings,
    foreign: Vec<Foreign>,
    moods: Vec<Mood>,
    server: Option<Server>,
    _peers: tokio::task::JoinSet<()>,
}

impl Default for World {
    fn default() -> Self {
        let domains = [Domain::new("consul", Dialect::Consul), Domain::new("skydns.test", Dialect::SkyDns)];
        World {
            registry: Registry::default(),
            keep: None,
            settings: Settings { domains: domains.into_iter().flatten().collect(), ..Settings::default() },
            foreign: Vec::new(),
            moods: Vec::new(),
            server: None,
            _peers: tokio::task::JoinSet::new(),
        }
    }
}

impl World {
    /// Over a registry that learns of entries from elsewhere.
    #[allow(dead_code)]
    pub(crate) fn over(registry: Registry, keep: Keep) -> Self {
        World { registry, keep: Some(keep), ..World::default() }
    }

    async fn record(&self, name: &str, json: &str, lease: Option<u64>) {
        let Some(keep) = &self.keep else {
            let expires = lease.map(|seconds| std::time::SystemTime::now() + Duration::from_secs(seconds));
            let record: Record = serde_json::from_str(json).unwrap();
            self.registry.put_record(name, Record { expires, ..record }).unwrap();
            return;
        };
        keep(name, json, lease);
        let mut changes = self.registry.watch();
        let lower = name.to_ascii_lowercase();
        while !self.registry.snapshot().records().any(|(known, _)| known == lower) {
            tokio::time::timeout(Duration::from_secs(20), changes.changed()).await.unwrap().unwrap();
        }
    }

    /// One line of a row.
    pub(super) async fn line(&mut self, line: &str) {
        let mut words = line.split(' ');
        let word = words.next().unwrap();
        let words: Vec<&str> = words.collect();
        match (word, &words[..]) {
            ("node", [name, address, rest @ ..]) => {
                let mut node = Node::new(*name, Address::parse(address));
                for pair in rest {
                    let (key, value) = pair.split_once('=').unwrap();
                    match key.strip_prefix("tagged:") {
                        Some(tag) => drop(node.tagged.insert(tag.into(), Address::parse(value))),
                        None => drop(node.meta.insert(key.into(), value.into())),
                    }
                }
                self.registry.put_node(node).unwrap();
            }
            ("service", [name, "on", node, rest @ ..]) => self.service(name, node, rest),
            ("many", [name, count, first]) => {
                let first: Ipv4Addr = first.parse().unwrap();
                self.registry.put_node(Node::new("many", Address::Ip(first.into()))).unwrap();
                for n in 0..count.parse::<u32>().unwrap() {
                    let ip = Ipv4Addr::from(u32::from(first) + n).to_string();
                    self.service(name, "many", &[&format!("id=i{n}"), &format!("address={ip}"), "port=80"]);
                }
            }
            ("check", [node, state]) => {
                let check = Check::new(Definition::of_node(node, "node", Probe::Manual));
                self.registry.put_check(check.state(State::parse(state).unwrap())).unwrap();
            }
            ("drain", [node, id]) => assert!(self.registry.drain(node, id, true)),
            ("record", [name, json @ ..]) => self.record(name, &json.join(" "), None).await,
            ("key", [prefix, name, key]) => {
                assert_eq!(Record::key(prefix, name).as_deref(), Some(*key));
                assert_eq!(Record::name(prefix, key).as_deref(), Some(*name));
            }
            ("lease", [name, seconds, host]) => {
                let json = format!(r#"{{"host":"{host}"}}"#);
                self.record(name, &json, Some(seconds.parse().unwrap())).await;
            }
            ("long", [name, length]) => {
                let json = format!(r#"{{"text":"{}"}}"#, "x".repeat(length.parse().unwrap()));
                self.record(name, &json, None).await;
            }
            ("set", [key, rest @ ..]) => self.set(key, rest),
            ("foreign", [name, ttl, kind, data]) => self.foreign.push(Foreign::parse(name, ttl, kind, data)),
            ("recursor", [mood]) => self.moods.push(Mood::parse(mood)),
            ("stub", [zone, mood]) => {
                let peer = recursor(Mood::parse(mood), self.foreign.clone(), &mut self._peers).await;
                let record = Record::host(peer.ip().to_string(), peer.port());
                self.registry.put_record(&format!("a.{zone}.stub.dns.skydns.test"), record).unwrap();
            }
            ("remove", [node, id]) => assert!(self.registry.deregister(node, id)),
            _ => panic!("what is {line}?"),
        }
    }

    fn service(&self, name: &str, node: &str, words: &[&str]) {
        let mut made = Instance::new(name, name, node, 0);
        let mut checks = Vec::new();
        for word in words {
            let (key, value) = word.split_once('=').unwrap();
            match key {
                "id" => made.id = value.into(),
                "address" => made.address = Some(Address::parse(value)),
                "port" => made.port = value.parse().unwrap(),
                "tags" => made.tags = value.split(',').map(Into::into).collect(),
                "priority" => made.priority = Some(value.parse().unwrap()),
                "weights" => {
                    let (passing, warning) = value.split_once('/').unwrap();
                    (made.weights.passing, made.weights.warning) = (passing.parse().unwrap(), warning.parse().unwrap());
                }
                "check" => checks.push(State::parse(value).unwrap()),
                "lan_ipv4" | "lan_ipv6" => {
                    let tagged = TaggedAddress { address: Address::parse(value), port: 0 };
                    made.tagged.insert(key.into(), tagged);
                }
                other => panic!("what is {other}?"),
            }
        }
        let check = |(n, state): (usize, State)| {
            Check::new(Definition::of(&made, format!("{}:{n}", made.id), Probe::Manual)).state(state)
        };
        let checks = checks.into_iter().enumerate().map(check).collect();
        self.registry.register(made.clone(), checks, false).unwrap();
    }

    fn set(&mut self, key: &str, words: &[&str]) {
        let s = &mut self.settings;
        let value = words.first().copied().unwrap_or_default();
        let number = || value.parse::<u32>().unwrap();
        match key {
            "node_ttl" => s.ttls.node = number(),
            "service_ttl" => {
                let rule = |word: &&str| word.split_once('=').map(|(rule, ttl)| (rule.into(), ttl.parse().unwrap()));
                s.ttls.services = words.iter().filter_map(rule).collect();
            }
            "only_passing" => s.only_passing = value == "true",
            "node_meta" => s.node_meta = value == "true",
            "truncate" => s.truncate = value == "true",
            "udp_answers" => s.udp_answers = number() as usize,
            "addresses" => s.addresses = number() as usize,
            "udp_size" => s.udp_size = value.parse().unwrap(),
            "datacenter" => s.datacenter = value.into(),
            "servers" => s.servers = words.iter().map(|word| (*word).into()).collect(),
            "zones" => s.zones = words.iter().map(|word| (*word).into()).collect(),
            "soa" => {
                let n: Vec<i32> = words.iter().map(|word| word.parse().unwrap()).collect();
                (s.soa.refresh, s.soa.retry, s.soa.expire) = (n[0], n[1], n[2]);
                s.soa.min_ttl = n[3].try_into().unwrap();
            }
            "domains" => s.domains = words.iter().filter_map(|word| Domain::new(word, Dialect::Consul)).collect(),
            "ndots" => s.recursors.ndots = number() as usize,
            "timeout" => s.recursors.timeout = Duration::from_millis(number().into()),
            "private" => s.recursors.private = value == "true",
            "skydns_ttl" => (s.skydns.ttl, s.skydns.max_ttl) = (number(), number()),
            "local" => s.skydns.local = Some(value.into()),
            "deny" => {
                let access = Access { default: Right::Deny, ..Access::default() };
                let rule = |word: &&str| {
                    let (resource, name) = word.split_once('=').unwrap();
                    let resource = if resource == "node" { Resource::Node } else { Resource::Service };
                    Rule { resource, name: name.into(), prefix: false, right: Right::Read }
                };
                s.visible = Visible::by(access, words.iter().map(rule).collect());
            }
            "version" => s.version = (!value.is_empty()).then(|| value.into()),
            other => panic!("what is {other}?"),
        }
    }

    /// Where the server is; it begins with the first question.
    pub(super) async fn server(&mut self) -> SocketAddr {
        if self.server.is_none() {
            for mood in self.moods.clone() {
                let peer = recursor(mood, self.foreign.clone(), &mut self._peers).await;
                self.settings.recursors.servers.push(peer);
            }
            let here = "127.0.0.1:0".parse().unwrap();
            let server = Server::bind(&[here], self.registry.clone(), self.settings.clone()).await.unwrap();
            self.server = Some(server);
        }
        self.server.as_ref().unwrap().addresses()[0]
    }
}
