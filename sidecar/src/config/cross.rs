//! What only shows when several keys are looked at together.

mod admin;
mod certificates;
mod delivery;
mod discovery;
mod tls;
mod upstreams;
mod zmq;

use super::plan::{Bind, GatewayPlan};
use super::problem::Problems;
use super::read;
use super::source::Span;
use super::tree::{Entry, Node, Value};
use super::value;
use crate::exchange::Direction;
use crate::lines::Listen;
use crate::names::port;
use crate::section::Wrong;
use crate::sink::LOG_KEYS;
use crate::upstream::{Place, Target};
use std::net::{IpAddr, SocketAddr};

struct Listens {
    what: String,
    bind: Bind,
    /// None: it takes no commands.
    direction: Option<Direction>,
    span: Span,
}

pub(crate) fn cross(root: &Node, gateway: Option<&GatewayPlan>, problems: &mut Problems) {
    let listeners = listeners(root);
    ports(&listeners, problems);
    open_proxies(&listeners, problems);
    loops(root, &listeners, problems);
    directories(&listeners, problems);
    services(root, problems);
    tls::check(root, gateway, problems);
    certificates::check(root, problems);
    upstreams::check(root, problems);
    discovery::check(root, problems);
    delivery::check(root, problems);
    admin::check(root, problems);
    zmq::check(root, problems);
    let inbound = root.entry("inbound");
    if let Some(entry) = inbound
        && !entry.value.items().is_empty()
        && root.get("worker").is_none()
        && root.get("gateway").is_none()
    {
        problems.error(
            entry.key_span,
            "missing-worker",
            "worker",
            "`inbound` has no worker to send commands to",
            "add `worker: http://127.0.0.1:PORT` or `gateway: kong.yaml`, or remove `inbound`",
        );
    }
    if listeners.is_empty() && root.get("admin").and_then(Node::text) == Some("off") {
        problems.warning(
            root.get("admin").map_or(Span::BUILT_IN, |n| n.span),
            "nothing-to-do",
            "",
            "nothing would listen: no worker, no outbound, no admin",
            "add `worker:`",
        );
    }
}

/// An outbound listener takes its callers wherever they name: beside the worker that is its use, for a whole network
/// it is an open proxy.
fn open_proxies(listeners: &[Listens], problems: &mut Problems) {
    for listener in listeners.iter().filter(|l| l.direction == Some(Direction::Outbound)) {
        if let Bind::Tcp(address) = &listener.bind
            && !address.ip().is_loopback()
        {
            problems.warning(
                listener.span,
                "open-proxy",
                &listener.what,
                format!("`{address}` lets every host that reaches it send commands anywhere"),
                "listen on 127.0.0.1 unless that is meant",
            );
        }
    }
}

fn listeners(root: &Node) -> Vec<Listens> {
    let mut out = Vec::new();
    for (key, direction, port) in
        [("inbound", Direction::Inbound, port::INBOUND), ("outbound", Direction::Outbound, port::OUTBOUND)]
    {
        for (i, item) in root.get(key).map(Node::items).unwrap_or_default().iter().enumerate() {
            let Some(node) = item.get("listen") else { continue };
            if let Some(bind) = node.text().and_then(|t| value::listen(t, port).ok()) {
                let what = format!("{key}[{i}].listen");
                out.push(Listens { what, bind, direction: Some(direction), span: node.span });
            }
        }
    }
    if let Some(node) = root.get("admin").and_then(|a| a.get("listen"))
        && let Some(address) = node.text().and_then(|t| value::socket(t).ok())
    {
        out.push(Listens { what: "admin.listen".into(), bind: Bind::Tcp(address), direction: None, span: node.span });
    }
    let registry = root.get("discovery");
    for section in ["dns", "http"] {
        let listen = registry.and_then(|d| d.get(section)).and_then(|s| s.get("listen"));
        for node in listen.map(discovery::every).unwrap_or_default() {
            if let Some(address) = node.text().and_then(|t| value::socket(t).ok()) {
                let what = format!("discovery.{section}.listen");
                out.push(Listens { what, bind: Bind::Tcp(address), direction: None, span: node.span });
            }
        }
    }
    if let Some(Ok(lines)) = read::worker_logs(root) {
        for (i, place) in lines.listen.iter().enumerate() {
            let node = root.get("worker_logs").and_then(|w| w.get("listen")).and_then(|l| l.items().get(i));
            if let (Listen::Tcp(address), Some(node)) = (place, node) {
                let what = format!("worker_logs.listen[{i}]");
                out.push(Listens { what, bind: Bind::Tcp(*address), direction: None, span: node.span });
            }
        }
    }
    out
}

/// Whether both can't be bound at once.
fn clash(a: &Bind, b: &Bind) -> bool {
    match (a, b) {
        (Bind::Unix(a), Bind::Unix(b)) => a == b,
        (Bind::Tcp(a), Bind::Tcp(b)) => {
            // Port 0 is a new port each time.
            a.port() != 0
                && a.port() == b.port()
                && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
        }
        _ => false,
    }
}

fn ports(listeners: &[Listens], problems: &mut Problems) {
    for (i, later) in listeners.iter().enumerate() {
        let Some(first) = listeners[..i].iter().find(|first| clash(&first.bind, &later.bind)) else { continue };
        // The place shown is one that the user wrote, if there is one.
        let (shown, other) = if problems.sources.place(later.span).is_some() { (later, first) } else { (first, later) };
        let place = match &shown.bind {
            Bind::Tcp(address) => format!("port {}", address.port()),
            Bind::Unix(path) => format!("the socket {}", path.display()),
        };
        let by = match problems.sources.place(other.span) {
            Some(p) => format!("`{}` on line {}", other.what, p.line),
            None => format!("the built-in `{}`", other.what),
        };
        let message = format!("{place} is used twice: by `{}` and by {by}", shown.what);
        problems.error(shown.span, "conflict", &shown.what, message, "give one of them another port");
    }
}

/// Whether a command sent to the target would arrive at the listener.
fn reaches(target: &Target, bind: &Bind) -> bool {
    match (&target.place, bind) {
        (Place::Unix(a), Bind::Unix(b)) => a == b,
        (Place::Tcp(host, port), Bind::Tcp(listen)) => {
            let ip = match host.parse::<IpAddr>() {
                Ok(ip) => ip,
                Err(_) if host == "localhost" => IpAddr::from([127, 0, 0, 1]),
                Err(_) => return false,
            };
            let local = ip.is_loopback() || ip.is_unspecified();
            *port == listen.port() && (SocketAddr::new(ip, *port) == *listen || (local && listen.ip().is_unspecified()))
        }
        _ => false,
    }
}

fn loops(root: &Node, listeners: &[Listens], problems: &mut Problems) {
    let mut check = |node: &Node, what: &str, of: &dyn Fn(Option<Direction>) -> bool| {
        let Some(node) = node.get("url") else { return };
        let Some(target) = node.text().and_then(|t| value::target(t).ok()) else { return };
        if let Some(own) = listeners.iter().find(|l| of(l.direction) && reaches(&target, &l.bind)) {
            let message = format!("`{what}` is Fourmi's own listener `{}`: commands would go round for ever", own.what);
            problems.error(node.span, "loop", what, message, "write where the worker itself listens");
        }
    };
    for node in root.get("worker").and_then(|w| w.get("address")).map(Node::items).unwrap_or_default() {
        check(node, "worker.address", &|_| true);
    }
    for outbound in root.get("outbound").map(Node::items).unwrap_or_default() {
        for service in outbound.get("services").map(Node::entries).unwrap_or_default() {
            for node in service.value.get("address").map(Node::items).unwrap_or_default() {
                // A service may well be our own worker, through our inbound listener.
                check(node, &format!("outbound service {}", service.key), &|d| d != Some(Direction::Inbound));
            }
        }
    }
}

fn directories(listeners: &[Listens], problems: &mut Problems) {
    for listener in listeners {
        let Bind::Unix(path) = &listener.bind else { continue };
        let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) else { continue };
        if !directory.is_dir() {
            let message = format!("the directory {} does not exist", directory.display());
            problems.error(listener.span, "no-directory", &listener.what, message, "create it, or use another one");
        }
    }
}

fn services(root: &Node, problems: &mut Problems) {
    let mut seen: Vec<(String, Span)> = Vec::new();
    for outbound in root.get("outbound").map(Node::items).unwrap_or_default() {
        for entry in outbound.get("services").map(Node::entries).unwrap_or_default() {
            let name = entry.key.to_ascii_lowercase();
            match seen.iter().find(|(known, _)| *known == name) {
                Some((_, first)) => {
                    let line = problems.sources.place(*first).map_or(0, |p| p.line);
                    let message = format!("the service `{name}` is given twice; first on line {line}");
                    problems.error(entry.key_span, "conflict", &name, message, "keep one of them");
                }
                None => seen.push((name, entry.key_span)),
            }
        }
    }
    sinks(root, problems);
    worker_logs(root, problems);
    secrets(root, problems);
}

/// Credentials are no tags: what is on every record and metric is read by many.
fn secrets(root: &Node, problems: &mut Problems) {
    let redactor = read::redactor(root.get("record"));
    let fix = "choose another tag; a value of this kind must not be shown";
    for entry in root.get("tags").map(Node::entries).unwrap_or_default() {
        if redactor.hides(&format!("/{}", entry.key)) {
            let path = format!("tags.{}", entry.key);
            let message = format!("`{path}` would put a credential on every record");
            problems.error(entry.key_span, "bad-value", &path, message, fix);
        }
    }
    for label in root.get("metrics").and_then(|m| m.get("labels")).map(Node::items).unwrap_or_default() {
        let Some(name) = label.text().filter(|l| redactor.hides(&format!("/{l}"))) else { continue };
        let message = format!("`{name}` would put a credential on every metric");
        problems.error(label.span, "bad-value", "metrics.labels", message, fix);
    }
    let identify = root.get("commands").and_then(|c| c.get("identify")).and_then(|i| i.get("tags"));
    for entry in identify.map(Node::entries).unwrap_or_default() {
        let Some(pointer) = entry.value.text() else { continue };
        if redactor.hides(pointer) || redactor.hides(&format!("/{}", entry.key)) {
            let path = format!("commands.identify.tags.{}", entry.key);
            let message = format!("`{path}` would show what is hidden: {pointer}");
            problems.error(entry.value.span, "bad-value", &path, message, fix);
        }
    }
}

/// What a part itself finds wrong with its section, at the place of the key, which may be in a section of its own.
fn misfit(entry: &Entry, at: &str, wrong: Wrong, problems: &mut Problems) {
    let find = |key: &str| key.split('.').try_fold(&entry.value, |node, k| node.get(k));
    let written = |n: &&Node| problems.sources.place(n.span).is_some();
    let place = wrong.key.and_then(find).filter(written).map_or(entry.key_span, |n| n.span);
    let at = if at.is_empty() { entry.key.to_string() } else { format!("{at}.{}", entry.key) };
    let path = match wrong.key {
        Some(key) => format!("{at}.{key}"),
        None => at,
    };
    problems.error(place, wrong.code, &path, format!("`{path}`: {}", wrong.message), wrong.fix);
}

/// What the worker's lines find wrong with their section.
fn worker_logs(root: &Node, problems: &mut Problems) {
    if problems.mentions("worker_logs") {
        return;
    }
    if let (Some(entry), Some(Err(wrong))) = (root.entry("worker_logs"), read::worker_logs(root)) {
        let place = wrong.key.and_then(|k| entry.value.get(k)).map_or(entry.key_span, |n| n.span);
        let path = wrong.key.map_or("worker_logs".to_owned(), |key| format!("worker_logs.{key}"));
        problems.error(place, wrong.code, &path, format!("`{path}`: {}", wrong.message), wrong.fix);
    }
}

/// What a sink itself finds wrong with its section.
fn sinks(root: &Node, problems: &mut Problems) {
    for (i, node) in root.get("logs").map(Node::items).unwrap_or_default().iter().enumerate() {
        let Some(entry) = node.entries().first().filter(|e| e.value.value != Value::Bad) else { continue };
        // What is bad in it has been reported.
        if problems.mentions(&format!("logs[{i}]")) {
            continue;
        }
        if let Some(Err(wrong)) = read::log(node) {
            misfit(entry, &format!("logs[{i}]"), wrong, problems);
        }
    }
    let numbers = root.get("metrics").and_then(|m| m.get("sinks")).map(Node::items).unwrap_or_default();
    for (i, node) in numbers.iter().enumerate() {
        let Some(entry) = node.entry("otlp").filter(|e| e.value.value != Value::Bad) else { continue };
        let path = format!("metrics.sinks[{i}]");
        if !problems.mentions(&path)
            && let Err(wrong) = read::otlp(&entry.value)
        {
            misfit(entry, &path, wrong, problems);
        }
    }
    if let Some(traces) = root.get("traces")
        && let Some(entry) = traces.entry("otlp")
        && !problems.mentions("traces")
        && let Some(Err(wrong)) = read::spans(traces)
    {
        misfit(entry, "traces", wrong, problems);
    }
    // Two sinks of one kind and address would count everything twice.
    let logs = LOG_KEYS.iter().map(|k| ("logs", k.name));
    for (section, key) in logs.chain([("metrics", "statsd"), ("metrics", "prometheus"), ("metrics", "otlp")]) {
        let list = match section {
            "logs" => root.get("logs"),
            _ => root.get("metrics").and_then(|m| m.get("sinks")),
        };
        let mut seen: Vec<Option<&str>> = Vec::new();
        for item in list.map(Node::items).unwrap_or_default() {
            let Some(entry) = item.entry(key) else { continue };
            if entry.value.value == Value::Bad {
                continue;
            }
            let to = ["to", "url", "path", "endpoint"].iter().find_map(|k| entry.value.get(k)).and_then(Node::text);
            if seen.contains(&to) {
                problems.error(
                    entry.key_span,
                    "conflict",
                    section,
                    format!("this `{key}` is given twice"),
                    "keep one of them",
                );
            }
            seen.push(to);
        }
    }
}
