//! From an instance's answer to the caller's, and the end of the exchange with its last byte.

use super::message;
use super::told::{Course, Place, Told};
use crate::codec::client::ReceivedBody;
use crate::codec::{date, hop};
use crate::command;
use crate::exchange::deadline::Deadline;
use crate::exchange::{Answer, AnswerHead, Body, BodyError, Fault, FaultKind, Protocol, Stage};
use crate::upstream::{InFlight, Sent};
use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The caller's answer.
pub(super) fn answer(mut told: Told, sent: Sent) -> Answer {
    let Begun { head, body, in_flight } = begin(&mut told, sent);
    end(told, head, Out::Received(body), Some(in_flight))
}

/// An instance's answer whose head has been made ours.
pub(super) struct Begun {
    pub(super) head: AnswerHead,
    pub(super) body: ReceivedBody,
    pub(super) in_flight: InFlight,
}

/// The head for the caller, out of the instance's.
pub(super) fn begin(told: &mut Told, sent: Sent) -> Begun {
    let (status, mut headers, body, in_flight) = sent.into_parts();
    told.ex.status = status;
    command::from_answer(&mut told.ex, &mut headers);
    hop::hop_by_hop(&mut headers, false);
    headers.append("via", "1.1 fourmi");
    if let Some(cookie) = told.cookie.take() {
        headers.append("set-cookie", &cookie.set_cookie);
    }
    // HTTP's alone.
    if told.ex.protocol != Protocol::Zmq {
        let timings = &told.ex.timings;
        let took = timings.answered.map_or(Duration::ZERO, |at| at.saturating_duration_since(timings.start));
        date::add(&mut headers, timings.wall + took);
    }
    Begun { head: AnswerHead { status, headers, own: false }, body, in_flight }
}

/// The answer as it leaves.
pub(super) fn end(mut told: Told, head: AnswerHead, body: Out, in_flight: Option<InFlight>) -> Answer {
    let AnswerHead { status, mut headers, own } = head;
    told.ex.status = status;
    if !told.ex.added.is_empty() {
        headers.extend(&std::mem::take(&mut told.ex.added));
    }
    if told.ex.protocol == Protocol::Grpc {
        // Trailers-only: the status is in the head (gRPC over HTTP/2, "Responses").
        told.ex.grpc_status = headers.get("grpc-status").and_then(|v| v.parse().ok());
    }
    let whole = told.road.timeouts.whole.and_then(|whole| {
        let streams = told.ex.protocol == Protocol::Grpc
            || headers.get("content-type").is_some_and(|t| t.starts_with("text/event-stream"));
        (!streams).then(|| told.ex.timings.start + whole)
    });
    // What the command says of itself holds for streams, too.
    let deadline = whole.into_iter().chain(told.ex.deadline).min().map(Deadline::new);
    // A body that is none needs no end: over HTTP/2 that may come later.
    let bodiless = told.ex.request.method == http::Method::HEAD || matches!(status, 204 | 304);
    let complete = bodiless || body.is_end_stream();
    message::named(&told.ex, &mut headers);
    told.ending = Ending { body: Some(body), in_flight, deadline, stalled: None, complete };
    told.answered(&headers, own);
    Answer { status, headers, body: told.into_body() }
}

/// The body of an answer that was to be read whole.
pub(super) enum Gathered {
    All(Bytes),
    /// It was longer: what was read, followed by the rest.
    More(Out),
}

/// Reads the body of an answer, up to a limit; a longer one is handed back whole, as is one with trailers.
pub(super) async fn collect(mut body: Out, most: usize) -> Result<Gathered, BodyError> {
    let mut all = BytesMut::new();
    if body.size_hint().lower() > most as u64 {
        return Ok(Gathered::More(body));
    }
    loop {
        match std::future::poll_fn(|cx| body.poll_frame(cx)).await {
            None => return Ok(Gathered::All(all.freeze())),
            Some(Err(e)) => return Err(e),
            Some(Ok(frame)) => {
                let Some(data) = frame.data_ref() else { return Ok(Gathered::All(all.freeze())) };
                all.extend_from_slice(data);
                if all.len() > most {
                    return Ok(Gathered::More(Out::Resumed(Some(all.freeze()), Box::new(body))));
                }
            }
        }
    }
}

/// Reads the first bytes of a body, as many as are wanted; returns them and all of the body.
pub(super) async fn first(mut body: Out, most: usize) -> Result<(Bytes, Out), BodyError> {
    let mut all = BytesMut::new();
    while all.len() < most {
        match std::future::poll_fn(|cx| body.poll_frame(cx)).await {
            None => break,
            Some(Err(e)) => return Err(e),
            Some(Ok(frame)) => match frame.data_ref() {
                Some(data) => all.extend_from_slice(data),
                None => break,
            },
        }
    }
    let all = all.freeze();
    let first = all.slice(..most.min(all.len()));
    Ok((first, Out::Resumed(Some(all), Box::new(body))))
}

/// Reads the rest of a body; returns its first bytes, as many as are wanted, and how many there were.
pub(super) async fn drain(mut body: Out, most: usize) -> Result<(Bytes, u64), BodyError> {
    let (mut first, mut all) = (BytesMut::new(), 0);
    loop {
        match std::future::poll_fn(|cx| body.poll_frame(cx)).await {
            None => return Ok((first.freeze(), all)),
            Some(Err(e)) => return Err(e),
            Some(Ok(frame)) => {
                let Some(data) = frame.data_ref() else { return Ok((first.freeze(), all)) };
                all += data.len() as u64;
                let room = most.saturating_sub(first.len()).min(data.len());
                first.extend_from_slice(&data[..room]);
            }
        }
    }
}

/// A body on its way to the caller.
pub(super) enum Out {
    /// An instance's.
    Received(ReceivedBody),
    /// Ours.
    Own(Body),
    /// What was read already, and the rest.
    Resumed(Option<Bytes>, Box<Out>),
}

impl Out {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Out::Received(body) => Pin::new(body).poll_frame(cx),
            Out::Own(body) => Pin::new(body).poll_frame(cx),
            Out::Resumed(first, rest) => match first.take() {
                Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
                None => rest.poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Out::Received(body) => body.is_end_stream(),
            Out::Own(body) => body.is_end_stream(),
            Out::Resumed(first, rest) => first.is_none() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Out::Received(body) => body.size_hint(),
            Out::Own(body) => body.size_hint(),
            Out::Resumed(None, rest) => rest.size_hint(),
            Out::Resumed(Some(first), rest) => {
                let first = first.len() as u64;
                let rest = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(first));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper.saturating_add(first));
                }
                hint
            }
        }
    }

    /// Goes on with the request while nobody takes the answer.
    fn poll_upload(&mut self, cx: &mut Context<'_>) {
        match self {
            Out::Received(body) => body.poll_upload(cx),
            Out::Resumed(_, rest) => rest.poll_upload(cx),
            Out::Own(_) => {}
        }
    }
}

/// What ends an exchange: the last byte of its answer.
#[derive(Default)]
pub(super) struct Ending {
    body: Option<Out>,
    in_flight: Option<InFlight>,
    deadline: Option<Deadline>,
    /// When a caller that takes nothing is given up.
    stalled: Option<Deadline>,
    /// Whether nothing more will come; asked when the body is left without its end having been polled.
    complete: bool,
}

impl Ending {
    /// A body of our own.
    pub(super) fn own(body: Body) -> Self {
        let complete = body.is_end_stream();
        Ending { body: Some(Out::Own(body)), in_flight: None, deadline: None, stalled: None, complete }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| body.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Out::is_end_stream)
    }
}

impl Course {
    fn end(&mut self, fault: Option<Fault>) {
        self.ending.in_flight = None;
        self.ending.deadline = None;
        self.ending.stalled = None;
        if let Some(fault) = fault {
            self.ex.fault.get_or_insert(fault);
        }
        self.finish();
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.ending.stalled = None;
        let polled = self.ending.poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.ex.bytes_out += data.len() as u64;
                } else if let Some(trailers) = frame.trailers_ref() {
                    let code = trailers.get("grpc-status").and_then(|v| v.to_str().ok());
                    self.ex.grpc_status = code.and_then(|v| v.parse().ok());
                }
                if self.ending.is_end_stream() {
                    self.end(None);
                }
            }
            Poll::Ready(None) => self.end(None),
            Poll::Ready(Some(Err(e))) => {
                let fault = Fault::new(FaultKind::Broken, format!("the answer broke off: {e}"));
                self.end(Some(fault));
            }
            Poll::Pending => {
                if self.is_late(cx) {
                    return Poll::Ready(Some(self.late()));
                }
            }
        }
        polled
    }

    /// How an answer ends that is late: a gRPC caller reads the reason in the trailers.
    fn late(&self) -> Result<Frame<Bytes>, BodyError> {
        if self.ex.protocol != Protocol::Grpc {
            return Err(BodyError::Timeout);
        }
        let status = HeaderValue::from(FaultKind::Timeout.grpc_status());
        Ok(Frame::trailers([(HeaderName::from_static("grpc-status"), status)].into_iter().collect()))
    }

    /// Whether the whole has taken too long; then it has ended.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let late = self.ending.deadline.as_mut().is_some_and(|d| d.poll_passed(cx));
        if late {
            let own = self.ex.deadline.is_some_and(|deadline| deadline <= Instant::now());
            let says = if own { "the command's deadline" } else { "timeouts.whole" };
            if self.ex.protocol == Protocol::Grpc {
                self.ex.grpc_status = Some(FaultKind::Timeout.grpc_status());
            }
            let fault = Fault::new(FaultKind::Timeout, format!("the answer was not complete in time ({says})"));
            self.end(Some(fault));
            self.ending.body = None;
        }
        late
    }

    fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_late(cx) {
            return Poll::Ready(());
        }
        let idle = self.road.timeouts.idle;
        let stalled = self.ending.stalled.get_or_insert_with(|| Deadline::new(Instant::now() + idle));
        if stalled.poll_passed(cx) {
            let detail = format!("the caller took nothing of its answer for {idle:?} (timeouts.idle)");
            self.end(Some(Fault::new(FaultKind::ClientGone, detail)));
            self.ending.body = None;
            return Poll::Ready(());
        }
        if let Some(body) = &mut self.ending.body {
            body.poll_upload(cx);
        }
        Poll::Pending
    }
}

/// The exchange is its answer's body: when that has ended, it has.
impl HttpBody for Place {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().0.as_mut().map_or(Poll::Ready(None), |course| course.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|course| course.ending.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.as_ref().and_then(|course| course.ending.body.as_ref());
        body.map_or_else(|| SizeHint::with_exact(0), Out::size_hint)
    }
}

impl Stage for Place {
    fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |course| course.poll_meanwhile(cx))
    }

    fn leave(mut self: Box<Self>) {
        // A body that is complete but was not asked for its end: none at all, or exactly as long as announced.
        // Otherwise the exchange is dropped unfinished, which tells it as cancelled.
        if let Some(course) = &mut self.0
            && course.ending.complete
        {
            course.end(None);
        }
        self.keep();
    }
}
