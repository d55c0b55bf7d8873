//! `discovery.services[].check`: how it is found out whether an instance is well.

use crate::section::{Key, Kind, Shape, Wrong, elsewhere, key};
use fourmi_discovery::{Address, Alias, Definition, Instance, Probe, Timing, Tls};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

const TEXT: Kind = Kind::Text(Shape::Free);
const SOME_TIME: Kind = Kind::Duration { min: Duration::from_millis(1), off: false };
const TIMES: Kind = Kind::Count { min: 0, max: 1000, word: None };

/// Its keys; one of the kinds must be there.
pub(super) const KEYS: &[Key] = &[
    key("http", TEXT, "A GET of this URL, or of this path at the instance: 2xx passes, 429 warns."),
    key("tcp", TEXT, "A connection to this `host:port`, or to this port of the instance."),
    key("udp", TEXT, "A datagram to this `host:port` or port: a refusal is bad, silence is not."),
    key("grpc", TEXT, "gRPC's health service at this `host:port` or port, with `/SERVICE` behind it to ask for one."),
    key("h2ping", TEXT, "A PING of HTTP/2 to this `host:port` or port."),
    key("ttl", SOME_TIME, "Somebody must report within this time (Consul's `/v1/agent/check/pass`)."),
    key("alias", TEXT, "As the instance of this id is, or `NODE/ID`, or `NODE/`."),
    elsewhere(
        "script",
        "scripts are not run: whoever may register could run any command here; use http, tcp, grpc or ttl",
    ),
    key("id", TEXT, "What tells it from other checks of this node.").or_words("made from the instance's"),
    key("name", TEXT, "For people."),
    key("interval", Kind::Duration { min: Duration::from_secs(1), off: false }, "How often; at least 1s.").or("10s"),
    key("timeout", SOME_TIME, "How long it may take.").or("10s"),
    key("method", TEXT, "Of `http`.").or("GET"),
    key("headers", Kind::Named(Shape::Header, &TEXT), "Of `http`."),
    key("body", TEXT, "Of `http`."),
    key("redirects", Kind::Flag, "Whether `http` follows them.").or("true"),
    key("tls", Kind::Flag, "Whether `tcp`, `grpc` and `h2ping` speak TLS.").or("false"),
    key("server_name", TEXT, "The name that the certificate must be for.").or_words("the host"),
    key("verify", Kind::Flag, "Whether the certificate is verified.").or("true"),
    key("success_before_passing", TIMES, "Successes in a row until it passes; 0 is 1.").or("0"),
    key("failures_before_warning", TIMES, "Failures in a row until it warns; 0 is as for critical.").or("0"),
    key("failures_before_critical", TIMES, "Failures in a row until it is critical; 0 is 1.").or("0"),
    key(
        "deregister_after",
        Kind::Duration { min: Duration::from_secs(10), off: false },
        "The instance is removed when it was critical for so long; at least 10s.",
    )
    .or_words("never"),
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Values {
    http: Option<String>,
    tcp: Option<String>,
    udp: Option<String>,
    grpc: Option<String>,
    h2ping: Option<String>,
    ttl: Option<Duration>,
    alias: Option<String>,
    id: Option<String>,
    name: Option<String>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    method: Option<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    redirects: Option<bool>,
    tls: bool,
    server_name: Option<String>,
    verify: Option<bool>,
    success_before_passing: u16,
    failures_before_warning: u16,
    failures_before_critical: u16,
    deregister_after: Option<Duration>,
}

const KINDS: &str = "write one of http, tcp, udp, grpc, h2ping, ttl and alias";

/// The check of an instance that is at that host.
pub(super) fn definition(v: Values, instance: &Instance, host: &Address, id: String) -> Result<Definition, Wrong> {
    let at = |text: &str| place(text, host);
    let mut probes = Vec::new();
    if let Some(text) = &v.http {
        let url = match text.strip_prefix('/') {
            Some(_) => format!("http://{}{text}", joined(host, instance.port)),
            None if text.starts_with("http://") || text.starts_with("https://") => text.clone(),
            None => return Err(Wrong::new(format!("`{text}` is no URL"), "write http://HOST:PORT/PATH, or a path")),
        };
        probes.push(Probe::Http {
            url,
            method: v.method.clone().unwrap_or_else(|| "GET".into()),
            headers: v.headers.clone().into_iter().collect(),
            body: v.body.clone().unwrap_or_default(),
            redirects: v.redirects.unwrap_or(true),
        });
    }
    if let Some(text) = &v.tcp {
        probes.push(Probe::Tcp { address: at(text)?, tls: v.tls });
    }
    if let Some(text) = &v.udp {
        probes.push(Probe::Udp { address: at(text)? });
    }
    if let Some(text) = &v.grpc {
        let (address, service) = text.split_once('/').unwrap_or((text, ""));
        probes.push(Probe::Grpc { address: at(address)?, service: service.into(), tls: v.tls });
    }
    if let Some(text) = &v.h2ping {
        probes.push(Probe::H2Ping { address: at(text)?, tls: v.tls });
    }
    probes.extend(v.ttl.map(Probe::Ttl));
    if let Some(text) = &v.alias {
        let (node, id) = text.split_once('/').unwrap_or(("", text));
        probes.push(Probe::Alias(Alias { node: node.into(), instance: id.into() }));
    }
    let probe = match (probes.pop(), probes.is_empty()) {
        (Some(probe), true) => probe,
        (None, _) => return Err(Wrong::new("it says not what is looked at", KINDS)),
        (Some(_), false) => return Err(Wrong::new("it is of several kinds", KINDS)),
    };
    let standard = Timing::default();
    let mut made = Definition::of(instance, v.id.unwrap_or(id), probe);
    made.name = v.name.unwrap_or_else(|| format!("Service '{}' check", instance.service));
    made.timing = Timing {
        interval: v.interval.unwrap_or(standard.interval),
        timeout: v.timeout.unwrap_or(standard.timeout),
        success_before_passing: v.success_before_passing,
        failures_before_warning: v.failures_before_warning,
        failures_before_critical: v.failures_before_critical,
        deregister_after: v.deregister_after,
    };
    made.tls = Tls { server_name: v.server_name.unwrap_or_default(), skip_verify: v.verify == Some(false) };
    made.check().map_err(|e| Wrong::new(e.to_string(), "correct it"))?;
    Ok(made)
}

/// A host and port: both, or a port of that host.
fn place(text: &str, host: &Address) -> Result<String, Wrong> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(joined(host, port));
    }
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if port > 0 => Ok(text.into()),
        _ => Err(Wrong::new(format!("`{text}` is no place to connect to"), "write HOST:PORT, or a port")),
    }
}

fn joined(host: &Address, port: u16) -> String {
    match host {
        Address::Ip(ip) => std::net::SocketAddr::new(*ip, port).to_string(),
        Address::Name(name) => format!("{name}:{port}"),
    }
}
