//! Our own answers to faults: problem documents (RFC 9457), or gRPC statuses.

use crate::exchange::{Answer, Body, Exchange, Fault, Headers, Protocol};
use bytes::Bytes;
use serde_json::json;

/// The answer that tells a fault and whose it was.
pub fn answer(fault: &Fault, exchange: Option<&Exchange>) -> Answer {
    let mut headers = Headers::default();
    headers.set("server", "fourmi");
    if let Some(seconds) = fault.retry_after {
        headers.set("retry-after", seconds.to_string());
    }
    if exchange.is_some_and(|x| x.protocol == Protocol::Grpc) {
        // Trailers-only: the status travels in the head, and the HTTP status is always 200.
        headers.set("content-type", "application/grpc");
        headers.set("grpc-status", fault.kind.grpc_status().to_string());
        headers.set("grpc-message", percent(&format!("{}: {}", fault.kind.title(), fault.detail)));
        return Answer { status: 200, headers, body: Body::Empty };
    }
    let mut problem = json!({
        "type": format!("urn:fourmi:error:{}", fault.kind.code()),
        "title": fault.kind.title(),
        "status": fault.kind.status(),
        "detail": fault.detail,
        "fault": fault.kind.side().as_str(),
    });
    if let (Some(x), Some(map)) = (exchange, problem.as_object_mut())
        && !x.command.id.is_empty()
    {
        map.insert("id".into(), x.command.id.clone().into());
    }
    let text = Bytes::from(problem.to_string());
    headers.set("content-type", "application/problem+json");
    headers.set("content-length", text.len().to_string());
    Answer { status: fault.kind.status(), headers, body: Body::Full(text) }
}

/// grpc-message is percent-encoded outside visible ASCII.
fn percent(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        if (0x20..0x7F).contains(&b) && b != b'%' {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::FaultKind;

    #[test]
    fn says_whose_fault_it_was() {
        let fault = Fault::new(FaultKind::NotReady, "nobody listens").retry_after(1);
        let answer = answer(&fault, None);
        assert_eq!((answer.status, answer.headers.get("retry-after")), (503, Some("1")));
        let Body::Full(text) = answer.body else { panic!("a document") };
        let problem: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(problem["type"], "urn:fourmi:error:not-ready");
        assert_eq!(problem["fault"], "upstream");
        assert_eq!(percent("é 5%"), "%C3%A9 5%25");
    }
}
