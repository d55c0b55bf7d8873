//! One connection to an instance: a request out and its answer in, both in the task of the exchange.

use super::body::Decoder;
use super::io::Io;
use super::parse::{self, First, Kind};
use super::write::Writer;
use super::{Framing, Length, Refusal};
use crate::codec::client::{Cause, Home, Received, SendError};
use crate::codec::hop;
use crate::codec::stream::{Socket, Stream};
use crate::exchange::{Body, BodyError, Counted, Early, Head, Headers};
use crate::tls;
use bytes::Bytes;
use http::Method;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

/// The largest head of an answer, and its lines at most.
const HEAD_MAX: usize = 256 << 10;
const LINES_MAX: usize = 128;
/// Informational answers before the final one; more are no help to anybody.
const INFORMATIONAL_MAX: u32 = 64;

/// A request's body on its way out.
struct Sending {
    body: Body,
    length: Length,
    left: u64,
}

/// One HTTP/1 connection, owned by one worker thread.
pub struct Http1 {
    io: Io,
    writer: Writer,
    sending: Option<Sending>,
    /// The first piece of the body, while it is not sure that a byte of the request has left. No second one is taken
    /// before that, so that the body can be given back.
    first: Bytes,
    /// The body can be given back whole.
    whole: bool,
    /// The socket takes nothing more.
    deaf: bool,
    decoder: Decoder,
    /// Another request may follow this answer.
    keep: bool,
    /// The last answer was larger than a small buffer.
    large: bool,
    parsed: usize,
    informational: u32,
    /// The instance knows that we have the first piece of this answer.
    acknowledged: bool,
    /// How long the instance says that it lets the connection rest.
    rest: Option<Duration>,
    /// When no further request is sent over it; never, unless set.
    expires: Option<Instant>,
    counted: Counted,
}

enum WriteError {
    Body(BodyError),
    Io,
}

impl Http1 {
    /// A connected socket.
    pub fn new(socket: Socket, counted: Counted) -> Box<Self> {
        Box::new(Http1 {
            io: Io::new(socket, b""),
            writer: Writer::default(),
            sending: None,
            first: Bytes::new(),
            whole: true,
            deaf: false,
            decoder: Decoder::NONE,
            keep: true,
            large: false,
            parsed: 0,
            informational: 0,
            acknowledged: false,
            rest: None,
            expires: None,
            counted,
        })
    }

    /// Whether it can take another request: asked before each use, so that one that the instance has closed, or on
    /// which it said something unasked, is not used. Costs a system call only when something came.
    pub fn is_usable(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.io.read.is_empty() && self.io.poll_fill(&mut cx, false).is_pending()
    }

    /// The same, asked of the system itself: what came in the meantime is known too. For a connection that has rested,
    /// and so is likely to have been closed.
    pub fn is_silent(&mut self) -> bool {
        self.io.socket.is_silent()
    }

    /// Sends no further request over it from then on.
    pub fn expire(&mut self, at: Instant) {
        self.expires = Some(at);
    }

    /// Whether it is too old, or has rested so long that the instance may be about to close it.
    pub fn is_over(&self, now: Instant, rested: Duration) -> bool {
        self.expires.is_some_and(|at| at <= now) || self.rest.is_some_and(|most| rested >= most)
    }

    /// Sends a request and waits for the answer's head; informational ones before it go to `early`. The body is taken,
    /// and given back if it was not one byte sent.
    pub async fn send(&mut self, head: &Head, body: &mut Body, early: &Early) -> Result<Received, Box<SendError>> {
        let length = body.size_hint().exact().map_or(Length::Chunked, Length::Known);
        if let (Length::Known(n), Some(line)) = (length, head.headers.get_bytes("content-length"))
            && parse::number(line) != Some(n)
        {
            // What comes behind would be taken for its rest.
            let cause = Cause::BadBody("the body is not as long as announced".to_owned());
            return Err(Box::new(SendError { unsent: false, cause }));
        }
        write_request(self.writer.begin(), head, length);
        self.sending = match length {
            Length::Known(0) => None,
            Length::Known(left) => Some(Sending { body: std::mem::replace(body, Body::Empty), length, left }),
            _ => Some(Sending { body: std::mem::replace(body, Body::Empty), length, left: 0 }),
        };
        (self.deaf, self.keep, self.informational, self.parsed, self.whole) = (false, false, 0, 0, true);
        self.acknowledged = false;
        let sent = std::future::poll_fn(|cx| self.poll_send(cx, &head.method, early)).await;
        let first = std::mem::take(&mut self.first);
        sent.map_err(|(unsent, cause)| {
            if unsent {
                *body = Body::resumed(first, self.sending.take().map_or(Body::Empty, |s| s.body));
            }
            Box::new(SendError { unsent, cause })
        })
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        early: &Early,
    ) -> Poll<Result<Received, (bool, Cause)>> {
        if !self.deaf {
            match self.poll_write(cx) {
                Poll::Ready(Err(WriteError::Body(e))) => return Poll::Ready(Err((false, cause_of(e)))),
                Poll::Ready(Err(WriteError::Io)) if self.whole && self.writer.is_untouched() => {
                    return Poll::Ready(Err((true, Cause::Ended)));
                }
                // It may have answered before it stopped listening.
                Poll::Ready(Err(WriteError::Io)) => self.deaf = true,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        self.poll_head(cx, method, early).map_err(|cause| (false, cause))
    }

    /// Writes what is left of the request; ready when there is nothing left.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        loop {
            let mut waits = false;
            while let Some(sending) = &mut self.sending
                && self.writer.takes_more()
                && (self.first.is_empty() || !self.writer.is_untouched())
            {
                match Pin::new(&mut sending.body).poll_frame(cx) {
                    Poll::Ready(frame) => self.stage(frame)?,
                    Poll::Pending => {
                        waits = true;
                        break;
                    }
                }
            }
            ready!(self.writer.poll_flush(&mut self.io.socket, cx)).map_err(|_| WriteError::Io)?;
            // It has left, and its buffer is free for the next head while the answer is awaited.
            self.first = Bytes::new();
            if self.sending.is_none() {
                self.writer.rest();
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Takes the next piece of the request's body, or its end.
    fn stage(&mut self, frame: Option<Result<Frame<Bytes>, BodyError>>) -> Result<(), WriteError> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let wrong = |why| WriteError::Body(BodyError::Malformed(why));
        let known = sending.length != Length::Chunked;
        let Some(frame) = frame.transpose().map_err(WriteError::Body)? else {
            if !known {
                self.writer.end(None);
            } else if sending.left > 0 {
                return Err(wrong("the body is shorter than announced"));
            }
            self.sending = None;
            return Ok(());
        };
        match frame.into_data() {
            Ok(data) => {
                if known {
                    let left = sending.left.checked_sub(data.len() as u64);
                    sending.left = left.ok_or_else(|| wrong("the body is longer than announced"))?;
                }
                if self.writer.is_untouched() {
                    self.first = data.clone();
                }
                self.writer.data(sending.length, data);
                if known && sending.left == 0 && sending.body.is_end_stream() {
                    self.sending = None;
                }
            }
            // Only chunked bodies have trailers; behind a known length there is no place for them.
            Err(frame) if !known => {
                self.whole &= !self.writer.is_untouched();
                self.writer.end(frame.trailers_ref());
                self.sending = None;
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Reads the final answer's head.
    fn poll_head(&mut self, cx: &mut Context<'_>, method: &Method, early: &Early) -> Poll<Result<Received, Cause>> {
        loop {
            if self.may_be_whole() {
                let mut headers = Headers::recycled();
                match parse::head(Kind::Answer, &self.io.read, LINES_MAX, &mut headers) {
                    Err(refusal) => return Poll::Ready(Err(nonsense(refusal))),
                    Ok(None) => self.parsed = self.io.read.len(),
                    Ok(Some(parsed)) => {
                        let First::Answer(status) = parsed.first else { return Poll::Ready(Err(Cause::Ended)) };
                        let (one_one, len) = (parsed.one_one, parsed.len);
                        bytes::Buf::advance(&mut self.io.read, len);
                        self.parsed = 0;
                        if matches!(status, 100..=199) && status != 101 {
                            self.informational += 1;
                            if self.informational > INFORMATIONAL_MAX {
                                let why = format!("more than {INFORMATIONAL_MAX} informational answers");
                                return Poll::Ready(Err(Cause::Nonsense(why)));
                            }
                            // 100 is about the request's body on this connection.
                            if let Some(caller) = early.caller().filter(|_| status != 100) {
                                hop::hop_by_hop(&mut headers, false);
                                caller.inform(status, &headers);
                            }
                            continue;
                        }
                        return Poll::Ready(self.receive(method, status, one_one, headers).map_err(nonsense));
                    }
                }
            }
            if self.io.read.len() > HEAD_MAX {
                return Poll::Ready(Err(Cause::Nonsense(format!("its head is larger than {HEAD_MAX} bytes"))));
            }
            let filled = self.io.poll_fill(cx, self.large);
            if filled.is_pending() && !self.io.read.is_empty() {
                self.waits_for_more();
            }
            match ready!(filled) {
                Ok(0) => return Poll::Ready(Err(Cause::Ended)),
                Err(e) => return Poll::Ready(Err(tls::failure(&e).map_or(Cause::Ended, Cause::Tls))),
                Ok(_) => {}
            }
        }
    }

    /// Whether reading the head again can bring anything new.
    fn may_be_whole(&self) -> bool {
        let new = self.io.read.get(self.parsed.saturating_sub(3)..).unwrap_or_default();
        !self.io.read.is_empty() && (self.parsed == 0 || parse::end_of_lines(new).is_some())
    }

    /// Learns from an answer's head how its body comes (RFC 9112, 6.3).
    fn receive(
        &mut self,
        method: &Method,
        status: u16,
        one_one: bool,
        mut headers: Headers,
    ) -> Result<Received, Refusal> {
        let framing = Framing::of(&headers)?;
        if framing.chunked && !one_one {
            return Err(Refusal::Malformed("HTTP/1.0 with a transfer coding"));
        }
        if !(100..1000).contains(&status) {
            return Err(Refusal::Malformed("the status is no HTTP status"));
        }
        let bodiless = *method == Method::HEAD || matches!(status, 101 | 204 | 304);
        let length = match framing.length {
            _ if bodiless => Length::Known(0),
            _ if framing.chunked => Length::Chunked,
            Some(n) => Length::Known(n),
            None => Length::UntilClose,
        };
        if framing.repeated
            && let Some(n) = framing.length
        {
            headers.set("content-length", itoa::Buffer::new().format(n));
        }
        self.keep = !framing.close && (one_one || framing.keep_alive) && length != Length::UntilClose;
        if let Some(line) = headers.get("keep-alive") {
            self.rest = rest(line);
        }
        self.decoder = Decoder::new(length);
        self.large = self.decoder.is_large();
        if self.decoder.is_done() {
            self.io.release();
        }
        Ok(Received { status, headers })
    }

    /// The next piece of the answer's body; goes on with what is left of the request meanwhile.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll_upload(cx);
        let polled = self.decoder.poll_frame(&mut self.io, cx);
        if polled.is_pending() {
            self.waits_for_more();
        }
        polled
    }

    /// A piece of the answer has come and the next has not. It costs a system call, once, for such answers only.
    fn waits_for_more(&mut self) {
        if !std::mem::replace(&mut self.acknowledged, true) {
            self.io.socket.acknowledge();
        }
    }

    /// Goes on with what is left of the request.
    fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if !self.is_sent() && !self.deaf && matches!(self.poll_write(cx), Poll::Ready(Err(_))) {
            // The answer may be whole all the same.
            self.deaf = true;
        }
    }

    /// Whether the whole request has left.
    fn is_sent(&self) -> bool {
        self.sending.is_none() && self.writer.is_done()
    }

    /// Whether the exchange is over and the connection is fit for the next.
    fn is_free(&self) -> bool {
        self.keep && !self.deaf && self.is_sent() && self.decoder.is_done() && self.io.read.is_empty()
    }

    /// The bytes of a connection that has changed its protocol, those included that came with the answer.
    pub fn into_stream(mut self: Box<Self>) -> (Stream, Counted) {
        (self.io.stream(), self.counted)
    }
}

/// How long a connection may rest before the instance closes it, by its `Keep-Alive: timeout=SECONDS` (RFC 2068,
/// 19.7.1.1), less what a request may need to get there.
fn rest(line: &str) -> Option<Duration> {
    let named = line.split(',').filter_map(|part| part.trim().split_once('='));
    let mut seconds = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("timeout")).map(|(_, n)| n.trim());
    let most = Duration::from_secs(seconds.next_back()?.parse::<u32>().ok()?.into());
    Some(most.saturating_sub(Duration::from_secs(1)).max(most / 2))
}

fn nonsense(refusal: Refusal) -> Cause {
    Cause::Nonsense(match refusal {
        Refusal::Malformed(why) => why.to_owned(),
        Refusal::TooLarge => format!("its head has more than {LINES_MAX} lines"),
    })
}

fn cause_of(error: BodyError) -> Cause {
    match error {
        BodyError::TooLarge(limit) => Cause::TooLarge(limit),
        BodyError::Malformed(why) => Cause::BadBody(why.to_owned()),
        _ => Cause::CallerGone,
    }
}

/// Writes a request's head in its one form, with the framing that its body has here.
fn write_request(out: &mut Vec<u8>, head: &Head, length: Length) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let headers = &head.headers;
    if !headers.contains("host") {
        out.extend_from_slice(b"host: ");
        out.extend_from_slice(head.authority.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    headers.write_to(out);
    match length {
        Length::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
        // A method that usually has a body says when it has none (RFC 9110, 8.6).
        Length::Known(n) if n > 0 || matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => {
            if !headers.contains("content-length") {
                out.extend_from_slice(b"content-length: ");
                out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"\r\n");
        }
        Length::Known(_) | Length::UntilClose => out.extend_from_slice(b"\r\n"),
    }
}

/// An answer's body, with the connection that it comes over: given back at its end.
pub struct OwnBody {
    conn: Option<Box<Http1>>,
    home: Rc<dyn Home>,
}

impl OwnBody {
    /// `home` gets the connection.
    pub fn new(conn: Box<Http1>, home: Rc<dyn Home>) -> Self {
        OwnBody { conn: Some(conn), home }
    }

    /// Goes on with the request while nobody takes the answer.
    pub(in crate::codec) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Some(conn) = &mut self.conn {
            conn.poll_upload(cx);
        }
    }

    fn end(&mut self) {
        if let Some(conn) = self.conn.take_if(|c| c.is_free()) {
            self.home.give_back(conn);
        }
        self.conn = None;
    }
}

impl HttpBody for OwnBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(conn) = &mut self.conn else { return Poll::Ready(None) };
        let polled = conn.poll_body(cx);
        if conn.decoder.is_done() || matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.conn.as_ref().is_none_or(|c| c.decoder.is_done())
    }

    fn size_hint(&self) -> SizeHint {
        match self.conn.as_ref().map_or(Some(0), |c| c.decoder.left()) {
            Some(n) => SizeHint::with_exact(n),
            None => SizeHint::new(),
        }
    }
}

impl Drop for OwnBody {
    fn drop(&mut self) {
        // An answer without a body is never polled.
        self.end();
    }
}
