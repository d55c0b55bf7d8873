//! From an instance's answer to the caller's, and the end of the exchange with its last byte.

use super::told::Told;
use crate::codec::hop;
use crate::command;
use crate::exchange::deadline::Deadline;
use crate::exchange::{Answer, Body, BodyError, Fault, FaultKind, Headers, Protocol};
use crate::upstream::{InFlight, Sent};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The caller's answer.
pub(super) fn answer(mut told: Box<Told>, sent: Sent) -> Answer {
    let (parts, body, in_flight) = sent.into_parts();
    let mut headers = Headers::from_map(parts.headers);
    let status = parts.status.as_u16();
    told.ex.status = status;
    command::from_answer(&mut told.ex, &mut headers);
    hop::hop_by_hop(&mut headers, false);
    headers.append("via", "1.1 fourmi");
    if told.ex.protocol == Protocol::Grpc {
        // Trailers-only: the status is in the head (gRPC over HTTP/2, "Responses").
        told.ex.grpc_status = headers.get("grpc-status").and_then(|v| v.parse().ok());
    }
    let streams = matches!(told.ex.protocol, Protocol::Grpc)
        || headers.get("content-type").is_some_and(|t| t.starts_with("text/event-stream"));
    let deadline = match told.road.timeouts.whole {
        Some(whole) if !streams => Some(Deadline::new(told.ex.timings.start + whole)),
        _ => None,
    };
    let complete = body.is_end_stream();
    let in_flight = Some(in_flight);
    let body = Body::Wrapped(Box::pin(Ending { body: Some(body), told: Some(told), in_flight, deadline, complete }));
    Answer { status, headers, body }
}

/// An answer's body that ends its exchange.
pub(super) struct Ending<B> {
    body: Option<B>,
    told: Option<Box<Told>>,
    in_flight: Option<InFlight>,
    deadline: Option<Deadline>,
    /// Whether nothing more will come; asked when hyper drops the body without polling its end.
    complete: bool,
}

impl<B: HttpBody<Data = Bytes, Error = BodyError> + Unpin> Ending<B> {
    /// A body of our own.
    pub(super) fn ours(body: B, told: Box<Told>) -> Self {
        let complete = body.is_end_stream();
        Ending { body: Some(body), told: Some(told), in_flight: None, deadline: None, complete }
    }

    fn end(&mut self, fault: Option<Fault>) {
        self.in_flight = None;
        self.deadline = None;
        if let Some(mut told) = self.told.take() {
            if let Some(fault) = fault {
                told.ex.fault.get_or_insert(fault);
            }
            told.finish();
        }
    }
}

impl<B: HttpBody<Data = Bytes, Error = BodyError> + Unpin> HttpBody for Ending<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        let last = body.is_end_stream();
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(told) = &mut this.told {
                    if let Some(data) = frame.data_ref() {
                        told.ex.bytes_out += data.len() as u64;
                    } else if let Some(trailers) = frame.trailers_ref() {
                        let code = trailers.get("grpc-status").and_then(|v| v.to_str().ok());
                        told.ex.grpc_status = code.and_then(|v| v.parse().ok());
                    }
                }
                if last {
                    this.end(None);
                }
            }
            Poll::Ready(None) => this.end(None),
            Poll::Ready(Some(Err(e))) => {
                let fault = Fault::new(FaultKind::Broken, format!("the answer broke off: {e}"));
                this.end(Some(fault));
            }
            Poll::Pending => {
                if this.deadline.as_mut().is_some_and(|d| d.poll_passed(cx)) {
                    let fault = Fault::new(FaultKind::Timeout, "the answer was not complete in time (timeouts.whole)");
                    this.end(Some(fault));
                    this.body = None;
                    return Poll::Ready(Some(Err(BodyError::Timeout)));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl<B> Drop for Ending<B> {
    fn drop(&mut self) {
        // A body that is complete but was not asked for its end: none at all, or exactly as long as announced.
        // Otherwise the exchange is dropped unfinished, which tells it as cancelled.
        if self.complete
            && let Some(mut told) = self.told.take()
        {
            told.finish();
        }
    }
}
