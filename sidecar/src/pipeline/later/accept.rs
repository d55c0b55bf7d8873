//! Storing a command, and what its caller is answered.

use super::{Plan, millis, state_at};
use crate::command::{self, frames};
use crate::exchange::{Answer, Body, Exchange, Fault, FaultKind, Headers, Outcome, Part};
use crate::names::header as word;
use crate::pipeline::refuse;
use crate::pipeline::told::Told;
use crate::spool::{Accepted, Came, Kept, New, Refused, Request, Spool, State};
use aws_lc_rs::digest;
use bytes::Bytes;
use serde_json::json;
use std::time::SystemTime;

/// After so many seconds a caller may try again that found no room.
const FULL: u32 = 5;
/// Lines that belong to one connection, or are made anew for each attempt.
const NOT_KEPT: [&str; 10] = [
    // Whoever asks for the result later may not understand it.
    "accept-encoding",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "traceparent",
    "proxy-connection",
];
/// Credentials: they are stored only where the configuration says so.
const SECRET: [&str; 6] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "apikey", "x-auth-token"];

/// What a command looks like in the store.
pub(super) fn new(told: &Told, spool: &Spool, plan: &Plan, body: &Bytes) -> New {
    let ex = &told.ex;
    let request = &ex.request;
    let kept = &spool.settings().headers;
    let wanted = |name: &str| !NOT_KEPT.contains(&name) && (!SECRET.contains(&name) || kept.iter().any(|k| k == name));
    let before = request.headers.get(word::BEFORE);
    let layout = ex.inlet.as_ref().map_or(&[][..], |inlet| &inlet.frames);
    let before = before.map(|line| frames::masked(line, layout, |name| wanted(name)));
    let lines = request.headers.iter().filter(|(name, _)| wanted(name));
    let lines = lines.map(|(name, value)| match &before {
        Some(masked) if name == word::BEFORE => (name, masked.as_bytes()),
        _ => (name, value),
    });
    let command = &ex.command;
    let now = ex.timings.wall;
    New {
        told: crate::spool::Told {
            id: command.id.clone(),
            name: command.name.to_string(),
            direction: ex.direction.as_str().to_owned(),
            service: ex.service.to_string(),
            route: ex.route.to_string(),
            consumer: ex.consumer.as_ref().map(|c| c.to_string()),
            key: command.key.clone(),
            tags: command.tags.iter().map(|(k, v)| (k.to_string(), v.clone())).collect(),
            came: Came {
                protocol: ex.protocol.as_str().to_owned(),
                authority: request.authority.clone(),
                peer: ex.peer,
                client: ex.client,
                local: ex.local,
                secure: ex.secure,
                trusted: ex.trusted,
                matched: told.matched,
                path: ex.path_instead.clone(),
                host: ex.host_instead.clone(),
                trace: command::trace::text(&ex.trace),
                parent: command.parent.clone(),
                id_given: command.id_given,
                once: false,
                at_most_once: plan.delivery.at_most_once,
                caller: caller(ex),
                // The middleware that said so is not asked again.
                retry: ex.delivery.as_ref().map(|delivery| delivery.retry.clone()),
            },
        },
        request: Request::new(request.method.as_str(), request.target(), lines, body.clone()),
        fingerprint: fingerprint(ex, body),
        state: state_at(plan.due, now),
        attempt: 0,
        created: millis(now),
        due: millis(plan.due.unwrap_or(now)),
        expires: plan.expires.map(millis),
        error: None,
        status: 0,
        finished: None,
        promised: false,
        in_turn: false,
    }
}

/// What tells callers apart that are no consumers, so that nobody is given what another's id stands for: a digest of what
/// they proved themselves by, to the worker or by their certificate.
fn caller(ex: &Exchange) -> String {
    let mut all = digest::Context::new(&digest::SHA256);
    let mut any = false;
    let proves = |name: &str| SECRET.contains(&name) || name == word::CURVE;
    for (name, value) in ex.request.headers.iter().filter(|(name, _)| proves(name)) {
        any = true;
        all.update(name.as_bytes());
        all.update(b":");
        all.update(value);
        all.update(b"\n");
    }
    if let Some(identity) = &ex.peer_identity {
        any = true;
        all.update(identity.as_bytes());
    }
    if !any {
        return String::new();
    }
    all.finish().as_ref()[..16].iter().map(|b| format!("{b:02x}")).collect()
}

/// What makes two requests of one id the same: method, target, body.
fn fingerprint(ex: &Exchange, body: &[u8]) -> [u8; 16] {
    let mut all = digest::Context::new(&digest::SHA256);
    all.update(ex.request.method.as_str().as_bytes());
    all.update(b" ");
    all.update(ex.request.target().as_bytes());
    all.update(b"\n");
    all.update(body);
    let mut out = [0; 16];
    out.copy_from_slice(&all.finish().as_ref()[..16]);
    out
}

/// Stores it and answers.
pub(super) async fn store(told: Told, spool: &Spool, plan: &Plan, body: Bytes) -> Answer {
    let new = new(&told, spool, plan, &body);
    let mut told = told;
    told.ex.bytes_in = body.len() as u64;
    let due = plan.due;
    match spool.accept(new).await {
        Ok(Accepted::New { token, state, .. }) => {
            taken(told, &Stored { token, state, due, replayed: false, preferred: plan.preferred })
        }
        Ok(Accepted::Same { token, state, .. }) => {
            taken(told, &Stored { token, state, due, replayed: true, preferred: plan.preferred })
        }
        Err(refused) => refuse_it(told, refused),
    }
}

/// What a caller is told of a stored command.
pub(super) struct Stored {
    pub(super) token: String,
    pub(super) state: State,
    pub(super) due: Option<SystemTime>,
    /// It was there before.
    pub(super) replayed: bool,
    pub(super) preferred: bool,
}

/// 202: it is on disk.
pub(super) fn taken(mut told: Told, stored: &Stored) -> Answer {
    let Stored { token, state, due, replayed, preferred } = stored;
    let id = &told.ex.command.id;
    let location = format!("/.fourmi/commands/{}?token={token}", escaped(id));
    let wait = due.and_then(|due| due.duration_since(told.ex.timings.wall).ok()).map_or(1, |d| d.as_secs().max(1));
    let mut headers = Headers::default();
    headers.set("server", "fourmi");
    headers.set("location", &location);
    headers.set("retry-after", itoa::Buffer::new().format(wait));
    headers.set(word::ID, id);
    headers.set(word::STATE, state.as_str());
    headers.set(word::DURABILITY, "disk");
    if *preferred {
        headers.set(word::PREFERENCE_APPLIED, "respond-async");
        headers.append("vary", "Prefer");
    }
    if *replayed {
        headers.set(word::IDEMPOTENCY_REPLAYED, "true");
    }
    let document = json!({"id": id, "state": state.as_str(), "status": location});
    let text = format!("{document}\n");
    headers.set("content-type", "application/json");
    headers.set("content-length", itoa::Buffer::new().format(text.len()));
    told.ex.status = 202;
    told.ex.part = Part::Accepted;
    told.ex.outcome = Some(Outcome::Accepted);
    let head_only = told.ex.request.method == http::Method::HEAD;
    let body = if head_only { Body::Empty } else { Body::from(Bytes::from(text)) };
    refuse::leave(told, Answer { status: 202, headers, body }, Body::Empty, 0)
}

/// The answer of the time before, given again.
pub(super) fn replay(mut told: Told, status: u16, kept: Kept) -> Answer {
    let mut headers = Headers::default();
    headers.set("server", "fourmi");
    headers.set(word::ID, &told.ex.command.id);
    headers.set(word::IDEMPOTENCY_REPLAYED, "true");
    for (name, value) in &kept.lines {
        headers.add(name, value);
    }
    if !matches!(status, 204 | 304) {
        headers.set("content-length", itoa::Buffer::new().format(kept.body.len()));
    }
    told.ex.status = status;
    let head_only = told.ex.request.method == http::Method::HEAD;
    let body = if head_only { Body::Empty } else { Body::from(kept.body) };
    refuse::leave(told, Answer { status, headers, body }, Body::Empty, 0)
}

/// Why it was not taken.
pub(super) fn refuse_it(told: Told, refused: Refused) -> Answer {
    let fault = match refused {
        Refused::Other => {
            Fault::new(FaultKind::IdTaken, format!("another request was sent under the id {}", told.ex.command.id))
        }
        Refused::Unknown => Fault::new(
            FaultKind::InProgress,
            "it may have been done, and must not be done twice (at_most_once): ask its worker, then retry or discard it by hand",
        ),
        Refused::InProgress => return in_progress(told),
        Refused::Full(why) => Fault::new(FaultKind::SpoolFull, why).retry_after(FULL),
    };
    refuse::refuse(told, fault, Body::Empty)
}

/// 409: the same is being done.
fn in_progress(told: Told) -> Answer {
    let detail = format!("the command {} is being done", told.ex.command.id);
    refuse::refuse(told, Fault::new(FaultKind::InProgress, detail).retry_after(1), Body::Empty)
}

/// A part of a path (RFC 3986, 2.3).
pub(super) fn escaped(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for b in id.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
