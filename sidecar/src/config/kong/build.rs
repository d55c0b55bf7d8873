//! Checked records to plain values with every default. What could not be read is at its default; nobody uses it then,
//! because it has been reported.

use super::check::{truth, whole};
use super::scalar::{self, Host};
use super::spec::Kind;
use super::vault::unguessable;
use super::{Reader, Record, pem};
use crate::config::tree::{Node, Value};
use crate::gateway::entity::{
    Acl, Active, Algorithm, BasicAuth, CaCertificate, Certificate, Consumer, ConsumerGroup, Entities, Good, HashOn,
    Healthchecks, HmacAuth, Ill, JwtSecret, KeyAuth, Passive, PathHandling, Peer, Plugin, Protocol, Route, Service,
    Sni, Target, Upstream, Vault,
};
use serde_json::{Map, Value as Json};

/// Whole seconds and milliseconds that hold when nothing is said.
const TIMEOUT: u32 = 60_000;
const TARGET_PORT: u16 = 8000;

/// The nodes of consumers and credentials are gone afterwards: there may be many, and all is known of them.
pub(super) fn entities(reader: &mut Reader<'_>) -> Entities {
    // Where each record stands among those of its kind.
    let mut counts = std::collections::HashMap::new();
    let place: Vec<usize> = reader
        .records
        .iter()
        .map(|r| {
            let n = counts.entry(r.kind).or_insert(0);
            *n += 1;
            *n - 1
        })
        .collect();
    let mut all = Entities::default();
    for index in 0..reader.records.len() {
        let node = reader.records.get_mut(index).map(|record| {
            let span = record.node.span;
            std::mem::replace(&mut record.node, Node { value: Value::Null, span })
        });
        let of = Of { place: &place, transform: reader.transform, records: &reader.records };
        let (Some(node), Some(record)) = (node, reader.records.get(index)) else { continue };
        let r = View { node: &node, record, of: &of };
        match record.kind {
            Kind::Service => all.services.push(service(&r)),
            Kind::Route => all.routes.push(route(&r, all.routes.len())),
            Kind::Consumer => all.consumers.push(Consumer {
                id: r.id(),
                username: r.text("username"),
                custom_id: r.text("custom_id"),
                groups: r.list("groups"),
                tags: r.texts("tags"),
            }),
            Kind::ConsumerGroup => {
                all.consumer_groups.push(ConsumerGroup { id: r.id(), name: r.must("name"), tags: r.texts("tags") })
            }
            Kind::Plugin => all.plugins.push(plugin(&r)),
            Kind::Upstream => all.upstreams.push(upstream(&r)),
            Kind::Target => all.targets.push(target(&r)),
            Kind::Certificate => all.certificates.push(Certificate {
                id: r.id(),
                cert: r.must("cert"),
                key: r.must("key"),
                alt: r.text("cert_alt").zip(r.text("key_alt")),
                tags: r.texts("tags"),
            }),
            Kind::Sni => all.snis.push(Sni {
                id: r.id(),
                name: r.must("name"),
                certificate: r.other("certificate").unwrap_or_default(),
                tags: r.texts("tags"),
            }),
            Kind::CaCertificate => {
                let cert = r.must("cert");
                let cert_digest = pem::fingerprint(&cert);
                all.ca_certificates.push(CaCertificate { id: r.id(), cert, cert_digest, tags: r.texts("tags") });
            }
            Kind::Vault => all.vaults.push(Vault {
                id: r.id(),
                prefix: r.must("prefix"),
                description: r.text("description"),
                tags: r.texts("tags"),
            }),
            Kind::KeyAuth => all.credentials.keys.push(KeyAuth {
                id: r.id(),
                consumer: r.consumer(),
                key: r.text("key").unwrap_or_else(|| unguessable(r.id())),
                ttl: r.number("ttl").filter(|n: &u64| *n > 0),
                tags: r.texts("tags"),
            }),
            Kind::BasicAuth => all.credentials.basic.push(basic(&r)),
            Kind::HmacAuth => all.credentials.hmac.push(HmacAuth {
                id: r.id(),
                consumer: r.consumer(),
                username: r.must("username"),
                secret: r.text("secret").unwrap_or_else(|| unguessable(r.id())),
                tags: r.texts("tags"),
            }),
            Kind::Jwt => all.credentials.jwt.push(JwtSecret {
                id: r.id(),
                consumer: r.consumer(),
                key: r.text("key").unwrap_or_else(|| unguessable(r.id())),
                secret: r.text("secret").unwrap_or_else(|| unguessable(r.id())),
                rsa_public_key: r.text("rsa_public_key"),
                algorithm: r.text("algorithm").unwrap_or_else(|| "HS256".to_owned()),
                tags: r.texts("tags"),
            }),
            Kind::Acl => all.credentials.groups.push(Acl {
                id: r.id(),
                consumer: r.consumer(),
                group: r.must("group"),
                tags: r.texts("tags"),
            }),
        }
        if let Some(record) = reader.records.get_mut(index) {
            match record.kind.is_many() {
                true => record.path = Box::default(),
                false => record.node = node,
            }
        }
    }
    memberships(reader, &place, &mut all);
    all
}

/// A group may name its consumers, too.
fn memberships(reader: &Reader<'_>, place: &[usize], all: &mut Entities) {
    for (index, record) in reader.records.iter().enumerate().filter(|(_, r)| r.kind == Kind::ConsumerGroup) {
        let Some(group) = place.get(index).copied() else { continue };
        for consumer in record.lists.get("consumers").into_iter().flatten() {
            let consumer = place.get(*consumer).and_then(|c| all.consumers.get_mut(*c));
            if let Some(consumer) = consumer.filter(|c| !c.groups.contains(&group)) {
                consumer.groups.push(group);
            }
        }
    }
}

struct Of<'a> {
    place: &'a [usize],
    transform: bool,
    records: &'a [Record],
}

/// A record, or a section inside, as it is read.
struct View<'a> {
    node: &'a Node,
    record: &'a Record,
    of: &'a Of<'a>,
}

impl<'a> View<'a> {
    fn id(&self) -> crate::gateway::Id {
        self.record.id.unwrap_or_default()
    }

    fn other(&self, field: &str) -> Option<usize> {
        self.of.place.get(self.record.other(field)?).copied()
    }

    fn consumer(&self) -> usize {
        self.other("consumer").unwrap_or_default()
    }

    fn list(&self, field: &str) -> Vec<usize> {
        let all = self.record.lists.get(field).map(Vec::as_slice).unwrap_or_default();
        unique(all.iter().filter_map(|i| self.of.place.get(*i).copied()))
    }

    fn inside(&self, key: &str) -> View<'a> {
        static NOTHING: Node = Node { value: Value::Null, span: crate::config::source::Span::BUILT_IN };
        View { node: self.node.get(key).unwrap_or(&NOTHING), record: self.record, of: self.of }
    }

    fn text(&self, key: &str) -> Option<String> {
        self.node.get(key).and_then(Node::text).map(str::to_owned)
    }

    fn must(&self, key: &str) -> String {
        self.text(key).unwrap_or_default()
    }

    fn number<T: TryFrom<i64>>(&self, key: &str) -> Option<T> {
        whole(self.node.get(key)?.text()?)?.try_into().ok()
    }

    fn float(&self, key: &str) -> Option<f64> {
        self.node.get(key)?.text()?.parse().ok()
    }

    fn flag(&self, key: &str) -> Option<bool> {
        truth(self.node.get(key)?.text()?)
    }

    fn texts(&self, key: &str) -> Vec<String> {
        let items = self.node.get(key).map(Node::items).unwrap_or_default();
        unique(items.iter().filter_map(Node::text).map(str::to_owned))
    }

    fn map(&self, key: &str) -> Vec<(String, Vec<String>)> {
        let entries = self.node.get(key).map(Node::entries).unwrap_or_default();
        let values = |n: &Node| n.items().iter().filter_map(Node::text).map(str::to_owned).collect();
        entries.iter().map(|e| (e.key.to_string(), values(&e.value))).collect()
    }

    fn protocols(&self, key: &str) -> Option<Vec<Protocol>> {
        let list = self.node.get(key)?;
        let read: Option<Vec<Protocol>> =
            list.items().iter().map(|item| item.text().and_then(Protocol::parse)).collect();
        // What cannot be read has been told, and must not hide that a plugin is wrong, too.
        read.filter(|_| matches!(list.value, Value::List(_))).map(|all| unique(all.into_iter()))
    }
}

fn unique<T: Clone + Eq + std::hash::Hash>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = std::collections::HashSet::new();
    all.filter(|one| seen.insert(one.clone())).collect()
}

fn service(r: &View<'_>) -> Service {
    Service {
        id: r.id(),
        name: r.text("name"),
        enabled: r.flag("enabled").unwrap_or(true),
        protocol: r.text("protocol").and_then(|p| Protocol::parse(&p)).unwrap_or(Protocol::Http),
        host: r.must("host"),
        port: r.number("port").unwrap_or(80),
        path: r.text("path"),
        retries: r.number("retries").unwrap_or(5),
        connect_timeout: r.number("connect_timeout").unwrap_or(TIMEOUT),
        write_timeout: r.number("write_timeout").unwrap_or(TIMEOUT),
        read_timeout: r.number("read_timeout").unwrap_or(TIMEOUT),
        client_certificate: r.other("client_certificate"),
        tls_verify: r.flag("tls_verify"),
        tls_verify_depth: r.number("tls_verify_depth"),
        ca_certificates: r.node.get("ca_certificates").map(|_| r.list("ca_certificates")),
        tags: r.texts("tags"),
    }
}

fn route(r: &View<'_>, order: usize) -> Route {
    let protocols = r.protocols("protocols").unwrap_or_else(|| vec![Protocol::Http, Protocol::Https]);
    let grpc = protocols.iter().any(|p| matches!(p, Protocol::Grpc | Protocol::Grpcs));
    let peers = |key: &str| {
        let one = |n: &Node| Peer {
            ip: n.get("ip").and_then(Node::text).and_then(scalar::net),
            port: n.get("port").and_then(Node::text).and_then(|t| t.parse().ok()),
        };
        unique(r.node.get(key).map(Node::items).unwrap_or_default().iter().map(one))
    };
    Route {
        id: r.id(),
        name: r.text("name"),
        service: r.other("service"),
        hosts: r.texts("hosts"),
        paths: r.texts("paths"),
        methods: r.texts("methods"),
        headers: r.map("headers"),
        snis: r.texts("snis"),
        sources: peers("sources"),
        destinations: peers("destinations"),
        regex_priority: r.number("regex_priority").unwrap_or(0),
        strip_path: r.flag("strip_path").unwrap_or(!grpc),
        preserve_host: r.flag("preserve_host").unwrap_or(false),
        https_redirect_status_code: r.number("https_redirect_status_code").unwrap_or(426),
        path_handling: if r.text("path_handling").as_deref() == Some("v1") {
            PathHandling::V1
        } else {
            PathHandling::V0
        },
        request_buffering: r.flag("request_buffering").unwrap_or(true),
        response_buffering: r.flag("response_buffering").unwrap_or(true),
        tags: r.texts("tags"),
        protocols,
        order,
    }
}

fn plugin(r: &View<'_>) -> Plugin {
    let usual = || vec![Protocol::Grpc, Protocol::Grpcs, Protocol::Http, Protocol::Https];
    Plugin {
        id: r.id(),
        name: r.must("name"),
        instance_name: r.text("instance_name"),
        service: r.other("service"),
        route: r.other("route"),
        consumer: r.other("consumer"),
        consumer_group: r.other("consumer_group"),
        config: r.node.get("config").map_or_else(|| Json::Object(Map::new()), json),
        protocols: r.protocols("protocols").unwrap_or_else(usual),
        enabled: r.flag("enabled").unwrap_or(true),
        tags: r.texts("tags"),
    }
}

/// A tree as JSON, by YAML's rules of what is a number.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null | Value::Bad => Json::Null,
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => Json::Object(entries.iter().map(|e| (e.key.to_string(), json(&e.value))).collect()),
        Value::Scalar { text, plain: false } => text.as_str().into(),
        Value::Scalar { text, plain: true } => match (truth(text), text.parse::<i64>(), text.parse::<f64>()) {
            (Some(flag), ..) => flag.into(),
            (_, Ok(n), _) => n.into(),
            (.., Ok(n)) if n.is_finite() => n.into(),
            _ => text.as_str().into(),
        },
    }
}

fn upstream(r: &View<'_>) -> Upstream {
    let on = |side: &str| match r.text(side).as_deref() {
        Some("consumer") => HashOn::Consumer,
        Some("ip") => HashOn::Ip,
        Some("header") => HashOn::Header(r.must(&format!("{side}_header"))),
        Some("cookie") => HashOn::Cookie(r.must("hash_on_cookie")),
        Some("path") => HashOn::Path,
        Some("query_arg") => HashOn::QueryArg(r.must(&format!("{side}_query_arg"))),
        Some("uri_capture") => HashOn::UriCapture(r.must(&format!("{side}_uri_capture"))),
        _ => HashOn::None,
    };
    let (mut hash_on, mut hash_fallback) = (on("hash_on"), on("hash_fallback"));
    let written = r.text("hash_on");
    let algorithm = match (r.text("algorithm").as_deref(), written.as_deref()) {
        // Kong: choosing one of these two clears what is hashed.
        (Some("least-connections"), _) => Algorithm::LeastConnections,
        (Some("latency"), _) => Algorithm::Latency,
        (_, Some("none")) => Algorithm::RoundRobin,
        (_, Some(_)) | (Some("consistent-hashing"), None) => Algorithm::ConsistentHashing,
        _ => Algorithm::RoundRobin,
    };
    if algorithm != Algorithm::ConsistentHashing {
        (hash_on, hash_fallback) = (HashOn::None, HashOn::None);
    }
    Upstream {
        id: r.id(),
        name: r.must("name"),
        algorithm,
        hash_on,
        hash_fallback,
        hash_on_cookie_path: r.text("hash_on_cookie_path").unwrap_or_else(|| "/".to_owned()),
        slots: r.number("slots").unwrap_or(10_000),
        healthchecks: healthchecks(&r.inside("healthchecks")),
        host_header: r.text("host_header"),
        client_certificate: r.other("client_certificate"),
        use_srv_name: r.flag("use_srv_name").unwrap_or(false),
        tags: r.texts("tags"),
    }
}

fn healthchecks(r: &View<'_>) -> Healthchecks {
    let kind = |r: &View<'_>| r.text("type").and_then(|p| Protocol::parse(&p)).unwrap_or(Protocol::Http);
    let statuses = |r: &View<'_>, usual: &[u16]| match r.node.get("http_statuses") {
        Some(list) => list.items().iter().filter_map(|n| whole(n.text()?)?.try_into().ok()).collect(),
        None => usual.to_vec(),
    };
    let good = |r: &View<'_>, usual: &[u16]| Good {
        interval: r.float("interval").unwrap_or(0.0),
        http_statuses: statuses(r, usual),
        successes: r.number("successes").unwrap_or(0),
    };
    let ill = |r: &View<'_>, usual: &[u16]| Ill {
        interval: r.float("interval").unwrap_or(0.0),
        http_statuses: statuses(r, usual),
        tcp_failures: r.number("tcp_failures").unwrap_or(0),
        timeouts: r.number("timeouts").unwrap_or(0),
        http_failures: r.number("http_failures").unwrap_or(0),
    };
    let (active, passive) = (r.inside("active"), r.inside("passive"));
    let fine: Vec<u16> = (200..=208).chain([226]).chain(300..=308).collect();
    Healthchecks {
        active: Active {
            kind: kind(&active),
            timeout: active.float("timeout").unwrap_or(1.0),
            concurrency: active.number("concurrency").unwrap_or(10),
            http_path: active.text("http_path").unwrap_or_else(|| "/".to_owned()),
            https_sni: active.text("https_sni"),
            https_verify_certificate: active.flag("https_verify_certificate").unwrap_or(true),
            headers: active.map("headers"),
            healthy: good(&active.inside("healthy"), &[200, 302]),
            unhealthy: ill(&active.inside("unhealthy"), &[429, 404, 500, 501, 502, 503, 504, 505]),
        },
        passive: Passive {
            kind: kind(&passive),
            healthy: good(&passive.inside("healthy"), &fine),
            unhealthy: ill(&passive.inside("unhealthy"), &[429, 500, 503]),
        },
        threshold: r.float("threshold").unwrap_or(0.0),
    }
}

fn target(r: &View<'_>) -> Target {
    let target = r.must("target");
    let (host, port) = match scalar::host_and_port(&target) {
        Some(Host::Ip(ip, port)) => (ip.to_string(), port),
        Some(Host::Name(name, port)) => (name.to_owned(), port),
        None => (String::new(), None),
    };
    Target {
        id: r.id(),
        upstream: r.other("upstream").unwrap_or_default(),
        host,
        port: port.unwrap_or(TARGET_PORT),
        weight: r.number("weight").unwrap_or(100),
        tags: r.texts("tags"),
        target,
    }
}

fn basic(r: &View<'_>) -> BasicAuth {
    let password = r.must("password");
    let consumer = r.record.other("consumer").and_then(|i| r.of.records.get(i)).and_then(|c| c.id);
    let hash = match r.of.transform {
        true => hashed(&password, consumer.unwrap_or_default()),
        false => password.to_ascii_lowercase(),
    };
    BasicAuth { id: r.id(), consumer: r.consumer(), username: r.must("username"), hash, tags: r.texts("tags") }
}

/// Kong's hash of a password.
pub(super) fn hashed(password: &str, consumer: crate::gateway::Id) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{password}{consumer}").as_bytes());
    hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}
