//! A checked and filled tree to the plan. Nothing is found wrong here any more; what can't be read is at its
//! default, and stays unused, because the check has reported it.

use super::keys::{COMMANDS, SERVICE, WORKER};
use super::plan::{Address, Admin, Fellow, GatewayPlan, Listener, Plan, Ready, Service, Worker};
use super::raw;
use super::source::Span;
use super::tree::{Node, Value};
use super::value;
use super::zmq;
use crate::command::{Codec, Rules};
use crate::exchange::{Delivery, Direction, Identity};
use crate::lines;
use crate::names::port;
use crate::pipeline::{Limits, Sampling, Timeouts};
use crate::registry;
use crate::section::address::Receiver;
use crate::section::{Key, Wrong};
use crate::sink::{
    Dialect, LOG_KEYS, LogSettings, MetricSettings, OTLP_METRIC_KEYS, OtlpMetrics, Redactor, Show, StatsdPlace,
    StatsdSettings, TRACE_KEYS, TRACES,
};
use crate::spool;
use crate::spool::cron::KEYS as CRON_KEYS;
use crate::spool::delivery::KEYS as DELIVERY_KEYS;
use crate::spool::section::KEYS as SPOOL_KEYS;
use crate::tls::{ClientTls, ServerTls, section};
use crate::upstream::balance::Algorithm;
use crate::upstream::{Policy, names};
use serde_json::{Map, Value as Json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn read(root: &Node, origin: Option<PathBuf>, gateway: Option<GatewayPlan>) -> Plan {
    let mut listeners = listeners(root, "inbound", Direction::Inbound, port::INBOUND);
    if let Some(gateway) = &gateway {
        listeners.iter_mut().filter_map(|l| l.tls.as_mut()).for_each(|tls| tls.titled = gateway.titled.clone());
    }
    listeners.extend(self::listeners(root, "outbound", Direction::Outbound, port::OUTBOUND));
    Plan {
        origin,
        identity: Arc::new(Identity {
            service: text(root, "service").into(),
            env: text(root, "env").into(),
            hostname: text(root, "hostname").into(),
            tags: pairs(root.get("tags")).map(|(k, v)| (k.into(), v.trim().into())).collect(),
        }),
        threads: match root.get("threads").and_then(Node::text) {
            Some("auto") => std::thread::available_parallelism().map_or(1, usize::from),
            other => other.and_then(|t| t.parse().ok()).unwrap_or(1),
        },
        listeners,
        discovery: root.get("discovery").and_then(|n| discovery(n, root).ok()).map(Arc::new),
        dns: root.get("dns").and_then(|n| dns(n).ok()).unwrap_or_default(),
        zone: root.get("zone").and_then(Node::text).map(|z| z.trim().into()),
        worker: root.get("worker").map(|w| Worker {
            addresses: addresses(w),
            tls: client_tls(w).unwrap_or_default(),
            policy: Arc::new(policy(w, WORKER, Algorithm::LeastConnections).unwrap_or_default()),
            ready: ready(w.get("ready")),
        }),
        outbound: outbound(root),
        gateway,
        trusted: items(root, "trusted").filter_map(|n| value::network(n.text()?).ok()).collect(),
        identify: rules(root),
        spool: root.get("spool").and_then(|n| spool(n).ok()),
        delivery: root.get("commands").and_then(|n| delivery(n, COMMANDS).ok()).map(Arc::new).unwrap_or_default(),
        schedule: root
            .get("commands")
            .map(|c| items(c, "schedule").filter_map(|n| entry(n).ok()).map(Arc::new).collect())
            .unwrap_or_default(),
        timeouts: timeouts(root.get("timeouts")),
        limits: limits(root.get("limits")),
        show: show(root.get("record")),
        logs: items(root, "logs").filter_map(log).filter_map(Result::ok).collect(),
        worker_logs: worker_logs(root).and_then(Result::ok).unwrap_or_default(),
        metrics: metrics(root.get("metrics")),
        spans: root.get("traces").and_then(spans).and_then(Result::ok),
        sampling: root
            .get("traces")
            .and_then(|t| number(t, "sample"))
            .map_or_else(Sampling::default, |ratio| Sampling { ratio }),
        admin: root.get("admin").and_then(admin),
    }
}

/// The admin listener; none when it is switched off.
pub(super) fn admin(node: &Node) -> Option<Admin> {
    let file = |node: &Node| node.get("token_file").and_then(Node::text).map(PathBuf::from);
    let fellow = |node: &Node| {
        let address = node.text().or_else(|| node.get("address")?.text())?;
        let Ok(Receiver::Http { host, port: at, .. }) = Receiver::parse(address, &["http"], port::ADMIN) else {
            return None;
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Some(Fellow { authority: format!("{host}:{at}"), token_file: file(node) })
    };
    Some(Admin {
        listen: value::socket(node.get("listen")?.text()?).ok()?,
        token_file: file(node),
        read_only: text(node, "read_only") == "true",
        peers: items(node, "peers").filter_map(fellow).collect(),
    })
}

fn items<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
    node.get(key).map(Node::items).unwrap_or_default().iter()
}

fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::text).unwrap_or_default().trim()
}

fn pairs(node: Option<&Node>) -> impl Iterator<Item = (&str, &str)> {
    node.map(Node::entries).unwrap_or_default().iter().filter_map(|e| Some((e.key.as_str(), e.value.text()?)))
}

fn number<T: std::str::FromStr>(node: &Node, key: &str) -> Option<T> {
    node.get(key)?.text()?.parse().ok()
}

fn duration(node: &Node, key: &str) -> Option<Duration> {
    value::duration(node.get(key)?.text()?).ok()
}

fn bytes(node: &Node, key: &str) -> Option<u64> {
    value::bytes(node.get(key)?.text()?).ok()
}

fn addresses(node: &Node) -> Vec<Address> {
    let one = |n: &Node| {
        Some(Address {
            target: value::target(n.get("url")?.text()?).ok()?,
            weight: number(n, "weight").unwrap_or(100),
            priority: 0,
            zone: n.get("zone").and_then(Node::text).map(|z| z.trim().into()),
        })
    };
    items(node, "address").filter_map(one).collect()
}

/// Whom names are asked of, or why it can't be.
pub(crate) fn dns(node: &Node) -> Result<names::Settings, Wrong> {
    names::section::settings(&raw::section(node, names::section::KEYS))
}

/// Finds files that are named beside the configuration there.
pub(crate) fn beside(root: &mut Node, file: Option<&Path>) {
    let Some(folder) = file.and_then(Path::parent) else { return };
    let keys = root.get_mut("discovery").and_then(|d| d.get_mut("entries"));
    // It may be the name alone.
    let path = keys.and_then(|keys| match keys.value {
        Value::Map(_) => keys.get_mut("path"),
        _ => Some(keys),
    });
    if let Some(Node { value: Value::Scalar { text, .. }, .. }) = path {
        *text = folder.join(text.trim()).display().to_string();
    }
}

/// What is wrong with each instance that the section `discovery` registers, at its place.
pub(crate) fn services(node: &Node, root: &Node) -> Vec<(Span, String, Wrong)> {
    let mut alone = raw::section(node, registry::section::KEYS);
    if let Some(values) = alone.as_object_mut() {
        ["dns", "records", "entries", "http", "join", "store"].iter().for_each(|key| drop(values.remove(*key)));
    }
    let all = alone.get_mut("services").map(Json::take);
    let all = all.as_ref().and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let wrong = |(at, one): (usize, &Json)| {
        alone["services"] = Json::Array(vec![one.clone()]);
        let all = registry::Settings::new(alone.clone(), text(root, "hostname")).err()?;
        let wrong = all.into_iter().find(|wrong| wrong.key == Some("services"))?;
        let place = node.get("services").and_then(|list| list.items().get(at))?;
        Some((place.span, format!("discovery.services[{at}]"), wrong))
    };
    all.iter().enumerate().filter_map(wrong).collect()
}

/// What the section `discovery` says, or all that is wrong with it.
pub(crate) fn discovery(node: &Node, root: &Node) -> Result<registry::Settings, Vec<Wrong>> {
    registry::Settings::new(raw::section(node, registry::section::KEYS), text(root, "hostname"))
}

/// The section `spool`, or why it can't be.
pub(crate) fn spool(node: &Node) -> Result<spool::Settings, Wrong> {
    match node.value {
        Value::Map(_) => spool::Settings::new(&raw::section(node, SPOOL_KEYS)),
        _ => Err(Wrong::new("it is off", "")),
    }
}

/// An entry of `commands.schedule`, or why it can't be.
pub(crate) fn entry(node: &Node) -> Result<spool::Entry, Wrong> {
    spool::Entry::new(&raw::section(node, CRON_KEYS))
}

/// How commands are delivered, or why it can't be so.
pub(crate) fn delivery(node: &Node, keys: &[Key]) -> Result<Delivery, Wrong> {
    spool::delivery::delivery(&raw::section(node, keys))
}

/// How commands are sent to a worker or a service, or why it can't be so.
pub(crate) fn policy(node: &Node, keys: &[Key], usual: Algorithm) -> Result<Policy, Wrong> {
    Policy::new(&raw::section(node, keys), usual)
}

fn listeners(root: &Node, key: &str, direction: Direction, port: u16) -> Vec<Listener> {
    items(root, key)
        .filter_map(|n| {
            let address = n.get("listen")?.text()?;
            let bind = value::listen(address, port).ok()?;
            let tls = value::is_https(address).then(|| server_tls(n).ok()).flatten();
            Some(Listener {
                direction,
                bind,
                proxy_protocol: text(n, "proxy_protocol") == "true",
                tls,
                inlet: Arc::new(zmq::inlet(n, root).unwrap_or_default()),
                messages: value::is_zmq(address),
            })
        })
        .collect()
}

/// The section `tls` of a listener, or why it can't be.
pub(crate) fn server_tls(node: &Node) -> Result<ServerTls, Wrong> {
    let values = node.get("tls").map_or_else(|| Json::Object(Map::new()), |n| raw::section(n, section::LISTENER_KEYS));
    ServerTls::of_section(values)
}

/// The section `tls` of a worker or service, or why it can't be.
pub(crate) fn client_tls(node: &Node) -> Result<ClientTls, Wrong> {
    match node.get("tls") {
        None => Ok(ClientTls::default()),
        Some(tls) => ClientTls::of_section(raw::section(tls, section::KEYS)),
    }
}

fn ready(node: Option<&Node>) -> Ready {
    match node.and_then(|n| Some((n, n.get("http")?.text()?))) {
        None => Ready::Connect,
        Some((node, path)) => {
            Ready::Http { path: path.into(), interval: duration(node, "interval").unwrap_or(Duration::from_secs(1)) }
        }
    }
}

fn outbound(root: &Node) -> Vec<Service> {
    items(root, "outbound")
        .filter_map(|o| o.get("services"))
        .flat_map(Node::entries)
        .map(|e| Service {
            name: e.key.to_ascii_lowercase().into(),
            addresses: addresses(&e.value),
            tls: client_tls(&e.value).unwrap_or_default(),
            policy: Arc::new(policy(&e.value, SERVICE, Algorithm::Latency).unwrap_or_default()),
            gate: None,
            delivery: e.value.get("delivery").and_then(|n| delivery(n, DELIVERY_KEYS).ok()).map(Arc::new),
        })
        .collect()
}

fn rules(root: &Node) -> Rules {
    let Some(node) = root.get("commands").and_then(|c| c.get("identify")) else { return Rules::default() };
    let pointer = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    Rules {
        name: pointer("name"),
        id: pointer("id"),
        key: pointer("key"),
        tags: pairs(node.get("tags")).map(|(k, v)| (Arc::from(k), v.to_owned())).collect(),
        codec: match text(node, "codec") {
            "symfony" => Some(Codec::Symfony),
            "laravel" => Some(Codec::Laravel),
            "prooph" => Some(Codec::Prooph),
            "bernard" => Some(Codec::Bernard),
            "simplebus" => Some(Codec::SimpleBus),
            _ => None,
        },
    }
}

fn timeouts(node: Option<&Node>) -> Timeouts {
    let standard = Timeouts::default();
    let Some(node) = node else { return standard };
    Timeouts {
        head: duration(node, "head").unwrap_or(standard.head),
        idle: duration(node, "idle").unwrap_or(standard.idle),
        connect: duration(node, "connect").unwrap_or(standard.connect),
        answer: duration(node, "answer").unwrap_or(standard.answer),
        // `off` is no duration.
        whole: duration(node, "whole"),
        upstream_idle: duration(node, "upstream_idle").unwrap_or(standard.upstream_idle),
        upstream_age: duration(node, "upstream_age").unwrap_or(standard.upstream_age),
        caller_age: duration(node, "caller_age").unwrap_or(standard.caller_age),
        drain: duration(node, "drain").unwrap_or(standard.drain),
        hold: duration(node, "hold").unwrap_or(standard.hold),
    }
}

fn limits(node: Option<&Node>) -> Limits {
    let standard = Limits::default();
    let Some(node) = node else { return standard };
    Limits {
        head: bytes(node, "head").and_then(|n| n.try_into().ok()).unwrap_or(standard.head),
        headers: number(node, "headers").unwrap_or(standard.headers),
        body: bytes(node, "body").unwrap_or(standard.body),
        connections: number(node, "connections").unwrap_or(standard.connections),
    }
}

fn texts(node: &Node, key: &str) -> Vec<String> {
    items(node, key).filter_map(Node::text).map(str::to_owned).collect()
}

pub(crate) fn redactor(record: Option<&Node>) -> Redactor {
    let Some(node) = record.and_then(|r| r.get("redact")) else { return Redactor::default() };
    Redactor::new(&texts(node, "headers"), &texts(node, "query"), &texts(node, "json"))
}

fn show(record: Option<&Node>) -> Show {
    let Some(node) = record else { return Show::default() };
    let flag = |key: &str| text(node, key) == "true";
    Show::new(&texts(node, "headers"), flag("path"), flag("query"), redactor(record))
}

/// An entry of `logs:`, or why it can't be.
pub(crate) fn log(node: &Node) -> Option<Result<LogSettings, Wrong>> {
    let entry = node.entries().first()?;
    let key = LOG_KEYS.iter().find(|k| k.name == entry.key)?;
    Some(LogSettings::new(key.name, raw::section(&entry.value, key.kind.keys()?)))
}

/// The section `worker_logs:`, or why it can't be.
pub(crate) fn worker_logs(root: &Node) -> Option<Result<lines::Settings, Wrong>> {
    let node = root.get("worker_logs").filter(|n| !n.entries().is_empty())?;
    Some(lines::Settings::new(&raw::section(node, lines::KEYS)))
}

fn metrics(node: Option<&Node>) -> MetricSettings {
    let mut settings = MetricSettings { labels: Vec::new(), statsd: Vec::new(), otlp: Vec::new(), prometheus: false };
    let Some(node) = node else { return settings };
    for label in items(node, "labels").filter_map(Node::text) {
        if !settings.labels.iter().any(|known| known == label) {
            settings.labels.push(label.to_owned());
        }
    }
    for entry in items(node, "sinks").filter_map(|n| n.entries().first()) {
        match entry.key.as_str() {
            "prometheus" => settings.prometheus = true,
            "statsd" => settings.statsd.extend(statsd(&entry.value)),
            "otlp" => settings.otlp.extend(otlp(&entry.value)),
            _ => {}
        }
    }
    settings
}

/// An `otlp` of `metrics.sinks`, or why it can't be.
pub(crate) fn otlp(node: &Node) -> Result<OtlpMetrics, Wrong> {
    OtlpMetrics::new(raw::section(node, OTLP_METRIC_KEYS))
}

/// The sink of `traces:`, or why it can't be. It is a log sink that is told everything and chooses itself.
pub(crate) fn spans(traces: &Node) -> Option<Result<LogSettings, Wrong>> {
    let mut values = raw::section(traces.get("otlp")?, TRACE_KEYS);
    if let Some(values) = values.as_object_mut() {
        values.insert("errors".into(), Json::Bool(text(traces, "errors") != "false"));
        values.insert("level".into(), "debug".into());
        values.insert("sample".into(), 1.0.into());
        values.insert("rename".into(), Json::Object(Map::new()));
    }
    Some(LogSettings::new(TRACES, values))
}

fn statsd(node: &Node) -> Option<StatsdSettings> {
    let schemes = &["udp", "tcp", "unixgram", "unix"];
    let place = match Receiver::parse(text(node, "to"), schemes, port::STATSD).ok()? {
        Receiver::Net { scheme, host, port } if scheme == "tcp" => StatsdPlace::Tcp { host, port },
        Receiver::Net { host, port, .. } => StatsdPlace::Udp { host, port },
        Receiver::Unix { path, datagrams: true } => StatsdPlace::UnixDatagram(path),
        Receiver::Unix { path, datagrams: false } => StatsdPlace::UnixStream(path),
        Receiver::Http { .. } => return None,
    };
    Some(StatsdSettings {
        packet: number(node, "packet").unwrap_or_else(|| place.packet()),
        place,
        dialect: match text(node, "dialect") {
            "datadog" => Dialect::Datadog,
            "influx" => Dialect::Influx,
            "graphite" => Dialect::Graphite,
            _ => Dialect::Plain,
        },
        interval: duration(node, "interval")?,
        samples: number(node, "samples")?,
    })
}
