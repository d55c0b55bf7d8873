//! What would happen to a command, from the plan alone: nothing is asked and nothing is sent.

use super::explain_delivery::Delivered;
use crate::codec::normalize;
use crate::config::{Bind, Listener, Plan, Ready, duration_text};
use crate::exchange::{Delivery, Direction, Head};
use crate::names::header;
use crate::pipeline::{Dry, Spoken, dry_outbound};
use crate::upstream::{Place, Scheme, Target};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

/// What happens to one request.
#[derive(Debug)]
pub(crate) struct Explained {
    method: String,
    target: String,
    path: String,
    authority: String,
    listener: Option<Listener>,
    service: String,
    direction: Direction,
    instances: Vec<Target>,
    command: (String, &'static str),
    notes: Vec<String>,
    /// The registry knows its instances.
    registered: bool,
    /// What the middlewares of an outbound service say.
    dry: Option<Dry>,
}

/// `[METHOD] URL` and header lines against a plan. The error is a usage error.
pub(crate) fn explain(plan: &Plan, request: &[String], lines: &[String]) -> Result<Explained, String> {
    let (method, url) = match request {
        [url] => ("GET".to_owned(), url),
        [method, url] => (method.to_ascii_uppercase(), url),
        _ => return Err("write [METHOD] URL".into()),
    };
    let uri: http::Uri = url.parse().map_err(|e| format!("`{url}` is no URL: {e}"))?;
    if http::Method::from_bytes(method.as_bytes()).is_err() {
        return Err(format!("`{method}` is no method"));
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Err(format!("`{line}` is no header line; write `Name: value`"));
        };
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let authority = match (uri.authority(), header("host")) {
        (Some(a), _) => a.as_str().to_ascii_lowercase(),
        (None, Some(host)) => host.to_ascii_lowercase(),
        (None, None) => String::new(),
    };
    // What is asked of one of our listeners by its address is for whom Host names.
    let authority = match header("host") {
        Some(host) if plan.listeners.iter().any(|l| at(&authority, l)) => host.to_ascii_lowercase(),
        _ => authority,
    };
    let (path, refused) = match normalize::path(uri.path()) {
        Ok(path) => (path.into_owned(), None),
        Err(fault) => (uri.path().to_owned(), Some(fault)),
    };
    let mut out = Explained {
        command: name(plan, &method, &path, &header),
        method,
        target: match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        },
        path,
        service: plan.identity.service.to_string(),
        direction: Direction::Inbound,
        listener: None,
        instances: Vec::new(),
        notes: Vec::new(),
        registered: false,
        dry: None,
        authority,
    };
    match refused {
        None => {
            place(plan, &mut out);
            let service =
                plan.outbound.iter().find(|s| out.direction == Direction::Outbound && *s.name == *out.service);
            if let Some(gate) = service.and_then(|s| s.gate.as_ref()) {
                let spoken = spoken(&out, uri.query(), &headers);
                out.dry = Some(dry_outbound(gate, &plan.identity, spoken));
            }
        }
        Some(fault) => {
            out.notes.push(format!("{} {}: {}", fault.kind.status(), fault.kind.code(), fault.detail));
        }
    }
    Ok(out)
}

/// The request as the middlewares see it.
fn spoken(out: &Explained, query: Option<&str>, headers: &[(String, String)]) -> Spoken {
    let mut head = Head::default();
    head.method = out.method.parse().unwrap_or(http::Method::GET);
    head.authority.clone_from(&out.authority);
    head.set_target(&out.path, query);
    for (name, value) in headers {
        head.headers.add(name, value);
    }
    Spoken { head, tls: false, client: std::net::Ipv4Addr::LOCALHOST.into() }
}

/// Whether the worker sends it, to one of its services.
pub(crate) fn is_outbound(plan: &Plan, request: &[String], lines: &[String]) -> bool {
    explain(plan, request, lines).is_ok_and(|out| out.direction == Direction::Outbound)
}

/// Whether an authority is a listener's own address.
fn at(authority: &str, listener: &Listener) -> bool {
    let (host, port) = split(authority);
    match &listener.bind {
        Bind::Tcp(address) => {
            let ip = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
            let here = ip.is_none_or(|ip| ip == address.ip() || address.ip().is_unspecified());
            port == Some(address.port()) && here
        }
        Bind::Unix(_) => false,
    }
}

/// Host without port, and port.
fn split(authority: &str) -> (&str, Option<u16>) {
    let host = authority.rsplit_once('@').map_or(authority, |(_, a)| a);
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, None),
    }
}

fn place(plan: &Plan, out: &mut Explained) {
    let authority = out.authority.clone();
    let (host, _) = split(&authority);
    let bare = plan.bare(host);
    let name = bare.unwrap_or(host);
    let listens = || plan.listeners.iter().find(|l| l.direction == Direction::Outbound && !l.messages).cloned();
    let told = plan.discovery.iter().flat_map(|d| &d.services).filter(|(i, _)| i.service.eq_ignore_ascii_case(name));
    let told: Vec<Target> = told.filter_map(|(instance, _)| instance_of(plan, instance)).collect();
    let configured = plan.outbound.iter().find(|s| *s.name == *name);
    if configured.is_none_or(|s| s.addresses.is_empty())
        && plan.discovery.is_some()
        && (bare.is_some() || configured.is_some() || !told.is_empty())
    {
        out.direction = Direction::Outbound;
        out.service = name.to_owned();
        (out.instances, out.registered) = (told, true);
        out.listener = listens();
        out.notes.push("its instances are those that the registry knows; a running Fourmi says which".into());
        return;
    }
    if let Some(service) = plan.outbound.iter().find(|s| *s.name == *name) {
        out.direction = Direction::Outbound;
        out.service = service.name.to_string();
        out.instances = service.addresses.iter().map(|a| a.target.clone()).collect();
        out.listener = listens();
        return;
    }
    let named = plan.listeners.iter().find(|l| at(&authority, l));
    let inbound = plan.listeners.iter().find(|l| l.direction == Direction::Inbound);
    if bare.is_some() || named.is_some_and(|l| l.direction == Direction::Outbound) {
        out.direction = Direction::Outbound;
        out.service = name.to_owned();
        out.listener = named.cloned().or_else(listens);
        let known: Vec<&str> = plan.outbound.iter().map(|s| &*s.name).collect();
        out.notes.push(match known.is_empty() {
            true => "no service is configured: add outbound[].services".into(),
            false => format!("no service has that name; known: {}", known.join(", ")),
        });
        return;
    }
    out.listener = named.or(inbound).cloned();
    match (&out.listener, &plan.worker) {
        (None, _) => out.notes.push("no listener takes it: there is neither a worker nor such a service".into()),
        (_, None) => out.notes.push("there is no worker".into()),
        (_, Some(worker)) => out.instances = worker.addresses.iter().map(|a| a.target.clone()).collect(),
    }
}

/// Where an instance of the file's own is.
fn instance_of(plan: &Plan, instance: &fourmi_discovery::Instance) -> Option<Target> {
    let node = plan.discovery.as_ref().map(|d| &d.node.address);
    let host = instance.address.as_ref().or(node)?.to_string();
    (instance.port > 0).then_some(Target { scheme: Scheme::Http, place: Place::Tcp(host, instance.port) })
}

/// A name as records will carry it.
fn normal(raw: &str) -> String {
    crate::command::normalized(raw).map_or_else(|| "(no name)".into(), |n| n.to_string())
}

/// The command's name, and what it comes from.
fn name<'h>(
    plan: &Plan,
    method: &str,
    path: &str,
    header: &impl Fn(&str) -> Option<&'h str>,
) -> (String, &'static str) {
    if let Some(name) = header(header::COMMAND) {
        return (normal(name), "the header Fourmi-Command, if the caller is trusted");
    }
    if let Some(name) = header("ce-type") {
        return (normal(name), "the CloudEvent's type, if the caller is trusted");
    }
    if header("content-type").is_some_and(|v| v.starts_with("application/cloudevents")) {
        return ("the event's type".into(), "the CloudEvent in the body");
    }
    if plan.identify.codec.is_some() {
        return ("the message's name".into(), "commands.identify.codec");
    }
    match &plan.identify.name {
        Some(pointer) => (format!("what stands at {pointer} in the body"), "commands.identify.name"),
        None => (crate::command::of_path(method, path).to_string(), "method and path"),
    }
}

impl Explained {
    /// Its path and query, as it would be sent.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The service that it goes to.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Its method.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// Whose command it is.
    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// How a middleware has it delivered.
    pub(crate) fn chosen(&self) -> Option<Arc<Delivery>> {
        self.dry.as_ref()?.delivery.clone()
    }

    /// Whether something would answer it.
    pub(crate) fn served(&self) -> bool {
        let refused = self.dry.as_ref().is_some_and(|dry| dry.answer.is_some());
        (self.registered || !self.instances.is_empty()) && self.listener.is_some() && !refused
    }

    fn listener(&self) -> String {
        match self.listener.as_ref() {
            Some(listener) => listener.url(),
            None => "none".into(),
        }
    }

    /// For people: a line for each thing.
    pub(crate) fn text(&self, plan: &Plan) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<10} {value}");
        };
        line("request", format!("{} {}{}", self.method, self.authority, self.path));
        line("listener", format!("{} ({})", self.listener(), self.direction.as_str()));
        line("service", self.service.clone());
        for (name, said) in self.dry.iter().flat_map(|dry| &dry.steps) {
            line("middleware", format!("{name}: {said}"));
        }
        match self.dry.as_ref().and_then(|dry| dry.answer.as_ref()) {
            Some((status, why)) => line("answer", format!("{status} {why}")),
            None => self.instances.iter().for_each(|target| line("instance", target.to_string())),
        }
        line("command", format!("{}, from {}", self.command.0, self.command.1));
        if let (Direction::Inbound, Some(worker)) = (self.direction, &plan.worker) {
            line(
                "ready",
                match &worker.ready {
                    Ready::Connect => "asked by connecting".into(),
                    Ready::Http { path, interval } => format!("GET {path} every {}", duration_text(*interval)),
                },
            );
        }
        let t = &plan.timeouts;
        let whole = t.whole.map_or("off".into(), duration_text);
        line(
            "timeouts",
            format!(
                "connect {}, answer {}, whole {whole}, hold {}",
                duration_text(t.connect),
                duration_text(t.answer),
                duration_text(t.hold)
            ),
        );
        line(
            "limits",
            format!("head {} bytes, {} lines; body {} bytes", plan.limits.head, plan.limits.headers, plan.limits.body),
        );
        for (name, said) in Delivered::of(plan, self).lines() {
            line(name, said);
        }
        for note in &self.notes {
            line("note", note.clone());
        }
        out
    }

    /// For programs.
    pub(crate) fn json(&self, plan: &Plan) -> Value {
        let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let t = &plan.timeouts;
        json!({
            "method": self.method,
            "authority": self.authority,
            "path": self.path,
            "listener": self.listener.as_ref().map(|_| self.listener()),
            "direction": self.direction.as_str(),
            "service": self.service,
            "instances": self.instances.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "command": { "name": self.command.0, "from": self.command.1 },
            "timeouts_ms": {
                "connect": ms(t.connect), "answer": ms(t.answer), "whole": t.whole.map(ms), "hold": ms(t.hold),
            },
            "limits": { "head": plan.limits.head, "headers": plan.limits.headers, "body": plan.limits.body },
            "middlewares": self.dry.iter().flat_map(|dry| &dry.steps).map(|(n, s)| json!({"name": n, "says": s}))
                .collect::<Vec<_>>(),
            "answer": self.dry.as_ref().and_then(|d| d.answer.as_ref())
                .map(|(status, why)| json!({"status": status, "why": why})),
            "delivery": Delivered::of(plan, self).json(),
            "served": self.served(),
            "notes": self.notes,
        })
    }
}
