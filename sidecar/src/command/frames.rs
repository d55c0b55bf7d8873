//! Messages of ZeroMQ as requests: what their frames say, as a head and a body.
//!
//! A message has no method and no path. It is a POST of `/` and its name, so that routes and middlewares find it by
//! what they look at anyway. The frames before the body are kept as they came, for a worker that speaks ZeroMQ too.

use super::{Codec, Rules, name};
use crate::exchange::frames::{FRAMES_MAX, Inlet, Part, Proved, joined};
use crate::exchange::{Body, Fault, FaultKind, Head, Headers, Limits};
use crate::names::header as word;
use bytes::Bytes;
use serde_json::Value;
use std::fmt::Write as _;

/// Lines of a header frame that speak of an HTTP connection or of a body that is none of theirs.
const NOT_OURS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Makes a request of a message without its envelope; what is wrong with it is a fault, beside as much as was understood.
pub fn request(
    inlet: &Inlet,
    rules: &Rules,
    limits: &Limits,
    proved: &Proved,
    frames: &[Bytes],
) -> (Result<Head, (Head, Fault)>, Body) {
    let mut head = Head::recycled();
    head.method = http::Method::POST;
    if let Some(service) = &inlet.service {
        head.authority.push_str(service);
    }
    let before = inlet.frames.len().saturating_sub(1);
    let (first, body) = frames.split_at(before.min(frames.len()));
    let mut fault = (frames.len() <= before).then(|| {
        let expected = before + 1;
        Fault::new(
            FaultKind::BadRequest,
            format!("a message here has at least {expected} frames (zmq.frames), this one has {}", frames.len()),
        )
    });
    if frames.len() > FRAMES_MAX {
        let detail = format!("a message has at most {FRAMES_MAX} frames, this one has {}", frames.len());
        fault = fault.or(Some(Fault::new(FaultKind::BadRequest, detail)));
    }
    let size: usize = first.iter().map(Bytes::len).sum();
    if size > limits.head {
        let detail = format!("{size} bytes in the frames before the body; {} are allowed (limits.head)", limits.head);
        fault = fault.or(Some(Fault::new(FaultKind::HeadTooLarge, detail)));
    }
    let first = if size > limits.head { &[][..] } else { first };
    let mut named = None;
    for (part, frame) in inlet.frames.iter().zip(first) {
        let said = read(*part, frame, &mut head, &mut named, limits);
        fault = fault.or(said.err());
    }
    let (line, body) = joined(body);
    let json = body.first().is_some_and(|b| matches!(b, b'{' | b'['));
    if named.is_none() && json && body.len() <= super::BODY_MAX {
        named = in_body(rules, &body);
    }
    match &named {
        Some(name) => {
            let mut path = String::with_capacity(name.len() + 1);
            path.push('/');
            path.push_str(name);
            head.set_target(&path, None);
        }
        None => head.set_target("/", None),
    }
    let headers = &mut head.headers;
    // What the connection proved, and what says how the message was cut, is for nobody else to say.
    for name in [word::FRAMES, word::BEFORE, word::CURVE] {
        headers.remove(name);
    }
    if let Some(authorization) = &proved.authorization {
        headers.set("authorization", authorization);
        headers.remove("proxy-authorization");
    }
    if let Some(key) = &proved.curve {
        headers.set(word::CURVE, key);
    }
    if !headers.contains("content-type") {
        headers.set("content-type", media_type(&body));
    }
    headers.set("content-length", itoa::Buffer::new().format(body.len()));
    if let Some(line) = line {
        headers.set(word::FRAMES, line);
    }
    if !first.is_empty() {
        headers.set(word::BEFORE, hex(first));
    }
    let body = Body::from(body);
    match fault {
        None => (Ok(head), body),
        Some(fault) => (Err((head, fault)), body),
    }
}

/// What a frame before the body says.
fn read(
    part: Part,
    frame: &Bytes,
    head: &mut Head,
    named: &mut Option<std::sync::Arc<str>>,
    limits: &Limits,
) -> Result<(), Fault> {
    let text = || {
        let wrong = |what: &str| Fault::new(FaultKind::BadRequest, format!("the frame with the {what} is no text"));
        std::str::from_utf8(frame).map_err(|_| wrong(word_of(part)))
    };
    match part {
        Part::Name => *named = name::normalized(text()?),
        // An empty frame says nothing.
        Part::Id if !frame.is_empty() => drop(head.headers.set(word::IDEMPOTENCY_KEY, text()?.trim_ascii())),
        Part::ApiKey if !frame.is_empty() => drop(head.headers.set("apikey", text()?.trim_ascii())),
        Part::Id | Part::ApiKey => {}
        Part::Headers => *named = header_frame(frame, head, limits)?.or_else(|| named.take()),
        Part::Status | Part::Body => {}
    }
    Ok(())
}

fn word_of(part: Part) -> &'static str {
    match part {
        Part::Name => "name",
        Part::Id => "id",
        Part::ApiKey => "key",
        Part::Headers => "headers",
        Part::Status => "status",
        Part::Body => "body",
    }
}

/// Takes the lines of a header frame; returns the command's name, if they say one.
fn header_frame(frame: &[u8], head: &mut Head, limits: &Limits) -> Result<Option<std::sync::Arc<str>>, Fault> {
    if frame.is_empty() {
        return Ok(None);
    }
    let Ok(Value::Object(lines)) = serde_json::from_slice::<Value>(frame) else {
        return Err(Fault::new(FaultKind::BadRequest, "the frame with the headers is no JSON object"));
    };
    if lines.len() > limits.headers {
        let detail = format!("{} headers; {} are allowed (limits.headers)", lines.len(), limits.headers);
        return Err(Fault::new(FaultKind::HeadTooLarge, detail));
    }
    for (name, value) in &lines {
        let lower = name.to_ascii_lowercase();
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(yes) => yes.to_string(),
            _ => continue,
        };
        if lower == "host" && head.authority.is_empty() {
            // It is written behind `Host:` as it is.
            if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
            {
                return Err(Fault::new(FaultKind::BadRequest, "the host in the frame with the headers is none"));
            }
            head.authority = text.to_ascii_lowercase();
        }
        if !NOT_OURS.contains(&lower.as_str()) && !head.headers.add(&lower, &text) {
            return Err(Fault::new(
                FaultKind::BadRequest,
                "a name or value in the frame with the headers is none of HTTP's",
            ));
        }
    }
    Ok(lines.get("name").and_then(Value::as_str).and_then(name::normalized))
}

/// The name that the body says, where the configuration says where.
fn in_body(rules: &Rules, body: &[u8]) -> Option<std::sync::Arc<str>> {
    if rules.name.is_none() && rules.codec.is_none() {
        return None;
    }
    let document = serde_json::from_slice::<Value>(body).ok()?;
    let own = rules.codec.map_or(&[][..], Codec::names);
    let pointers = own.iter().copied().chain(rules.name.as_deref());
    pointers.filter_map(|pointer| document.pointer(pointer)?.as_str()).find_map(name::normalized)
}

/// What a body looks like, when nobody says.
pub fn media_type(body: &[u8]) -> &'static str {
    match body.first() {
        Some(b'{' | b'[') => "application/json",
        _ => "application/octet-stream",
    }
}

/// The same frames for the store, which keeps no credentials: those that are a key, or have lines that are not kept, are
/// empty there.
pub fn masked(line: &str, layout: &[Part], is_kept: impl Fn(&str) -> bool) -> String {
    let keeps = |part: Option<&Part>, hex: &str| match part {
        Some(Part::ApiKey) => is_kept("apikey"),
        Some(Part::Headers) => match serde_json::from_slice::<Value>(&unhex(hex)) {
            Ok(Value::Object(lines)) => lines.keys().all(|name| is_kept(&name.to_ascii_lowercase())),
            _ => true,
        },
        _ => true,
    };
    let frames = line.split(',').enumerate();
    let frames = frames.map(|(at, hex)| if keeps(layout.get(at), hex) { hex } else { "" });
    frames.collect::<Vec<_>>().join(",")
}

/// The same frames for the next hop, which does not see what middlewares have taken away.
pub fn hide(headers: &mut Headers, layout: &[Part]) {
    let Some(line) = headers.get(word::BEFORE) else { return };
    let mut changed = false;
    let frames: Vec<String> = line
        .split(',')
        .enumerate()
        .map(|(at, frame)| {
            let kept = match layout.get(at) {
                Some(Part::ApiKey) if !headers.contains("apikey") => Some(String::new()),
                Some(Part::Headers) => without(frame, headers),
                _ => None,
            };
            let kept = kept.filter(|kept| kept != frame);
            changed |= kept.is_some();
            kept.unwrap_or_else(|| frame.to_owned())
        })
        .collect();
    if changed {
        headers.set(word::BEFORE, frames.join(","));
    }
}

/// A header frame without the lines that are no more; none if it is as it was.
fn without(frame: &str, headers: &Headers) -> Option<String> {
    let Ok(Value::Object(mut lines)) = serde_json::from_slice::<Value>(&unhex(frame)) else { return None };
    let before = lines.len();
    lines.retain(|name, value| {
        let name = name.to_ascii_lowercase();
        let was_a_line = matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
        !was_a_line || headers.contains(&name) || NOT_OURS.contains(&name.as_str()) || name == "name"
    });
    (lines.len() < before).then(|| hex(&[Bytes::from(serde_json::to_vec(&lines).unwrap_or_default())]))
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

/// Frames as text that a header line can carry.
fn hex(frames: &[Bytes]) -> String {
    let mut line = String::with_capacity(frames.iter().map(|f| f.len() * 2 + 1).sum());
    for (n, frame) in frames.iter().enumerate() {
        if n > 0 {
            line.push(',');
        }
        for byte in frame.iter() {
            let _ = write!(line, "{byte:02x}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(layout: &[Part], frames: &[&str]) -> (Result<Head, (Head, Fault)>, Body) {
        let inlet = Inlet { frames: layout.into(), ..Inlet::default() };
        let frames: Vec<Bytes> = frames.iter().map(|f| Bytes::copy_from_slice(f.as_bytes())).collect();
        request(&inlet, &Rules::default(), &Limits::default(), &Proved::default(), &frames)
    }

    #[test]
    fn a_header_frame_cannot_write_more_than_its_lines() {
        let all = &[Part::Headers, Part::Body][..];
        let head =
            ask(all, &[r#"{"Host": "Stock:80", "X-A": "b", "Content-Length": "9", "Fourmi-Frames": "1,1"}"#, "x"]).0;
        let head = head.unwrap_or_else(|(_, fault)| panic!("{fault:?}"));
        assert_eq!((head.authority.as_str(), head.headers.get("x-a")), ("stock:80", Some("b")));
        assert_eq!((head.headers.get("content-length"), head.headers.get(word::FRAMES)), (Some("1"), None));
        for wrong in [
            r#"{"host": "x\r\nFourmi-Id: 1\r\n\r\nPOST / HTTP/1.1"}"#,
            r#"{"host": "a b"}"#,
            r#"{"x-a": "b\r\nc: d"}"#,
            r#"{"x a": "b"}"#,
            "[]",
            "nothing",
        ] {
            assert!(ask(all, &[wrong, "x"]).0.is_err(), "{wrong}");
        }
        let long = "n".repeat(Limits::default().head + 1);
        let (head, _) = ask(&[Part::Name, Part::Body], &[&long, "x"]);
        assert!(head.is_err_and(|(head, _)| !head.headers.contains(word::BEFORE)));
        let head = ask(&[Part::Id, Part::ApiKey, Part::Body], &["", "", "x"]).0.ok();
        assert!(head.is_some_and(|h| !h.headers.contains("idempotency-key") && !h.headers.contains("apikey")));
    }

    #[test]
    fn what_middlewares_took_away_is_in_no_frame() {
        let layout = [Part::ApiKey, Part::Headers, Part::Body];
        let lines = r#"{"name":"Place","X-Key":"k","x-a":"b"}"#;
        let (head, _) = ask(&layout, &["secret", lines, "x"]);
        let mut head = head.unwrap_or_else(|(_, fault)| panic!("{fault:?}"));
        let before = |head: &Head| head.headers.get(word::BEFORE).unwrap_or_default().to_owned();
        let all = before(&head);
        hide(&mut head.headers, &layout);
        assert_eq!(before(&head), all);
        head.headers.remove("apikey");
        head.headers.remove("x-key");
        hide(&mut head.headers, &layout);
        let frames: Vec<Vec<u8>> = before(&head).split(',').map(unhex).collect();
        assert_eq!(frames[0], b"");
        assert_eq!(
            serde_json::from_slice::<Value>(&frames[1]).unwrap(),
            serde_json::json!({"name": "Place", "x-a": "b"})
        );
        let many = vec!["x"; 65];
        assert!(ask(&[Part::Body], &many).0.is_err() && ask(&[Part::Body], &many[1..]).0.is_ok());
    }

    #[test]
    fn the_store_gets_no_credentials_in_frames() {
        let layout = [Part::Name, Part::ApiKey, Part::Headers, Part::Body];
        let is_kept = |name: &str| name != "apikey" && name != "authorization";
        let hex =
            |frames: &[&str]| hex(&frames.iter().map(|f| Bytes::copy_from_slice(f.as_bytes())).collect::<Vec<_>>());
        let line = hex(&["Place", "secret", r#"{"Authorization": "x"}"#]);
        assert_eq!(masked(&line, &layout, is_kept), hex(&["Place", "", ""]));
        let line = hex(&["Place", "", r#"{"x-a": "x"}"#]);
        assert_eq!(masked(&line, &layout, is_kept), line);
    }
}
