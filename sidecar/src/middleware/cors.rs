//! `cors`: answers browsers that ask beforehand, and tells them with each answer which pages may read it.

use super::expression::{self, Match};
use super::plugin::{Plugin, Setup};
use super::{After, Hooks, Middleware, Verdict};
use crate::exchange::{AnswerHead, Exchange, Head, Headers, Reply, Says, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use regex::bytes::Regex;
use std::borrow::Cow;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 2000, build };

const NAME: &str = "cors";

const METHODS: [&str; 9] = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const ALLOW_HEADERS: &str = "access-control-allow-headers";
const ALLOW_METHODS: &str = "access-control-allow-methods";
const ALLOW_NETWORK: &str = "access-control-allow-private-network";
const EXPOSE_HEADERS: &str = "access-control-expose-headers";
const MAX_AGE: &str = "access-control-max-age";
const REQUEST_HEADERS: &str = "access-control-request-headers";
const REQUEST_METHOD: &str = "access-control-request-method";
const REQUEST_NETWORK: &str = "access-control-request-private-network";

/// Which pages may read answers.
enum Origins {
    /// Every page.
    Any,
    /// Every page, said beside others: who does not say where it comes from is told nothing.
    AnyNamed,
    /// Those of one origin; it is named whoever asks.
    One(String),
    /// Those that one of these matches.
    Some(Vec<Origin>),
}

enum Origin {
    /// Scheme, host and port.
    Literal(String),
    /// Matched against the host alone, or against all of the origin.
    Regex { regex: Regex, host: bool },
}

struct Cors {
    origins: Origins,
    credentials: bool,
    network: bool,
    continues: bool,
    origin_absent: bool,
    exposed: Option<String>,
    /// What every preflight is answered.
    preflight: Headers,
    /// Whether the answer repeats the headers that the request names.
    repeats_headers: bool,
}

/// Whether an entry is no expression. The brackets of an IPv6 address are none either.
fn is_literal(entry: &str) -> bool {
    let address = |host: &str| host.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok();
    entry.bytes().all(|b| b.is_ascii_alphanumeric() || b".:/-".contains(&b)) || address(normalized(entry).1).is_some()
}

/// An origin without the port that its scheme implies and without what is no part of an origin, and its host.
fn normalized(origin: &str) -> (Cow<'_, str>, &str) {
    let Some((scheme, rest)) = origin.split_once("://") else { return (origin.into(), origin) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    };
    let port = port.filter(|port| !matches!((scheme, *port), ("http", "80") | ("https", "443")));
    let plain = match port {
        Some(_) => authority.len() == rest.len(),
        None => host.len() == rest.len(),
    };
    if plain {
        return (origin.into(), host);
    }
    (port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}")).into(), host)
}

fn origins(fields: &mut Fields<'_>) -> Origins {
    let entries = fields.texts("origins").unwrap_or_default();
    let mut read = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        if entry == "*" {
            continue;
        }
        if is_literal(entry) {
            read.push(Origin::Literal(normalized(entry).0.into_owned()));
            continue;
        }
        match expression::one(entry, Match::Whole) {
            Ok(regex) => read.push(Origin::Regex { regex, host: !entry.contains(':') }),
            Err((message, fix)) => fields.wrong(&format!("origins[{at}]"), message, fix),
        }
    }
    match entries.as_slice() {
        [] => Origins::Any,
        [one] if one == "*" => Origins::Any,
        [one] if is_literal(one) => Origins::One(one.clone()),
        several if several.iter().any(|entry| entry == "*") => Origins::AnyNamed,
        _ => Origins::Some(read),
    }
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let origins = origins(&mut fields);
    let mut list = |key: &'static str| {
        let names = fields.texts(key).unwrap_or_default();
        let joined = names.join(",");
        if !Headers::default().append(ALLOW_HEADERS, &joined) {
            fields.wrong(key, "is no header value", "write names of headers");
        }
        (!names.is_empty()).then_some(joined)
    };
    let headers = list("headers");
    let exposed = list("exposed_headers");
    let methods = fields.texts("methods");
    for (at, method) in methods.iter().flatten().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            let message = format!("expected one of: {}", METHODS.join(", "));
            fields.wrong(&format!("methods[{at}]"), message, "write a method in capitals");
        }
    }
    let max_age = fields.number("max_age", f64::MIN, f64::MAX);
    let credentials = fields.flag("credentials", false);
    let network = fields.flag("private_network", false);
    let continues = fields.flag("preflight_continue", false);
    let origin_absent = fields.flag("allow_origin_absent", true);
    fields.finish()?;
    let mut preflight = Headers::default();
    preflight.append(ALLOW_METHODS, methods.map_or_else(|| METHODS.join(","), |methods| methods.join(",")));
    if let Some(headers) = &headers {
        preflight.append(ALLOW_HEADERS, headers);
    }
    if let Some(age) = max_age {
        preflight.append(MAX_AGE, age.to_string());
    }
    Ok(Arc::new(Cors {
        origins,
        credentials,
        network,
        continues,
        origin_absent,
        exposed,
        preflight,
        repeats_headers: headers.is_none(),
    }))
}

/// Whether a browser asks beforehand.
fn is_preflight(request: &Head) -> bool {
    request.method == http::Method::OPTIONS
        && request.headers.contains("origin")
        && request.headers.contains(REQUEST_METHOD)
}

/// The answer depends on who asks: caches have to know.
fn vary(headers: &mut Headers) {
    let names = |line: &[u8]| {
        line.split(|b| *b == b',').map(<[u8]>::trim_ascii).any(|n| n.eq_ignore_ascii_case(b"origin") || n == b"*")
    };
    if !headers.get_all("vary").any(names) {
        headers.append("vary", "Origin");
    }
}

impl Origin {
    fn matches(&self, origin: &str, host: &str) -> bool {
        match self {
            Origin::Literal(literal) => literal == origin,
            Origin::Regex { regex, host: true } => regex.is_match(host.as_bytes()),
            Origin::Regex { regex, host: false } => regex.is_match(origin.as_bytes()),
        }
    }
}

impl Cors {
    /// The lines about origin and credentials, which preflights and answers have in common.
    fn admit(&self, origin: Option<&str>, headers: &mut Headers) {
        let all = match &self.origins {
            Origins::Any => true,
            Origins::AnyNamed => {
                vary(headers);
                origin.is_some()
            }
            Origins::One(one) => {
                vary(headers);
                headers.set(ALLOW_ORIGIN, one);
                return self.with_credentials(headers);
            }
            Origins::Some(some) => {
                vary(headers);
                let found = origin.map(normalized).filter(|(o, host)| some.iter().any(|entry| entry.matches(o, host)));
                match found {
                    Some((origin, _)) => headers.set(ALLOW_ORIGIN, &*origin),
                    None => headers.remove(ALLOW_ORIGIN),
                };
                return self.with_credentials(headers);
            }
        };
        match origin {
            _ if !all => drop(headers.remove(ALLOW_ORIGIN)),
            // Browsers refuse credentials where every page is let in, so that the one that asks is named.
            Some(origin) if self.credentials => {
                vary(headers);
                headers.set(ALLOW_ORIGIN, origin);
                self.with_credentials(headers);
            }
            _ => drop(headers.set(ALLOW_ORIGIN, "*")),
        }
    }

    fn with_credentials(&self, headers: &mut Headers) {
        if self.credentials {
            headers.set(ALLOW_CREDENTIALS, "true");
        }
    }
}

impl Middleware for Cors {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: !self.continues, answer: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        let request = &exchange.request;
        if !is_preflight(request) {
            return Verdict::Next;
        }
        let mut headers = self.preflight.clone();
        self.admit(request.headers.get("origin"), &mut headers);
        if self.repeats_headers
            && let Some(names) = request.headers.get_bytes(REQUEST_HEADERS)
        {
            headers.append(ALLOW_HEADERS, names);
        }
        if self.network && request.headers.get(REQUEST_NETWORK) == Some("true") {
            headers.append(ALLOW_NETWORK, "true");
        }
        let why = "a browser asks beforehand".into();
        Verdict::Reply(Box::new(Reply { status: 200, says: Says::Nothing, headers, by: NAME, why }))
    }

    fn on_answer(&self, exchange: &mut Exchange, answer: &mut AnswerHead) -> After {
        let request = &exchange.request;
        let origin = request.headers.get("origin");
        if is_preflight(request) || (origin.is_none() && !self.origin_absent) {
            return After::Next;
        }
        self.admit(origin, &mut answer.headers);
        if let Some(exposed) = &self.exposed {
            answer.headers.set(EXPOSE_HEADERS, exposed);
        }
        After::Next
    }
}

#[cfg(test)]
mod tests;
