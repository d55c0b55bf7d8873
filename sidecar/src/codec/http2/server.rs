//! Connections of callers that speak HTTP/2 with prior knowledge.

use super::{CONNECTION_WINDOW, LocalExecutor, STREAM_WINDOW};
use crate::codec::life::Life;
use crate::codec::normalize;
use crate::codec::server::{Ended, Incoming};
use crate::codec::stream::{Socket, Stream};
use crate::exchange::{Answer, Body, Fault, FaultKind, Head, Headers, Limits, Protocol};
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;

/// Streams one caller may have at once.
const STREAMS_MAX: u32 = 250;

/// Serves a connection until it ends. `first` are the bytes already read.
pub(in crate::codec) async fn serve<H, F>(
    socket: Socket,
    first: Vec<u8>,
    limits: &Limits,
    life: &Life,
    handle: H,
) -> Ended
where
    H: Fn(Incoming) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    life.multiplexes();
    let watcher = socket.watcher();
    life.watch(Some(Box::new(move || watcher.as_ref().is_some_and(|s| !matches!(s.take_error(), Ok(None))))));
    let handle = Rc::new(handle);
    let service = hyper::service::service_fn(move |request| {
        // hyper moves a service's future several times; a box is moved cheaply.
        let answer = Box::pin(handle(split(request)));
        async move { Ok::<_, Infallible>(join(answer.await)) }
    });
    let mut conn = pin!(
        http2::Builder::new(LocalExecutor)
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
            .auto_date_header(false)
            .serve_connection(TokioIo::new(Stream::new(socket, first)), service)
    );
    let mut told = false;
    let ended = std::future::poll_fn(|cx| {
        if life.is_ending() && !std::mem::replace(&mut told, true) {
            conn.as_mut().graceful_shutdown();
        }
        conn.as_mut().poll(cx)
    })
    .await;
    match ended {
        Ok(()) => Ended::Well,
        Err(e) if e.is_parse() => Ended::Malformed,
        Err(_) => Ended::Broken,
    }
}

fn split(request: Request<hyper::body::Incoming>) -> Incoming {
    let (parts, body) = request.into_parts();
    let grpc = parts.headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    let body = if http_body::Body::is_end_stream(&body) { Body::Empty } else { Body::Incoming(body) };
    let mut head = Head::recycled();
    head.method = parts.method;
    head.headers = Headers::from_map(&parts.headers);
    join_cookies(&mut head.headers);
    let head = match fill(&mut head, &parts.uri) {
        Ok(()) => Ok(head),
        Err(fault) => Err((head, fault)),
    };
    Incoming { head, body, protocol: if grpc { Protocol::Grpc } else { Protocol::Http2 }, upgrade: None }
}

/// One cookie line may come in many fields (RFC 9113, 8.2.3); HTTP/1 has one.
fn join_cookies(headers: &mut Headers) {
    let mut crumbs = headers.get_all("cookie");
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let mut whole = [first, second].join(&b"; "[..]);
        for crumb in crumbs {
            whole.extend_from_slice(b"; ");
            whole.extend_from_slice(crumb);
        }
        headers.set("cookie", whole);
    }
}

fn fill(head: &mut Head, uri: &http::Uri) -> Result<(), Fault> {
    let connect = head.method == http::Method::CONNECT;
    if connect {
        head.set_target("/", None);
    } else {
        head.set_target(&normalize::path(uri.path())?, uri.query());
    }
    let mut hosts = head.headers.get_all("host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Fault::new(FaultKind::BadRequest, "more than one Host line"));
    }
    let authority = match (uri.authority(), host) {
        // The target wins over Host (RFC 9113, 8.3.1); Host is rewritten to it when it is forwarded.
        (Some(target), _) => target.as_str(),
        (None, Some(host)) => {
            std::str::from_utf8(host).map_err(|_| Fault::new(FaultKind::BadRequest, "the Host line is not text"))?
        }
        (None, None) => "",
    };
    let authority = normalize::authority(authority)?;
    head.authority.push_str(&authority);
    drop(hosts);
    if uri.authority().is_some() {
        head.headers.set("host", &head.authority);
    }
    Ok(())
}

fn join(answer: Answer) -> Response<Body> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut headers = answer.headers.to_map();
    headers.remove(http::header::CONNECTION);
    *response.headers_mut() = headers;
    response
}
