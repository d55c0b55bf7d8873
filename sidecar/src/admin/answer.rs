//! Answers, and what a request asks beside its path.

use super::tap::Following;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Our own scripts, style sheets and answers, and nothing else; nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// A finished answer, or one that goes on.
pub(super) type Answer = Response<Body>;

/// What is answered.
pub(super) enum Body {
    /// All of it.
    Whole(Full<Bytes>),
    /// Commands as they end.
    Tail(Following),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Body::Tail(tail) => tail.poll_next(cx).map(|bytes| Some(Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(whole) if whole.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(whole) => whole.size_hint(),
            Body::Tail(_) => SizeHint::default(),
        }
    }
}

/// RFC 9457; without a `type` of its own the status says it all.
pub(super) fn problem(status: u16, detail: &str) -> Answer {
    let title = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error");
    let body = json!({"title": title, "status": status, "detail": detail});
    make(status, PROBLEM, format!("{body}\n"))
}

pub(super) fn json_answer(status: u16, value: &Value) -> Answer {
    make(status, JSON, format!("{value:#}\n"))
}

pub(super) fn make(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::Whole(Full::new(body.into())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let lines = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::SERVER, "fourmi"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in lines {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// A query key's value; empty for a bare key.
pub(super) fn asked<'a>(head: &'a Parts, key: &str) -> Option<&'a str> {
    head.uri.query()?.split('&').map(|p| p.split_once('=').unwrap_or((p, ""))).find(|(k, _)| *k == key).map(|(_, v)| v)
}

/// A query key's value without percent-encoding; none when it is empty or no text.
pub(super) fn argument(head: &Parts, key: &str) -> Option<String> {
    plain(asked(head, key)?).filter(|text| !text.is_empty())
}

/// Every key and value of the query without percent-encoding; what is no text is left out.
pub(super) fn arguments(head: &Parts) -> Vec<(String, String)> {
    let pairs = head.uri.query().unwrap_or_default().split('&').map(|p| p.split_once('=').unwrap_or((p, "")));
    pairs.filter_map(|(key, value)| Some((plain(key)?, plain(value)?))).collect()
}

/// Text without percent-encoding.
fn plain(text: &str) -> Option<String> {
    let raw = text.as_bytes();
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let digits = || tail.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let escaped = || u8::from_str_radix(std::str::from_utf8(digits()?).ok()?, 16).ok();
        match (first, escaped()) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// By `?format=json`, or an `Accept` that names JSON.
pub(super) fn wants_json(head: &Parts) -> bool {
    match asked(head, "format") {
        Some(format) => format == "json",
        None => head.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|accept| {
            accept.split(',').any(|kind| {
                let kind = kind.split(';').next().unwrap_or("").trim();
                kind.eq_ignore_ascii_case(JSON) || kind.eq_ignore_ascii_case(PROBLEM)
            })
        }),
    }
}
