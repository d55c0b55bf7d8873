//! What is ours on the listeners of commands: `/.fourmi/commands/{id}?token=…` tells its caller how a stored command
//! is, once (JSON) or as it changes (server-sent events).

use super::attempt::KEPT_MAX;
use crate::codec::server::Incoming;
use crate::exchange::{Answer, Body, BodyError, Direction, Fault, FaultKind, Head, Headers, Stage};
use crate::names::header as word;
use crate::pipeline::lane::{Door, Lane};
use crate::spool::{Kept, Row, Spool, State};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// A comment that keeps the connection alive.
const PING: Duration = Duration::from_secs(15);
/// Before it is read once more.
const AGAIN: Duration = Duration::from_millis(100);
/// Streams at once, of one thread.
const STREAMS: usize = 1024;

/// Answers what is asked of us.
pub(in crate::pipeline) async fn own(lane: Rc<Lane>, door: Rc<Door>, incoming: Incoming) -> Result<Answer, Incoming> {
    let head = match &incoming.head {
        Ok(head) | Err((head, _)) => head.clone(),
    };
    let spool = lane.road().spool.clone();
    // What the worker sends may be meant for the next hop: it is ours when we know the command.
    if door.direction == Direction::Outbound {
        let known = match &spool {
            Some(spool) => find(spool, &head).await.ok().flatten().is_some(),
            None => false,
        };
        if !known {
            return Err(incoming);
        }
    }
    // It counts as a request of its connection, and as no command.
    let asked = Asked::new(&door);
    Ok(answer(spool, head, asked).await)
}

/// A request of a connection, until it is answered.
struct Asked(Rc<Door>);

impl Asked {
    fn new(door: &Rc<Door>) -> Asked {
        door.life.begin();
        Asked(door.clone())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.life.finish(Instant::now());
    }
}

async fn answer(spool: Option<Spool>, head: Head, asked: Asked) -> Answer {
    let Some(spool) = spool else {
        return problem(&head, FaultKind::NoRoute, "this Fourmi stores no commands (spool)");
    };
    if !matches!(head.method, http::Method::GET | http::Method::HEAD) {
        let mut answer = problem(&head, FaultKind::MethodNotAllowed, "it is read by GET");
        answer.headers.set("allow", "GET, HEAD");
        return answer;
    }
    // From before it is read, so that no change is missed.
    let changes = spool.watch();
    match find(&spool, &head).await {
        Ok(Some((row, kept))) if wants_events(&head) => events((spool, changes, asked), &head, row, kept),
        Ok(Some((row, kept))) => status(&head, &row, &kept),
        // Who guesses learns nothing from the difference.
        Ok(None) => problem(&head, FaultKind::NoRoute, "there is no such command, or this is not its token"),
        Err(why) => problem(&head, FaultKind::SpoolFull, why),
    }
}

fn problem(head: &Head, kind: FaultKind, detail: impl Into<std::borrow::Cow<'static, str>>) -> Answer {
    let mut answer = crate::codec::problem::answer(&Fault::new(kind, detail), None);
    if head.method == http::Method::HEAD {
        answer.body = Body::Empty;
    }
    answer
}

fn wants_events(head: &Head) -> bool {
    head.headers.get("accept").is_some_and(|accept| accept.contains("text/event-stream"))
}

/// The command that the path names, if its token is right.
async fn find(spool: &Spool, head: &Head) -> Result<Option<(Row, Kept)>, String> {
    let Some(id) = head.path().strip_prefix("/.fourmi/commands/").and_then(decoded) else { return Ok(None) };
    let query = head.query().unwrap_or_default();
    let Some(token) = query.split('&').find_map(|pair| pair.strip_prefix("token=")) else { return Ok(None) };
    let Some(seq) = token.split_once('-').and_then(|(seq, _)| seq.parse::<i64>().ok()) else { return Ok(None) };
    let found = spool.one(seq).await?;
    Ok(found.filter(|(row, _)| row.id == id && same(row.token.as_bytes(), token.as_bytes())))
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            b => out.push(b),
        }
    }
    String::from_utf8(out).ok()
}

/// A moment, as RFC 3339 has it.
fn moment(millis: i64) -> Value {
    jiff::Timestamp::from_millisecond(millis).map_or(Value::Null, |at| format!("{at:.3}").into())
}

/// What its caller may know of it.
fn document(row: &Row, kept: &Kept) -> Value {
    let mut out = json!({
        "id": row.id, "command": row.name, "state": row.state.as_str(), "attempt": row.attempt,
        "created": moment(row.created),
    });
    let due = row.due.filter(|_| matches!(row.state, State::Scheduled | State::Retrying));
    let all = [("due", due.map(moment)), ("expires", row.expires.map(moment)), ("finished", row.finished.map(moment))];
    for (name, value) in all {
        if let Some(value) = value {
            out[name] = value;
        }
    }
    if let Some(error) = &row.error {
        out["error"] = error.as_str().into();
    }
    if row.state.is_final() && row.status > 0 {
        out["result"] = result(row.status, kept);
    }
    out
}

/// The worker's answer: JSON as it is, other text as text, anything else in Base64.
fn result(status: u16, kept: &Kept) -> Value {
    let mut out = json!({"status": status});
    if !kept.media().is_empty() {
        out["content_type"] = kept.media().into();
    }
    for (name, line) in [("content_encoding", kept.coding()), ("location", kept.line("location"))] {
        if let Some(line) = line {
            out[name] = line.into();
        }
    }
    if kept.cut {
        out["cut"] = KEPT_MAX.into();
    }
    let json = kept.media().split(';').next().unwrap_or_default().trim();
    let json = json.eq_ignore_ascii_case("application/json") || json.to_ascii_lowercase().ends_with("+json");
    match (serde_json::from_slice::<Value>(&kept.body), std::str::from_utf8(&kept.body)) {
        _ if kept.body.is_empty() => {}
        // As it came: whoever asks knows how to read it, or not.
        _ if kept.coding().is_some() => out["body_base64"] = crate::spool::base64(&kept.body).into(),
        (Ok(value), _) if json && !kept.cut => out["body"] = value,
        (_, Ok(text)) => out["body"] = text.into(),
        _ => out["body_base64"] = crate::spool::base64(&kept.body).into(),
    }
    out
}

fn status(head: &Head, row: &Row, kept: &Kept) -> Answer {
    let text = format!("{:#}\n", document(row, kept));
    let mut headers = Headers::default();
    headers.set("server", "fourmi");
    headers.set("content-type", "application/json");
    headers.set("cache-control", "no-store");
    headers.set(word::STATE, row.state.as_str());
    if !row.state.is_final() {
        headers.set("retry-after", "1");
    }
    headers.set("content-length", itoa::Buffer::new().format(text.len()));
    let body = if head.method == http::Method::HEAD { Body::Empty } else { Body::from(Bytes::from(text)) };
    Answer { status: 200, headers, body }
}

/// Its states so far, and those to come.
fn events((spool, changes, asked): (Spool, Changes, Asked), head: &Head, row: Row, kept: Kept) -> Answer {
    let mut headers = Headers::default();
    headers.set("server", "fourmi");
    headers.set("content-type", "text/event-stream");
    headers.set("cache-control", "no-store");
    headers.set("x-accel-buffering", "no");
    if head.method == http::Method::HEAD {
        return Answer { status: 200, headers, body: Body::Empty };
    }
    let count = OPEN.with(|open| {
        open.set(open.get() + 1);
        open.get()
    });
    let held = Open;
    if count > STREAMS {
        drop(held);
        let mut answer = problem(head, FaultKind::Overloaded, "too many callers watch their commands");
        answer.headers.set("retry-after", "5");
        return answer;
    }
    // Numbered from 1: what a caller has seen is not told again.
    let seen = head.headers.get("last-event-id").and_then(|id| id.trim().parse().ok()).unwrap_or(0);
    let mut events = Events {
        changes: Some(changes),
        closing: spool.closing(),
        spool,
        seq: row.seq,
        token: row.token.clone(),
        seen,
        last: None,
        ready: VecDeque::new(),
        next: None,
        ping: Box::pin(tokio::time::sleep(PING)),
        done: false,
        _held: (held, asked),
    };
    events.take(&row, &kept);
    Answer { status: 200, headers, body: Body::staged(Box::new(events)) }
}

thread_local! {
    static OPEN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// One stream.
struct Open;

impl Drop for Open {
    fn drop(&mut self) {
        let _ = OPEN.try_with(|open| open.set(open.get().saturating_sub(1)));
    }
}

type Changes = broadcast::Receiver<i64>;
type Next = Pin<Box<dyn Future<Output = Option<(Changes, Row, Kept)>>>>;

struct Events {
    spool: Spool,
    seq: i64,
    token: String,
    /// Lines of the history that were told.
    seen: usize,
    /// The last of them: one of a try that nobody had is taken back, and another one stands in its place.
    last: Option<String>,
    ready: VecDeque<Bytes>,
    /// What comes next: a change, and how it is then.
    next: Option<Next>,
    changes: Option<Changes>,
    closing: watch::Receiver<bool>,
    ping: Pin<Box<tokio::time::Sleep>>,
    done: bool,
    /// It is one of those that are open, and a request of its connection.
    _held: (Open, Asked),
}

impl Events {
    /// Makes events of what is new in a history.
    fn take(&mut self, row: &Row, kept: &Kept) {
        let lines: Vec<&str> = row.history.lines().collect();
        let what = |line: &str| line.splitn(4, ' ').skip(1).take(2).collect::<Vec<_>>().join(" ");
        if let (Some(last), Some(line)) = (&self.last, self.seen.checked_sub(1).and_then(|at| lines.get(at)))
            && *last != what(line)
        {
            self.seen -= 1;
        }
        if lines.len() >= self.seen {
            self.last = lines.last().map(|line| what(line));
        }
        for (at, line) in lines.iter().enumerate().skip(self.seen) {
            let mut parts = line.splitn(4, ' ');
            let when = parts.next().and_then(|n| n.parse().ok()).map_or(Value::Null, moment);
            let state = parts.next().unwrap_or_default();
            let attempt = parts.next().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
            let mut data = json!({"id": row.id, "state": state, "attempt": attempt, "at": when});
            if let Some(why) = parts.next() {
                data["error"] = why.into();
            }
            self.ready.push_back(format!("id: {}\nevent: state\ndata: {data}\n\n", at + 1).into());
        }
        self.seen = self.seen.max(lines.len());
        if row.state.is_final() {
            let data = document(row, kept);
            self.ready.push_back(format!("id: {}\nevent: done\ndata: {data}\n\n", lines.len()).into());
            self.done = true;
        }
    }

    /// Waits for a change of its command, and reads it.
    fn begin(&mut self) {
        let (spool, seq, changes) = (self.spool.clone(), self.seq, self.changes.take());
        let token = self.token.clone();
        let mut changes = changes.unwrap_or_else(|| spool.watch());
        let mut closing = self.closing.clone();
        self.next = Some(Box::pin(async move {
            loop {
                tokio::select! {
                    // Whoever falls behind reads how it is now.
                    changed = changes.recv() => match changed {
                        Ok(of) if of != seq => continue,
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return None,
                    },
                    _ = closing.wait_for(|closing| *closing) => return None,
                }
                let found = loop {
                    match spool.one(seq).await {
                        Ok(found) => break found,
                        // The disk is in trouble: a moment later it may not be.
                        Err(_) => tokio::time::sleep(AGAIN).await,
                    }
                };
                // What has been discarded ends; another one may be in its place.
                let (row, kept) = found.filter(|(row, _)| row.token == token)?;
                return Some((changes, row, kept));
            }
        }));
    }
}

impl Stage for Events {}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
            if self.done {
                return Poll::Ready(None);
            }
            if self.next.is_none() {
                self.begin();
            }
            let polled = match &mut self.next {
                Some(next) => next.as_mut().poll(cx),
                None => return Poll::Ready(None),
            };
            match polled {
                Poll::Ready(Some((changes, row, kept))) => {
                    (self.next, self.changes) = (None, Some(changes));
                    self.take(&row, &kept);
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    if self.ping.as_mut().poll(cx).is_ready() {
                        self.ping.as_mut().reset(tokio::time::Instant::now() + PING);
                        self.ready.push_back(Bytes::from_static(b": ping\n\n"));
                        continue;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}
