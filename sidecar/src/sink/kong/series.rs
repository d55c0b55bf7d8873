//! Kong's Prometheus series: summed up on the control thread, and kept over changes of the configuration.

use super::known::{Known, number};
use super::object::{Latencies, WORKSPACE_NAME, sizes, status};
use super::settings::Switches;
use crate::names::{OTHER, SERIES_MAX};
use crate::sink::entry::Entry;
use crate::sink::fields::Who;
use crate::sink::generation::Encode;
use crate::sink::prometheus::{family, line};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Upper bounds in milliseconds: of what is ours, and of what is an instance's or the whole.
const OURS: [u64; 17] = [1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000];
const THEIRS: [u64; 13] = [25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10_000, 30_000, 60_000];

/// What makes a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    service: Box<str>,
    route: Box<str>,
    consumer: Box<str>,
}

#[derive(Debug, Clone, Default)]
struct Histogram {
    buckets: [u64; OURS.len() + 1],
    sum: u64,
}

impl Histogram {
    fn observe(&mut self, bounds: &[u64], ms: u64) {
        let at = bounds.iter().take_while(|bound| ms > **bound).count();
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.sum += ms;
    }
}

#[derive(Debug, Clone, Default)]
struct Cells {
    /// By status, and whether an instance gave it.
    statuses: BTreeMap<(u16, bool), u64>,
    /// Requests, answers.
    bytes: [u64; 2],
}

/// Ours, the instance's, all.
type Latency = [Histogram; 3];

#[derive(Debug, Default)]
struct Inner {
    cells: BTreeMap<Labels, Cells>,
    latencies: BTreeMap<Labels, Latency>,
    requests: u64,
    targets: Vec<Target>,
}

/// How one address of a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name of the upstream.
    pub upstream: String,
    /// The target as written.
    pub target: String,
    /// Its address; empty when its name leads nowhere.
    pub address: String,
    /// One of Kong's words: `healthchecks_off`, `healthy`, `unhealthy`, `dns_error`.
    pub state: &'static str,
}

/// The states of a target.
const STATES: [&str; 4] = ["healthchecks_off", "healthy", "unhealthy", "dns_error"];
/// Targets that are shown.
const TARGETS_MAX: usize = SERIES_MAX;

/// All series of the process.
#[derive(Debug, Default)]
pub(crate) struct Series(Mutex<Inner>);

impl Series {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how all targets of all upstreams are.
    pub(crate) fn set_targets(&self, mut targets: Vec<Target>) {
        targets.truncate(TARGETS_MAX);
        self.inner().targets = targets;
    }

    fn add(&self, known: &Known, switches: Switches, entry: &Entry<'_>) {
        let Some(whole) = &entry.whole else { return };
        let mut inner = self.inner();
        inner.requests += 1;
        // As Kong: nothing of what no service was asked for.
        let Some(service) = known.services.get(&number(whole.service)) else { return };
        let route = known.routes.get(&number(whole.route)).map_or("", |r| r.label());
        let consumer = match known.consumers.get(&number(whole.consumer)) {
            Some(consumer) if switches.per_consumer => consumer.name.as_deref().unwrap_or(consumer.label()),
            _ => "",
        };
        let labels =
            |consumer: &str| Labels { service: service.label().into(), route: route.into(), consumer: consumer.into() };
        if switches.status || switches.bandwidth {
            let cells = cells(&mut inner.cells, labels(consumer));
            if switches.status {
                *cells.statuses.entry((status(entry), whole.answered)).or_default() += 1;
            }
            if switches.bandwidth {
                let (bytes_in, bytes_out) = sizes(entry, whole);
                cells.bytes[0] += bytes_in;
                cells.bytes[1] += bytes_out;
            }
        }
        if switches.latency {
            let Latencies { request, proxy, kong, .. } = Latencies::of(entry);
            let [ours, theirs, all] = cells(&mut inner.latencies, labels(""));
            ours.observe(&OURS, kong);
            proxy.into_iter().for_each(|ms| theirs.observe(&THEIRS, ms));
            all.observe(&THEIRS, request);
        }
    }

    /// Appends all, as the switches of the configuration say.
    pub(crate) fn write(&self, out: &mut String, health: bool, connections: i64, node: &str) {
        let inner = self.inner();
        statuses(out, &inner.cells);
        latencies(out, &inner.latencies);
        bandwidth(out, &inner.cells);
        if health {
            let name = "kong_upstream_target_health";
            family(out, name, "gauge", "Health of the targets of upstreams; 1 for the state that holds.");
            for Target { upstream, target, address, state } in &inner.targets {
                for each in STATES {
                    let labels = [
                        ("upstream", upstream.as_str()),
                        ("target", target),
                        ("address", address),
                        ("state", each),
                        ("subsystem", "http"),
                    ];
                    line(out, name, &labels, u8::from(each == *state));
                }
            }
        }
        let here = [("node_id", node), ("subsystem", "http")];
        let name = "kong_nginx_connections_total";
        family(out, name, "gauge", "Connections of callers.");
        line(out, name, &[here[0], here[1], ("state", "active")], connections.max(0));
        let name = "kong_nginx_requests_total";
        family(out, name, "gauge", "Requests, while the plugin is there.");
        line(out, name, &here, inner.requests);
        let name = "kong_datastore_reachable";
        family(out, name, "gauge", "Always 1: there is no database.");
        line(out, name, &[], 1);
        let name = "kong_node_info";
        family(out, name, "gauge", "Always 1; who answers is in the labels.");
        line(out, name, &[here[0], ("version", env!("CARGO_PKG_VERSION"))], 1);
    }
}

/// The cells of a series, or those of all others when there are too many.
fn cells<T: Default>(all: &mut BTreeMap<Labels, T>, mut labels: Labels) -> &mut T {
    if all.len() >= SERIES_MAX && !all.contains_key(&labels) {
        labels = Labels { service: OTHER.into(), route: OTHER.into(), consumer: "".into() };
    }
    all.entry(labels).or_default()
}

fn statuses(out: &mut String, all: &BTreeMap<Labels, Cells>) {
    let name = "kong_http_requests_total";
    if all.values().all(|cells| cells.statuses.is_empty()) {
        return;
    }
    family(out, name, "counter", "Requests by service, route and status.");
    for (labels, cells) in all {
        for ((code, answered), n) in &cells.statuses {
            let code = code.to_string();
            let pairs = [
                ("service", &*labels.service),
                ("route", &*labels.route),
                ("code", &code),
                ("source", if *answered { "service" } else { "kong" }),
                ("workspace", WORKSPACE_NAME),
                ("consumer", &*labels.consumer),
            ];
            line(out, name, &pairs, n);
        }
    }
}

fn bandwidth(out: &mut String, all: &BTreeMap<Labels, Cells>) {
    let name = "kong_bandwidth_bytes";
    if all.values().all(|cells| cells.bytes == [0, 0]) {
        return;
    }
    family(out, name, "counter", "Bytes of requests and answers, heads included.");
    for (labels, cells) in all {
        for (direction, n) in ["ingress", "egress"].into_iter().zip(cells.bytes).filter(|(_, n)| *n > 0) {
            let pairs = [
                ("service", &*labels.service),
                ("route", &*labels.route),
                ("direction", direction),
                ("workspace", WORKSPACE_NAME),
                ("consumer", &*labels.consumer),
            ];
            line(out, name, &pairs, n);
        }
    }
}

fn latencies(out: &mut String, all: &BTreeMap<Labels, Latency>) {
    let each: [(usize, &str, &[u64], &str); 3] = [
        (0, "kong_kong_latency_ms", &OURS, "Milliseconds that were not an instance's."),
        (1, "kong_upstream_latency_ms", &THEIRS, "Milliseconds until an instance's answer began."),
        (2, "kong_request_latency_ms", &THEIRS, "Milliseconds of the whole."),
    ];
    if all.is_empty() {
        return;
    }
    for (which, name, bounds, help) in each {
        family(out, name, "histogram", help);
        let [bucket, sum, count] = ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}"));
        for (labels, latency) in all {
            let Some(seen) = latency.get(which) else { continue };
            let same = [("service", &*labels.service), ("route", &*labels.route), ("workspace", WORKSPACE_NAME)];
            let mut below = 0;
            let shown = bounds.iter().map(u64::to_string).chain(["+Inf".to_owned()]);
            for (le, n) in shown.zip(&seen.buckets) {
                below += n;
                line(out, &bucket, &[same[0], same[1], same[2], ("le", &le)], below);
            }
            line(out, &sum, &same, seen.sum);
            line(out, &count, &same, below);
        }
    }
}

/// Adds commands up.
pub(super) struct Adding {
    pub(super) series: Arc<Series>,
    pub(super) known: Arc<Known>,
    pub(super) switches: Switches,
}

impl Encode for Adding {
    fn encode(&mut self, _: &mut Vec<u8>, entry: &Entry<'_>, _: &Who) -> bool {
        self.series.add(&self.known, self.switches, entry);
        false
    }
}

#[cfg(test)]
mod tests;
