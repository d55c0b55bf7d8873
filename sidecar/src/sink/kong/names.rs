//! Kong's names of StatsD metrics, and their tags.

use super::known::{Entity, Known};
use super::object::{WORKSPACE, WORKSPACE_NAME};
use super::settings::{ConsumerName, Metric, Of, ServiceName, StatKind, Statsd, TagStyle};
use super::tally::Key;
use crate::names::OTHER;
use crate::sink::json::cut;
use crate::sink::statsd;

/// Bytes of one part of a name and of one tag.
const PART_MAX: usize = 200;

/// StatsD's letter for a type.
pub(super) fn kind(kind: StatKind) -> &'static str {
    match kind {
        StatKind::Counter => "c",
        StatKind::Gauge => "g",
        StatKind::Timer => "ms",
        StatKind::Histogram => "h",
        StatKind::Meter => "m",
        StatKind::Set => "s",
        StatKind::Distribution => "d",
    }
}

/// `|@0.5` for a value that stands for two.
pub(super) fn rate(weight: u64) -> String {
    if weight > 1 { format!("|@{}", statsd::rate(weight)) } else { String::new() }
}

/// A text without what divides names, values, tags and lines.
fn clean(text: &str) -> String {
    let divides = |c: char| matches!(c, ':' | '|' | '@' | '#' | ',' | '=' | '[' | ']') || c.is_control() || c == ' ';
    cut(text, PART_MAX).0.chars().map(|c| if divides(c) { '_' } else { c }).collect()
}

/// The same as one part of a name.
fn part(text: &str) -> String {
    clean(text).replace('.', "_")
}

/// The names of one plugin's metrics.
pub(super) struct Names<'a> {
    pub(super) settings: &'a Statsd,
    pub(super) known: &'a Known,
    /// The host's name.
    pub(super) node: &'a str,
}

impl Names<'_> {
    /// What stands for the consumer.
    pub(super) fn consumer(&self, metric: &Metric, key: &Key) -> Option<String> {
        let consumer = self.known.consumers.get(&key.consumer)?;
        let name = match metric.consumer? {
            ConsumerName::Id => Some(&consumer.id),
            ConsumerName::CustomId => consumer.other.as_ref(),
            ConsumerName::Username => consumer.name.as_ref(),
        };
        name.map(|name| clean(name))
    }

    /// What stands for the service; none for one that has no such name.
    fn service<'e>(&self, metric: &Metric, service: &'e Entity) -> Option<&'e str> {
        match metric.service {
            ServiceName::Id => Some(&service.id),
            ServiceName::Name => service.name.as_deref(),
            ServiceName::Host => service.other.as_deref(),
            ServiceName::NameOrHost => service.name.as_deref().or(service.other.as_deref()),
        }
    }

    fn scope(&self, metric: &Metric, key: &Key) -> String {
        match self.known.services.get(&key.service) {
            _ if key.other => format!("service.{OTHER}"),
            Some(service) => match self.service(metric, service) {
                Some(name) => format!("service.{}", part(name)),
                None => "service.unnamed".to_owned(),
            },
            None => "global.unmatched".to_owned(),
        }
    }

    /// The whole name, tags included where they belong to it, and the tags that follow the value. None when Kong has
    /// no line for it.
    pub(super) fn of(&self, metric: &Metric, key: &Key) -> Option<(String, String)> {
        let prefix = &self.settings.prefix;
        let base = match metric.of {
            Of::RequestCount => Some("request.count"),
            Of::RequestSize => Some("request.size"),
            Of::ResponseSize => Some("response.size"),
            Of::Latency => Some("latency"),
            Of::UpstreamLatency => Some("upstream_latency"),
            Of::KongLatency => Some("kong_latency"),
            _ => None,
        };
        if self.settings.tags != TagStyle::None {
            return self.tagged(metric, key, base?);
        }
        let prefix = match self.settings.hostname {
            true => format!("{prefix}.node.{}", part(self.node)),
            false => prefix.clone(),
        };
        let status = key.status;
        let user = || self.consumer(metric, key);
        let scope = self.scope(metric, key);
        let name = match (base, metric.of) {
            (Some(base), _) => format!("{scope}.{base}"),
            (_, Of::StatusCount) => format!("{scope}.status.{status}"),
            (_, Of::UniqueUsers) => {
                user()?;
                format!("{scope}.user.uniques")
            }
            (_, Of::RequestPerUser) => format!("{scope}.user.{}.request.count", user()?),
            (_, Of::StatusCountPerUser) => format!("{scope}.user.{}.status.{status}", user()?),
            (_, Of::StatusCountPerWorkspace) => format!("{scope}.workspace.{}.status.{status}", workspace(metric)),
            (_, Of::StatusCountPerUserPerRoute) => {
                let route = self.known.routes.get(&key.route)?;
                format!("route.{}.user.{}.status.{status}", route.id, user()?)
            }
            // Nothing here is such a dictionary.
            _ => return None,
        };
        Some((format!("{prefix}.{name}"), String::new()))
    }

    fn tagged(&self, metric: &Metric, key: &Key, base: &str) -> Option<(String, String)> {
        let name = format!("{}.{base}", self.settings.prefix);
        let service = match self.known.services.get(&key.service) {
            _ if key.other => Some(OTHER.to_owned()),
            Some(service) => self.service(metric, service).map(clean),
            None => None,
        };
        let mut tags: Vec<(&str, String)> = Vec::new();
        if let TagStyle::Datadog { service: service_tag, status, consumer } = &self.settings.tags {
            tags.push((service_tag, service?.replace('.', "_")));
            tags.push((status, key.status.to_string()));
            tags.extend(self.consumer(metric, key).map(|c| (consumer.as_str(), c)));
            let mut tags = joined(&tags, ':');
            for tag in &metric.tags {
                tags.push(',');
                tags.push_str(tag);
            }
            return Some((name, format!("|#{tags}")));
        }
        // Without a service Kong sends the number alone.
        let Some(service) = service else { return Some((name, String::new())) };
        tags.push(("service", service));
        tags.extend(self.known.routes.get(&key.route).map(|route| ("route", clean(route.label()))));
        tags.push(("workspace", workspace(metric).to_owned()));
        tags.extend(self.consumer(metric, key).map(|c| ("consumer", c)));
        tags.push(("node", part(self.node)));
        tags.push(("status", key.status.to_string()));
        Some(match self.settings.tags {
            TagStyle::Influxdb => (format!("{name},{}", joined(&tags, '=')), String::new()),
            TagStyle::Librato => (format!("{name}#{}", joined(&tags, '=')), String::new()),
            TagStyle::Signalfx => (format!("{name}[{}]", joined(&tags, '=')), String::new()),
            _ => (name, format!("|#{}", joined(&tags, ':'))),
        })
    }
}

fn workspace(metric: &Metric) -> &'static str {
    if metric.workspace_name { WORKSPACE_NAME } else { WORKSPACE }
}

fn joined(tags: &[(&str, String)], divider: char) -> String {
    let pairs: Vec<String> = tags.iter().map(|(key, value)| format!("{key}{divider}{value}")).collect();
    pairs.join(",")
}
