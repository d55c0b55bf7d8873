//! The road through a gateway: which route takes a command, what its middlewares want, and what leaves for the service.

use super::answer;
use super::forward::{self, Collected};
use super::gateway::{Gate, Gateway, Leads};
use super::lane::Door;
use super::refuse;
use super::told::Told;
use crate::codec::forwarded;
use crate::command;
use crate::exchange::{
    Answer, AnswerHead, Body, Exchange, Fault, FaultKind, Head, Headers, Protocol, Reply, Seen, Timeouts,
};
use crate::middleware::line::{Halt, Stop};
use crate::middleware::{After, Verdict};
use crate::route::{
    Asked, Captures, Mismatch, PathHandling, Scheme, Table, Way, form, forwarded_prefix, host_and_port, upstream_path,
};
use crate::upstream::{InFlight, Sent};
use bytes::Bytes;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The gateway as one thread has it.
pub(super) struct Inside {
    table: Table,
    routes: Vec<Rc<Routed>>,
    implicit: Option<Rc<Routed>>,
}

/// A route of the gateway with this thread's way to its service.
pub(super) struct Routed {
    pub(super) gate: Arc<Gate>,
    pub(super) way: Way,
    /// The durations that hold for its commands, if they are not the usual ones.
    pub(super) timeouts: Option<Timeouts>,
}

/// Where a command goes, and through what.
pub(super) struct Taken {
    pub(super) way: Way,
    pub(super) through: Option<Through>,
}

/// A route of the gateway that took a command.
pub(super) struct Through {
    pub(super) routed: Rc<Routed>,
    /// How many bytes of the path it matched.
    pub(super) matched: Option<usize>,
    pub(super) captures: Vec<(Option<Arc<str>>, String)>,
    pub(super) mismatch: Option<Mismatch>,
}

impl Through {
    /// The middlewares of a service that the worker sends to.
    pub(super) fn outbound(routed: &Rc<Routed>) -> Through {
        Through { routed: routed.clone(), matched: None, captures: Vec::new(), mismatch: None }
    }
}

impl Taken {
    /// Through no gateway.
    pub(super) fn plain(way: Way) -> Taken {
        Taken { way, through: None }
    }
}

impl Inside {
    /// `way` finds or makes this thread's way to what a gate leads to.
    pub(super) fn new(gateway: &Gateway, usual: &Timeouts, mut way: impl FnMut(&Gate) -> Way) -> Inside {
        let mut routed = |gate: &Arc<Gate>| {
            let timeouts = gate.timeouts.map(|(connect, answer)| Timeouts { connect, answer, ..usual.clone() });
            Rc::new(Routed { gate: gate.clone(), way: way(gate), timeouts })
        };
        Inside {
            routes: gateway.gates().iter().map(&mut routed).collect(),
            implicit: gateway.implicit().map(&mut routed),
            table: gateway.table().clone(),
        }
    }

    /// Every way of its routes.
    pub(super) fn ways(&self) -> impl Iterator<Item = &Way> {
        self.routes.iter().chain(&self.implicit).map(|r| &r.way)
    }

    /// The route of that name, for a command that it took before.
    pub(super) fn route(&self, name: &str, matched: Option<usize>) -> Option<Taken> {
        let all = self.routes.iter().chain(&self.implicit);
        let routed = all.into_iter().find(|routed| *routed.way.route == *name)?;
        let through = Through { routed: routed.clone(), matched, captures: Vec::new(), mismatch: None };
        Some(Taken { way: routed.way.clone(), through: Some(through) })
    }

    /// The route that takes a command.
    pub(super) fn take(&self, door: &Door, head: &Head, protocol: Protocol) -> Result<Taken, Fault> {
        if head.method == http::Method::CONNECT {
            return Err(Fault::new(FaultKind::BadRequest, "CONNECT is for the outbound listener"));
        }
        if let Some(routed) = &self.implicit {
            let through = Through { routed: routed.clone(), matched: None, captures: Vec::new(), mismatch: None };
            return Ok(Taken { way: routed.way.clone(), through: Some(through) });
        }
        let forwarded = || head.headers.get("x-forwarded-proto").is_some_and(|p| p.eq_ignore_ascii_case("https"));
        let tls = door.secure || (door.trusted && forwarded());
        let grpc = head.headers.get_bytes("content-type").is_some_and(|t| t.starts_with(b"application/grpc"));
        let scheme = match (grpc, tls) {
            (false, false) => Scheme::Http,
            (false, true) => Scheme::Https,
            (true, false) => Scheme::Grpc,
            (true, true) => Scheme::Grpcs,
        };
        let listener = door.local.map_or(0, |local| local.port());
        let (host, port) = host_and_port(&head.authority, listener);
        // A name with the root's dot is the same name.
        let host = host.strip_suffix('.').unwrap_or(host);
        let path = form::matching(head.path());
        let asked = Asked {
            scheme,
            host,
            port,
            method: head.method.as_str(),
            path: &path,
            sni: door.sni.as_deref(),
            headers: &head.headers,
        };
        let found = self.table.find(&asked);
        let taken = found.and_then(|f| Some((self.routes.get(f.target)?, self.table.rule(f.rule)?, f)));
        let Some((routed, rule, found)) = taken else {
            return Err(Fault::new(FaultKind::NoRoute, "no route of the gateway takes it"));
        };
        if routed.gate.strip && found.matched.and_then(|cut| path.get(cut..)).is_some_and(climbs) {
            return Err(Fault::new(FaultKind::BadPath, "what follows the route's path climbs for some servers"));
        }
        let two = matches!(protocol, Protocol::Http2 | Protocol::Grpc);
        let wanted = found.captures.as_ref().filter(|_| routed.gate.captures);
        let through = Through {
            routed: routed.clone(),
            matched: found.matched,
            captures: wanted.map(|c| captured(c, &path)).unwrap_or_default(),
            mismatch: rule.mismatch(tls, two, grpc),
        };
        Ok(Taken { way: routed.way.clone(), through: Some(through) })
    }
}

/// Whether what a cut leaves are dots that some servers walk by: those before a parameter, or before an escaped slash.
fn climbs(rest: &[u8]) -> bool {
    let dots = rest.iter().take_while(|b| **b == b'.').count();
    (1..=2).contains(&dots) && matches!(rest.get(dots), Some(b';' | b'%' | b'\\'))
}

/// What the groups matched, the whole first.
fn captured(captures: &Captures<'_>, path: &[u8]) -> Vec<(Option<Arc<str>>, String)> {
    let one = |(at, name): (usize, Option<&str>)| {
        let text = String::from_utf8_lossy(captures.get(at, path)?).into_owned();
        Some((name.map(Arc::from), text))
    };
    // A group that took no part keeps its number.
    let or_none = |n: (usize, Option<&str>)| one(n).unwrap_or((None, String::new()));
    captures.names().enumerate().map(or_none).collect()
}

/// The answer to a command that came in a way that its route does not serve.
pub(super) fn mismatched(mismatch: Mismatch, gate: &Gate, head: &Head) -> Box<Reply> {
    const BY: &str = "protocols";
    match mismatch {
        Mismatch::NeedsTls if gate.redirect == 426 => Reply::message(BY, 426, "Please use HTTPS protocol")
            .with("connection", "Upgrade")
            .with("upgrade", "TLS/1.2, HTTP/1.1"),
        Mismatch::NeedsTls => {
            let host = head.host();
            Reply::empty(BY, gate.redirect, "Please use HTTPS protocol")
                .with("location", format!("https://{host}{}", head.target()))
        }
        Mismatch::NeedsHttp2 => {
            Reply::message(BY, 426, "Please use HTTP2 protocol").with("connection", "Upgrade").with("upgrade", "HTTP/2")
        }
        Mismatch::NotGrpc => Reply::message(BY, 415, "Non-gRPC request matched gRPC route"),
        Mismatch::NeedsGrpcs => Reply::empty(BY, 200, "gRPC request matched gRPCs route")
            .with("content-type", "application/grpc")
            .with("grpc-status", "1")
            .with("grpc-message", "gRPC request matched gRPCs route"),
    }
}

/// Bytes of bodies that middlewares read, of the whole process at once.
const HELD_MAX: usize = 256 << 20;

/// What is held of [`HELD_MAX`] now.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// A part of [`HELD_MAX`], given back when it is dropped.
#[derive(Default)]
pub(super) struct Held(usize);

impl Held {
    /// Takes more, up to `all` in sum; false when there is no room, and then none is taken.
    pub(super) fn take(&mut self, all: usize) -> bool {
        let more = all.saturating_sub(self.0);
        let before = HELD.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > HELD_MAX {
            HELD.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.0 += more;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Goes on with access after a middleware wanted more than the head says.
pub(super) async fn access(
    mut told: Told,
    routed: Rc<Routed>,
    mut body: Body,
    mut stop: Stop,
) -> Result<(Told, Body), Answer> {
    let length = told.ex.request.headers.get("content-length").and_then(|v| v.parse::<usize>().ok());
    let mut held = Held::default();
    let mut read = 0;
    loop {
        let next = match stop.wants {
            Verdict::Next => stop.at + 1,
            Verdict::Refuse(fault) => {
                command::settle(&mut told.ex, routed.way.name());
                return Err(refuse::refuse(told, fault, body));
            }
            Verdict::Reply(reply) => {
                command::settle(&mut told.ex, routed.way.name());
                return Err(refuse::reply(told, *reply, body));
            }
            Verdict::Body(most) => {
                // Asked twice for as much, it gets the same.
                if matches!(told.ex.seen, Seen::Not) || (matches!(told.ex.seen, Seen::TooLong) && most > read) {
                    read = most;
                    let whole = std::mem::replace(&mut body, Body::Empty);
                    match forward::read_within(whole, &told, most, &mut held).await {
                        Ok(Collected::All(bytes)) => told.ex.seen = Seen::Whole(bytes),
                        Ok(Collected::More(whole)) => {
                            told.ex.seen = Seen::TooLong;
                            body = whole;
                        }
                        Err(fault) => {
                            command::settle(&mut told.ex, routed.way.name());
                            return Err(refuse::refuse(told, fault, body));
                        }
                    }
                    stop.at
                } else {
                    stop.at + 1
                }
            }
            Verdict::Wait(question) => {
                let resume = question.await;
                match resume(&mut told.ex) {
                    Verdict::Next => stop.at + 1,
                    wants => {
                        stop = Stop { at: stop.at, wants };
                        continue;
                    }
                }
            }
        };
        let tell = told.tell();
        match routed.gate.line.on_request(next, &mut told.ex, &*tell) {
            Some(further) => stop = further,
            None => break,
        }
    }
    if let Seen::Whole(bytes) = std::mem::take(&mut told.ex.seen) {
        let headers = &mut told.ex.request.headers;
        if length != Some(bytes.len()) && (length.is_some() || !bytes.is_empty()) {
            headers.set("content-length", itoa::Buffer::new().format(bytes.len()));
        }
        body = Body::from(bytes);
    }
    Ok((told, body))
}

/// What the route makes of the head: another path, another host, and what it says of the first ones.
pub(super) fn rewrite(ex: &mut Exchange, gate: &Gate, matched: Option<usize>) {
    if let Some(client) = ex.client.or_else(|| ex.peer.map(|p| p.ip())) {
        forwarded::real_ip(&mut ex.request.headers, client);
    }
    let path = form::matching(ex.request.path());
    let prefix = forwarded_prefix(matched, gate.strip, &path).map(Cow::into_owned);
    let instead = ex.path_instead.take();
    let wanted = match &instead {
        Some(path) => Cow::Borrowed(path.as_str()),
        None => upstream_path(&gate.path, matched, gate.strip, PathHandling::V0, &path),
    };
    let changed = (*wanted != *ex.request.path()).then(|| wanted.into_owned());
    drop(path);
    let theirs = |headers: &Headers, name: &str| ex.trusted && headers.contains(name);
    if !theirs(&ex.request.headers, "x-forwarded-path") {
        // Where nothing changed, the request itself says it.
        let original = changed.is_some().then(|| ex.request.path().to_owned());
        said(&mut ex.request.headers, "x-forwarded-path", original);
    }
    if prefix.is_some() || !theirs(&ex.request.headers, "x-forwarded-prefix") {
        said(&mut ex.request.headers, "x-forwarded-prefix", prefix);
    }
    if let Some(path) = changed {
        ex.request.set_path(&path);
    }
    if let Some(host) = ex.host_instead.take().as_deref().or(gate.host.as_deref()) {
        called(&mut ex.request, host);
    }
}

/// The path and host that middlewares want in place of those that came.
pub(super) fn instead(ex: &mut Exchange) {
    if let Some(path) = ex.path_instead.take() {
        ex.request.set_path(&path);
    }
    if let Some(host) = ex.host_instead.take() {
        called(&mut ex.request, &host);
    }
}

/// Names the host that is asked.
fn called(request: &mut Head, host: &str) {
    request.headers.set("host", host);
    request.authority.clear();
    request.authority.push_str(host);
}

/// Sets a line, or removes what somebody else says there.
fn said(headers: &mut Headers, name: &'static str, value: Option<String>) {
    match value {
        Some(value) => _ = headers.set(name, value),
        None => _ = headers.remove(name),
    }
}

/// Whether a route leads anywhere, and if not, what is answered.
pub(super) fn nowhere(gate: &Gate) -> Option<Box<Reply>> {
    (gate.leads == Leads::Nowhere).then(|| Reply::message("no-service", 503, "no Service found with those values"))
}

/// From an instance's answer to the caller's, by way of the middlewares.
pub(super) async fn answer(mut told: Told, routed: Rc<Routed>, sent: Sent) -> Answer {
    let answer::Begun { head, body, in_flight } = answer::begin(&mut told, sent);
    through(told, routed, head, answer::Out::Received(body), in_flight).await
}

/// The same, of an answer that has been begun.
pub(super) async fn through(
    mut told: Told,
    routed: Rc<Routed>,
    mut head: AnswerHead,
    mut out: answer::Out,
    in_flight: InFlight,
) -> Answer {
    let bodiless = told.ex.request.method == http::Method::HEAD || matches!(head.status, 204 | 304);
    let line = &routed.gate.line;
    let mut from = 0;
    while let Some(Halt { at, wants }) = line.on_answer(from, &mut told.ex, &mut head) {
        from = at + 1;
        let mut wants = wants;
        if let After::Wait(question) = wants {
            let resume = question.await;
            wants = resume(&mut told.ex);
        }
        match wants {
            After::Next | After::Wait(_) => {}
            After::Reply(reply) => {
                drop((out, in_flight));
                return refuse::reply_after(told, *reply, from);
            }
            After::Body(_) if bodiless => {}
            After::Body(most) => match answer::collect(out, most).await {
                Ok(answer::Gathered::All(bytes)) => {
                    let bytes = line.on_answer_body(at, &mut told.ex, &mut head, bytes);
                    announce(&mut head, &bytes);
                    out = answer::Out::Own(Body::from(bytes));
                }
                Ok(answer::Gathered::More(rest)) => out = rest,
                Err(e) => {
                    let fault = Fault::new(FaultKind::Broken, format!("the answer broke off: {e}"));
                    return refuse::refuse(told, fault, Body::Empty);
                }
            },
        }
    }
    answer::end(told, head, out, Some(in_flight))
}

/// Answers of our own pass the middlewares, too.
pub(super) fn own_answer(told: &mut Told, routed: &Routed, from: usize, answer: Answer) -> Answer {
    let Answer { status, headers, mut body } = answer;
    let mut head = AnswerHead { status, headers, own: true };
    let mut at = from;
    while let Some(halt) = routed.gate.line.on_answer(at, &mut told.ex, &mut head) {
        at = halt.at + 1;
        // Nobody can be asked for what is answered already, and no answer replaces another of ours.
        if let After::Body(most) = halt.wants
            && let Body::Full(bytes) = &body
            && bytes.len() <= most
        {
            let bytes = routed.gate.line.on_answer_body(halt.at, &mut told.ex, &mut head, bytes.clone());
            announce(&mut head, &bytes);
            body = Body::from(bytes);
        }
    }
    Answer { status: head.status, headers: head.headers, body }
}

/// The length of a body that may be another one.
fn announce(head: &mut AnswerHead, body: &Bytes) {
    head.headers.set("content-length", itoa::Buffer::new().format(body.len()));
}
