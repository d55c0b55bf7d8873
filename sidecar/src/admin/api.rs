//! Path and method to answer.

use super::answer::{Answer, Body, TEXT, argument, arguments, asked, json_answer, make, problem, wants_json};
use super::pulse::Pulse;
use super::tap::{self, Following};
use super::{Control, Hand, Request, guard, page, peers, spool, web};
use crate::sink::{Wanted, Which};
use http::request::Parts;
use http::{HeaderValue, Method, Version, header};
use http_body_util::Full;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::rc::Rc;

/// Commands that one answer shows when it is not said how many.
const RECENT: usize = 100;

/// What every answer is made of.
pub(super) struct Desk {
    pub(super) control: Rc<dyn Control>,
    pub(super) pulse: Pulse,
    /// The machine's name.
    pub(super) machine: Option<String>,
}

/// Paths by which something is changed.
const CHANGES: [&str; 5] = ["/login", "/api/v1/reload", "/api/v1/drain", "/api/v1/stop", "/api/v1/upstreams/health"];
/// Paths that are read, beside those of assets.
const READS: [&str; 23] = [
    "/",
    "/livez",
    "/readyz",
    "/healthz",
    "/metrics",
    "/api/v1/config",
    "/api/v1/status",
    "/api/v1/sinks",
    "/api/v1/upstreams",
    "/api/v1/upstreams/explain",
    "/api/v1/gateway",
    "/api/v1/gateway/consumers",
    "/api/v1/limits",
    "/api/v1/overview",
    "/api/v1/topology",
    "/api/v1/tap",
    "/api/v1/recent",
    "/api/v1/journey",
    "/api/v1/registry",
    "/api/v1/check",
    "/api/v1/explain",
    "/favicon.ico",
    "/robots.txt",
];

/// What a request that was let in asks for.
pub(super) enum Admitted {
    /// Of stored commands.
    Stored(spool::Asked),
    /// A file of the page.
    Asset(&'static web::Asset),
    /// Anything else.
    Path,
}

impl Admitted {
    /// Whether its body says what is wanted.
    pub(super) fn wants_body(&self) -> bool {
        matches!(self, Admitted::Stored(spool::Asked::Import))
    }
}

/// Whether a request is answered at all; its head is enough to know. Nothing of its body is read before.
pub(super) fn admit(head: &Parts, peer: IpAddr, desk: &Desk) -> Result<Admitted, Box<Answer>> {
    let identity = desk.control.identity();
    let names = [desk.machine.as_deref().unwrap_or(&identity.hostname), &identity.hostname];
    let settings = desk.control.settings();
    let asked = guard::may_ask(head.version >= Version::HTTP_11, &head.headers, &names)
        .and_then(|()| guard::may_look(head, peer, &settings));
    let known = asked.map_err(|refusal| {
        Box::new(match refusal {
            guard::Refusal::NoToken if head.uri.path() == "/" => page::login(&desk.control.identity()),
            refusal => refused(refusal),
        })
    })?;
    let may_change = |login: bool| {
        let may = guard::may_change(&head.headers, peer, known, login, &settings);
        may.map_err(|refusal| Box::new(refused(refusal)))
    };
    match spool::asked(head) {
        Some(Ok(asked)) => {
            if asked.changes() {
                may_change(false)?;
            }
            Ok(Admitted::Stored(asked))
        }
        Some(Err(allow)) => Err(not_so(&format!("this path has {allow}"), allow)),
        None => {
            let path = head.uri.path();
            let change = CHANGES.contains(&path);
            let asset = web::asset(path);
            if !change && asset.is_none() && !READS.contains(&path) {
                return Err(Box::new(problem(404, "there is no such path; docs/admin.md lists all of them")));
            }
            match change {
                true if head.method != Method::POST => return Err(not_so("changes are made by POST", "POST")),
                false if !matches!(head.method, Method::GET | Method::HEAD) => {
                    return Err(not_so("this is read by GET", "GET, HEAD"));
                }
                true => may_change(path == "/login")?,
                false => {}
            }
            Ok(asset.map_or(Admitted::Path, Admitted::Asset))
        }
    }
}

/// Another method is meant.
fn not_so(detail: &str, allow: &'static str) -> Box<Answer> {
    let mut answer = problem(405, detail);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    Box::new(answer)
}

/// Answers one request that was let in.
pub(super) async fn answer(head: &Parts, body: &[u8], (peer, admitted): (IpAddr, Admitted), desk: &Desk) -> Answer {
    let answer = match admitted {
        Admitted::Stored(asked) => spool::answer(asked, head, body, peer, desk.control.spool()).await,
        Admitted::Asset(asset) => web::answer(head, asset),
        Admitted::Path => route(head, desk).await,
    };
    whole(head, answer)
}

/// An answer as its method has it.
pub(super) fn whole(head: &Parts, mut answer: Answer) -> Answer {
    if head.method == Method::HEAD {
        // The length stays that of the answer to GET (RFC 9110 9.3.2).
        if let Some(length) = http_body::Body::size_hint(answer.body()).exact() {
            answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        *answer.body_mut() = Body::Whole(Full::default());
    }
    answer
}

fn refused(refusal: guard::Refusal) -> Answer {
    let mut answer = problem(refusal.status(), refusal.detail());
    if refusal.status() == 401 {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

async fn route(head: &Parts, desk: &Desk) -> Answer {
    let (path, control) = (head.uri.path(), &*desk.control);
    match path {
        "/" => {
            control.eyes().look();
            make(200, "text/html; charset=utf-8", page::page(desk))
        }
        "/login" => page::logged_in(&control.settings()),
        "/favicon.ico" => make(404, TEXT, ""),
        "/robots.txt" => make(200, TEXT, "User-agent: *\nDisallow: /\n"),
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
        "/api/v1/registry" => match control.registry() {
            Some(shown) => json_answer(200, &shown),
            // Who is asked by another one answers for itself alone.
            None if asked(head, "own").is_some() => json_answer(200, &json!({"none": true})),
            None => json_answer(200, &peers::registry(&control.settings().peers).await),
        },
        "/api/v1/check" => json_answer(200, &control.check()),
        "/api/v1/explain" => explain_command(head, control),
        "/api/v1/overview" => {
            control.eyes().look();
            json_answer(200, &desk.pulse.overview(control))
        }
        "/api/v1/topology" => {
            control.eyes().look();
            let own = desk.pulse.overview(control);
            json_answer(200, &peers::topology(&control.settings().peers, own).await)
        }
        "/api/v1/recent" => match which(head) {
            Ok(which) => {
                control.eyes().look();
                json_answer(200, &control.eyes().recent(&which, most(head)))
            }
            Err(why) => problem(400, why),
        },
        "/api/v1/journey" => match which(head) {
            Ok(which) => {
                control.eyes().look();
                json_answer(200, &peers::journey(&control.settings().peers, &which, &*desk.control).await)
            }
            Err(why) => problem(400, why),
        },
        "/api/v1/tap" => tap(head, control),
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

/// Which commands are asked for.
fn which(head: &Parts) -> Result<Which, &'static str> {
    let trace = match argument(head, "trace") {
        None => None,
        Some(text) if text.len() > 32 => return Err("trace: write 32 hexadecimal digits"),
        Some(text) => Some(u128::from_str_radix(&text, 16).map_err(|_| "trace: write 32 hexadecimal digits")?),
    };
    Ok(Which { trace, id: argument(head, "id") })
}

fn most(head: &Parts) -> usize {
    argument(head, "limit").and_then(|n| n.parse().ok()).unwrap_or(RECENT)
}

/// Commands as they end, until the caller goes.
fn tap(head: &Parts, control: &dyn Control) -> Answer {
    let pairs = arguments(head);
    let wanted = match Wanted::of(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))) {
        Ok(wanted) => wanted,
        Err(why) => return problem(400, &why),
    };
    match control.eyes().follow(wanted) {
        Err(crate::sink::Crowded) => {
            problem(503, "as many follow the commands as may; close another page or `fourmi tap`")
        }
        Ok(tail) => {
            let mut answer = make(200, tap::KIND, "");
            *answer.body_mut() = Body::Tail(Following::new(tail, &control.identity().service));
            answer
        }
    }
}

/// What would happen to a command.
fn explain_command(head: &Parts, control: &dyn Control) -> Answer {
    let Some(url) = argument(head, "url") else {
        return problem(400, "name the request: /api/v1/explain?url=URL&method=METHOD&headers=LINES");
    };
    let lines: Vec<String> = argument(head, "headers")
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect();
    let method = argument(head, "method").unwrap_or_else(|| "GET".to_owned());
    match control.explain_command(&[method, url], &lines) {
        Ok(explained) => json_answer(200, &explained),
        Err(why) => problem(400, &why),
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
