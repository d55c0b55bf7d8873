//! `fourmi explain` with a Kong file: which route takes a request, where it goes, and which plugins hold.

use crate::codec::normalize;
use crate::exchange::Headers;
use crate::gateway::Entities;
use crate::gateway::entity::{Plugin, Route};
use crate::route::{Asked, Found, Mismatch, Scheme, form, host_and_port, upstream_path};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What happens to one request.
#[derive(Debug, Default)]
pub(crate) struct Explained {
    request: String,
    /// The winner: route, what matched, service, upstream URL.
    route: Option<Value>,
    /// Others that would take it.
    after: Vec<String>,
    plugins: Vec<(String, &'static str)>,
    /// What is answered without asking a service.
    answer: Option<String>,
}

/// `[METHOD] URL` and header lines against a Kong file. The error is a usage error.
pub(crate) fn explain(entities: &Entities, request: &[String], lines: &[String]) -> Result<Explained, String> {
    let (method, url) = match request {
        [url] => ("GET".to_owned(), url),
        [method, url] => (method.to_ascii_uppercase(), url),
        _ => return Err("write [METHOD] URL".into()),
    };
    let uri: http::Uri = url.parse().map_err(|e| format!("`{url}` is no URL: {e}"))?;
    let mut map = http::HeaderMap::new();
    for line in lines {
        let pair = line.split_once(':').ok_or_else(|| format!("`{line}` is no header line; write `Name: value`"))?;
        let name: http::HeaderName = pair.0.trim().parse().map_err(|_| format!("`{}` is no header", pair.0))?;
        map.append(name, pair.1.trim().parse().map_err(|_| format!("`{}` is no value", pair.1))?);
    }
    let host_line = map.get("host").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let authority = host_line.or_else(|| uri.authority().map(ToString::to_string)).unwrap_or_default();
    let authority = authority.to_ascii_lowercase();
    let tls = uri.scheme_str() == Some("https");
    let grpc = map.get("content-type").is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    let scheme = match (grpc, tls) {
        (false, false) => Scheme::Http,
        (false, true) => Scheme::Https,
        (true, false) => Scheme::Grpc,
        (true, true) => Scheme::Grpcs,
    };
    let mut out = Explained { request: format!("{method} {authority}{}", uri.path()), ..Explained::default() };
    let path = match normalize::path(uri.path()) {
        Ok(path) => path.into_owned(),
        Err(fault) => {
            out.answer = Some(format!("{} {}: {}", fault.kind.status(), fault.kind.code(), fault.detail));
            return Ok(out);
        }
    };
    let table = entities.table().map_err(|wrong| {
        let all: Vec<String> = wrong.iter().map(|w| format!("route {}: {w}", w.rule + 1)).collect();
        all.join("\n")
    })?;
    let (host, port) = host_and_port(&authority, if tls { 443 } else { 80 });
    let path = form::matching(&path);
    let headers = Headers::from_map(&map);
    let asked = Asked { scheme, host, port, method: &method, path: &path, sni: tls.then_some(host), headers: &headers };
    let found = table.all(&asked);
    let Some(first) = found.first() else {
        out.answer = Some("404 no Route matched with those values".into());
        return Ok(out);
    };
    let name = |f: &Found<'_>| table.rule(f.rule).map_or(String::new(), |r| r.name.clone());
    out.after = found.iter().skip(1).map(name).filter(|other| *other != name(first)).collect();
    out.after.dedup();
    let Some(route) = entities.routes.get(first.target) else { return Ok(out) };
    out.answer = table.rule(first.rule).and_then(|r| r.mismatch(tls, grpc, grpc)).map(|m| mismatch(m, route));
    let service = route.service.and_then(|s| entities.services.get(s));
    let upstream = service.map(|s| {
        let base = s.path.as_deref().unwrap_or("/");
        let path = upstream_path(base, first.matched, route.strip_path, crate::route::PathHandling::V0, &path);
        format!("{}://{}:{}{path}", s.protocol.as_str(), s.host, s.port)
    });
    out.route = Some(json!({
        "name": name(first),
        "matched_path": first.path,
        "service": service.map(|s| s.name.clone().unwrap_or_else(|| s.id.to_string())),
        "upstream": upstream,
    }));
    out.plugins = plugins(entities, first.target, route.service);
    Ok(out)
}

fn mismatch(mismatch: Mismatch, route: &Route) -> String {
    match mismatch {
        Mismatch::NeedsTls if route.https_redirect_status_code != 426 => {
            format!("{} to https", route.https_redirect_status_code)
        }
        Mismatch::NeedsTls => "426 Please use HTTPS protocol".into(),
        Mismatch::NeedsHttp2 => "426 Please use HTTP2 protocol".into(),
        Mismatch::NotGrpc => "415 Non-gRPC request matched gRPC route".into(),
        Mismatch::NeedsGrpcs => "grpc-status 1: gRPC request matched gRPCs route".into(),
    }
}

/// The plugins that hold for a route, each once, at the place that wins; those of single consumers beside them.
fn plugins(entities: &Entities, route: usize, service: Option<usize>) -> Vec<(String, &'static str)> {
    let holds =
        |p: &&Plugin| p.enabled && p.route.is_none_or(|r| r == route) && p.service.is_none_or(|s| Some(s) == service);
    let mut all: Vec<(u8, &Plugin)> = entities.plugins.iter().filter(holds).map(|p| (rank(p), p)).collect();
    all.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    let mut out: Vec<(String, &'static str)> = Vec::new();
    for (_, plugin) in all {
        let scope = match (plugin.consumer.or(plugin.consumer_group), plugin.route, plugin.service) {
            (Some(_), ..) => "for some consumers",
            (None, Some(_), _) => "of the route",
            (None, None, Some(_)) => "of the service",
            (None, None, None) => "global",
        };
        if scope == "for some consumers"
            || !out.iter().any(|(name, s)| *name == plugin.name && *s != "for some consumers")
        {
            out.push((plugin.name.clone(), scope));
        }
    }
    out
}

/// The more it is bound to, the more it counts.
fn rank(plugin: &Plugin) -> u8 {
    let consumer = plugin.consumer.is_some() || plugin.consumer_group.is_some();
    u8::from(consumer) * 4 + u8::from(plugin.route.is_some()) * 2 + u8::from(plugin.service.is_some())
}

impl Explained {
    /// Whether a service would be asked.
    pub(crate) fn served(&self) -> bool {
        self.answer.is_none() && self.route.as_ref().is_some_and(|r| !r["upstream"].is_null())
    }

    /// For people: a line for each thing.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(out, "{name:<10} {value}");
        };
        line("request", &self.request);
        if let Some(route) = &self.route {
            let words = |key: &str| route[key].as_str().unwrap_or("none").to_owned();
            let by = route["matched_path"].as_str().map_or(String::new(), |p| format!(", by its path {p}"));
            line("route", &format!("{}{by}", words("name")));
            line("service", &words("service"));
            line("upstream", &words("upstream"));
        }
        for (name, scope) in &self.plugins {
            line("plugin", &format!("{name}, {scope}"));
        }
        if !self.after.is_empty() {
            line("else", &format!("it would be taken by: {}", self.after.join(", ")));
        }
        if let Some(answer) = &self.answer {
            line("answer", answer);
        }
        line("note", "the gateway itself is not supported yet: nothing of this runs");
        out
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "request": self.request,
            "route": self.route,
            "else": self.after,
            "plugins": self.plugins.iter().map(|(n, s)| json!({"name": n, "scope": s})).collect::<Vec<_>>(),
            "answer": self.answer,
            "served": self.served(),
        })
    }
}
