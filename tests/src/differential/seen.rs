//! What a codec made of the bytes, in a form that can be compared.

use std::fmt;

/// Everything that a codec handed over, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The messages, in order, and last how the connection ended.
    pub items: Vec<Item>,
    /// What must never be, whatever the other side does: a request without an answer, a word that is not kept.
    pub broken_promise: Option<String>,
}

/// A message, or the end.
#[derive(Clone, PartialEq, Eq)]
pub enum Item {
    /// A message, taken or refused on its own.
    Message(Message),
    /// The connection's end.
    End(End),
}

/// A message as it is handed over.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Method, target, authority and version, or the status; none when it was understood, but is refused for what it
    /// asks.
    pub start: Option<String>,
    /// Its lines, but for those of one connection only; by name, and in their order under one name.
    pub lines: Vec<(String, Vec<u8>)>,
    /// What followed.
    pub body: Body,
}

/// What followed a head.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it, with its trailers.
    Whole(Vec<u8>, Vec<(String, Vec<u8>)>),
    /// It did not end as it should; such a message is never forwarded as a whole one.
    Broken,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Between two messages.
    Well,
    /// Within a message.
    Broken,
    /// With a refusal of this status; 0 where there is nobody to tell it to.
    Refused(u16),
    /// It did not end.
    Hung,
}

/// What is about one connection only: framing may differ where the message is the same.
fn hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "host"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
            | "http2-settings"
    )
}

/// A `Content-Length` without what does not count.
fn number(value: &[u8]) -> Vec<u8> {
    if !value.iter().all(u8::is_ascii_digit) {
        return value.to_vec();
    }
    let zeros = value.iter().take_while(|b| **b == b'0').count().min(value.len().saturating_sub(1));
    value[zeros..].to_vec()
}

/// Lines as they are compared. A repeated `Content-Length` is one line.
pub(super) fn lines<'a>(of: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<(String, Vec<u8>)> {
    let value = |n: &str, v: &[u8]| if n == "content-length" { number(v) } else { v.to_vec() };
    let mut lines: Vec<_> = of.filter(|(n, _)| !hop(n)).map(|(n, v)| (n.to_owned(), value(n, v))).collect();
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    lines.dedup_by(|a, b| a.0 == "content-length" && a == b);
    lines
}

impl Message {
    /// Whether it was neither refused nor broken off.
    pub fn is_good(&self) -> bool {
        self.start.is_some() && self.body != Body::Broken
    }
}

fn show(f: &mut fmt::Formatter<'_>, lines: &[(String, Vec<u8>)]) -> fmt::Result {
    for (name, value) in lines {
        write!(f, "\n    {name}: {}", value.escape_ascii())?;
    }
    Ok(())
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.start {
            Some(start) => write!(f, "{start}")?,
            None => write!(f, "refused")?,
        }
        show(f, &self.lines)?;
        match &self.body {
            Body::Broken => write!(f, "\n  body broken"),
            Body::Whole(bytes, trailers) => {
                write!(f, "\n  body \"{}\"", bytes.escape_ascii())?;
                show(f, trailers)
            }
        }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Message(message) => message.fmt(f),
            Item::End(end) => write!(f, "end: {end:?}"),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Broken => write!(f, "broken"),
            Body::Whole(bytes, _) => write!(f, "\"{}\"", bytes.escape_ascii()),
        }
    }
}

/// How a connection of a caller ended: from what was written to it, and whether it ended well.
pub(super) fn end_of(messages: &[Message], methods: &[http::Method], out: &[u8], well: bool) -> (End, Option<String>) {
    let statuses = match statuses(out, methods) {
        Ok(statuses) => statuses,
        Err(why) => return (End::Broken, Some(why)),
    };
    let answered = statuses.len().min(messages.len());
    for (message, status) in messages.iter().zip(&statuses) {
        // Below 300 only what is good; the refusal of a body that broke off may be the codec's or the handler's.
        if (*status < 300) && !message.is_good() {
            return (End::Broken, Some(format!("{status} for {message:?}")));
        }
    }
    if let Some(message) = messages.get(answered..).and_then(<[Message]>::first)
        && message.body != Body::Broken
    {
        return (End::Broken, Some(format!("no answer for {message:?}")));
    }
    match statuses.get(messages.len()..) {
        Some([status]) => (End::Refused(*status), None),
        Some([_, _, ..]) => (End::Broken, Some("more answers than requests".to_owned())),
        _ if well => (End::Well, None),
        _ => (End::Broken, None),
    }
}

/// The final answers in what was written to a caller.
fn statuses(mut out: &[u8], methods: &[http::Method]) -> Result<Vec<u16>, String> {
    let mut statuses = Vec::new();
    while !out.is_empty() {
        let mut lines = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut lines);
        let len = match answer.parse(out) {
            Ok(httparse::Status::Complete(len)) => len,
            other => return Err(format!("not an answer ({other:?}): {}", out.escape_ascii())),
        };
        let status = answer.code.unwrap_or(0);
        let length = answer.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|h| std::str::from_utf8(h.value).ok()?.parse().ok()).unwrap_or(0);
        let head = methods.get(statuses.len()).is_some_and(|m| m == http::Method::HEAD);
        let body = if head || status < 200 { 0 } else { length };
        out = out.get(len + body..).ok_or("an answer is cut off")?;
        if status >= 200 {
            statuses.push(status);
        }
    }
    Ok(statuses)
}
