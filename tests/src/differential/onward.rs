//! What we took must leave in a form that hyper reads as the same message, and as one message only.
//!
//! Requests leave through our client side, answers through our server side.

use super::ours::{Taken, far_end, pair, run};
use super::ours_answer::connection;
use super::seen::{self, Body, Item, Message};
use super::split::Split;
use super::theirs;
use bytes::Bytes;
use fourmi::codec::hop;
use fourmi::codec::server::{Life, serve};
use fourmi::exchange::{Answer, Body as OurBody, BodyError, Early, Headers, Limits, Source};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body::{Frame, SizeHint};
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Messages of one input that are looked at: the first ones show what there is to show.
const MESSAGES_MAX: usize = 2;

/// A body that was collected, to be sent again as it came: with or without a known length.
struct Again {
    data: RefCell<Option<Bytes>>,
    trailers: RefCell<Option<HeaderMap>>,
    known: Option<u64>,
}

impl Source for Again {
    fn poll_frame(&self, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let data = self.data.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.borrow().is_none() && self.trailers.borrow().is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.known.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

fn map_of(lines: &[(String, Vec<u8>)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

fn again(bytes: &[u8], trailers: &[(String, Vec<u8>)], chunked: bool) -> OurBody {
    if bytes.is_empty() && !chunked {
        return OurBody::Empty;
    }
    let map = trailers
        .iter()
        .filter_map(|(n, v)| Some((HeaderName::from_bytes(n.as_bytes()).ok()?, HeaderValue::from_bytes(v).ok()?)));
    let mut all = HeaderMap::new();
    map.for_each(|(n, v)| {
        all.append(n, v);
    });
    OurBody::Source(Rc::new(Again {
        data: RefCell::new((!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes))),
        trailers: RefCell::new((!all.is_empty()).then_some(all)),
        known: (!chunked).then_some(bytes.len() as u64),
    }))
}

/// What is wrong with how requests leave, if something is.
pub(super) fn wrong_requests(taken: Vec<Taken>) -> Option<String> {
    let readable = |t: &Taken| t.head.method != Method::CONNECT;
    taken.into_iter().filter(readable).take(MESSAGES_MAX).find_map(one)
}

fn one(taken: Taken) -> Option<String> {
    let Taken { mut head, bytes, trailers, chunked } = taken;
    hop::hop_by_hop(&mut head.headers, false);
    let start = format!("{} {} for {} HTTP/1.1", head.method, head.target(), head.authority);
    let expected = Message {
        start: Some(start),
        lines: without_length(seen::lines(head.headers.iter())),
        body: Body::Whole(bytes.clone(), trailers.clone()),
    };
    let written = run(async {
        let (near, far) = pair();
        let sends = async {
            let mut body = again(&bytes, &trailers, chunked);
            let _ = connection(near).send(&head, &mut body, &Early::default()).await;
        };
        tokio::join!(biased; sends, far_end(far, &[])).1
    })?;
    let mut read = theirs::requests_within(&written, Split::Whole, 64 << 10, 200).items;
    for item in &mut read {
        if let Item::Message(message) = item {
            message.lines = without_length(std::mem::take(&mut message.lines));
        }
    }
    let one = matches!(&read[..], [Item::Message(message), Item::End(super::End::Well)] if *message == expected);
    (!one).then(|| format!("what leaves is \"{}\", read as {read:?} instead of {expected:?}", written.escape_ascii()))
}

/// An answer that would go to the caller.
pub(super) struct Given {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) bytes: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
    pub(super) chunked: bool,
}

/// What is wrong with how an answer leaves, if something is. One that ends HTTP does not.
pub(super) fn wrong_answer(given: Given, method: &Method) -> Option<String> {
    if given.status == 101 {
        return None;
    }
    let Given { status, mut headers, bytes, mut trailers, chunked } = given;
    hop::hop_by_hop(&mut headers, false);
    // Ours to leave out; what is left must arrive.
    let mut map = map_of(&trailers);
    hop::trailers(&mut map);
    trailers = seen::lines(map.iter().map(|(n, v)| (n.as_str(), v.as_bytes())));
    let expected = Message {
        start: Some(status.to_string()),
        lines: without_length(seen::lines(headers.iter())),
        body: Body::Whole(bytes.clone(), trailers.clone()),
    };
    let request = format!("{method} / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\n\r\n");
    let answer = RefCell::new(Some(Answer { status, headers, body: again(&bytes, &trailers, chunked) }));
    let handler = move |_| {
        let answer = answer.take();
        async { answer.unwrap_or_else(|| Answer { status: 500, headers: Headers::default(), body: OurBody::Empty }) }
    };
    let limits = Limits::default();
    let written = run(async {
        let (near, far) = pair();
        let serves = serve(near, request.into_bytes(), &limits, Life::new(), handler);
        tokio::join!(biased; serves, far_end(far, &[])).1
    })?;
    // What leaves may have lines of ours beside those that came.
    let mut read = theirs::answer_within(&written, Split::Whole, method.clone(), 200).items;
    for item in &mut read {
        if let Item::Message(message) = item {
            message.lines = without_length(std::mem::take(&mut message.lines));
        }
    }
    let one = matches!(&read[..], [Item::Message(message), Item::End(_)] if *message == expected);
    (!one).then(|| format!("what leaves is \"{}\", read as {read:?} instead of {expected:?}", written.escape_ascii()))
}

/// The length is framing: it says the same as the body.
fn without_length(mut lines: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    lines.retain(|(n, _)| n != "content-length");
    lines
}
