//! Messages of several frames as the road carries them: one body, and a line that says where the frames end.

use bytes::{Bytes, BytesMut};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// The most frames that a message may have.
pub const FRAMES_MAX: usize = 64;

/// What a frame of a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The command's name.
    Name,
    /// The command's id.
    Id,
    /// The key of its caller, as the header `apikey` carries it.
    ApiKey,
    /// Header lines, as a JSON object.
    Headers,
    /// The status of an answer, as a number.
    Status,
    /// What the command is about: this frame and all that follow.
    Body,
}

impl Part {
    /// The word that stands for it in a configuration.
    pub fn parse(word: &str) -> Option<Part> {
        Some(match word {
            "name" => Part::Name,
            "id" => Part::Id,
            "apikey" => Part::ApiKey,
            "headers" => Part::Headers,
            "status" => Part::Status,
            "body" => Part::Body,
            _ => return None,
        })
    }
}

/// Frames as a list of words says: the body last, nothing twice.
///
/// # Errors
/// What is wrong, and what to write instead.
pub fn layout(words: &[String]) -> Result<Arc<[Part]>, (&'static str, &'static str)> {
    let parts: Vec<Part> = words.iter().filter_map(|w| Part::parse(w)).collect();
    let twice = parts.iter().enumerate().any(|(n, part)| parts.iter().skip(n + 1).any(|p| p == part));
    match parts.last() {
        _ if twice => Err(("a frame is named twice", "name each once")),
        Some(Part::Body) => Ok(parts.into()),
        _ => Err(("the last frame is not `body`", "end the list with `body`")),
    }
}

/// What a caller of ZeroMQ is answered that is no answer of a worker's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Errors {
    /// The problem document, as HTTP callers get it.
    #[default]
    Problem,
    /// A text in which `{status}`, `{title}`, `{detail}`, `{code}` and `{id}` are replaced.
    Text(Arc<str>),
    /// Nothing: for callers that rely on their own patience.
    Silent,
}

/// How callers of ZeroMQ prove who they are.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub enum Proof {
    /// Not at all (NULL).
    #[default]
    Null,
    /// By a user's name and password (PLAIN): those that are known.
    Plain(Arc<[(String, String)]>),
    /// By a key (CURVE): our secret one, and the public ones that are let in, with their names; all when none is given.
    Curve {
        /// Our secret key.
        secret: [u8; 32],
        /// Who is let in.
        clients: Arc<[([u8; 32], String)]>,
    },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Proof::Null => "Null",
            Proof::Plain(_) => "Plain",
            Proof::Curve { .. } => "Curve",
        })
    }
}

/// What the connection that a message came over has proved of its caller.
#[derive(Debug, Clone, Default)]
pub struct Proved {
    /// The line `Authorization` of a user and password (PLAIN).
    pub authorization: Option<String>,
    /// The public key, in Z85 (CURVE).
    pub curve: Option<String>,
}

/// How a listener takes messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inlet {
    /// What the first frames of a message say; the body comes last.
    pub frames: Arc<[Part]>,
    /// The same for answers.
    pub reply: Arc<[Part]>,
    /// What is answered when there is no answer.
    pub errors: Errors,
    /// What is answered when the command is stored; none: the same document as HTTP callers get.
    pub accepted: Option<Arc<str>>,
    /// Messages have no empty frame before them.
    pub raw: bool,
    /// How long callers wait; they are answered before.
    pub patience: Option<Duration>,
    /// The most bytes of a message.
    pub max: usize,
    /// The service that messages go to, where they come from the worker.
    pub service: Option<Arc<str>>,
    /// How callers prove who they are.
    pub proof: Proof,
}

/// The most bytes of a message when nothing else is said.
pub const MESSAGE_MAX: usize = 16 << 20;

impl Default for Inlet {
    fn default() -> Self {
        Inlet {
            frames: Arc::new([Part::Body]),
            reply: Arc::new([Part::Body]),
            errors: Errors::Problem,
            accepted: None,
            raw: false,
            patience: None,
            max: MESSAGE_MAX,
            service: None,
            proof: Proof::Null,
        }
    }
}

/// When the answer of a worker of ZeroMQ tells of a failure.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// JSON pointer into the answer.
    pub pointer: String,
    /// How it compares; none: it is enough that it is there, and neither null nor false.
    pub compare: Option<(Compare, serde_json::Value)>,
}

/// How a value compares with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// The same.
    Same,
    /// Another.
    Other,
    /// Less.
    Less,
    /// Not more.
    NotMore,
    /// More.
    More,
    /// Not less.
    NotLess,
}

/// How a worker of ZeroMQ is spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlet {
    /// The frames that it gets; none: those that came, or the body alone.
    pub frames: Option<Arc<[Part]>>,
    /// The frames that it answers with.
    pub reply: Arc<[Part]>,
    /// When its answer tells of a failure.
    pub error_when: Option<When>,
    /// The most bytes of an answer.
    pub max: usize,
    /// How many commands more it is given that would take one at a time.
    pub ahead: u32,
    /// Our user and password there (PLAIN).
    pub plain: Option<(String, String)>,
    /// Its public key (CURVE).
    pub curve: Option<[u8; 32]>,
}

impl Default for Outlet {
    fn default() -> Self {
        Outlet {
            frames: None,
            reply: Arc::new([Part::Body]),
            error_when: None,
            max: MESSAGE_MAX,
            ahead: 0,
            plain: None,
            curve: None,
        }
    }
}

/// Frames as one body, and the line that says where each ends; none for a single frame.
pub fn joined(frames: &[Bytes]) -> (Option<String>, Bytes) {
    match frames {
        [] => (None, Bytes::new()),
        [one] => (None, one.clone()),
        many => {
            let mut body = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
            let mut line = String::with_capacity(many.len() * 4);
            for frame in many {
                body.extend_from_slice(frame);
                let comma = if line.is_empty() { "" } else { "," };
                let _ = write!(line, "{comma}{}", frame.len());
            }
            (Some(line), body.freeze())
        }
    }
}

/// The frames of a body, put behind others. A line that does not fit it says nothing: the body is one frame.
pub fn split(line: Option<&str>, body: Bytes, frames: &mut impl Extend<Bytes>) {
    let fits = |lengths: &Vec<usize>| {
        lengths.iter().try_fold(0_usize, |sum, n| sum.checked_add(*n)).is_some_and(|sum| sum == body.len())
    };
    match line.and_then(lengths).filter(fits) {
        None => frames.extend([body]),
        Some(lengths) => {
            let mut rest = body;
            frames.extend(lengths.into_iter().map(|n| rest.split_to(n)));
        }
    }
}

fn lengths(line: &str) -> Option<Vec<usize>> {
    let all: Vec<usize> = line.split(',').map(|n| n.trim().parse().ok()).collect::<Option<_>>()?;
    (all.len() <= FRAMES_MAX + 8).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|t| Bytes::from_static(t.as_bytes())).collect()
    }

    fn split(line: Option<&str>, body: Bytes) -> Vec<Bytes> {
        let mut frames = Vec::new();
        super::split(line, body, &mut frames);
        frames
    }

    #[test]
    fn frames_come_back_as_they_went() {
        for texts in [&["one"][..], &[""], &["a", "", "c"], &["", ""], &["x", "yy", "zzz"]] {
            let all = frames(texts);
            let (line, body) = joined(&all);
            assert_eq!(line.is_some(), texts.len() > 1);
            assert_eq!(split(line.as_deref(), body), all, "{texts:?}");
        }
        assert_eq!(joined(&[]), (None, Bytes::new()));
    }

    #[test]
    fn a_line_that_does_not_fit_says_nothing() {
        let body = Bytes::from_static(b"abc");
        let endless = "1,".repeat(100);
        for line in ["1,1", "4", "", "a", "-1,4", "18446744073709551615,1", "1,2,18446744073709551615", &endless] {
            assert_eq!(split(Some(line), body.clone()), std::slice::from_ref(&body), "{line}");
        }
        assert_eq!(split(Some("1, 2"), body).len(), 2);
    }
}
