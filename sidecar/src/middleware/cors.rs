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
mod tests {
    use super::super::testing::{ask, plugin, wrong};
    use super::*;
    use crate::command::testing::exchange;
    use serde_json::{Value, json};

    fn lines(headers: &Headers) -> Vec<String> {
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(n, v)| {
                let short = n.strip_prefix("access-control-").unwrap_or(n);
                format!("{short}: {}", String::from_utf8_lossy(v))
            })
            .collect();
        lines.sort();
        lines
    }

    fn preflight(config: &Value, more: &[(&'static str, &str)]) -> Option<Vec<String>> {
        let asking = [&[(REQUEST_METHOD, "PUT")], more].concat();
        let reply = ask(&*plugin(NAME, config), &mut exchange("OPTIONS", "/", &asking))?;
        assert!(reply.status == 200 && matches!(reply.says, Says::Nothing));
        Some(lines(&reply.headers))
    }

    fn answered(config: &Value, asked: &[(&'static str, &str)], answer: &[(&'static str, &str)]) -> Vec<String> {
        let mut head = AnswerHead { status: 200, headers: Headers::default(), own: false };
        for (name, value) in answer {
            head.headers.append(name, value);
        }
        let cors = plugin(NAME, config);
        let mut exchange = exchange("GET", "/", asked);
        assert!(ask(&*cors, &mut exchange).is_none());
        cors.on_answer(&mut exchange, &mut head);
        lines(&head.headers)
    }

    const ALL: &str = "allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT";

    #[test]
    fn browsers_that_ask_beforehand() {
        let some = json!({
            "origins": ["example.test"], "methods": ["GET"], "headers": ["origin", "type", "accepts"], "max_age": 23,
            "credentials": true, "exposed_headers": ["x-auth-token"],
        });
        for (config, more, expected) in [
            (json!({}), &[("origin", "http://origin1.test")][..], &["allow-origin: *", ALL][..]),
            (
                json!({"origins": ["*"], "credentials": true}),
                &[("origin", "origin5.test")],
                &["allow-credentials: true", "allow-origin: origin5.test", ALL, "vary: Origin"],
            ),
            (
                some,
                &[("origin", "http://other.test"), (REQUEST_HEADERS, "x-mine")],
                &[
                    "allow-credentials: true",
                    "allow-headers: origin,type,accepts",
                    "allow-methods: GET",
                    "allow-origin: example.test",
                    "max-age: 23",
                    "vary: Origin",
                ],
            ),
            (
                json!({}),
                &[("origin", "http://a.test"), (REQUEST_HEADERS, "origin,accepts")],
                &["allow-headers: origin,accepts", "allow-origin: *", ALL],
            ),
            (
                json!({"private_network": true, "max_age": 1.5, "methods": []}),
                &[("origin", "http://a.test"), (REQUEST_NETWORK, "true")],
                &["allow-methods: ", "allow-origin: *", "allow-private-network: true", "max-age: 1.5"],
            ),
            (json!({}), &[("origin", "http://a.test"), (REQUEST_NETWORK, "true")], &["allow-origin: *", ALL]),
        ] {
            let mut found = preflight(&config, more).unwrap();
            let mut expected: Vec<String> = expected.iter().map(|l| (*l).to_owned()).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{config}");
        }
        assert_eq!(preflight(&json!({}), &[]), None, "without an origin nobody asks");
        let plain = &mut exchange("OPTIONS", "/", &[("origin", "http://a.test")]);
        assert!(ask(&*plugin(NAME, &json!({})), plain).is_none(), "without a method neither");
        let continuing = plugin(NAME, &json!({"preflight_continue": true}));
        let mut asking = exchange("OPTIONS", "/", &[("origin", "http://a.test"), (REQUEST_METHOD, "PUT")]);
        assert!(!continuing.hooks().request);
        let mut head = AnswerHead { status: 204, headers: Headers::default(), own: false };
        continuing.on_answer(&mut asking, &mut head);
        assert!(head.headers.is_empty(), "the service answers alone");
    }

    #[test]
    fn which_pages_may_read() {
        let several = json!(["http://my-site.test", "https://my-other-site.test:9000"]);
        for (origins, origin, expected) in [
            (json!(null), "http://a.test", Some("*")),
            (json!([]), "http://a.test", Some("*")),
            (json!(["*"]), "http://a.test", Some("*")),
            (json!(["foo.test"]), "http://evil.test", Some("foo.test")),
            (json!(["foo\\.test"]), "http://foo.test:8000", Some("http://foo.test:8000")),
            (json!(["foo\\.test"]), "http://foo.test.evil.test", None),
            (json!(["foo\\.test"]), "http://foobtest", None),
            (json!(["foo\\.test"]), "http://evil.test/foo.test", None),
            (json!(["foo\\.test"]), "http://foo.test@evil.test", None),
            (json!(["foo\\.test"]), "http://foo.test:80", Some("http://foo.test")),
            (json!(["https://(.*[.])?foo\\.test:8000"]), "https://foo.test:8000", Some("https://foo.test:8000")),
            (json!(["https://(.*[.])?foo\\.test:8000"]), "https://a.foo.test:8000", Some("https://a.foo.test:8000")),
            (json!(["https://(.*[.])?foo\\.test:8000"]), "http://foo.test:8000", None),
            (json!(["^https://foo\\.test$"]), "https://foo.test:443", Some("https://foo.test")),
            // All alternatives are anchored.
            (json!(["foo\\.test|bar\\.test"]), "http://foo.test.evil.test", None),
            (json!(["foo\\.test|bar\\.test"]), "http://bar.test", Some("http://bar.test")),
            (json!(["(?x) foo\\.test # ours"]), "http://foo.test", Some("http://foo.test")),
            (json!(["foo.test", "bar.test"]), "http://foo.test", None),
            (several.clone(), "http://my-site.test:80", Some("http://my-site.test")),
            (several.clone(), "http://my-site.test", Some("http://my-site.test")),
            (several.clone(), "https://my-other-site.test:9000", Some("https://my-other-site.test:9000")),
            (several.clone(), "https://my-other-site.test:9001", None),
            (several.clone(), "https://my-site.test", None),
            (several.clone(), "null", None),
            (several, "http://[::1]:80", None),
            (json!(["http://[::1]:8080", "x"]), "http://[::1]:8080", Some("http://[::1]:8080")),
            (json!(["http://a.test", "*"]), "http://b.test", Some("*")),
            (json!(["a.test", ".*"]), "null", Some("null")),
        ] {
            let found = answered(&json!({"origins": origins}), &[("origin", origin)], &[(ALLOW_ORIGIN, "upstream's")]);
            let found: Vec<_> = found.iter().filter_map(|line| line.strip_prefix("allow-origin: ")).collect();
            assert_eq!(found, expected.as_slice(), "{origins} {origin}");
        }
    }

    #[test]
    fn what_answers_say() {
        let some = json!({"origins": ["example.test"], "credentials": true, "exposed_headers": ["x-auth-token", "b"]});
        for (config, origin, answer, expected) in [
            (json!({}), Some("http://a.test"), &[][..], &["allow-origin: *"][..]),
            (json!({}), None, &[], &["allow-origin: *"]),
            (json!({"allow_origin_absent": false}), None, &[(ALLOW_ORIGIN, "own")], &["allow-origin: own"]),
            (
                some,
                Some("http://a.test"),
                &[("vary", "Accept-Encoding"), (ALLOW_ORIGIN, "*")],
                &[
                    "allow-credentials: true",
                    "allow-origin: example.test",
                    "expose-headers: x-auth-token,b",
                    "vary: Accept-Encoding",
                    "vary: Origin",
                ],
            ),
            (json!({"origins": ["a", "b"]}), None, &[("vary", "x, ORIGIN")], &["vary: x, ORIGIN"]),
            (json!({"origins": ["a", "*"]}), None, &[], &["vary: Origin"]),
            (json!({"credentials": true}), None, &[], &["allow-origin: *"]),
            (
                json!({"origins": ["*", "a"], "credentials": true}),
                Some("http://a.test"),
                &[],
                &["allow-credentials: true", "allow-origin: http://a.test", "vary: Origin"],
            ),
        ] {
            let asked: Vec<_> = origin.iter().map(|o| ("origin", *o)).collect();
            assert_eq!(answered(&config, &asked, answer), expected, "{config}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let found =
            wrong(NAME, &json!({"origins": ["*", "(a", "(?=a)b", "a\\1("], "methods": ["get"], "max_age": "1"}));
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found[0].starts_with("origins[1]: '(a' is not a valid regex (unclosed group"), "{found:?}");
        assert!(found[1].contains("look-around"), "{found:?}");
        assert!(found[3].starts_with("methods[0]: expected one of: GET, HEAD"), "{found:?}");
        assert_eq!(found[4], "max_age: expected a number");
        assert_eq!(wrong(NAME, &json!({"headers": ["a\nb"]})), ["headers: is no header value"]);
    }
}
