//! From an exchange to what leaves for an instance.

use super::gated::{self, Held};
use super::lane::Lane;
use super::told::{Course, Told};
use crate::codec::{forwarded, hop};
use crate::command;
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Body, BodyError, Direction, Exchange, Fault, FaultKind, Protocol, Retry, Stage, Timeouts};
use crate::route::Way;
use crate::upstream::{self, Failure, Sent, Task};
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Who we are, to the next hop (RFC 9110, 7.6.3).
const VIA: &str = "1.1 fourmi";

/// Counts a body whose length nobody announced, and breaks it off at the limit.
struct Counting {
    inner: Body,
    count: Rc<Cell<u64>>,
    most: u64,
}

impl Stage for Counting {}

impl HttpBody for Counting {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            hop::trailers(trailers);
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let total = self.count.get() + data.len() as u64;
            self.count.set(total);
            if total > self.most {
                self.inner = Body::Empty;
                return Poll::Ready(Some(Err(BodyError::TooLarge(self.most))));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Writes the head anew for the next hop: hop-by-hop lines out, forwarded lines and the command's own in. Returns the
/// body, counted on its way if nobody announced its length.
pub(super) fn wire(told: &mut Told, body: Body, upgrade: bool) -> Body {
    if let Body::Source(source) = &body {
        told.upload = Some(source.clone());
    }
    let (routed, matched) = (told.routed.clone(), told.matched);
    if told.ex.protocol == Protocol::Zmq && routed.is_none() {
        // Most instances that get messages see nothing of the lines.
        told.lines = Some(messages_lines);
    } else {
        let ex = &mut told.ex;
        lines(ex, upgrade);
        match &routed {
            Some(routed) if ex.direction == Direction::Inbound => gated::rewrite(ex, &routed.gate, matched),
            // What the worker sends leaves as it is, but for what a middleware wants.
            Some(_) => gated::instead(ex),
            None => {}
        }
        ex.request.headers.append("via", VIA);
        if let Some(inlet) = &ex.inlet {
            command::frames::hide(&mut ex.request.headers, &inlet.frames);
        }
    }
    let ex = &mut told.ex;
    // Only HTTP/2 has trailers behind a body of known length.
    let plain = matches!(ex.protocol, Protocol::Http10 | Protocol::Http11 | Protocol::Zmq);
    match body.size_hint().exact() {
        Some(length) if plain || length == 0 => {
            ex.bytes_in = length;
            body
        }
        exact => {
            if exact.is_none() {
                ex.request.headers.remove("content-length");
            }
            let count = Rc::new(Cell::new(0));
            told.body_in = Some(count.clone());
            let most = told.road.limits.body.min(told.ex.body_max.unwrap_or(u64::MAX));
            Body::staged(Box::new(Counting { inner: body, count, most }))
        }
    }
}

/// What a message's command is sent with to an instance that reads lines.
fn messages_lines(ex: &mut Exchange) {
    lines(ex, false);
    ex.request.headers.append("via", VIA);
}

/// The lines of the connection that it came over go, those that tell the next hop of it come.
fn lines(ex: &mut Exchange, upgrade: bool) {
    let headers = &mut ex.request.headers;
    hop::hop_by_hop(headers, upgrade);
    hop::look_alikes(headers);
    if let Some(peer) = ex.peer {
        let scheme = if ex.secure { "https" } else { "http" };
        let port = ex.local.map_or(0, |local| local.port());
        forwarded::extend(headers, ex.trusted, peer.ip(), scheme, &ex.request.authority, port);
    }
    command::give(ex);
}

/// How long it may take from the request's head to the answer's, and what says so. Reckoned anew when it has passed, not
/// carried along by every command.
struct Limit {
    time: Duration,
    says: &'static str,
}

impl Limit {
    /// The shortest of all.
    fn of(ex: &Exchange, timeouts: &Timeouts) -> Self {
        let answer = Limit { time: timeouts.answer, says: "timeouts.answer" };
        let limit = match timeouts.whole {
            Some(time) if time < answer.time => Limit { time, says: "timeouts.whole" },
            _ => answer,
        };
        match ex.deadline.map(|deadline| deadline.saturating_duration_since(ex.timings.start)) {
            Some(time) if time < limit.time => Limit { time, says: "the command's deadline" },
            _ => limit,
        }
    }

    fn passed(&self, kind: FaultKind, what: &str) -> Fault {
        Fault::new(kind, format!("{what} within {:?} ({})", self.time, self.says))
    }
}

/// A command whose deadline is over is not begun.
fn in_time(ex: &Exchange) -> Result<(), Fault> {
    match ex.deadline {
        Some(deadline) if deadline <= Instant::now() => {
            Err(Fault::new(FaultKind::Deadline, "the command's deadline was over before it could be sent"))
        }
        _ => Ok(()),
    }
}

/// Picks an instance and sends, within the time an answer may take.
pub(super) async fn send(lane: &Lane, told: &mut Told, way: &Way, body: &mut Body) -> Result<Sent, Fault> {
    let start = told.ex.timings.start;
    let (road, routed) = (told.road.clone(), told.routed.clone());
    // A gateway's service has its own.
    let timeouts = routed.as_ref().and_then(|r| r.timeouts.as_ref()).unwrap_or(&road.timeouts);
    in_time(&told.ex)?;
    let by = start + Limit::of(&told.ex, timeouts).time;
    let key = way.cluster.policy.balance.hash.key(&told.ex);
    told.cookie = key.cookie;
    let lines = told.lines.take();
    let Course { ex, early, upload, .. } = &mut **told;
    let upload = upload.as_ref();
    let mut task = Task { ex, body, lines, upload, key: key.hash, early, timeouts, by, tell: &*lane.tell };
    match upstream::send(&way.cluster, &mut task).await {
        Ok(sent) => Ok(sent),
        Err(Failure::Fault(fault)) => {
            if fault.retry == Retry::Safe {
                // Nobody had it: the time was spent looking for somebody.
                told.ex.timings.sent = None;
            }
            Err(*fault)
        }
        Err(Failure::Late(_)) => {
            let limit = Limit::of(&told.ex, timeouts);
            if told.upload.as_ref().is_some_and(|upload| upload.is_awaited()) {
                return Err(limit.passed(FaultKind::SlowCaller, "no end of the request's body"));
            }
            let late = limit.passed(FaultKind::Timeout, "no answer");
            // It never left: there was no instance for it in time.
            Err(if told.ex.timings.sent.is_none() { late.retry(Retry::Safe) } else { late })
        }
    }
}

/// A body that was to be read whole.
pub(super) enum Collected {
    /// All of it.
    All(Bytes),
    /// It was longer: what was read, followed by the rest.
    More(Body),
}

/// Reads what identification wants to see of a body, in the time that an answer may take.
pub(super) async fn read(body: Body, told: &Told) -> Result<Collected, Fault> {
    let most = command::BODY_MAX.min(usize::try_from(told.road.limits.body).unwrap_or(usize::MAX));
    read_in_time(body, told, most, None).await
}

/// Reads a body up to a limit, in the time that an answer may take. Its room is taken as it comes: whoever says that much
/// will follow and sends nothing takes none from others.
pub(super) async fn read_within(body: Body, told: &Told, most: usize, held: &mut Held) -> Result<Collected, Fault> {
    read_in_time(body, told, most, Some(held)).await
}

async fn read_in_time(body: Body, told: &Told, most: usize, held: Option<&mut Held>) -> Result<Collected, Fault> {
    let road = &told.road;
    in_time(&told.ex)?;
    let limit = Limit::of(&told.ex, &road.timeouts);
    let by = told.ex.timings.start + limit.time;
    let read = until(by, collect_held(body, most, held)).await;
    read.unwrap_or_else(|Elapsed| Err(limit.passed(FaultKind::SlowCaller, "no end of the body")))
}

/// Reads a body, up to a limit; a longer one is handed back whole.
pub(super) async fn collect(body: Body, most: usize) -> Result<Collected, Fault> {
    collect_held(body, most, None).await
}

async fn collect_held(mut body: Body, most: usize, mut held: Option<&mut Held>) -> Result<Collected, Fault> {
    let mut all = BytesMut::new();
    loop {
        match body.frame().await {
            None => return Ok(Collected::All(all.freeze())),
            Some(Err(_)) => return Err(Fault::new(FaultKind::ClientGone, "the request's body broke off")),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    if held.as_mut().is_some_and(|held| !held.take(all.len() + data.len())) {
                        let why = "too many bodies are being read at once";
                        return Err(Fault::new(FaultKind::Overloaded, why).retry_after(1));
                    }
                    all.extend_from_slice(data);
                }
                if all.len() > most {
                    return Ok(Collected::More(Body::resumed(all.freeze(), body)));
                }
            }
        }
    }
}

/// Reads a body to its end.
pub(super) async fn discard(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}
