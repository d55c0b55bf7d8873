//! An answer before it is written.

use super::access::Right;
use super::failure::Failure;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::PrettyFormatter;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Every answer says what is so without a rule.
const POLICY: HeaderName = HeaderName::from_static("x-consul-default-acl-policy");

/// What an answer says.
#[derive(Debug)]
pub(super) enum Body {
    Empty,
    Text(String),
    Json(Value),
    /// JSON that is written already.
    Written(Bytes),
    /// Bytes that are somebody's.
    Raw(Bytes),
    /// Bytes of another registry, whose type is among the headers.
    Passed(Bytes),
    /// Bytes of that type as they come, until nobody sends any more.
    Stream(&'static str, mpsc::Receiver<Bytes>),
}

/// The body of an answer as it goes out.
pub(super) enum Outgoing {
    Whole(Full<Bytes>),
    Stream(mpsc::Receiver<Bytes>),
}

impl Outgoing {
    fn whole(bytes: Bytes) -> Self {
        Outgoing::Whole(Full::new(bytes))
    }
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Outgoing::Whole(whole) => Pin::new(whole).poll_frame(context),
            Outgoing::Stream(receiver) => {
                receiver.poll_recv(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Whole(whole) => whole.is_end_stream(),
            Outgoing::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(whole) => whole.size_hint(),
            Outgoing::Stream(_) => SizeHint::default(),
        }
    }
}

/// An answer before it is written.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Body,
}

impl Reply {
    /// Done, and there is nothing to say.
    pub(super) fn done() -> Self {
        Reply { status: StatusCode::OK, headers: Vec::new(), body: Body::Empty }
    }

    pub(super) fn json(value: Value) -> Self {
        Reply { body: Body::Json(value), ..Reply::done() }
    }

    /// With a header, unless the value cannot be one.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// Which methods there are, to one that is not among them or to OPTIONS.
    pub(super) fn methods(allowed: &str, refused: Option<&http::Method>) -> Self {
        let reply = match refused {
            None => Reply::done(),
            Some(method) => Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("method {method} not allowed")).into(),
        };
        reply.header("allow", allowed)
    }

    /// As it goes out; indented if somebody wants to read it.
    pub(super) fn written(self, pretty: bool, policy: Right) -> Response<Outgoing> {
        let (kind, body) = match self.body {
            Body::Empty => (None, Outgoing::whole(Bytes::new())),
            Body::Text(text) => (Some(TEXT), Outgoing::whole(text.into())),
            Body::Written(bytes) => (Some(JSON), Outgoing::whole(bytes)),
            Body::Passed(bytes) => (None, Outgoing::whole(bytes)),
            Body::Raw(bytes) => (Some(TEXT), Outgoing::whole(bytes)),
            Body::Json(value) => (Some(JSON), Outgoing::whole(text(&value, pretty).into())),
            Body::Stream(kind, receiver) => (Some(HeaderValue::from_static(kind)), Outgoing::Stream(receiver)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(kind.map(|kind| (CONTENT_TYPE, kind)));
        let policy = if policy == Right::Deny { "deny" } else { "allow" };
        headers.insert(POLICY, HeaderValue::from_static(policy));
        headers.extend(self.headers);
        response
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Reply { status: failure.status, headers: Vec::new(), body: Body::Text(failure.text) }
    }
}

/// JSON as it goes out.
pub(super) fn text(value: &Value, pretty: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    // Neither a value nor a vector can refuse to be written.
    let _ = if pretty {
        let mut to = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
        value.serialize(&mut to)
    } else {
        serde_json::to_writer(&mut bytes, value)
    };
    if pretty {
        bytes.push(b'\n');
    }
    bytes
}
