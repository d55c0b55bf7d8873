//! What people write who come from elsewhere, and what it is called here.

use super::keys::{self, ROOT, SERVICE, WORKER};
use crate::section::Key;
use crate::upstream::health::section::KEYS as HEALTH;

/// Where a habit shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    /// `worker` and each of `outbound[].services`.
    Service,
    Timeouts,
    /// Consul's agent is configured by one flat file.
    Discovery,
}

use Place::{Discovery, Service, Timeouts, Top};

const KONG: &str = "a Kong file goes under `gateway:`, as the name of a file or inline; services that the worker calls go to \
                    `outbound[].services`; a file of Kong's own begins with _format_version: \"3.0\"";
const ADDRESS: &str = "write `address: http://HOST:PORT`, or a list of them";
const IN_ADDRESS: &str = "write it beside the address: `address: [{url: http://HOST:PORT, weight: 50, zone: eu-1}]`";
const PASSIVE: &str = "write it as `healthchecks.passive`";
const ALGORITHM: &str = "write `algorithm`";
const RETRIES: &str = "write `retries`";
const ROOM: &str = "write `concurrency`";
const ANSWER: &str = "write `answer`: how long an answer's head may take";
const TIMES: &str = "write it in `timeouts` at the top: `connect`, `answer`, `whole`";

const LISTEN: &str = "write `dns: {listen: ADDRESS:PORT}` and `http: {listen: ADDRESS:PORT}`";
const NOTHING: &str =
    "remove it; there is no such thing here: one registry by itself, or several with one etcd (`store`)";

/// Keys of Kong, Envoy, nginx, HAProxy and Consul, and what to do instead.
const KEYS: &[(Place, &[&str], &str)] = &[
    (
        Top,
        &["_transform", "services", "routes", "upstreams", "targets", "consumers", "plugins", "certificates", "snis"],
        KONG,
    ),
    (Service, &["targets", "host", "hosts", "port", "url", "urls", "server", "servers", "endpoints"], ADDRESS),
    (Service, &["instances", "backend", "backends", "upstream", "upstreams", "lb_endpoints"], ADDRESS),
    (Service, &["weight", "zone"], IN_ADDRESS),
    (Service, &["outlier_detection", "max_fails", "fail_timeout"], PASSIVE),
    (Service, &["lb_policy", "balance", "load_balancing", "lb"], ALGORITHM),
    (Service, &["hash", "ip_hash", "ring_hash", "hash_policy"], "write `algorithm: consistent-hashing` and `hash_on`"),
    (Service, &["retry", "retry_policy", "num_retries", "proxy_next_upstream"], RETRIES),
    (Service, &["maxconn", "max_conns", "max_connections", "max_requests"], ROOM),
    (Service, &["check", "health"], "write it as `healthchecks.active`"),
    (Service, &["ssl", "transport_socket"], "write https:// in `address`, and what is special in `tls`"),
    (Service, &["timeout", "timeouts", "connect_timeout", "read_timeout", "write_timeout"], TIMES),
    (Timeouts, &["read", "response", "request", "upstream", "server", "send", "write"], ANSWER),
    (Timeouts, &["total", "overall"], "write `whole`"),
    (Timeouts, &["keepalive", "client"], "write `idle`"),
    (Timeouts, &["shutdown", "stop", "graceful"], "write `drain`"),
    (Discovery, &["node_name"], "write `node`"),
    (Discovery, &["node_meta"], "write `meta`"),
    (
        Discovery,
        &["bind_addr", "advertise_addr", "advertise_addr_wan"],
        "write `address`: where others reach this node",
    ),
    (Discovery, &["client_addr", "addresses", "ports"], LISTEN),
    (Discovery, &["domain", "alt_domain", "domains"], "write `dns: {domains: [consul]}`"),
    (Discovery, &["recursor", "recursors"], "write `dns: {recursors: [10.0.0.2]}`"),
    (Discovery, &["dns_config"], "its keys are those of `dns`: `ttl`, `service_ttl`, `only_passing`, `udp_answers`, …"),
    (Discovery, &["http_config"], "write `http: {allow_write: [10.0.0.0/8]}`"),
    (Discovery, &["acl", "acl_token", "acl_default_policy"], "write `http: {default: deny, access: […]}`"),
    (
        Discovery,
        &["tls", "ca_file", "cert_file", "key_file", "verify_incoming"],
        "write `http: {tls: {certificate: …}}`",
    ),
    (Discovery, &["data_dir"], "write `store: {embedded: {path: FILE}}`"),
    (Discovery, &["retry_join", "start_join", "server_addr"], "write `join: http://registry:8500`"),
    (Discovery, &["service", "checks"], "write `services: [{name: …, check: …}]`"),
    (Discovery, &["server", "bootstrap", "bootstrap_expect", "ui", "ui_config", "encrypt", "log_level"], NOTHING),
];

/// Words of others for values of `algorithm`.
const ALGORITHMS: &[(&str, &[&str])] = &[
    (
        "least-connections",
        &["leastconn", "least_conn", "least_connections", "least_request", "least-request", "least_requests"],
    ),
    ("round-robin", &["roundrobin", "round_robin", "rr", "static-rr", "wrr"]),
    ("latency", &["random", "p2c", "ewma", "peak_ewma", "peak-ewma", "least_time"]),
    (
        "consistent-hashing",
        &["ring_hash", "ring-hash", "maglev", "hash", "ip_hash", "source", "uri", "consistent_hashing"],
    ),
];

/// Sections whose keys are looked for where they do not belong. Their words are clear without the section.
const SECTIONS: &[(&str, &[Key])] = &[
    ("`worker`", WORKER),
    ("`outbound[].services.NAME`", SERVICE),
    ("`healthchecks`", HEALTH),
    ("`inbound[]`", keys::INBOUND),
    ("`outbound[]`", keys::OUTBOUND),
    ("`timeouts`", keys::TIMEOUTS),
    ("`limits`", keys::LIMITS),
    ("`metrics`", keys::METRICS),
    ("the top", ROOT),
];

fn place(path: &str) -> Option<Place> {
    let mut parts = path.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(""), None, ..) => Some(Top),
        (Some("worker"), None, ..) => Some(Service),
        (Some(outbound), Some("services"), Some(_), None) if outbound.starts_with("outbound[") => Some(Service),
        (Some("timeouts"), None, ..) => Some(Timeouts),
        (Some("discovery"), None, ..) => Some(Discovery),
        _ => None,
    }
}

/// What to do about a key that is not one of the section at `path`.
pub(crate) fn key(path: &str, key: &str) -> Option<&'static str> {
    let here = place(path)?;
    KEYS.iter().find(|(place, words, _)| *place == here && words.contains(&key)).map(|(.., fix)| *fix)
}

/// The sections that the key does belong to, in words.
pub(crate) fn elsewhere(key: &str) -> Option<String> {
    let there = |keys: &[Key]| keys.iter().any(|k| k.supported && k.name == key);
    let all: Vec<&str> = SECTIONS.iter().filter(|(_, keys)| there(keys)).map(|(name, _)| *name).collect();
    (!all.is_empty()).then(|| all.join(" and to "))
}

/// What a word is called here.
pub(crate) fn word(path: &str, word: &str) -> Option<&'static str> {
    if path.rsplit('.').next() != Some("algorithm") {
        return None;
    }
    ALGORITHMS.iter().find(|(_, words)| words.contains(&word)).map(|(name, _)| *name)
}
