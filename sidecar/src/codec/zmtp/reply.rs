//! Answers as the frames that a caller of ZeroMQ gets.

use super::wire::Message;
use crate::exchange::frames::{Errors, Inlet, Part, split};
use crate::exchange::{Answer, Body, Headers};
use crate::names::header as word;
use bytes::Bytes;
use http_body::Body as _;
use serde_json::{Map, Value};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// An answer that is being read.
pub(super) struct Reading {
    answer: Answer,
    /// The first piece, nearly always the only one.
    first: Bytes,
    /// All, where there are more.
    all: Vec<u8>,
}

impl Reading {
    pub(super) fn new(answer: Answer) -> Reading {
        Reading { answer, first: Bytes::new(), all: Vec::new() }
    }

    /// The frames of the answer, without the envelope; none when nothing is to be said.
    pub(super) fn poll(&mut self, inlet: &Inlet, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let most = inlet.max;
        loop {
            match ready!(Pin::new(&mut self.answer.body).poll_frame(cx)) {
                None => break,
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if self.first.len() + self.all.len() + data.len() > most {
                        self.answer.body = Body::Empty;
                        let why = format!("the answer has more than {most} bytes (zmq.max_message)");
                        let title = "The instance's answer cannot be passed on";
                        return Poll::Ready(failed(inlet, &self.answer.headers, "bad-answer", title, &why));
                    }
                    self.take(data);
                }
                Some(Err(e)) => {
                    let why = format!("the answer broke off: {e}");
                    let title = "The instance went away before it had answered";
                    return Poll::Ready(failed(inlet, &self.answer.headers, "broken", title, &why));
                }
            }
        }
        Poll::Ready(self.frames(inlet))
    }

    fn take(&mut self, data: Bytes) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = data;
            return;
        }
        self.all.extend_from_slice(&std::mem::take(&mut self.first));
        self.all.extend_from_slice(&data);
    }

    fn frames(&mut self, inlet: &Inlet) -> Option<Message> {
        let body = match self.all.is_empty() {
            true => std::mem::take(&mut self.first),
            false => Bytes::from(std::mem::take(&mut self.all)),
        };
        let Answer { status, headers, .. } = &self.answer;
        // An instance's answer has passed us, and says so.
        let passed = headers.contains("via");
        if !passed && *status == 202 && headers.contains(word::STATE) {
            return Some(stored(inlet, headers, body));
        }
        if !passed && *status >= 400 && !headers.contains(word::IDEMPOTENCY_REPLAYED) {
            return refused(inlet, *status, headers, body);
        }
        let mut message = before(inlet, *status, headers);
        split(headers.get(word::FRAMES), body, &mut message);
        Some(message)
    }
}

/// The frames that come before the body.
fn before(inlet: &Inlet, status: u16, headers: &Headers) -> Message {
    let mut message = Message::new();
    for part in inlet.reply.iter() {
        match part {
            Part::Status => message.push(Bytes::copy_from_slice(itoa::Buffer::new().format(status).as_bytes())),
            Part::Id => message.push(Bytes::copy_from_slice(headers.get_bytes(word::ID).unwrap_or_default())),
            Part::Headers => {
                let mut lines = Map::new();
                lines.insert("status".into(), status.into());
                for (name, value) in headers.iter().filter(|(name, _)| *name != word::FRAMES && *name != "connection") {
                    lines.insert(name.to_owned(), String::from_utf8_lossy(value).into_owned().into());
                }
                message.push(Bytes::from(serde_json::to_vec(&lines).unwrap_or_default()));
            }
            Part::Name | Part::ApiKey | Part::Body => {}
        }
    }
    message
}

/// A body of one frame, behind those that come before it.
fn laid_out(inlet: &Inlet, status: u16, headers: &Headers, body: Bytes) -> Message {
    let mut message = before(inlet, status, headers);
    message.push(body);
    message
}

fn stored(inlet: &Inlet, headers: &Headers, document: Bytes) -> Message {
    let line = |name: &str| headers.get(name).unwrap_or_default().to_owned();
    let body = match &inlet.accepted {
        None => document,
        Some(text) => filled(text, &[("id", line(word::ID)), ("state", line(word::STATE)), ("status", "202".into())]),
    };
    laid_out(inlet, 202, headers, body)
}

/// What we ourselves answer in place of an instance.
fn refused(inlet: &Inlet, status: u16, headers: &Headers, document: Bytes) -> Option<Message> {
    match &inlet.errors {
        Errors::Silent => None,
        Errors::Problem => Some(laid_out(inlet, status, headers, document)),
        Errors::Text(text) => {
            let said = serde_json::from_slice::<Value>(&document).unwrap_or_default();
            let field = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let code = field("type").rsplit(':').next().unwrap_or_default().to_owned();
            // A gateway's own words have one field.
            let title = if field("title").is_empty() { field("message") } else { field("title") };
            let body = filled(
                text,
                &[
                    ("status", status.to_string()),
                    ("code", code),
                    ("title", title),
                    ("detail", field("detail")),
                    ("id", field("id")),
                ],
            );
            Some(laid_out(inlet, status, headers, body))
        }
    }
}

fn failed(inlet: &Inlet, headers: &Headers, code: &str, title: &str, detail: &str) -> Option<Message> {
    let status = 502;
    let document = serde_json::json!({
        "type": format!("urn:fourmi:error:{code}"), "title": title, "status": status, "detail": detail,
        "fault": "upstream", "id": headers.get(word::ID).unwrap_or_default(),
    });
    refused(inlet, status, headers, Bytes::from(document.to_string()))
}

/// A text with its places filled. In JSON a place stands between quotes, so what fills it is escaped for those.
fn filled(text: &str, places: &[(&str, String)]) -> Bytes {
    let text_in = text.trim_start();
    let object = text_in.strip_prefix('{').is_some_and(|inside| inside.trim_start().starts_with('"'));
    let json = object || text_in.starts_with('[');
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let place = places
            .iter()
            .find(|(name, _)| from.get(1..).and_then(|f| f.strip_prefix(name)).is_some_and(|f| f.starts_with('}')));
        match place {
            Some((name, value)) => {
                match json {
                    true => {
                        let quoted = Value::from(value.as_str()).to_string();
                        out.push_str(quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default());
                    }
                    false => out.push_str(value),
                }
                rest = from.get(name.len() + 2..).unwrap_or_default();
            }
            None => {
                out.push('{');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(inlet: &Inlet, status: u16, lines: &[(&str, &str)], body: &'static str) -> Option<Vec<String>> {
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.add(name, value);
        }
        let answer = Answer { status, headers, body: Body::from(Bytes::from_static(body.as_bytes())) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut reading = Reading::new(answer);
        let message = runtime.block_on(std::future::poll_fn(|cx| reading.poll(inlet, cx)))?;
        Some(message.iter().map(|f| String::from_utf8(f.to_vec()).unwrap()).collect())
    }

    #[test]
    fn answers_of_instances() {
        let plain = Inlet::default();
        let via = ("via", "1.1 fourmi");
        assert_eq!(ask(&plain, 200, &[via], "done").unwrap(), ["done"]);
        assert_eq!(ask(&plain, 200, &[via], "").unwrap(), [""], "an answer has a frame");
        assert_eq!(ask(&plain, 500, &[via], "no").unwrap(), ["no"]);
        assert_eq!(ask(&plain, 200, &[via, ("fourmi-frames", "1,0,2")], "abc").unwrap(), ["a", "", "bc"]);
        let both = Inlet { reply: [Part::Status, Part::Headers, Part::Body].into(), ..Inlet::default() };
        let all = ask(&both, 404, &[via, ("x-a", "b")], "no").unwrap();
        assert_eq!((all[0].as_str(), all[2].as_str()), ("404", "no"));
        assert_eq!(all[1], r#"{"status":404,"via":"1.1 fourmi","x-a":"b"}"#);
        let small = Inlet { max: 3, ..Inlet::default() };
        assert!(ask(&small, 200, &[via], "long").unwrap()[0].contains("more than 3 bytes (zmq.max_message)"));
    }

    #[test]
    fn what_we_say_ourselves() {
        let problem =
            r#"{"type":"urn:fourmi:error:not-ready","title":"No \"one\"","status":503,"detail":"d","id":"7"}"#;
        let text = |text: &str| Inlet { errors: Errors::Text(text.into()), ..Inlet::default() };
        assert_eq!(ask(&Inlet::default(), 503, &[], problem).unwrap(), [problem]);
        let json = text(r#"{"status":{status},"error":"{title}","x":"{other}","id":"{id}"}"#);
        assert_eq!(
            ask(&json, 503, &[], problem).unwrap(),
            [r#"{"status":503,"error":"No \"one\"","x":"{other}","id":"7"}"#]
        );
        assert_eq!(
            ask(&text("{status} {code} {title}: {detail}"), 503, &[], problem).unwrap(),
            ["503 not-ready No \"one\": d"]
        );
        assert_eq!(ask(&text("{title"), 503, &[], problem).unwrap(), ["{title"]);
        assert_eq!(ask(&text("{title}"), 401, &[], r#"{"message":"Unauthorized"}"#).unwrap(), ["Unauthorized"]);
        let silent = Inlet { errors: Errors::Silent, ..Inlet::default() };
        assert_eq!(ask(&silent, 503, &[], problem), None);
        assert_eq!(ask(&silent, 200, &[("via", "x")], "a").unwrap(), ["a"]);
        let ok = Inlet { accepted: Some("OK {id} {state}".into()), ..Inlet::default() };
        let lines = [("fourmi-id", "7"), ("fourmi-state", "ready")];
        assert_eq!(ask(&ok, 202, &lines, "{}").unwrap(), ["OK 7 ready"]);
        assert_eq!(ask(&Inlet::default(), 202, &lines, "{}").unwrap(), ["{}"]);
    }
}
