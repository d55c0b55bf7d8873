//! Path and method to answer.

use super::{Control, Hand, Request, guard, page};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use http_body_util::Full;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Nothing but our own style sheet; no script, no frame, no form.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// A finished answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// Answers one request.
pub(super) async fn answer(head: &Parts, peer: IpAddr, control: &dyn Control, machine: Option<&str>) -> Answer {
    let identity = control.identity();
    let names = [machine.unwrap_or(&identity.hostname), &identity.hostname];
    let mut answer = match guard::may_ask(head.version >= Version::HTTP_11, &head.headers, &names) {
        Ok(()) => route(head, peer, control).await,
        Err(refusal) => problem(refusal.status(), refusal.detail()),
    };
    if head.method == Method::HEAD {
        // The length stays that of the answer to GET (RFC 9110 9.3.2).
        let length = http_body::Body::size_hint(answer.body()).exact().unwrap_or(0);
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        *answer.body_mut() = Full::default();
    }
    answer
}

async fn route(head: &Parts, peer: IpAddr, control: &dyn Control) -> Answer {
    let path = head.uri.path();
    let change = matches!(path, "/api/v1/reload" | "/api/v1/drain" | "/api/v1/stop" | "/api/v1/upstreams/health");
    let known = change
        || matches!(path, "/" | "/page.css" | "/livez" | "/readyz" | "/healthz" | "/metrics")
        || matches!(path, "/api/v1/config" | "/api/v1/status" | "/api/v1/sinks" | "/api/v1/upstreams")
        || matches!(path, "/api/v1/gateway" | "/api/v1/gateway/consumers" | "/api/v1/limits")
        || path == "/api/v1/upstreams/explain";
    if !known {
        return problem(404, "there is no such path; the page at / links all of them");
    }
    let allowed = if change { head.method == Method::POST } else { matches!(head.method, Method::GET | Method::HEAD) };
    if !allowed {
        let mut answer = problem(405, if change { "changes are made by POST" } else { "this is read by GET" });
        let allow = if change { "POST" } else { "GET, HEAD" };
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        return answer;
    }
    if change && let Err(refusal) = guard::may_change(&head.headers, peer) {
        return problem(refusal.status(), refusal.detail());
    }
    match path {
        "/" => make(200, "text/html; charset=utf-8", page::page(control, asked(head, "pause").is_none())),
        "/page.css" => make(200, "text/css; charset=utf-8", page::STYLE),
        "/livez" if wants_json(head) => json_answer(200, &json!({"live": true})),
        "/livez" => make(200, TEXT, "live\n"),
        "/metrics" => {
            let mut text = String::with_capacity(16 << 10);
            control.metrics(&mut text);
            make(200, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        "/api/v1/config" => json_answer(200, &control.config()),
        "/api/v1/status" => json_answer(200, &control.status()),
        "/api/v1/sinks" => json_answer(200, &control.sinks()),
        "/api/v1/upstreams" => json_answer(200, &control.upstreams()),
        "/api/v1/gateway" => of_gateway(control.gateway()),
        "/api/v1/gateway/consumers" => of_gateway(control.consumers(argument(head, "name").as_deref())),
        "/api/v1/limits" => json_answer(200, &control.limits()),
        "/api/v1/upstreams/explain" => explain(head, control),
        "/api/v1/upstreams/health" => health(head, control),
        "/api/v1/reload" => reload(head, control).await,
        "/api/v1/drain" => {
            control.drain();
            done(head, "draining")
        }
        "/api/v1/stop" => {
            control.stop();
            done(head, "stopping")
        }
        // What is left is /readyz and its other name.
        _ => ready(head, control),
    }
}

/// 200 when every part is ready; otherwise 503 and the name of each part that is not.
fn ready(head: &Parts, control: &dyn Control) -> Answer {
    let parts = control.ready();
    let all = parts.iter().all(|part| part.ready);
    let status = if all { 200 } else { 503 };
    if wants_json(head) {
        let parts: Vec<Value> =
            parts.iter().map(|p| json!({"name": p.name, "ready": p.ready, "detail": p.detail})).collect();
        return json_answer(status, &json!({"ready": all, "parts": parts}));
    }
    let mut text = String::from(if all { "ready\n" } else { "not ready\n" });
    let verbose = asked(head, "verbose").is_some();
    for part in parts.iter().filter(|part| verbose || !part.ready) {
        let mark = if part.ready { '+' } else { '-' };
        text.push_str(&match part.detail.as_str() {
            "" => format!("[{mark}] {}\n", part.name),
            detail => format!("[{mark}] {}: {detail}\n", part.name),
        });
    }
    make(status, TEXT, text)
}

fn of_gateway(shown: Option<Value>) -> Answer {
    match shown {
        Some(shown) => json_answer(200, &shown),
        None => problem(404, "this Fourmi has no gateway; `gateway:` names a Kong file"),
    }
}

/// Which instance would be picked, and why.
fn explain(head: &Parts, control: &dyn Control) -> Answer {
    let Some(service) = argument(head, "service") else {
        return problem(400, "name the service: /api/v1/upstreams/explain?service=NAME");
    };
    // As it would be sent: the path, and header lines, of which each is `Name: value`.
    let lines = argument(head, "headers").unwrap_or_default();
    let pair = |line: &str| line.split_once(':').map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_owned()));
    let request = Request {
        target: argument(head, "target").filter(|t| t.starts_with('/')).unwrap_or_else(|| "/".to_owned()),
        headers: lines.lines().filter_map(pair).collect(),
    };
    match control.explain(&service, &request) {
        Some(explained) => json_answer(200, &explained),
        None => problem(404, &format!("no service is called {service}; /api/v1/upstreams lists all of them")),
    }
}

/// Takes an instance in or out by hand.
fn health(head: &Parts, control: &dyn Control) -> Answer {
    const HOW: &str = "write ?service=NAME&state=up, down or auto, and &instance=ADDRESS unless all of them are meant";
    let hand = match argument(head, "state").as_deref() {
        Some("up") => Hand::Up,
        Some("down") => Hand::Down,
        Some("auto") => Hand::Auto,
        _ => return problem(400, HOW),
    };
    let Some(service) = argument(head, "service") else { return problem(400, HOW) };
    let instance = argument(head, "instance");
    // One that is named and cannot be read, such as a variable that is not set, is not all of them.
    if instance.is_none() && asked(head, "instance").is_some() {
        return problem(400, HOW);
    }
    match control.set_health(&service, instance.as_deref(), hand) {
        Ok(now) => json_answer(200, &now),
        Err(why) => problem(404, &why),
    }
}

async fn reload(head: &Parts, control: &dyn Control) -> Answer {
    match control.reload().await {
        Ok(said) => done(head, &said),
        Err(report) if wants_json(head) => problem(422, &report),
        Err(report) => make(422, TEXT, report),
    }
}

/// A change that was made.
fn done(head: &Parts, said: &str) -> Answer {
    if wants_json(head) {
        return json_answer(200, &json!({"result": said}));
    }
    make(200, TEXT, format!("{}\n", said.trim_end()))
}

/// RFC 9457; without a `type` of its own the status says it all.
pub(super) fn problem(status: u16, detail: &str) -> Answer {
    let title = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error");
    let body = json!({"title": title, "status": status, "detail": detail});
    make(status, PROBLEM, format!("{body}\n"))
}

fn json_answer(status: u16, value: &Value) -> Answer {
    make(status, JSON, format!("{value:#}\n"))
}

fn make(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let lines = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::SERVER, "fourmi"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    for (name, value) in lines {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// A query key's value; empty for a bare key.
fn asked<'a>(head: &'a Parts, key: &str) -> Option<&'a str> {
    head.uri.query()?.split('&').map(|p| p.split_once('=').unwrap_or((p, ""))).find(|(k, _)| *k == key).map(|(_, v)| v)
}

/// A query key's value without percent-encoding; none when it is empty or no text.
fn argument(head: &Parts, key: &str) -> Option<String> {
    let raw = asked(head, key)?.as_bytes();
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let digits = || tail.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let escaped = || u8::from_str_radix(std::str::from_utf8(digits()?).ok()?, 16).ok();
        match (first, escaped()) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).ok().filter(|text| !text.is_empty())
}

/// By `?format=json`, or an `Accept` that names JSON.
fn wants_json(head: &Parts) -> bool {
    match asked(head, "format") {
        Some(format) => format == "json",
        None => head.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|accept| {
            accept.split(',').any(|kind| {
                let kind = kind.split(';').next().unwrap_or("").trim();
                kind.eq_ignore_ascii_case(JSON) || kind.eq_ignore_ascii_case(PROBLEM)
            })
        }),
    }
}
