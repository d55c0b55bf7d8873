//! A stored command: what is needed to send it, and what became of it.

use super::State;
use crate::exchange::RetryLater;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Method, a space, the target; then a line `name: value` for each header.
    pub head: Vec<u8>,
    /// All of the body.
    pub body: Bytes,
}

impl Kept {
    /// What its body is.
    pub fn media(&self) -> &str {
        self.line("content-type").unwrap_or_default()
    }

    /// How its body is encoded, if it is.
    pub fn coding(&self) -> Option<&str> {
        self.line("content-encoding").filter(|coding| !coding.eq_ignore_ascii_case("identity"))
    }

    /// One of its lines.
    pub fn line(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Request {
    /// Puts a head together.
    pub fn new<'a>(
        method: &str,
        target: &str,
        lines: impl Iterator<Item = (&'a str, &'a [u8])>,
        body: Bytes,
    ) -> Request {
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(method.as_bytes());
        head.push(b' ');
        head.extend_from_slice(target.as_bytes());
        head.push(b'\n');
        for (name, value) in lines {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.push(b'\n');
        }
        Request { head, body }
    }

    /// Method and target; none if it is no head of ours.
    pub fn first(&self) -> Option<(&str, &str)> {
        let end = memchr::memchr(b'\n', &self.head)?;
        std::str::from_utf8(self.head.get(..end)?).ok()?.split_once(' ')
    }

    /// The header lines.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let lines = self.head.split(|b| *b == b'\n').skip(1);
        lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((std::str::from_utf8(&line[..colon]).ok()?, line.get(colon + 2..)?))
        })
    }
}

/// How a command came, and what the road had made of it by then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Came {
    /// `http/1.1` and the like.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Host and port that it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub authority: String,
    /// The connection's other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// The caller's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Our end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// Whether it was encrypted.
    #[serde(skip_serializing_if = "is_false")]
    pub secure: bool,
    /// Whether its forwarded headers are believed.
    #[serde(skip_serializing_if = "is_false")]
    pub trusted: bool,
    /// Bytes of the path that the route matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<usize>,
    /// The path that a middleware wants instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The host that a middleware wants instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The trace, as `traceparent` has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trace: String,
    /// The command in whose handling it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Whether the caller gave the id.
    #[serde(skip_serializing_if = "is_false")]
    pub id_given: bool,
    /// Whether it is stored only so that it is not done twice: it runs while its caller waits.
    #[serde(skip_serializing_if = "is_false")]
    pub once: bool,
    /// Whether it must not run twice.
    #[serde(skip_serializing_if = "is_false")]
    pub at_most_once: bool,
    /// What tells callers apart that are no consumers: a digest of what they proved themselves by.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub caller: String,
    /// When it is sent again, where a middleware said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryLater>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What is known of a command besides what is sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// The service that it is for.
    pub service: String,
    /// The route that took it.
    pub route: String,
    /// Who called.
    pub consumer: Option<String>,
    /// Commands of one key run one after another.
    pub key: Option<String>,
    /// Its own tags.
    pub tags: Vec<(String, String)>,
    /// How it came.
    pub came: Came,
}

impl Told {
    /// What is held back as a whole when it is away: a service, on its side.
    pub fn target(&self) -> String {
        format!("{} {}", self.direction, self.service)
    }

    /// Where its id is its own: two callers' equal ids are two commands.
    pub fn scope(&self) -> String {
        let consumer = self.consumer.as_deref().unwrap_or("");
        format!("{}\n{}\n{}\n{consumer}\n{}", self.direction, self.service, self.route, self.came.caller)
    }
}

/// A command to be stored.
#[derive(Debug, Clone)]
pub struct New {
    /// What is known of it.
    pub told: Told,
    /// What is sent; none for one that runs already and is only remembered.
    pub request: Request,
    /// Of method, target and body: the same id with another one is a mistake.
    pub fingerprint: [u8; 16],
    /// [`State::Ready`], [`State::Scheduled`], [`State::Running`] for one that runs while it is stored,
    /// [`State::Retrying`] for one whose first attempt has failed, [`State::Unknown`] for one that nobody answered.
    pub state: State,
    /// Attempts so far.
    pub attempt: u32,
    /// When it came, in milliseconds since 1970.
    pub created: i64,
    /// When it may run.
    pub due: i64,
    /// When it must not run any more.
    pub expires: Option<i64>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// What that was answered.
    pub status: u16,
    /// When it ended, where that was before it came here.
    pub finished: Option<i64>,
    /// For one that runs already: whether its caller is told that it is stored.
    pub promised: bool,
    /// For one that whoever stores it is about to send: not before others of its key. Then it waits here as they do.
    pub in_turn: bool,
}

/// A command to be sent now.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its place in the store.
    pub seq: i64,
    /// What is known of it.
    pub told: Told,
    /// What is sent.
    pub request: Request,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When it came.
    pub created: i64,
}

/// What the road is given by the spool.
#[derive(Debug)]
pub enum Work {
    /// Send it.
    Run(Box<Job>),
    /// It has ended by itself or by an operator; the sinks have to be told.
    Over(Box<Ended>),
}

/// A command whose end nobody else tells.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What is known of it.
    pub told: Told,
    /// How.
    pub state: State,
    /// Attempts.
    pub attempt: u32,
    /// When it came.
    pub created: i64,
    /// Why.
    pub error: Option<String>,
}

/// What is kept of a worker's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Lines of its head that say what its body is, and where to go on.
    pub lines: Vec<(String, String)>,
    /// Its body, up to the limit.
    pub body: Bytes,
    /// Whether the body was longer.
    pub cut: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Nothing more will be done.
    Final {
        /// Succeeded, dead or unknown.
        state: State,
        /// What was answered; 0 when nothing was.
        status: u16,
        /// Why, when it is no success.
        error: Option<String>,
        /// What is kept of the answer.
        answer: Kept,
    },
    /// It runs again.
    Again {
        /// After so long.
        after: Duration,
        /// What was answered; 0 when nothing was.
        status: u16,
        /// Why.
        error: String,
    },
    /// It cannot be sent now, which says nothing of its service: its route is gone. That is no attempt.
    Held {
        /// Why.
        error: String,
        /// When to look again.
        after: Duration,
    },
    /// Nobody had it: the service is away. That is no attempt.
    Nobody {
        /// Why.
        error: String,
    },
    /// One that was only remembered has failed: the same id may be used again.
    Forget,
}
