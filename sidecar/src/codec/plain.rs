//! Answers of a gateway's middlewares, and our own errors where a gateway's file rules: the bodies that its callers
//! know, in the form that they accept.

use super::problem::grpc_message;
use crate::exchange::{Answer, Body, Exchange, Fault, FaultKind, Headers, Protocol, Reply, Says};
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The form of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Html,
    Xml,
    Text,
}

impl Form {
    fn media_type(self) -> &'static str {
        match self {
            Form::Json => "application/json; charset=utf-8",
            Form::Html => "text/html; charset=utf-8",
            Form::Xml => "application/xml; charset=utf-8",
            Form::Text => "text/plain; charset=utf-8",
        }
    }

    /// The form that a caller prefers; the first of equals, and JSON where nothing else is wanted.
    fn of(headers: &Headers) -> Form {
        let mut best = (0.0, Form::Json);
        for item in headers.get_all("accept").flat_map(|line| line.split(|b| *b == b',')) {
            let Ok(item) = std::str::from_utf8(item) else { continue };
            let mut parts = item.split(';').map(str::trim);
            let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/json" | "application/*" | "*/*" => Form::Json,
                "text/html" => Form::Html,
                "application/xml" | "text/xml" => Form::Xml,
                "text/plain" | "text/*" => Form::Text,
                _ => continue,
            };
            let q = parts.find_map(|p| p.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            if q > best.0 {
                best = (q, form);
            }
        }
        best.1
    }

    fn body(self, message: &str, id: &str) -> String {
        let markup = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        match self {
            Form::Json => {
                let message = serde_json::Value::from(message);
                format!("{{\n  \"message\":{message},\n  \"request_id\":\"{id}\"\n}}")
            }
            Form::Html => format!(
                "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n  \
                 <body>\n    <h1>Error</h1>\n    <p>{}.</p>\n    <p>request_id: {id}</p>\n  </body>\n</html>\n",
                markup(message)
            ),
            Form::Xml => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>{}</message>\n  \
                 <requestid>{id}</requestid>\n</error>",
                markup(message)
            ),
            Form::Text => format!("{message}\nrequest_id: {id}\n"),
        }
    }
}

/// The 32 hexadecimal digits of its trace: what a caller is shown is what records and spans have as `trace_id`, and what
/// the page finds its journey by.
fn request_id(ex: &Exchange) -> String {
    let mut id = String::with_capacity(32);
    let _ = write!(id, "{:032x}", ex.trace.trace_id);
    id
}

/// The answer of a middleware.
pub fn answer(reply: &Reply, ex: &Exchange) -> Answer {
    let mut headers = Headers::recycled();
    if !reply.headers.contains("server") {
        headers.set("server", "fourmi");
    }
    headers.extend(&reply.headers);
    if ex.protocol == Protocol::Grpc {
        // Callers of gRPC read nothing but these, and only behind a status of 200.
        headers.set("content-type", "application/grpc");
        if !headers.contains("grpc-status") {
            headers.set("grpc-status", itoa::Buffer::new().format(grpc_status(reply.status)));
        }
        if let Says::Message(message) = &reply.says {
            headers.set("grpc-message", grpc_message(message));
        } else if !reply.why.is_empty() {
            headers.set("grpc-message", grpc_message(&reply.why));
        }
        return Answer { status: 200, headers, body: Body::Empty };
    }
    let body = match &reply.says {
        Says::Message(message) => {
            let (form, id) = (Form::of(&ex.request.headers), request_id(ex));
            headers.set("content-type", form.media_type());
            headers.set("x-kong-request-id", &id);
            Bytes::from(form.body(message, &id))
        }
        Says::Json(json) => {
            headers.set("content-type", Form::Json.media_type());
            json.clone()
        }
        Says::Raw(raw, media_type) => {
            if let Some(media_type) = media_type {
                headers.set("content-type", media_type.as_bytes());
            }
            raw.clone()
        }
        Says::Nothing => Bytes::new(),
    };
    if !matches!(reply.status, 204 | 304) && !headers.contains("content-length") {
        headers.set("content-length", itoa::Buffer::new().format(body.len()));
    }
    let bodiless = ex.request.method == http::Method::HEAD || matches!(reply.status, 204 | 304);
    let body = if bodiless { Body::Empty } else { Body::from(body) };
    Answer { status: reply.status, headers, body }
}

/// The status that stands for an HTTP status in gRPC, as Kong has it.
pub fn grpc_status(status: u16) -> u16 {
    match status {
        200 => 0,
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 6,
        429 => 8,
        499 => 1,
        500 => 13,
        501 => 12,
        503 => 14,
        504 => 4,
        201..=299 => 0,
        402 | 405..=408 | 410..=428 | 430..=498 => 3,
        502 | 505..=599 => 13,
        _ => 2,
    }
}

/// One of our own errors in the words that callers of a gateway know.
pub fn reply(fault: &Fault) -> Box<Reply> {
    let message = match fault.kind {
        // For what is asked for by Fourmi's own headers no other gateway has words.
        FaultKind::BadRequest if fault.detail.starts_with("Fourmi-") => return worded(fault, fault.detail.clone()),
        FaultKind::Refused if !fault.detail.is_empty() => return worded(fault, fault.detail.clone()),
        FaultKind::NoRoute => "no Route matched with those values",
        FaultKind::BadRequest | FaultKind::BadPath => "Bad request",
        FaultKind::BodyTooLarge => "Payload too large",
        FaultKind::HeadTooLarge => "Request header or cookie too large",
        FaultKind::SlowCaller => "Request timeout",
        FaultKind::NotReady => "failure to get a peer from the ring-balancer",
        FaultKind::CircuitOpen | FaultKind::Overloaded => "The upstream server is currently unavailable",
        FaultKind::Unreachable | FaultKind::Broken | FaultKind::BadAnswer => {
            "An invalid response was received from the upstream server"
        }
        FaultKind::Timeout | FaultKind::Deadline => "The upstream server is timing out",
        FaultKind::ClientGone => "Client closed request",
        FaultKind::MethodNotAllowed => "Method not allowed",
        FaultKind::SpoolFull | FaultKind::NoSpool => "The command cannot be stored",
        FaultKind::InProgress => "The same request is being processed",
        FaultKind::IdTaken => "Another request was sent under this id",
        FaultKind::NotConfigured | FaultKind::Internal | FaultKind::Refused | FaultKind::GivenUp => {
            "An unexpected error occurred"
        }
    };
    worded(fault, message)
}

fn worded(fault: &Fault, message: impl Into<Cow<'static, str>>) -> Box<Reply> {
    let mut reply = Reply::message(fault.kind.code(), fault.kind.status(), message);
    if let Some(seconds) = fault.retry_after {
        reply.headers.set("retry-after", itoa::Buffer::new().format(seconds));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::exchange;
    use crate::exchange::Trace;

    fn text(answer: &Answer) -> &str {
        match &answer.body {
            Body::Full(bytes) => std::str::from_utf8(bytes).unwrap(),
            _ => "",
        }
    }

    #[test]
    fn a_sentence_takes_the_form_that_is_accepted() {
        let json = "{\n  \"message\":\"no \\\"<b>\",\n  \"request_id\":\"00000000000000070000000000000001\"\n}";
        let xml = "<message>no \"&lt;b&gt;</message>\n  <requestid>00000000000000070000000000000001</requestid>";
        let plain = "no \"<b>\nrequest_id: 00000000000000070000000000000001\n";
        for (accept, media_type, body) in [
            ("", "application/json; charset=utf-8", json),
            ("*/*", "application/json; charset=utf-8", json),
            ("image/png", "application/json; charset=utf-8", json),
            ("text/html;q=0.5, application/xml;q=0.9", "application/xml; charset=utf-8", xml),
            ("text/plain, text/html", "text/plain; charset=utf-8", plain),
            ("TEXT/HTML, application/json", "text/html; charset=utf-8", "<p>no \"&lt;b&gt;.</p>"),
        ] {
            let mut ex = exchange("GET", "/", &[("accept", accept)]);
            ex.trace = Trace { trace_id: (7 << 64) | 1, span_id: 2, ..Trace::default() };
            let a = answer(&Reply::message("x", 401, "no \"<b>").with("www-authenticate", "Key"), &ex);
            assert_eq!((a.status, a.headers.get("content-type")), (401, Some(media_type)), "{accept}");
            assert!(text(&a).contains(body), "{accept}: {}", text(&a));
            assert_eq!(a.headers.get("content-length"), Some(text(&a).len().to_string().as_str()));
            assert_eq!(a.headers.get("www-authenticate"), Some("Key"));
            assert_eq!(a.headers.get("x-kong-request-id"), Some("00000000000000070000000000000001"));
        }
    }

    #[test]
    fn other_forms() {
        let ex = exchange("GET", "/", &[]);
        let a = answer(&Reply::compact("x", 404, "Not found"), &ex);
        assert_eq!(text(&a), r#"{"message":"Not found"}"#);
        let a = answer(&Reply::empty("x", 204, ""), &ex);
        assert!(a.body.is_empty() && !a.headers.contains("content-length"));
        let a = answer(&Reply::message("x", 403, "no"), &exchange("HEAD", "/", &[]));
        assert!(a.body.is_empty() && a.headers.get("content-length").is_some_and(|n| n != "0"));
        let mut ex = exchange("POST", "/shop.Orders/Create", &[]);
        ex.protocol = Protocol::Grpc;
        let a = answer(&Reply::message("x", 429, "API rate limit exceeded"), &ex);
        assert_eq!((a.status, a.headers.get("grpc-status")), (200, Some("8")));
        assert_eq!(a.headers.get("grpc-message"), Some("API rate limit exceeded"));
    }
}
