//! One question to an instance, and what came of it.

use super::limits::Report;
use crate::codec::Socket;
use crate::codec::client::{Cause, Http1, Http2, Received, SendError};
use crate::exchange::{Body, Counted, Early, Head, Headers};
use bytes::{Buf, Bytes};
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::time::Duration;

/// Makes a connection to the instance: TCP or a unix socket, with TLS or without.
pub type Opener = Box<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<Socket>>>>>;

/// The most that is read of an answer of the gRPC health service.
const ANSWER_MAX: usize = 64 << 10;
const USER_AGENT: &str = "fourmi-check";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question<'a> {
    /// Whether a connection stands.
    Connect,
    /// A GET of this path.
    Http { path: &'a str, headers: &'a [(String, String)], two: bool },
    /// `grpc.health.v1.Health/Check` of the server as a whole.
    Grpc { headers: &'a [(String, String)] },
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) report: Report,
    /// Whether the connection stood.
    pub(super) opened: bool,
    /// Whether it was the TLS session that failed, which costs both sides much and mends itself seldom.
    pub(super) session: bool,
    /// The report in words, with more than its kind.
    pub(super) words: String,
}

impl Answer {
    fn new(report: Report, words: impl Into<String>) -> Answer {
        Answer { report, opened: true, words: words.into(), session: false }
    }
    fn status(status: u16) -> Answer {
        Answer::new(Report::Status(status), format!("status {status}"))
    }
    fn ended() -> Answer {
        Answer::new(Report::TcpFailure, "the connection ended before the answer")
    }
    fn unopened(error: &io::Error) -> Answer {
        let report = match error.kind() {
            io::ErrorKind::TimedOut => Report::Timeout,
            _ => Report::TcpFailure,
        };
        Answer { report, opened: false, words: error.to_string(), session: error.kind() == io::ErrorKind::InvalidData }
    }
}

/// Asks once, on a connection of its own. `authority` is what the instance is called.
pub(super) async fn probe(
    open: &Opener,
    authority: &str,
    question: Question<'_>,
    patience: Duration,
    counted: Counted,
) -> Answer {
    // Held here, so that a timeout knows how far it came.
    let mut opened = false;
    let asking = async {
        let socket = match open().await {
            Ok(socket) => socket,
            Err(e) => return Answer::unopened(&e),
        };
        opened = true;
        match question {
            Question::Connect => Answer::new(Report::Status(200), "a connection"),
            Question::Http { path, headers, two } => http(socket, authority, path, headers, two, counted).await,
            Question::Grpc { headers } => grpc(socket, authority, headers, counted).await,
        }
    };
    match tokio::time::timeout(patience, Box::pin(asking)).await {
        Ok(answer) => answer,
        Err(_) => {
            Answer { report: Report::Timeout, opened, session: false, words: format!("no answer within {patience:?}") }
        }
    }
}

/// The head of a request; the configured lines replace ours.
fn head(authority: &str, path: &str, ours: &[(&'static str, &str)], theirs: &[(String, String)]) -> Head {
    let mut map = http::HeaderMap::new();
    for (name, value) in ours {
        map.insert(*name, http::HeaderValue::from_str(value).unwrap_or(http::HeaderValue::from_static("")));
    }
    let mut seen = Vec::new();
    for (name, value) in theirs {
        // What cannot be a line has been refused by the configuration.
        let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), http::HeaderValue::try_from(value)) else {
            continue;
        };
        if !seen.contains(&name) {
            map.remove(&name);
            seen.push(name.clone());
        }
        map.append(name, value);
    }
    let mut head = Head::default();
    head.authority = authority.to_owned();
    if let Some(host) = map.get("host").and_then(|h| h.to_str().ok()) {
        head.authority = host.to_owned();
    }
    head.headers = Headers::from_map(&map);
    match path.split_once('?') {
        Some((path, query)) => head.set_target(path, Some(query)),
        None => head.set_target(path, None),
    }
    head
}

async fn http(
    socket: Socket,
    authority: &str,
    path: &str,
    headers: &[(String, String)],
    two: bool,
    counted: Counted,
) -> Answer {
    let head = head(authority, path, &[("user-agent", USER_AGENT)], headers);
    let answer = match two {
        false => Http1::new(socket, counted).send(&head, &mut Body::Empty, &Early::default()).await,
        true => match Http2::handshake(socket, counted).await {
            Ok(mut conn) => conn.send(&head, &mut Body::Empty).await.map(|(answer, _)| answer),
            Err(_) => return Answer::ended(),
        },
    };
    answer.map_or_else(|e| failed(*e), |received| Answer::status(received.status))
}

fn failed(error: SendError) -> Answer {
    match error.cause {
        Cause::Nonsense(why) => Answer::new(Report::Status(0), format!("its answer is no HTTP: {why}")),
        Cause::BadBody(why) => Answer::new(Report::Nothing, why),
        _ => Answer::ended(),
    }
}

async fn grpc(socket: Socket, authority: &str, headers: &[(String, String)], counted: Counted) -> Answer {
    let ours = [("user-agent", USER_AGENT), ("content-type", "application/grpc"), ("te", "trailers")];
    let mut head = head(authority, "/grpc.health.v1.Health/Check", &ours, headers);
    head.method = http::Method::POST;
    // A frame with an empty message: the service's name is empty, which is the server as a whole.
    let mut body = Body::Full(Bytes::from_static(&[0; 5]));
    let Ok(mut conn) = Http2::handshake(socket, counted).await else { return Answer::ended() };
    match conn.send(&head, &mut body).await {
        Ok((received, incoming)) => serving(&received, incoming).await,
        Err(e) => failed(*e),
    }
}

/// Reads the answer of the health service.
async fn serving(received: &Received, mut incoming: Incoming) -> Answer {
    if received.status != 200 {
        return Answer::status(received.status);
    }
    let code_of = |value: Option<&str>| value.and_then(|v| v.trim().parse::<u32>().ok());
    let mut code = code_of(received.headers.get("grpc-status"));
    let mut message = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| {
        let incoming = Pin::new(&mut incoming);
        http_body::Body::poll_frame(incoming, cx)
    })
    .await
    {
        let Ok(frame) = frame else { return Answer::ended() };
        match frame.into_data() {
            Ok(data) if message.len() + data.len() > ANSWER_MAX => {
                return Answer::new(Report::Status(0), "its answer is too large");
            }
            Ok(data) => message.extend_from_slice(&data),
            Err(frame) => {
                let line = frame.trailers_ref().and_then(|t| t.get("grpc-status")).and_then(|v| v.to_str().ok());
                code = code_of(line).or(code);
            }
        }
    }
    match code {
        Some(0) => match health(&message) {
            Some(1) => Answer::new(Report::Status(200), "serving"),
            Some(_) => Answer::new(Report::Status(503), "not serving"),
            None => Answer::new(Report::Status(0), "its answer is no message of the health service"),
        },
        Some(code) => Answer::new(Report::grpc(code), format!("gRPC status {code}")),
        None => Answer::new(Report::Status(0), "its answer has no gRPC status"),
    }
}

/// The field `status` of a `HealthCheckResponse` in a gRPC frame.
fn health(frame: &[u8]) -> Option<u64> {
    use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
    let (head, mut message) = frame.split_at_checked(5)?;
    let mut head = head;
    let compressed = head.get_u8() != 0;
    if compressed || head.get_u32() as usize != message.len() {
        return None;
    }
    let mut status = 0;
    while message.has_remaining() {
        match decode_key(&mut message).ok()? {
            (1, WireType::Varint) => status = decode_varint(&mut message).ok()?,
            (tag, kind) => skip_field(kind, tag, &mut message, DecodeContext::default()).ok()?,
        }
    }
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_health_service_are_read() {
        for (frame, status) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 0], Some(0)),
            // An unknown field before it; the last one wins.
            (&[0, 0, 0, 0, 8, 18, 2, 104, 105, 8, 2, 8, 1], Some(1)),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[0, 0, 0, 0, 1, 8], None),
            (&[0, 0, 0, 0, 3, 18, 200, 1], None),
            (&[0, 0], None),
            (&[], None),
        ] {
            assert_eq!(health(frame), status, "{frame:?}");
        }
    }

    #[test]
    fn configured_lines_replace_ours() {
        let theirs = [("User-Agent", "probe"), ("x-a", "1"), ("X-A", "2"), ("host", "shop.example")];
        let theirs = theirs.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let head = head("10.0.0.1:80", "/up?deep=1", &[("user-agent", USER_AGENT)], &theirs);
        assert_eq!((head.path(), head.query(), head.authority.as_str()), ("/up", Some("deep=1"), "shop.example"));
        assert_eq!(head.headers.get("user-agent"), Some("probe"));
        assert_eq!(head.headers.get_all("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
    }
}
