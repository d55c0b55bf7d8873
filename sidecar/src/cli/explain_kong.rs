//! `fourmi explain` where a gateway rules: which route takes a request, what each middleware says to it, and where it
//! goes.

use super::explain_delivery::Delivered;
use crate::codec::normalize;
use crate::config::{GatewayPlan, Plan};
use crate::exchange::{Delivery, Head, Headers, Identity};
use crate::pipeline::gateway::Leads;
use crate::pipeline::{Dry, Spoken, dry};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What happens to one request.
#[derive(Debug)]
pub(crate) struct Explained {
    request: String,
    method: String,
    dry: Dry,
    /// The instances, as they are written.
    instances: Vec<String>,
}

/// `[METHOD] URL` and header lines against a gateway. The error is a usage error.
pub(crate) fn explain(
    plan: &GatewayPlan,
    identity: &Arc<Identity>,
    request: &[String],
    lines: &[String],
) -> Result<Explained, String> {
    let (method, url) = match request {
        [url] => ("GET".to_owned(), url),
        [method, url] => (method.to_ascii_uppercase(), url),
        _ => return Err("write [METHOD] URL".into()),
    };
    let uri: http::Uri = url.parse().map_err(|e| format!("`{url}` is no URL: {e}"))?;
    let mut headers = Headers::default();
    for line in lines {
        let pair = line.split_once(':').ok_or_else(|| format!("`{line}` is no header line; write `Name: value`"))?;
        let name = pair.0.trim().to_ascii_lowercase();
        if !headers.add(&name, pair.1.trim()) {
            return Err(format!("`{line}` is no header line"));
        }
    }
    let host_line = headers.get("host").map(str::to_owned);
    let authority = host_line.or_else(|| uri.authority().map(ToString::to_string)).unwrap_or_default();
    let mut head = Head::default();
    head.authority = authority.to_ascii_lowercase();
    head.method = method.parse().map_err(|_| format!("`{method}` is no method"))?;
    let tls = uri.scheme_str() == Some("https");
    let request = format!("{method} {}{}", head.authority, uri.path());
    let path = match normalize::path(uri.path()) {
        Ok(path) => path.into_owned(),
        Err(fault) => {
            let answer = Some((fault.kind.status(), format!("{}: {}", fault.kind.code(), fault.detail)));
            return Ok(Explained { request, method, dry: Dry { answer, ..Dry::default() }, instances: Vec::new() });
        }
    };
    head.set_target(&path, uri.query());
    head.headers = headers;
    let client = head.headers.get("x-forwarded-for").and_then(|ip| ip.parse().ok());
    let spoken = Spoken { head, tls, client: client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)) };
    let dry = dry(&plan.gateway, identity, spoken);
    let instances = match dry.leads {
        Some(Leads::Service(place)) => {
            let service = plan.services.get(place).and_then(Option::as_ref);
            // Those of weight 0 are given nothing.
            let some = service.map(|s| s.addresses.iter().filter(|a| a.weight > 0)).into_iter().flatten();
            some.map(|a| a.target.to_string()).collect()
        }
        Some(Leads::Worker) => vec!["the local worker".to_owned()],
        Some(Leads::Nowhere) | None => Vec::new(),
    };
    Ok(Explained { request, method, dry, instances })
}

impl Explained {
    /// Its method.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// How a middleware has it delivered.
    pub(crate) fn chosen(&self) -> Option<Arc<Delivery>> {
        self.dry.delivery.clone()
    }

    /// Whether a service would be asked.
    pub(crate) fn served(&self) -> bool {
        self.dry.answer.is_none() && !self.instances.is_empty()
    }

    /// For people: a line for each thing. A Kong file alone has nothing to store in.
    pub(crate) fn text(&self, plan: Option<&Plan>) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(out, "{name:<10} {value}");
        };
        line("request", &self.request);
        if let Some((route, path)) = &self.dry.route {
            let by = path.as_ref().map_or(String::new(), |p| format!(", by its path {p}"));
            line("route", &format!("{route}{by}"));
        }
        for (name, said) in &self.dry.steps {
            line("middleware", &format!("{name}: {said}"));
        }
        for name in &self.dry.unreached {
            line("middleware", &format!("{name}: not reached"));
        }
        if let Some(consumer) = &self.dry.consumer {
            line("consumer", consumer);
        }
        if self.dry.route.is_some() {
            line("service", self.dry.service.as_deref().unwrap_or("none"));
        }
        if self.served() {
            for instance in &self.instances {
                line("instance", instance);
            }
            let host = self.dry.upstream.1.as_deref().map_or(String::new(), |host| format!(" of {host}"));
            line("asked for", &format!("{}{host}", self.dry.upstream.0));
        }
        if let Some(plan) = plan.filter(|_| self.served()) {
            for (name, said) in Delivered::behind(plan, self).lines() {
                line(name, &said);
            }
        }
        if !self.dry.also.is_empty() {
            line("else", &format!("it would be taken by: {}", self.dry.also.join(", ")));
        }
        if let Some((status, why)) = &self.dry.answer {
            line("answer", &format!("{status} {why}"));
        }
        out
    }

    /// For programs.
    pub(crate) fn json(&self, plan: Option<&Plan>) -> Value {
        let dry = &self.dry;
        json!({
            "request": self.request,
            "route": dry.route.as_ref().map(|(name, path)| json!({"name": name, "matched_path": path})),
            "middlewares": dry.steps.iter().map(|(n, s)| json!({"name": n, "says": s})).collect::<Vec<_>>(),
            "not_reached": dry.unreached,
            "consumer": dry.consumer,
            "service": dry.service,
            "instances": self.instances,
            "upstream": { "path": dry.upstream.0, "host": dry.upstream.1 },
            "delivery": plan.map(|plan| Delivered::behind(plan, self).json()),
            "else": dry.also,
            "answer": dry.answer.as_ref().map(|(status, why)| json!({"status": status, "why": why})),
            "served": self.served(),
        })
    }
}
