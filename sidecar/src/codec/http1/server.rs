//! One connection of a caller: its requests one after another, each answered in the same task.

use super::answer::{Broken, Outgoing, Persistence, write_answer};
use super::body::Decoder;
use super::chunked::Found;
use super::io::Io;
use super::parse::{self, First, Kind};
use super::write::Writer;
use super::{Framing, Length, Refusal, request};
use crate::codec::life::Life;
use crate::codec::server::{Ended, Incoming, Upgrade};
use crate::codec::stream::{Socket, Stream};
use crate::codec::{date, hop, problem};
use crate::exchange::deadline::until;
use crate::exchange::{Answer, Body, BodyError, Early, Fault, FaultKind, Head, Limits, Protocol, Source};
use bytes::Bytes;
use http::Method;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::AsyncWrite;
use tokio::sync::oneshot;

/// How much of a body that nobody wants is read, and for how long, so that the caller gets to read the answer instead
/// of meeting a reset connection.
const LINGER_BYTES: u64 = 16 << 20;
const LINGER: Duration = Duration::from_secs(5);
/// The same for what follows a message that was not understood.
const REFUSED_BYTES: u64 = 256 << 10;
const REFUSED_LINGER: Duration = Duration::from_secs(1);

/// A connection, shared by the loop that serves it and the body that it reads.
struct Conn(RefCell<Parts>);

struct Parts {
    io: Io,
    writer: Writer,
    decoder: Decoder,
    /// More of the body was wanted than has come.
    awaited: bool,
    /// The caller waits for 100 Continue before it sends the body.
    expects: bool,
    parsed: usize,
}

/// What of a request decides how it is answered.
struct How {
    one_one: bool,
    head: bool,
    connect: bool,
    /// The caller wants to send more.
    keep: bool,
    /// The caller reads trailers.
    trailers: bool,
    upgrade: Option<oneshot::Sender<Stream>>,
}

/// Why no request follows.
enum Stop {
    End,
    Broken,
    Refused(Refusal),
}

/// What comes after an answer.
enum After {
    Next,
    Close,
    /// Its bytes belong to a tunnel.
    Gone,
}

/// Serves a connection until it ends. `first` are the bytes already read.
pub(in crate::codec) async fn serve<H, F>(
    socket: Socket,
    first: Vec<u8>,
    limits: &Limits,
    life: &Life,
    handle: H,
) -> Ended
where
    H: Fn(Incoming) -> F,
    F: Future<Output = Answer>,
{
    let conn = Rc::new(Conn(RefCell::new(Parts {
        io: Io::new(socket, &first),
        writer: Writer::default(),
        decoder: Decoder::NONE,
        awaited: false,
        expects: false,
        parsed: 0,
    })));
    let weak = Rc::downgrade(&conn);
    life.watch(Some(Box::new(move || {
        weak.upgrade().is_some_and(|conn| conn.0.try_borrow().is_ok_and(|parts| parts.io.socket.is_broken()))
    })));
    let mut served = false;
    loop {
        match std::future::poll_fn(|cx| conn.poll_request(cx, limits, life, served)).await {
            Ok((incoming, how)) => {
                let answer = handle(incoming).await;
                match conn.answer(answer, how, life).await {
                    After::Next => served = true,
                    After::Close | After::Gone => return Ended::Well,
                }
            }
            Err(Stop::End) => {
                conn.0.borrow_mut().io.socket.take_leave();
                return Ended::Well;
            }
            Err(Stop::Broken) => return Ended::Broken,
            Err(Stop::Refused(refusal)) => return conn.refuse(refusal, limits).await,
        }
    }
}

impl Conn {
    /// Reads the next request's head. A method so that both the loop and the body's clone can share the connection.
    fn poll_request(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        limits: &Limits,
        life: &Life,
        served: bool,
    ) -> Poll<Result<(Incoming, How), Stop>> {
        let mut parts = self.0.borrow_mut();
        let parts = &mut *parts;
        loop {
            let new = parts.io.read.get(parts.parsed.saturating_sub(3)..).unwrap_or_default();
            if !parts.io.read.is_empty() && (parts.parsed == 0 || parse::end_of_lines(new).is_some()) {
                match self.request(parts, limits) {
                    Ok(Some(request)) => return Poll::Ready(Ok(request)),
                    Ok(None) => {
                        parts.parsed = parts.io.read.len();
                        life.head_begun();
                    }
                    Err(refusal) => return Poll::Ready(Err(Stop::Refused(refusal))),
                }
            }
            if parts.io.read.len() > limits.head {
                return Poll::Ready(Err(Stop::Refused(Refusal::TooLarge)));
            }
            if served && parts.io.read.is_empty() && life.is_ending() {
                return Poll::Ready(Err(Stop::End));
            }
            match ready!(parts.io.poll_fill(cx, false)) {
                // What is wrong with half a head does not depend on how it came.
                Ok(0) => {
                    // Line ends behind the last message begin nothing.
                    let nothing = parts.io.read.iter().all(|b| matches!(b, b'\r' | b'\n'));
                    return Poll::Ready(Err(match self.request(parts, limits) {
                        Err(refusal) => Stop::Refused(refusal),
                        Ok(_) if nothing => Stop::End,
                        Ok(_) => Stop::Broken,
                    }));
                }
                Err(_) => return Poll::Ready(Err(Stop::Broken)),
                Ok(_) => {}
            }
        }
    }

    /// A whole request's head, if it is there.
    fn request(self: &Rc<Self>, parts: &mut Parts, limits: &Limits) -> Result<Option<(Incoming, How)>, Refusal> {
        let mut head = Head::recycled();
        let Some(parsed) = parse::head(Kind::Request, &parts.io.read, limits.headers, &mut head.headers)? else {
            head.recycle();
            return Ok(None);
        };
        let (one_one, len) = (parsed.one_one, parsed.len);
        if len > limits.head {
            return Err(Refusal::TooLarge);
        }
        let First::Request(method, target) = parsed.first else { return Ok(None) };
        head.method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Malformed("no method"))?;
        let framing = Framing::of(&head.headers)?;
        if framing.chunked && !one_one {
            return Err(Refusal::Malformed("HTTP/1.0 with a transfer coding"));
        }
        if framing.repeated
            && let Some(n) = framing.length
        {
            head.headers.set("content-length", itoa::Buffer::new().format(n));
        }
        let filled = request::fill(&mut head, target, one_one);
        bytes::Buf::advance(&mut parts.io.read, len);
        parts.parsed = 0;

        let connect = head.method == Method::CONNECT;
        if connect && (framing.chunked || framing.length.is_some_and(|n| n > 0)) {
            return Err(Refusal::Malformed("CONNECT with a body"));
        }
        let length = match framing.length {
            // What follows CONNECT is the tunnel's.
            _ if connect => Length::Known(0),
            _ if framing.chunked => Length::Chunked,
            n => Length::Known(n.unwrap_or(0)),
        };
        let body = self.body(parts, length, framing.expect && one_one);
        let wants_upgrade = connect || (one_one && framing.upgrade && head.headers.contains("upgrade"));
        let (upgrade, way) = if wants_upgrade {
            let (tx, rx) = oneshot::channel();
            (Some(tx), Some(Upgrade::new(rx)))
        } else {
            (None, None)
        };
        let how = How {
            one_one,
            head: head.method == Method::HEAD,
            connect,
            keep: if one_one { !framing.close } else { framing.keep_alive && !framing.close },
            trailers: head.headers.contains("te") && hop::wants_trailers(&head.headers),
            upgrade,
        };
        let protocol = match one_one {
            _ if connect => Protocol::Tunnel,
            true => Protocol::Http11,
            false => Protocol::Http10,
        };
        let head = match filled {
            Ok(()) => Ok(head),
            Err(fault) => Err((head, fault)),
        };
        Ok(Some((Incoming { head, body, protocol, upgrade: way, early: Early::default(), message: None }, how)))
    }

    /// The body that follows; a small one that is there already is taken at once.
    fn body(self: &Rc<Self>, parts: &mut Parts, length: Length, expects: bool) -> Body {
        parts.decoder = Decoder::new(length);
        (parts.expects, parts.awaited) = (false, false);
        let body = match length {
            Length::Known(0) => Body::Empty,
            Length::Known(n) if parts.io.read.len() as u64 >= n => match parts.decoder.decode(&mut parts.io.read) {
                Ok(Found::Data(data)) => Body::Full(data),
                _ => Body::Empty,
            },
            _ => {
                parts.expects = expects && parts.io.read.is_empty();
                Body::Source(self.clone())
            }
        };
        parts.io.release();
        body
    }

    /// Writes an answer, while its body comes.
    async fn answer(&self, answer: Answer, how: How, life: &Life) -> After {
        let Answer { status, mut headers, body } = answer;
        let tunnel = how.upgrade.is_some() && (status == 101 || (how.connect && matches!(status, 200..=299)));
        let bodiless = how.head || tunnel || matches!(status, 100..=199 | 204 | 304);
        let length = match body.size_hint().exact() {
            _ if bodiless => Length::Known(0),
            Some(n) => Length::Known(n),
            None if how.one_one => Length::Chunked,
            None => Length::UntilClose,
        };
        let told_close = headers.get_all("connection").any(|v| v.eq_ignore_ascii_case(b"close"));
        // Who thinks that the tunnel stands may send its bytes already: they are no requests.
        let mut keep = how.keep && !how.connect && length != Length::UntilClose && !life.is_last() && !told_close;
        if !tunnel {
            headers.remove("connection");
        }
        // RFC 9110, 15.5.22: it names what to come with instead, which is of this connection only.
        let offers = status == 426 && headers.contains("upgrade");
        if matches!(length, Length::Chunked | Length::UntilClose) || tunnel || matches!(status, 100..=199 | 204) {
            headers.remove("content-length");
        }
        {
            let mut parts = self.0.borrow_mut();
            // It has not sent its body, and is not to be asked for one any more.
            keep &= !std::mem::take(&mut parts.expects);
            let framing = if bodiless { None } else { Some(length) };
            let persistence = match keep {
                _ if tunnel => Persistence::Upgrade,
                false => Persistence::Close,
                true if offers => Persistence::Offers,
                true if how.one_one => Persistence::Default,
                true => Persistence::KeepAlive,
            };
            write_answer(parts.writer.begin(), status, &headers, framing, persistence);
        }
        drop(headers);
        let mut out = Outgoing::new(body, length, how.trailers);
        if bodiless {
            out.body = None;
        }
        life.writing(true);
        let written = std::future::poll_fn(|cx| self.poll_answer(cx, &mut out)).await;
        life.writing(false);
        drop(out);
        let unread = {
            let mut parts = self.0.borrow_mut();
            parts.writer.rest();
            if written.is_err() {
                if length == Length::UntilClose {
                    // Where the connection's end is the body's, half a body must not look like a whole one.
                    parts.io.socket.reset_on_close();
                }
                return After::Close;
            }
            if let Some(way) = how.upgrade.filter(|_| tunnel) {
                let _ = way.send(parts.io.stream());
                return After::Gone;
            }
            !parts.decoder.is_done()
        };
        if keep && (!unread || self.discard(LINGER_BYTES, LINGER).await) {
            return After::Next;
        }
        // Whatever lies unread when a socket is closed makes the system take back what the caller has not received.
        self.linger(LINGER_BYTES, LINGER).await;
        After::Close
    }

    fn poll_answer(&self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<Result<(), Broken>> {
        loop {
            let mut waits = false;
            // The body may read from this very connection, so nothing is borrowed while it is polled.
            while let Some(body) = &mut out.body
                && self.0.borrow().writer.takes_more()
            {
                match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(frame) => out.stage(&mut self.0.borrow_mut().writer, frame)?,
                    Poll::Pending => {
                        waits = true;
                        break;
                    }
                }
            }
            let mut guard = self.0.borrow_mut();
            let parts = &mut *guard;
            let flushed = parts.writer.poll_flush(&mut parts.io.socket, cx);
            match (flushed, &mut out.body) {
                (Poll::Ready(Err(_)), _) => return Poll::Ready(Err(Broken)),
                (Poll::Ready(Ok(())), None) => return Poll::Ready(Ok(())),
                (Poll::Ready(Ok(())), Some(_)) => {}
                (Poll::Pending, None) => return Poll::Pending,
                (Poll::Pending, Some(body)) => {
                    drop(guard);
                    return body.poll_meanwhile(cx).map(|()| Err(Broken));
                }
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Tells a caller whose message was not understood, and ends the connection: nobody knows where the next begins.
    async fn refuse(&self, refusal: Refusal, limits: &Limits) -> Ended {
        let (fault, ended) = match refusal {
            Refusal::Malformed(why) => (Fault::new(FaultKind::BadRequest, why), Ended::Malformed(why)),
            Refusal::TooLarge => {
                let detail = format!(
                    "more than {} bytes (limits.head) or {} lines (limits.headers)",
                    limits.head, limits.headers
                );
                (Fault::new(FaultKind::HeadTooLarge, detail), Ended::HeadTooLarge)
            }
        };
        let Answer { status, mut headers, body } = problem::answer(&fault, None);
        date::add(&mut headers, SystemTime::now());
        let length = Length::Known(body.size_hint().exact().unwrap_or(0));
        write_answer(self.0.borrow_mut().writer.begin(), status, &headers, Some(length), Persistence::Close);
        let mut out = Outgoing::new(body, length, false);
        let by = Instant::now() + REFUSED_LINGER;
        if let Ok(Ok(())) = until(by, std::future::poll_fn(|cx| self.poll_answer(cx, &mut out))).await {
            self.linger(REFUSED_BYTES, REFUSED_LINGER).await;
        }
        ended
    }

    /// Reads the rest of a body that nobody wants; whether its end was reached.
    async fn discard(&self, most: u64, patience: Duration) -> bool {
        let mut read = 0;
        let end = std::future::poll_fn(|cx| {
            while read < most {
                match ready!(self.poll_frame(cx)) {
                    Some(Ok(frame)) => read += frame.data_ref().map_or(0, |d| d.len() as u64),
                    Some(Err(_)) => return Poll::Ready(false),
                    None => return Poll::Ready(true),
                }
            }
            Poll::Ready(false)
        });
        until(Instant::now() + patience, end).await.unwrap_or(false)
    }

    /// Says that nothing more will come, and waits for the caller to have heard it.
    async fn linger(&self, most: u64, patience: Duration) {
        let mut shut = false;
        let mut read = 0;
        let end = std::future::poll_fn(|cx| {
            let mut parts = self.0.borrow_mut();
            let parts = &mut *parts;
            if !shut {
                if ready!(Pin::new(&mut parts.io.socket).poll_shutdown(cx)).is_err() {
                    return Poll::Ready(());
                }
                shut = true;
            }
            while read < most {
                parts.io.read.clear();
                match ready!(parts.io.poll_fill(cx, true)) {
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(n) => read += n as u64,
                }
            }
            Poll::Ready(())
        });
        let _ = until(Instant::now() + patience, end).await;
    }
}

impl Source for Conn {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut parts = self.0.borrow_mut();
        let parts = &mut *parts;
        if std::mem::take(&mut parts.expects) {
            // Whoever reads is ready for it. Should it not leave at once, it leaves before the answer.
            parts.writer.stage().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            let _ = parts.writer.poll_flush(&mut parts.io.socket, cx);
        }
        let polled = parts.decoder.poll_frame(&mut parts.io, cx);
        parts.awaited = polled.is_pending();
        // The instance may be long in taking this piece.
        parts.io.release();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().decoder.is_done()
    }

    fn is_awaited(&self) -> bool {
        self.0.borrow().awaited
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.borrow().decoder.left() {
            Some(n) => SizeHint::with_exact(n),
            None => SizeHint::new(),
        }
    }
}
