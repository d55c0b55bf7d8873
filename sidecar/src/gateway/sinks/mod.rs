//! The log and metric plugins of a file as sinks.

mod counters;
mod endpoint;
mod entities;
mod loggers;
mod queue;
mod traces;

use super::entity::{Entities, Plugin, Protocol};
use super::{Id, Wrong};
use crate::exchange::Direction;
use crate::sink::LogSettings;
use crate::sink::kong::{self, Choice, Known, Scope, To};
use std::sync::Arc;

/// What reads the configuration of a plugin.
type Read = fn(&Plugin) -> Result<Asked, Vec<Wrong>>;

/// The plugins that are sinks.
const ALL: &[(&str, Read)] = &[
    ("http-log", loggers::http),
    ("tcp-log", loggers::tcp),
    ("udp-log", loggers::udp),
    ("file-log", loggers::file),
    ("syslog", loggers::syslog),
    ("loggly", loggers::loggly),
    ("statsd", counters::statsd),
    ("datadog", counters::datadog),
    ("prometheus", counters::prometheus),
    ("opentelemetry", traces::opentelemetry),
    ("zipkin", traces::zipkin),
];

/// The sinks of a file.
#[derive(Debug, Clone, Default)]
pub struct Sinks {
    /// All of them.
    pub logs: Vec<LogSettings>,
    /// Whether `/metrics` is to answer.
    pub prometheus: bool,
    /// The share of traces that begin here and are recorded, when a plugin says one.
    pub sampling: Option<f64>,
}

impl Sinks {
    /// The same for what the worker sends.
    #[must_use]
    pub fn outbound(self) -> Sinks {
        Sinks { logs: self.logs.iter().map(LogSettings::outbound).collect(), ..self }
    }

    /// Those of others, too.
    pub fn join(&mut self, other: Sinks) {
        self.logs.extend(other.logs);
        self.prometheus |= other.prometheus;
        self.sampling = self.sampling.into_iter().chain(other.sampling).reduce(f64::max);
    }
}

/// What one plugin's configuration is read into.
#[derive(Default)]
struct Asked {
    /// What it does; a plugin may do several things, or nothing.
    to: Vec<To>,
    /// Bytes that may wait.
    buffer: usize,
    /// The share of traces that it asks for.
    sampling: Option<f64>,
}

/// Whether a plugin of that name is a sink.
#[must_use]
pub fn is_sink(name: &str) -> bool {
    ALL.iter().any(|(known, _)| *known == name)
}

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// Checks the configuration of one plugin that is a sink.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(plugin: &Plugin) -> Result<(), Vec<Wrong>> {
    match ALL.iter().find(|(name, _)| *name == plugin.name) {
        Some((_, read)) => read(plugin).map(|_| ()),
        None => Ok(()),
    }
}

/// The sinks of a file: of every plugin that is enabled and holds for HTTP.
///
/// # Errors
/// What is wrong with which plugin, by its place in the list.
pub fn sinks(entities: &Entities) -> Result<Sinks, Vec<(usize, Wrong)>> {
    let mut sinks = Sinks::default();
    let mut wrong = Vec::new();
    let known = Arc::new(entities::known(entities));
    for (name, read) in ALL {
        let mine = || entities.plugins.iter().enumerate().filter(|(_, p)| p.name == *name);
        let choice = mine().filter(|(_, p)| holds(p)).map(|(_, p)| (scope(entities, p), p.id.number()));
        let choice = Arc::new(Choice::new(choice));
        for (place, plugin) in mine() {
            match read(plugin).and_then(|read| settings(name, plugin, read, &choice, &known)) {
                Ok((_, _)) if !holds(plugin) => {}
                Ok((logs, sampling)) => {
                    sinks.prometheus |= *name == "prometheus";
                    sinks.sampling = sinks.sampling.into_iter().chain(sampling).reduce(f64::max);
                    sinks.logs.extend(logs);
                }
                Err(all) => wrong.extend(all.into_iter().map(|wrong| (place, wrong))),
            }
        }
    }
    if wrong.is_empty() {
        return Ok(sinks);
    }
    wrong.sort_by_key(|(place, _)| *place);
    Err(wrong)
}

type Made = (Vec<LogSettings>, Option<f64>);

fn settings(
    name: &'static str,
    plugin: &Plugin,
    read: Asked,
    choice: &Arc<Choice>,
    known: &Arc<Known>,
) -> Result<Made, Vec<Wrong>> {
    let mut logs = Vec::with_capacity(read.to.len());
    for to in read.to {
        let settings = kong::Plugin {
            name,
            id: plugin.id.number(),
            direction: Direction::Inbound,
            choice: choice.clone(),
            known: known.clone(),
            buffer: read.buffer,
            to,
        };
        let made = LogSettings::plugin(settings);
        logs.push(made.map_err(|w| vec![Wrong::new(w.key.unwrap_or("@entity"), w.message, w.fix)])?);
    }
    Ok((logs, read.sampling))
}

/// Whether a plugin holds for anything that comes over HTTP.
fn holds(plugin: &Plugin) -> bool {
    let http = |p: &Protocol| matches!(p, Protocol::Http | Protocol::Https | Protocol::Grpc | Protocol::Grpcs);
    plugin.enabled && plugin.protocols.iter().any(http)
}

fn scope(entities: &Entities, plugin: &Plugin) -> Scope {
    fn of<T>(all: &[T], place: Option<usize>, id: fn(&T) -> Id) -> u128 {
        // A place that is none would hold for everything.
        place.map_or(0, |at| all.get(at).map_or(u128::MAX, |one| id(one).number()))
    }
    Scope {
        route: of(&entities.routes, plugin.route, |r| r.id),
        service: of(&entities.services, plugin.service, |s| s.id),
        consumer: of(&entities.consumers, plugin.consumer, |c| c.id),
        group: of(&entities.consumer_groups, plugin.consumer_group, |g| g.id),
    }
}

#[cfg(test)]
mod tests;
