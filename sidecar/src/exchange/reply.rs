//! A middleware's own answer, before it has its form.

use super::Headers;
use bytes::Bytes;
use std::borrow::Cow;

/// A middleware's own answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// What it says.
    pub says: Says,
    /// Header lines of its own.
    pub headers: Headers,
    /// Who answers: the middleware's name, which is also the reason under which a refusal is counted.
    pub by: &'static str,
    /// The cause, for the record; never a secret.
    pub why: Cow<'static, str>,
}

/// What a [`Reply`] says.
#[derive(Debug, Clone)]
pub enum Says {
    /// One sentence, in the form that the caller accepts: JSON, HTML, XML or plain text, with the request's id.
    Message(Cow<'static, str>),
    /// A JSON document, as it is.
    Json(Bytes),
    /// This, under this media type (none: no `Content-Type`).
    Raw(Bytes, Option<Cow<'static, str>>),
    /// Nothing.
    Nothing,
}

impl Reply {
    /// A sentence.
    pub fn message(by: &'static str, status: u16, message: impl Into<Cow<'static, str>>) -> Box<Reply> {
        let message = message.into();
        Box::new(Reply { status, says: Says::Message(message.clone()), headers: Headers::default(), by, why: message })
    }

    /// A compact JSON document with one sentence: `{"message":"…"}`.
    pub fn compact(by: &'static str, status: u16, message: impl Into<Cow<'static, str>>) -> Box<Reply> {
        let message = message.into();
        let json = serde_json::json!({ "message": message }).to_string();
        Box::new(Reply { status, says: Says::Json(json.into()), headers: Headers::default(), by, why: message })
    }

    /// An answer without a body.
    pub fn empty(by: &'static str, status: u16, why: impl Into<Cow<'static, str>>) -> Box<Reply> {
        Box::new(Reply { status, says: Says::Nothing, headers: Headers::default(), by, why: why.into() })
    }

    /// The same with one more header line.
    #[must_use]
    pub fn with(mut self: Box<Self>, name: &'static str, value: impl AsRef<[u8]>) -> Box<Reply> {
        self.headers.append(name, value);
        self
    }

    /// Whether it refuses the command.
    pub fn refuses(&self) -> bool {
        self.status >= 400
    }
}

/// An answer's head on its way back, as middlewares see it.
#[derive(Debug)]
pub struct AnswerHead {
    /// HTTP status.
    pub status: u16,
    /// Header lines.
    pub headers: Headers,
    /// Whether it is one of ours: no instance gave it.
    pub own: bool,
}

/// The body of the request, as far as middlewares have seen it.
#[derive(Debug, Clone, Default)]
pub enum Seen {
    /// Nobody asked for it yet.
    #[default]
    Not,
    /// All of it. A middleware may put another in its place.
    Whole(Bytes),
    /// It is longer than what was asked for, and passes by unseen.
    TooLong,
}

/// What a cache knows of the answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Under which key it is kept; none when it is not to be.
    pub key: Option<[u8; 32]>,
    /// `Miss`, `Hit`, `Refresh`, `Bypass`.
    pub status: &'static str,
}

impl Cached {
    /// Whether the answer has been given before: what was done to it then must not be done twice.
    pub fn is_hit(&self) -> bool {
        self.status == "Hit"
    }
}
