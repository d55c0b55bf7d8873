//! One stream of a caller: its request handled and its answer sent, in one task.

use super::{fleeting, of_connection, request};
use crate::codec::hop;
use crate::codec::server::Incoming;
use crate::exchange::{Answer, Body, BodyError, Early, Headers, Informed};
use crate::names::header::PREFIX;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

/// Bytes of informational answers that one caller is sent before the final one. Windows do not hold header blocks
/// back, so they would all wait here for a caller that does not read.
const EARLY_BYTES: usize = 64 << 10;

/// The way of an answer's heads to its caller.
struct Caller {
    respond: RefCell<SendResponse<Bytes>>,
    told_early: Cell<usize>,
}

impl Informed for Caller {
    fn inform(&self, status: u16, headers: &Headers) {
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let told = self.told_early.get() + bytes;
        let (Ok(status), Ok(mut respond)) = (StatusCode::from_u16(status), self.respond.try_borrow_mut()) else {
            return;
        };
        if told > EARLY_BYTES {
            return;
        }
        self.told_early.set(told);
        let mut response = Response::new(());
        *response.status_mut() = status;
        // It has no body (RFC 9110, 8.6), and what is ours to read is not the caller's.
        let wanted = |n: &str| answers(n) && n != "content-length" && !n.starts_with(PREFIX);
        let Some(headers) = headers.to_map(wanted, fleeting) else { return };
        *response.headers_mut() = headers;
        let _ = respond.send_informational(response);
    }
}

/// Whether an answer may have a line of the name.
fn answers(name: &str) -> bool {
    !of_connection(name) && name != "te"
}

/// Handles a request and sends its answer. A caller that resets its stream, or leaves, ends both at once.
pub(super) async fn serve<H, F>(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    handle: Rc<H>,
    lines_max: usize,
) where
    H: Fn(Incoming) -> F,
    F: Future<Output = Answer>,
{
    let head = *request.method() == Method::HEAD;
    let caller = Rc::new(Caller { respond: RefCell::new(respond), told_early: Cell::new(0) });
    let answer = {
        let mut handling = pin!(handle(request::incoming(request, Early::new(caller.clone()), lines_max)));
        std::future::poll_fn(|cx| {
            if caller.respond.borrow_mut().poll_reset(cx).is_ready() {
                return Poll::Ready(None);
            }
            handling.as_mut().poll(cx).map(Some)
        })
        .await
    };
    let Some(Answer { status, mut headers, body }) = answer else { return };
    let status = StatusCode::from_u16(status).ok().filter(|s| !s.is_informational()).unwrap_or(StatusCode::BAD_GATEWAY);
    let bodiless = head || matches!(status.as_u16(), 204 | 304);
    let complete = body.is_end_stream();
    if status == StatusCode::NO_CONTENT {
        headers.remove("content-length");
    } else if !bodiless
        && !complete
        && let Some(length) = body.size_hint().exact()
        && !headers.contains("content-length")
    {
        headers.append("content-length", itoa::Buffer::new().format(length));
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    let Some(lines) = headers.to_map(answers, fleeting) else {
        return caller.respond.borrow_mut().send_reset(Reason::INTERNAL_ERROR);
    };
    // Its buffer serves the next head while this answer streams.
    drop(headers);
    *response.headers_mut() = lines;
    let sent = caller.respond.borrow_mut().send_response(response, complete);
    match sent {
        Ok(stream) if !complete => send(stream, body, bodiless).await,
        Ok(_) => {}
        Err(_) => caller.respond.borrow_mut().send_reset(Reason::INTERNAL_ERROR),
    }
}

/// Sends a body, as fast as the caller opens its window. When the caller leaves, the body is left.
async fn send(mut stream: SendStream<Bytes>, mut body: Body, bodiless: bool) {
    while let Some(frame) = unless_reset(&mut stream, |_, cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return stream.send_reset(reason(&error)),
            None => {
                let _ = stream.send_data(Bytes::new(), true);
                return;
            }
        };
        match frame.into_data() {
            Ok(data) => {
                let data = if bodiless { Bytes::new() } else { data };
                let last = body.is_end_stream();
                if data.is_empty() && !last {
                    continue;
                }
                if !data.is_empty() && !has_room(&mut stream, &mut body).await {
                    return;
                }
                if stream.send_data(data, last).is_err() || last {
                    return;
                }
            }
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    hop::trailers(&mut trailers);
                    let _ = stream.send_trailers(trailers);
                    return;
                }
            }
        }
    }
}

/// Waits until a first byte may leave; the rest of its piece then waits inside `h2`, one piece for each stream. Window
/// is asked for only when there is something to send: what a stream holds of the connection's, others miss.
async fn has_room(stream: &mut SendStream<Bytes>, body: &mut Body) -> bool {
    stream.reserve_capacity(1);
    let room = unless_reset(stream, |stream, cx| {
        loop {
            if stream.capacity() > 0 {
                return Poll::Ready(true);
            }
            match stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
                Poll::Pending => return body.poll_meanwhile(cx).map(|()| false),
            }
        }
    });
    room.await.unwrap_or(false)
}

/// What is waited for; none when the caller resets the stream, or its connection is lost, before.
async fn unless_reset<T>(
    stream: &mut SendStream<Bytes>,
    mut poll: impl FnMut(&mut SendStream<Bytes>, &mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    std::future::poll_fn(|cx| {
        if stream.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        poll(stream, cx).map(Some)
    })
    .await
}

/// How a caller is told that an answer broke off. Two reasons of an instance mean something to gRPC callers; the others
/// speak of its stream, not of this one.
fn reason(error: &BodyError) -> Reason {
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        if let Some(reason) = e.downcast_ref::<h2::Error>().and_then(h2::Error::reason) {
            let told = matches!(reason, Reason::CANCEL | Reason::ENHANCE_YOUR_CALM);
            return if told { reason } else { Reason::INTERNAL_ERROR };
        }
        source = e.source();
    }
    Reason::INTERNAL_ERROR
}
