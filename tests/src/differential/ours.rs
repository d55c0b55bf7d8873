//! Our half of a caller's connection: the codec's own way in, over a real socket.

use super::onward;
use super::seen::{self, Body, End, Item, Message, Seen};
use super::split::Split;
use super::{HEAD_MAX, LINES_MAX};
use bytes::Bytes;
use fourmi::codec::Socket;
use fourmi::codec::server::{Ended, Incoming, Life, serve};
use fourmi::exchange::{Answer, Body as OurBody, Head, Headers, Limits, Protocol};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// What has not ended by then never will.
const PATIENCE: Duration = Duration::from_secs(20);

thread_local! {
    static RUNTIME: Runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => panic!("no runtime: {e}"),
    };
}

/// Runs our half; none if it comes to no end.
pub(super) fn run<F: Future>(future: F) -> Option<F::Output> {
    RUNTIME.with(|runtime| runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.ok() }))
}

/// A connection whose far end is ours too.
pub(super) fn pair() -> (Socket, UnixStream) {
    match UnixStream::pair() {
        Ok((near, far)) => (Socket::Unix(near), far),
        Err(e) => panic!("no pair of sockets: {e}"),
    }
}

/// The far end of a connection: sends the pieces, each once the one before was seen, and nothing more; returns what
/// came back, up to its end. It is read at last, in few calls: what the longest input brings back fits into a socket.
pub(super) async fn far_end(mut far: UnixStream, pieces: &[&[u8]]) -> Vec<u8> {
    for piece in pieces {
        // Whoever does not listen any more has said why.
        if far.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = far.shutdown().await;
    let mut out = Vec::with_capacity(1 << 10);
    let _ = far.read_to_end(&mut out).await;
    out
}

pub(super) fn lines(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    seen::lines(headers.iter())
}

pub(super) fn trailers(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    seen::lines(map.iter().map(|(n, v)| (n.as_str(), v.as_bytes())))
}

/// All of a body.
pub(super) async fn whole<B: http_body::Body<Data = Bytes> + Unpin>(mut body: B) -> Body {
    let (mut bytes, mut last) = (Vec::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(other)) => last = other.trailers_ref().map(trailers).unwrap_or_default(),
            Err(_) => return Body::Broken,
        }
    }
    Body::Whole(bytes, last)
}

fn start(head: &Head, protocol: Protocol) -> String {
    let version = match protocol {
        Protocol::Http10 => "1.0",
        _ => "1.1",
    };
    format!("{} {} for {} HTTP/{version}", head.method, head.target(), head.authority)
}

/// A request that would be forwarded.
pub(super) struct Taken {
    pub(super) head: Head,
    pub(super) bytes: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
    pub(super) chunked: bool,
}

/// What the handler of a caller's requests keeps.
#[derive(Default)]
struct Kept {
    messages: RefCell<Vec<Message>>,
    taken: RefCell<Vec<Taken>>,
    methods: RefCell<Vec<Method>>,
}

impl Kept {
    async fn handle(self: Rc<Self>, incoming: Incoming) -> Answer {
        let Incoming { head, body, protocol, .. } = incoming;
        let method = head.as_ref().map_or_else(|(h, _)| h.method.clone(), |h| h.method.clone());
        self.methods.borrow_mut().push(method.clone());
        let (start, lines) = match &head {
            Ok(head) => (Some(start(head, protocol)), lines(&head.headers)),
            Err(_) => (None, Vec::new()),
        };
        let chunked = http_body::Body::size_hint(&body).exact().is_none();
        let message = Message { start, lines, body: whole(body).await };
        if let (Ok(head), Body::Whole(bytes, trailers)) = (head, &message.body) {
            let (bytes, trailers) = (bytes.clone(), trailers.clone());
            self.taken.borrow_mut().push(Taken { head, bytes, trailers, chunked });
        }
        let status = match &message {
            m if !m.is_good() => 400,
            _ if method == Method::CONNECT => 405,
            _ => 200,
        };
        self.messages.borrow_mut().push(message);
        Answer { status, headers: Headers::default(), body: OurBody::from(Bytes::from_static(b"ok")) }
    }
}

/// The messages of a caller's connection.
pub(super) fn requests(wire: &[u8], split: Split, onward: bool) -> Seen {
    let limits = Limits { head: HEAD_MAX, headers: LINES_MAX, ..Limits::default() };
    let kept = Rc::new(Kept::default());
    let mut pieces = split.pieces(wire);
    // Protocols are told apart before HTTP/1 begins; what looks like HTTP/2 is not for it.
    let first = if split.first_was_read() && pieces.first().is_some_and(|p| !p.starts_with(b"PRI")) {
        pieces.remove(0).to_vec()
    } else {
        Vec::new()
    };
    let handler = {
        let kept = kept.clone();
        move |incoming| kept.clone().handle(incoming)
    };
    let served = run(async {
        let (near, far) = pair();
        tokio::join!(biased; serve(near, first, &limits, Life::new(), handler), far_end(far, &pieces))
    });
    let messages = kept.messages.take();
    let (end, promise) = match &served {
        None => (End::Hung, Some("the connection came to no end".to_owned())),
        Some((ended, out)) => {
            let (end, promise) = seen::end_of(&messages, &kept.methods.borrow(), out, *ended == Ended::Well);
            (end, promise.or_else(|| told(ended.clone(), end, messages.last())))
        }
    };
    let promise = promise.or_else(|| {
        let broken = messages.iter().position(|m| m.body == Body::Broken)?;
        (broken + 1 < messages.len()).then(|| "a message after a broken body".to_owned())
    });
    let promise = promise.or_else(|| if onward { onward::wrong_requests(kept.taken.take()) } else { None });
    let mut items: Vec<_> = messages.into_iter().map(Item::Message).collect();
    items.push(Item::End(end));
    Seen { items, broken_promise: promise }
}

/// What the codec says of the end must be what the caller sees.
fn told(ended: Ended, end: End, last: Option<&Message>) -> Option<String> {
    let fits = match end {
        End::Refused(431) => ended == Ended::HeadTooLarge,
        End::Refused(_) => matches!(ended, Ended::Malformed(_)),
        _ => matches!(ended, Ended::Well | Ended::Broken),
    };
    let broken = last.is_some_and(|m| m.body == Body::Broken);
    (!fits && !broken).then(|| format!("the codec says {ended:?}, the caller sees {end:?}"))
}
