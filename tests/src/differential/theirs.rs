//! hyper's half. What it leaves to the application is judged here as the specification has it, with our one normaliser.

use super::pieces::{Pieces, run};
use super::seen::{self, Body, End, Item, Message, Seen};
use super::split::Split;
use super::{HEAD_MAX, LINES_MAX};
use bytes::Bytes;
use fourmi::codec::normalize;
use http::{HeaderMap, Method, Request, Response, Version, request::Parts};
use http_body_util::{BodyExt, Full};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;

fn lines(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    seen::lines(map.iter().map(|(n, v)| (n.as_str(), v.as_bytes())))
}

async fn whole(mut body: hyper::body::Incoming) -> Body {
    let (mut bytes, mut trailers) = (Vec::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(other)) => trailers = other.trailers_ref().map(lines).unwrap_or_default(),
            Err(_) => return Body::Broken,
        }
    }
    Body::Whole(bytes, trailers)
}

/// Method, target, authority and version, if the request may be served (RFC 9110, 7.2; RFC 9112, 3.2).
fn judge(parts: &Parts) -> Option<String> {
    let uri = &parts.uri;
    let connect = parts.method == Method::CONNECT;
    let in_target = uri.authority().map(http::uri::Authority::as_str);
    let (path, query) = (uri.path(), uri.query());
    let target = match uri.scheme() {
        _ if connect => {
            if uri.scheme().is_some() || in_target.is_none() || uri.path_and_query().is_some() {
                return None;
            }
            "/".to_owned()
        }
        Some(scheme) if *scheme != http::uri::Scheme::HTTP => return None,
        None if in_target.is_some() => return None,
        _ if path == "*" && (parts.method != Method::OPTIONS || query.is_some()) => return None,
        _ => {
            let path = normalize::path(path).ok()?;
            let query = query.map(|q| {
                let escaped =
                    q.bytes().map(|b| if b.is_ascii() { char::from(b).to_string() } else { format!("%{b:02X}") });
                format!("?{}", escaped.collect::<String>())
            });
            format!("{path}{}", query.unwrap_or_default())
        }
    };
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if parts.version == Version::HTTP_11 && in_target.is_none() => return None,
        (None, _) => "",
        (Some(host), None) => in_target.map_or_else(|| std::str::from_utf8(host.as_bytes()), Ok).ok()?,
        (Some(_), Some(_)) => return None,
    };
    let authority = normalize::authority(in_target.unwrap_or(host)).ok()?;
    // A tunnel has no version any more.
    let tunnel = parts.method == Method::CONNECT;
    let version = if tunnel || parts.version == Version::HTTP_11 { "1.1" } else { "1.0" };
    Some(format!("{} {target} for {authority} HTTP/{version}", parts.method))
}

/// The messages of a caller's connection.
pub(super) fn requests(wire: &[u8], split: Split) -> Seen {
    requests_within(wire, split, HEAD_MAX, LINES_MAX)
}

/// The messages of a caller's connection, with other limits.
pub(super) fn requests_within(wire: &[u8], split: Split, head_max: usize, lines_max: usize) -> Seen {
    let (io, out) = Pieces::new(&split.pieces(wire), false);
    let messages: Rc<RefCell<Vec<Message>>> = Rc::default();
    let methods: Rc<RefCell<Vec<Method>>> = Rc::default();
    let service = {
        let (messages, methods) = (messages.clone(), methods.clone());
        hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let (messages, methods) = (messages.clone(), methods.clone());
            async move {
                let (parts, body) = request.into_parts();
                methods.borrow_mut().push(parts.method.clone());
                let start = judge(&parts);
                let lines = if start.is_some() { lines(&parts.headers) } else { Vec::new() };
                let body = whole(body).await;
                let message = Message { start, lines, body };
                let status = match &message {
                    m if !m.is_good() => 400,
                    _ if parts.method == Method::CONNECT => 405,
                    _ => 200,
                };
                messages.borrow_mut().push(message);
                let mut answer = Response::new(Full::new(Bytes::from_static(b"ok")));
                *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
                Ok::<_, Infallible>(answer)
            }
        })
    };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .half_close(true)
        .auto_date_header(false)
        .max_headers(lines_max)
        .max_header_size(head_max)
        .max_buf_size(64 << 10);
    let served = run(builder.serve_connection(io, service));
    let messages = messages.take();
    let end = match served {
        None => End::Hung,
        Some(served) => {
            // Of hyper nothing is promised here.
            let out = out.borrow();
            seen::end_of(&messages, &methods.borrow(), &out, served.is_ok()).0
        }
    };
    finish(messages, end)
}

fn finish(messages: Vec<Message>, end: End) -> Seen {
    let mut items: Vec<_> = messages.into_iter().map(Item::Message).collect();
    items.push(Item::End(end));
    Seen { items, broken_promise: None }
}

/// The final answer on a connection to an instance.
pub(super) fn answer(wire: &[u8], split: Split, method: Method) -> Seen {
    answer_within(wire, split, method, super::ours_answer::LINES_MAX)
}

/// The same of an answer of at most so many lines.
pub(super) fn answer_within(wire: &[u8], split: Split, method: Method, lines_max: usize) -> Seen {
    let (io, _) = Pieces::new(&split.pieces(wire), true);
    let seen = run(async move {
        let mut builder = hyper::client::conn::http1::Builder::new();
        builder.max_headers(lines_max).max_buf_size(256 << 10);
        let Ok((mut sender, driver)) = builder.handshake::<_, Full<Bytes>>(io).await else { return Err(End::Broken) };
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        request.headers_mut().insert("host", http::HeaderValue::from_static("a"));
        let exchange = async {
            match sender.send_request(request).await {
                Err(e) if e.is_parse() => Err(End::Refused(0)),
                Err(_) => Err(End::Broken),
                Ok(answer) => {
                    let (parts, body) = answer.into_parts();
                    let (start, lines) = (Some(parts.status.as_str().to_owned()), lines(&parts.headers));
                    Ok(Message { start, lines, body: whole(body).await })
                }
            }
        };
        // The connection's own end says nothing more; it must only be driven as long as the exchange lasts.
        let mut driver = std::pin::pin!(driver);
        let mut exchange = std::pin::pin!(exchange);
        let mut driven = false;
        std::future::poll_fn(|cx| {
            driven = driven || driver.as_mut().poll(cx).is_ready();
            exchange.as_mut().poll(cx)
        })
        .await
    });
    match seen.unwrap_or(Err(End::Hung)) {
        Ok(message) => finish(vec![message], End::Well),
        Err(end) => finish(Vec::new(), end),
    }
}
