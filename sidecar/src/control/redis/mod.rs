//! Redis: one thread, one connection to each server, and short questions that are scripts.
//!
//! A question is answered within its deadline or not at all. When Redis does not answer, [`Redis::ask`] says so at
//! once, without waiting, until the thread has found it well again by itself.

mod link;

use self::link::{Job, Link};
use crate::tls::ClientTls;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Nobody waits longer for an answer, whatever the file allows.
pub const DEADLINE_MAX: Duration = Duration::from_millis(50);
/// Questions to one server that wait for their answers.
pub const ASKED_MAX: usize = 4_096;

/// A server, and who we are there.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The number of the database.
    pub database: i64,
    /// Our name.
    pub username: Option<String>,
    /// Our password.
    pub password: Option<String>,
    /// How the connection is encrypted, if it is.
    pub tls: Option<ClientTls>,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{host}:{}/{}", self.port, self.database)
    }
}

/// A script, known to Redis by its digest.
pub struct Script {
    text: &'static str,
    digest: OnceLock<String>,
}

impl Script {
    /// In Lua. It has to answer whole numbers.
    pub const fn new(text: &'static str) -> Script {
        Script { text, digest: OnceLock::new() }
    }

    fn digest(&self) -> &str {
        self.digest.get_or_init(|| {
            let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
            let digest = aws_lc_rs::digest::digest(sha1, self.text.as_bytes());
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }
}

/// A question: a script with its keys and numbers.
pub struct Question {
    /// What is asked.
    pub script: &'static Script,
    /// `KEYS`.
    pub keys: Vec<String>,
    /// `ARGV`.
    pub numbers: Vec<u64>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// Redis does not answer for the time being; nobody was asked.
    Closed,
    /// The deadline passed.
    Late,
    /// The connection broke, or Redis answered an error.
    Failed,
    /// Too many wait already.
    Busy,
}

/// A way to ask one server.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
    deadline: Duration,
}

impl Redis {
    /// The way to a server. Nothing is connected before the first question, and all who ask the same server share one
    /// connection.
    pub fn new(target: &Target, timeout: Duration) -> Redis {
        let mut known = LINKS.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|link| link.strong_count() > 0);
        let same = known.iter().filter_map(Weak::upgrade).find(|link| link.target == *target);
        let link = same.unwrap_or_else(|| {
            let link = Arc::new(Link::new(target.clone()));
            known.push(Arc::downgrade(&link));
            link
        });
        Redis { link, deadline: timeout.min(DEADLINE_MAX) }
    }

    /// Asks. The answer comes within the deadline.
    ///
    /// # Errors
    /// When nobody can be asked now.
    pub fn ask(&self, question: Question) -> Result<impl Future<Output = Result<Vec<i64>, Away>> + use<>, Away> {
        let state = &self.link.state;
        if state.away.load(Relaxed) {
            return Err(Away::Closed);
        }
        let waiting = state.begin().ok_or(Away::Busy)?;
        let (answer, answered) = oneshot::channel();
        let until = Instant::now() + self.deadline;
        let job = Job { question, until, answer, _waiting: waiting };
        self.link.jobs().ok_or(Away::Closed)?.try_send(job).map_err(|_| Away::Busy)?;
        Ok(async move {
            match tokio::time::timeout_at(until, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(Away::Failed),
                Err(_) => Err(Away::Late),
            }
        })
    }
}

static LINKS: Mutex<Vec<Weak<Link>>> = Mutex::new(Vec::new());

/// How it stands with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host, port and database.
    pub name: String,
    /// Whether it does not answer for the time being.
    pub away: bool,
    /// What was wrong the last time, if anything was.
    pub last_error: Option<String>,
}

/// Every server that somebody may ask.
pub fn servers() -> Vec<Server> {
    let known = LINKS.lock().unwrap_or_else(PoisonError::into_inner);
    let server = |link: Arc<Link>| Server {
        name: link.target.to_string(),
        away: link.state.away.load(Relaxed),
        last_error: link.state.last_error(),
    };
    known.iter().filter_map(Weak::upgrade).map(server).collect()
}
