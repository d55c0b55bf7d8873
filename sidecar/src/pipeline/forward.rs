//! From an exchange to what leaves for an instance.

use super::lane::Lane;
use super::told::{Course, Told};
use crate::codec::{forwarded, hop};
use crate::command;
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Body, BodyError, Fault, FaultKind, Protocol, Retry, Stage};
use crate::route::Way;
use crate::upstream::{self, Sent};
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

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
    let scheme = if told.door().secure { "https" } else { "http" };
    let port = told.door().local.map_or(0, |l| l.port());
    if let Body::Source(source) = &body {
        told.upload = Some(source.clone());
    }
    let ex = &mut told.ex;
    let headers = &mut ex.request.headers;
    hop::hop_by_hop(headers, upgrade);
    hop::look_alikes(headers);
    if let Some(peer) = ex.peer {
        forwarded::extend(headers, ex.trusted, peer.ip(), scheme, &ex.request.authority, port);
    }
    command::give(ex);
    ex.request.headers.append("via", "1.1 fourmi");
    // Only HTTP/2 has trailers behind a body of known length.
    let plain = matches!(ex.protocol, Protocol::Http10 | Protocol::Http11);
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
            Body::staged(Box::new(Counting { inner: body, count, most: told.road.limits.body }))
        }
    }
}

/// Picks an instance and sends, within the time an answer may take.
pub(super) async fn send(lane: &Lane, told: &mut Told, way: &Way, body: &mut Body) -> Result<Sent, Fault> {
    let start = told.ex.timings.start;
    let road = told.road.clone();
    let Course { ex, early, .. } = &mut **told;
    let sending = upstream::send(&way.cluster, body, ex, &road.timeouts, early, &*lane.tell);
    let limit = road.timeouts.whole.map_or(road.timeouts.answer, |whole| whole.min(road.timeouts.answer));
    let sent = until(start + limit, sending).await;
    match sent {
        Ok(sent) => {
            told.ex.timings.answered = sent.is_ok().then(Instant::now);
            if sent.as_ref().is_err_and(|fault| fault.retry == Retry::Safe) {
                // Nobody had it: the time was spent looking for somebody.
                told.ex.timings.sent = None;
            }
            sent
        }
        Err(Elapsed) => {
            let key = if limit == road.timeouts.answer { "answer" } else { "whole" };
            if told.upload.as_ref().is_some_and(|upload| upload.is_awaited()) {
                let detail = format!("no end of the request's body within {limit:?} (timeouts.{key})");
                return Err(Fault::new(FaultKind::SlowCaller, detail));
            }
            Err(Fault::new(FaultKind::Timeout, format!("no answer within {limit:?} (timeouts.{key})")))
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
    let road = &told.road;
    let most = command::BODY_MAX.min(usize::try_from(road.limits.body).unwrap_or(usize::MAX));
    let by = told.ex.timings.start + road.timeouts.answer;
    until(by, collect(body, most)).await.unwrap_or_else(|Elapsed| {
        let limit = road.timeouts.answer;
        Err(Fault::new(FaultKind::SlowCaller, format!("no end of the body within {limit:?} (timeouts.answer)")))
    })
}

/// Reads a body, up to a limit; a longer one is handed back whole.
pub(super) async fn collect(mut body: Body, most: usize) -> Result<Collected, Fault> {
    let mut all = BytesMut::new();
    loop {
        match body.frame().await {
            None => return Ok(Collected::All(all.freeze())),
            Some(Err(_)) => return Err(Fault::new(FaultKind::ClientGone, "the request's body broke off")),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
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
