//! The text of `/metrics`: Prometheus exposition format 0.0.4.

use super::counts::Totals as SinkTotals;
use super::metric::{BOUNDS, Duration3, Registry, Sample};
use super::process::{self, Process};
use crate::exchange::Outcome;
use crate::names::metric;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Name and help of the three durations, in the order of their cells.
const DURATIONS: Duration3<(&str, &str)> = [
    (metric::COMMAND_DURATION, "From the request's head to the answer's last byte."),
    (metric::UPSTREAM_DURATION, "From handing the command to an instance to the answer's head."),
    (metric::OVERHEAD, "From the request's head to handing the command to an instance."),
];

// Writing to a String cannot fail, so the results of write! are not looked at.

pub(super) fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A label's value in quotes: backslash, quote and line feed are escaped, nothing else.
fn quoted(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn labels(out: &mut String, labels: &[(&str, &str)]) {
    let mut between = '{';
    for (name, value) in labels {
        out.push(between);
        out.push_str(name);
        out.push('=');
        quoted(out, value);
        between = ',';
    }
    if between == ',' {
        out.push('}');
    }
}

pub(super) fn line(out: &mut String, name: &str, pairs: &[(&str, &str)], value: impl std::fmt::Display) {
    out.push_str(name);
    labels(out, pairs);
    let _ = writeln!(out, " {value}");
}

fn of_series(sample: &Sample) -> Vec<(&str, &str)> {
    let key = &sample.key;
    let mut pairs: Vec<(&str, &str)> = vec![
        ("service", &key.service),
        ("command", &key.command),
        ("route", &key.route),
        ("direction", key.direction.as_str()),
        ("protocol", key.protocol.as_str()),
    ];
    pairs.extend(key.labels().map(|(label, value)| (&*label.name, value)));
    pairs
}

/// Appends everything.
pub(crate) fn write(out: &mut String, registry: &Registry, sinks: &BTreeMap<&'static str, SinkTotals>, start: f64) {
    let samples = registry.snapshot(None);
    commands(out, &samples, &registry.forgotten_tags());
    levels(out, registry);
    events(out, registry);
    family(out, metric::SINK_RECORDS, "counter", "Records and metric lines by sink and by what became of them.");
    for (sink, totals) in sinks {
        for (result, n) in totals.named() {
            line(out, metric::SINK_RECORDS, &[("sink", sink), ("result", result)], n);
        }
    }
    family(
        out,
        metric::SINK_TROUBLES,
        "counter",
        "How often a receiver was not there or did not take something, by why.",
    );
    for (sink, totals) in sinks {
        for (reason, n) in totals.troubles() {
            line(out, metric::SINK_TROUBLES, &[("sink", sink), ("reason", reason)], n);
        }
    }
    family(
        out,
        metric::LABEL_COLLISIONS,
        "counter",
        "Listed labels that were left out because another has their name.",
    );
    line(out, metric::LABEL_COLLISIONS, &[], registry.collisions());
    family(out, metric::BUILD_INFO, "gauge", "Always 1; the version is in the label.");
    line(out, metric::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    of_process(out, process::read(), start);
}

fn commands(out: &mut String, samples: &[Sample], forgotten: &[(Arc<str>, Arc<str>, u64)]) {
    family(out, metric::COMMANDS, "counter", "Commands that ended, by how.");
    for sample in samples {
        let mut pairs = of_series(sample);
        for (outcome, n) in Outcome::ALL.iter().zip(sample.totals.outcomes).filter(|(_, n)| *n > 0) {
            pairs.push(("outcome", outcome.as_str()));
            line(out, metric::COMMANDS, &pairs, n);
            pairs.pop();
        }
    }
    for (i, (name, help)) in DURATIONS.into_iter().enumerate() {
        family(out, name, "histogram", help);
        let [bucket, sum, count] = ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}"));
        for sample in samples {
            let seen = &sample.totals.durations[i];
            if seen.count() == 0 {
                continue;
            }
            let mut pairs = of_series(sample);
            let mut below = 0;
            let bounds = BOUNDS.iter().map(|(_, le)| *le).chain(["+Inf"]);
            for (le, n) in bounds.zip(seen.buckets) {
                below += n;
                pairs.push(("le", le));
                line(out, &bucket, &pairs, below);
                pairs.pop();
            }
            line(out, &sum, &pairs, seen.nanos as f64 / 1e9);
            line(out, &count, &pairs, below);
        }
    }
    family(out, metric::TAG, "counter", "Commands that ended, by each tag that is listed in metrics.labels.");
    let mut tags: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for sample in samples {
        for (label, value) in sample.key.labels() {
            *tags.entry((&label.tag, value)).or_default() += sample.totals.count();
        }
    }
    for (tag, value, n) in forgotten {
        // Series of this tag that are forgotten, as long as another one carries it: a counter does not go back.
        tags.entry((tag, value)).and_modify(|sum| *sum += n);
    }
    for ((tag, value), n) in tags {
        line(out, metric::TAG, &[("tag", tag), ("value", value)], n);
    }
}

fn levels(out: &mut String, registry: &Registry) {
    let levels = registry.levels();
    family(out, metric::IN_FLIGHT, "gauge", "Commands that have begun and not ended.");
    for (direction, n) in ["inbound", "outbound"].into_iter().zip(levels.in_flight) {
        line(out, metric::IN_FLIGHT, &[("direction", direction)], n);
    }
    family(out, metric::WAITING, "gauge", "Commands that wait for a place at an instance of the service.");
    for (service, n) in &registry.waiting() {
        line(out, metric::WAITING, &[("service", service)], n);
    }
    family(out, metric::CONNECTIONS, "gauge", "Open connections of callers and to instances.");
    for (side, n) in ["client", "upstream"].into_iter().zip(levels.connections) {
        line(out, metric::CONNECTIONS, &[("side", side)], n);
    }
    family(out, metric::INSTANCES, "gauge", "Instances of a service by state.");
    for ((service, state), n) in &registry.instances() {
        line(out, metric::INSTANCES, &[("service", service), ("state", state)], n);
    }
    if let Some(seconds) = registry.absence() {
        let help =
            "For how long the registry has been cut off from etcd or from the one that it follows; 0 when it is not.";
        family(out, metric::REGISTRY_AWAY, "gauge", help);
        line(out, metric::REGISTRY_AWAY, &[], seconds);
    }
    let spooled = registry.spooled();
    for (name, help) in [
        (metric::SPOOL_COMMANDS, "Commands in the spool, by state."),
        (metric::SPOOL_OLDEST_AGE, "Age of the oldest command in the spool, by state."),
        (metric::SPOOL_BYTES, "Bytes of the spool's file that are used."),
    ] {
        let mut of = spooled.iter().filter(|(metric, ..)| *metric == name).peekable();
        if of.peek().is_some() {
            family(out, name, "gauge", help);
        }
        for (_, state, n) in of {
            let labels = [("state", *state)];
            line(out, name, if state.is_empty() { &[] } else { &labels }, n);
        }
    }
    let name = metric::CERTIFICATE_EXPIRES;
    family(out, name, "gauge", "When the certificates of a file expire, in seconds since 1970.");
    for (file, at) in &registry.certificates() {
        line(out, name, &[("file", file)], at);
    }
}

fn events(out: &mut String, registry: &Registry) {
    let reasons = registry.reasons();
    for (name, help) in [
        (metric::REJECTED, "Commands refused before an instance saw them, by reason."),
        (metric::RETRIES, "Commands sent again, by reason."),
        (metric::RETRIES_SKIPPED, "Commands that would have been sent again, by what forbade it."),
        (metric::LIMIT_FALLBACKS, "Times that a limit could not be counted as its file asks, by reason."),
        (metric::ANSWERS_DROPPED, "Answers of instances that nobody waited for any more, by reason."),
        (metric::WORKER_LINES, "Lines that the worker wrote, by what became of them."),
        (metric::DNS_QUERIES, "DNS questions, by type and by how they were answered."),
        (metric::SPOOL_TRANSITIONS, "Times that a stored command has entered a state."),
        (metric::SPOOL_REFUSED, "Commands that could not be stored, by reason."),
    ] {
        family(out, name, "counter", help);
        for (event, n) in reasons.iter().filter(|(event, _)| event.metric == name) {
            line(out, name, &event.labels().collect::<Vec<_>>(), n);
        }
    }
    family(out, metric::RELOADS, "counter", "Reloads of the configuration, by result.");
    for (result, n) in ["ok", "failed"].into_iter().zip(registry.reloads()) {
        line(out, metric::RELOADS, &[("result", result)], n);
    }
}

fn of_process(out: &mut String, p: Process, start: f64) {
    let mut one = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            family(out, name, kind, help);
            line(out, name, &[], value);
        }
    };
    let whole = |n: Option<u64>| n.map(|n| n as f64);
    one("process_cpu_seconds_total", "counter", "User and system time.", Some(p.cpu));
    one("process_resident_memory_bytes", "gauge", "Resident memory.", whole(p.resident));
    one("process_open_fds", "gauge", "Open file descriptors.", whole(p.open_fds));
    one("process_max_fds", "gauge", "The most open file descriptors.", whole(p.max_fds));
    one("process_start_time_seconds", "gauge", "Start of the process, in seconds since 1970.", Some(start));
}
