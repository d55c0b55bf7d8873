//! Our own errors as callers see them: problem documents (RFC 9457), and trailers-only answers for gRPC.

use crate::exchange::{Answer, Body, Exchange, Fault, Headers, Protocol};
use bytes::Bytes;

/// Bytes of a `grpc-message` before it is cut: clients count it into their header limits.
const GRPC_MESSAGE_MAX: usize = 1024;

/// The answer that tells a fault to the caller: `application/problem+json` with the stable code, whose fault it was
/// and the command's id; for gRPC status 200 and `grpc-status`, because its clients read nothing else.
pub fn answer(fault: &Fault, ex: Option<&Exchange>) -> Answer {
    let mut headers = Headers::default();
    headers.set("server", "fourmi");
    if let Some(seconds) = fault.retry_after {
        headers.set("retry-after", itoa::Buffer::new().format(seconds));
    }
    if ex.is_some_and(|ex| ex.protocol == Protocol::Grpc) {
        headers.set("content-type", "application/grpc");
        headers.set("grpc-status", itoa::Buffer::new().format(fault.kind.grpc_status()));
        headers.set(
            "grpc-message",
            grpc_message(if fault.detail.is_empty() { fault.kind.title() } else { &fault.detail }),
        );
        return Answer { status: 200, headers, body: Body::Empty };
    }
    let document = document(fault, ex.map_or("", |ex| &ex.command.id));
    headers.set("content-type", "application/problem+json");
    headers.set("content-length", itoa::Buffer::new().format(document.len()));
    let head_only = ex.is_some_and(|ex| ex.request.method == http::Method::HEAD);
    let body = if head_only { Body::Empty } else { Body::Full(Bytes::from(document)) };
    Answer { status: fault.kind.status(), headers, body }
}

fn document(fault: &Fault, id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"type\":\"urn:fourmi:error:");
    out.extend_from_slice(fault.kind.code().as_bytes());
    out.extend_from_slice(b"\",\"title\":");
    quoted(&mut out, fault.kind.title());
    out.extend_from_slice(b",\"status\":");
    out.extend_from_slice(itoa::Buffer::new().format(fault.kind.status()).as_bytes());
    if !fault.detail.is_empty() {
        out.extend_from_slice(b",\"detail\":");
        quoted(&mut out, &fault.detail);
    }
    out.extend_from_slice(b",\"fault\":");
    quoted(&mut out, fault.kind.side().as_str());
    if !id.is_empty() {
        out.extend_from_slice(b",\"id\":");
        quoted(&mut out, id);
    }
    out.extend_from_slice(b"}\n");
    out
}

fn quoted(out: &mut Vec<u8>, text: &str) {
    if serde_json::to_writer(&mut *out, text).is_err() {
        // Writing to memory does not fail; if it did, the document would still have to be JSON.
        out.extend_from_slice(b"null");
    }
}

/// Percent-encoding of gRPC's `Status-Message`: visible ASCII and blanks stay, `%` does not.
pub(super) fn grpc_message(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        if out.len() >= GRPC_MESSAGE_MAX {
            break;
        }
        for &b in c.encode_utf8(&mut [0; 4]).as_bytes() {
            match b {
                b' '..=b'~' if b != b'%' => out.push(b),
                _ => out.extend([b'%', DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::exchange;
    use crate::exchange::FaultKind;

    fn text(answer: &Answer) -> &str {
        match &answer.body {
            Body::Full(bytes) => std::str::from_utf8(bytes).unwrap(),
            _ => "",
        }
    }

    #[test]
    fn a_problem_document() {
        let mut ex = exchange("GET", "/", &[]);
        ex.command.id = "a\"b".into();
        let fault = Fault::new(FaultKind::NotReady, "127.0.0.1:8080: \"refused\"").retry_after(2);
        let a = answer(&fault, Some(&ex));
        assert_eq!(a.status, 503);
        let read: serde_json::Value = serde_json::from_str(text(&a)).unwrap();
        assert_eq!(
            read,
            serde_json::json!({"type": "urn:fourmi:error:not-ready", "title": "No instance is ready", "status": 503,
                "detail": "127.0.0.1:8080: \"refused\"", "fault": "upstream", "id": "a\"b"})
        );
        assert_eq!(a.headers.get("content-type"), Some("application/problem+json"));
        assert_eq!(a.headers.get("content-length"), Some(text(&a).len().to_string().as_str()));
        assert_eq!(a.headers.get("retry-after"), Some("2"));
        assert_eq!(a.headers.get("server"), Some("fourmi"));

        let head = answer(&fault, Some(&exchange("HEAD", "/", &[])));
        assert!(head.body.is_empty());
        assert!(head.headers.get("content-length").is_some_and(|n| n != "0"));
        let bare = answer(&Fault::new(FaultKind::BadRequest, ""), None);
        assert!(!text(&bare).contains("detail") && !text(&bare).contains("\"id\""));
        assert!(!bare.headers.contains("retry-after"));
    }

    #[test]
    fn a_grpc_answer() {
        let mut ex = exchange("POST", "/shop.Orders/Create", &[]);
        ex.protocol = Protocol::Grpc;
        let a = answer(&Fault::new(FaultKind::Timeout, "60 s, 100% gone\né"), Some(&ex));
        assert_eq!((a.status, a.body.is_empty()), (200, true));
        assert_eq!(a.headers.get("content-type"), Some("application/grpc"));
        assert_eq!(a.headers.get("grpc-status"), Some("4"));
        assert_eq!(a.headers.get("grpc-message"), Some("60 s, 100%25 gone%0A%C3%A9"));
        assert!(!a.headers.contains("content-length"));
    }
}
