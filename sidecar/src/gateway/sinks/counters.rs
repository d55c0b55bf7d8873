//! Plugins that count.

use super::Asked;
use super::endpoint::{finish, place};
use super::queue::Queue;
use crate::gateway::Wrong;
use crate::gateway::entity::Plugin;
use crate::gateway::fields::Fields;
use crate::sink::StatsdPlace;
use crate::sink::kong::{ConsumerName, Metric, Of, ServiceName, StatKind, Statsd, Switches, TagStyle, To};
use std::time::Duration;

/// Sums do not leave more often than this.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Series of sums need no room in a queue.
const BUFFER: usize = 4 << 10;

const METRICS: [(&str, Of); 13] = [
    ("request_count", Of::RequestCount),
    ("latency", Of::Latency),
    ("request_size", Of::RequestSize),
    ("status_count", Of::StatusCount),
    ("response_size", Of::ResponseSize),
    ("unique_users", Of::UniqueUsers),
    ("request_per_user", Of::RequestPerUser),
    ("upstream_latency", Of::UpstreamLatency),
    ("kong_latency", Of::KongLatency),
    ("status_count_per_user", Of::StatusCountPerUser),
    ("status_count_per_workspace", Of::StatusCountPerWorkspace),
    ("status_count_per_user_per_route", Of::StatusCountPerUserPerRoute),
    ("shdict_usage", Of::ShdictUsage),
];
/// Those of `datadog`.
const DATADOG: [&str; 6] =
    ["kong_latency", "latency", "request_count", "request_size", "response_size", "upstream_latency"];
const KINDS: [(&str, StatKind); 7] = [
    ("counter", StatKind::Counter),
    ("gauge", StatKind::Gauge),
    ("histogram", StatKind::Histogram),
    ("meter", StatKind::Meter),
    ("set", StatKind::Set),
    ("timer", StatKind::Timer),
    ("distribution", StatKind::Distribution),
];
const CONSUMERS: [(&str, ConsumerName); 3] =
    [("consumer_id", ConsumerName::Id), ("custom_id", ConsumerName::CustomId), ("username", ConsumerName::Username)];
const SERVICES: [(&str, ServiceName); 4] = [
    ("service_id", ServiceName::Id),
    ("service_name", ServiceName::Name),
    ("service_host", ServiceName::Host),
    ("service_name_or_host", ServiceName::NameOrHost),
];
const WORKSPACES: [(&str, bool); 2] = [("workspace_id", false), ("workspace_name", true)];

/// The meaning of one of these words; none when nothing, or nothing known, is said.
fn word<T: Copy, const N: usize>(
    fields: &mut Fields<'_>,
    key: &'static str,
    all: &[(&'static str, T); N],
) -> Option<T> {
    let said = fields.has(key);
    let word = fields.one_of(key, &all.map(|(word, _)| word), "");
    all.iter().find(|(known, _)| said && *known == word).map(|(_, value)| *value)
}

/// The type that a metric has when it can't have another.
fn only(of: Of) -> Option<(StatKind, &'static str)> {
    match of {
        Of::UniqueUsers => Some((StatKind::Set, "set")),
        Of::StatusCount
        | Of::RequestPerUser
        | Of::StatusCountPerUser
        | Of::StatusCountPerWorkspace
        | Of::StatusCountPerUserPerRoute => Some((StatKind::Counter, "counter")),
        Of::ShdictUsage => Some((StatKind::Gauge, "gauge")),
        _ => None,
    }
}

/// The type that a metric of `statsd` has when nothing is said.
fn usual(of: Of) -> StatKind {
    match of {
        Of::Latency | Of::UpstreamLatency | Of::KongLatency => StatKind::Timer,
        other => only(other).map_or(StatKind::Counter, |(kind, _)| kind),
    }
}

/// What every metric has: which, and its type.
fn metric(fields: &mut Fields<'_>) -> (Of, StatKind) {
    for key in ["name", "stat_type"] {
        if !fields.has(key) {
            fields.wrong(key, "required field missing", "add it");
        }
    }
    let of = word(fields, "name", &METRICS).unwrap_or(Of::RequestCount);
    let kind = word(fields, "stat_type", &KINDS);
    if let (Some(kind), Some((must, word))) = (kind, only(of))
        && kind != must
    {
        fields.wrong("stat_type", format!("value must be {word}"), format!("write {word}"));
    }
    let kind = kind.unwrap_or_else(|| usual(of));
    if matches!(kind, StatKind::Counter | StatKind::Gauge) && !fields.has("sample_rate") {
        fields.wrong("sample_rate", "required field missing", "add sample_rate: 1");
    }
    (of, kind)
}

pub(super) fn statsd(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let queue = Queue::read(&mut fields, 1);
    let place = place(&mut fields, Some("localhost"), Some(crate::names::port::STATSD));
    let consumer = word(&mut fields, "consumer_identifier_default", &CONSUMERS).unwrap_or(ConsumerName::CustomId);
    let service = word(&mut fields, "service_identifier_default", &SERVICES).unwrap_or(ServiceName::NameOrHost);
    let workspace = word(&mut fields, "workspace_identifier_default", &WORKSPACES).unwrap_or(false);
    let all = |of: Of| Metric {
        of,
        kind: usual(of),
        consumer: Some(consumer),
        service,
        workspace_name: workspace,
        tags: Vec::new(),
    };
    let metrics = fields.records("metrics", |fields| {
        let (of, kind) = metric(fields);
        if kind == StatKind::Distribution {
            let kinds: Vec<&str> = KINDS.iter().map(|(word, _)| *word).filter(|w| *w != "distribution").collect();
            fields.wrong("stat_type", format!("expected one of: {}", kinds.join(", ")), "write timer or histogram");
        }
        fields.positive("sample_rate");
        Metric {
            of,
            kind,
            consumer: word(fields, "consumer_identifier", &CONSUMERS).or(Some(consumer)),
            service: word(fields, "service_identifier", &SERVICES).unwrap_or(service),
            workspace_name: word(fields, "workspace_identifier", &WORKSPACES).unwrap_or(workspace),
            tags: Vec::new(),
        }
    });
    let tcp = fields.flag("use_tcp", false);
    let style = fields
        .has("tag_style")
        .then(|| fields.one_of("tag_style", &["dogstatsd", "influxdb", "librato", "signalfx"], "dogstatsd"));
    let packet = fields.integer("udp_packet_size", 0, 65_507).and_then(|n| usize::try_from(n).ok());
    let (host, port) = (place.host, place.port);
    let statsd = Statsd {
        place: if tcp { StatsdPlace::Tcp { host, port } } else { StatsdPlace::Udp { host, port } },
        packet: packet.unwrap_or(0),
        interval: queue.linger.max(INTERVAL_MIN),
        prefix: fields.text("prefix").unwrap_or_else(|| "kong".to_owned()),
        hostname: fields.flag("hostname_in_prefix", false),
        metrics: metrics.unwrap_or_else(|| METRICS.iter().map(|(_, of)| all(*of)).collect()),
        tags: match style {
            None => TagStyle::None,
            Some("influxdb") => TagStyle::Influxdb,
            Some("librato") => TagStyle::Librato,
            Some("signalfx") => TagStyle::Signalfx,
            Some(_) => TagStyle::Dogstatsd,
        },
        allow: allowed(&mut fields),
    };
    finish(fields, Asked { to: vec![To::Statsd(statsd)], buffer: BUFFER, sampling: None })
}

/// `allow_status_codes`: `200-299`.
fn allowed(fields: &mut Fields<'_>) -> Option<Vec<(u16, u16)>> {
    let texts = fields.texts("allow_status_codes")?;
    let mut all = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let ends = text.split_once('-').map(|(from, to)| (from.parse::<u16>(), to.parse::<u16>()));
        match ends {
            Some((Ok(from), Ok(to))) if from <= to && (100..=999).contains(&from) && to <= 999 => all.push((from, to)),
            _ => {
                let message = format!("invalid value: {text}");
                fields.wrong(&format!("allow_status_codes[{at}]"), message, "write two statuses such as 200-299");
            }
        }
    }
    Some(all)
}

pub(super) fn datadog(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let queue = Queue::read(&mut fields, 1);
    let told = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = told("KONG_DATADOG_AGENT_HOST").unwrap_or_else(|| "localhost".to_owned());
    let port = told("KONG_DATADOG_AGENT_PORT").and_then(|p| p.parse().ok());
    let place = place(&mut fields, Some(&host), Some(port.unwrap_or(crate::names::port::STATSD)));
    let metrics = fields.records("metrics", |fields| {
        let (of, kind) = metric(fields);
        if !METRICS.iter().any(|(word, known)| *known == of && DATADOG.contains(word)) {
            fields.wrong("name", format!("expected one of: {}", DATADOG.join(", ")), "write one of them");
        }
        fields.number("sample_rate", 0.0, 1.0);
        let tags = fields.texts("tags").unwrap_or_default();
        for (at, tag) in tags.iter().enumerate().filter(|(_, tag)| !is_tag(tag)) {
            fields.wrong(&format!("tags[{at}]"), format!("invalid value: {tag}"), "write name:value");
        }
        Metric {
            of,
            kind,
            consumer: word(fields, "consumer_identifier", &CONSUMERS),
            service: ServiceName::NameOrHost,
            workspace_name: false,
            tags,
        }
    });
    let usual = |of: Of| Metric {
        of,
        kind: if of == Of::RequestCount { StatKind::Counter } else { StatKind::Timer },
        consumer: Some(ConsumerName::CustomId),
        service: ServiceName::NameOrHost,
        workspace_name: false,
        tags: vec!["app:kong".to_owned()],
    };
    let mut tag = |key: &'static str, usual: &str| fields.text(key).unwrap_or_else(|| usual.to_owned());
    let tags = TagStyle::Datadog {
        service: tag("service_name_tag", "name"),
        status: tag("status_tag", "status"),
        consumer: tag("consumer_tag", "consumer"),
    };
    let statsd = Statsd {
        place: StatsdPlace::Udp { host: place.host, port: place.port },
        packet: 0,
        interval: queue.linger.max(INTERVAL_MIN),
        prefix: fields.text("prefix").unwrap_or_else(|| "kong".to_owned()),
        hostname: false,
        metrics: metrics.unwrap_or_else(|| {
            METRICS.iter().filter(|(word, _)| DATADOG.contains(word)).map(|(_, of)| usual(*of)).collect()
        }),
        tags,
        allow: None,
    };
    finish(fields, Asked { to: vec![To::Statsd(statsd)], buffer: BUFFER, sampling: None })
}

/// A tag does not end in a colon, and has nothing that divides tags or lines.
fn is_tag(tag: &str) -> bool {
    !tag.is_empty() && !tag.ends_with(':') && !tag.contains([',', '|', '\n', '\r'])
}

pub(super) fn prometheus(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let switches = Switches {
        per_consumer: fields.flag("per_consumer", false),
        status: fields.flag("status_code_metrics", false),
        latency: fields.flag("latency_metrics", false),
        bandwidth: fields.flag("bandwidth_metrics", false),
        health: fields.flag("upstream_health_metrics", false),
    };
    // Of nothing that is here.
    fields.flag("ai_metrics", false);
    fields.flag("wasm_metrics", false);
    finish(fields, Asked { to: vec![To::Prometheus(switches)], buffer: BUFFER, sampling: None })
}
