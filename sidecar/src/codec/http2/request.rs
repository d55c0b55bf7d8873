//! A request's head, from HTTP/2's form to ours.

use super::body::Upload;
use crate::codec::normalize;
use crate::codec::server::Incoming;
use crate::exchange::{Body, Early, Fault, FaultKind, Head, Headers, Protocol};
use h2::RecvStream;
use http::{Method, Request};
use std::rc::Rc;

/// A request as the road wants it.
pub(super) fn incoming(request: Request<RecvStream>, early: Early, lines_max: usize) -> Incoming {
    let (parts, stream) = request.into_parts();
    let mut head = Head::recycled();
    head.method = parts.method;
    head.headers = Headers::from_map(&parts.headers);
    join_cookies(&mut head.headers);
    let length = length(&mut head.headers);
    let grpc = head.headers.get_bytes("content-type").is_some_and(|v| v.starts_with(b"application/grpc"));
    // What follows CONNECT is the tunnel's.
    let body = if stream.is_end_stream() || head.method == Method::CONNECT {
        Body::Empty
    } else {
        Body::Source(Rc::new(Upload::new(stream, length)))
    };
    let filled = if head.headers.len() > lines_max {
        let detail = format!("more than {lines_max} header lines (limits.headers)");
        Err(Fault::new(FaultKind::HeadTooLarge, detail))
    } else {
        fill(&mut head, &parts.uri)
    };
    let head = match filled {
        Ok(()) => Ok(head),
        Err(fault) => Err((head, fault)),
    };
    let protocol = if grpc { Protocol::Grpc } else { Protocol::Http2 };
    Incoming { head, body, protocol, upgrade: None, early, message: None }
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

/// The length that the head announces, once however often it does. Without one, or where there are two, the stream's
/// end alone says where the body ends; `h2` holds the caller to the first.
fn length(headers: &mut Headers) -> Option<u64> {
    let number = |v: &[u8]| {
        let text = std::str::from_utf8(v).ok().filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()))?;
        text.parse::<u64>().ok()
    };
    let mut lines = headers.get_all("content-length");
    let first = number(lines.next()?)?;
    let mut repeated = false;
    for line in lines {
        if number(line) != Some(first) {
            return None;
        }
        repeated = true;
    }
    if repeated {
        headers.set("content-length", itoa::Buffer::new().format(first));
    }
    Some(first)
}

fn fill(head: &mut Head, uri: &http::Uri) -> Result<(), Fault> {
    let connect = head.method == Method::CONNECT;
    if connect {
        head.set_target("/", None);
    } else {
        head.set_target(&normalize::path(uri.path())?, uri.query());
        head.set_raw_target(uri.path_and_query().map_or("/", |whole| whole.as_str()));
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
