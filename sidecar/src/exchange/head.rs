//! Heads of requests and answers, in our own types.

use super::{Body, Headers};
use std::cell::RefCell;

/// Emptied heads that a thread keeps for the next request.
const KEPT_MAX: usize = 128;
/// One that grew beyond this is not kept.
const KEPT_BYTES: usize = 1 << 10;

thread_local! {
    static KEPT: RefCell<Vec<Head>> = const { RefCell::new(Vec::new()) };
}

/// The head of a request: method, target, header lines.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method as it came (upper case by convention, compared exactly).
    pub method: http::Method,
    /// Path and query as they are forwarded.
    target: String,
    /// Where the path ends.
    path: usize,
    /// The target as it was sent; empty when `target` is the same.
    raw: String,
    /// Host and port that the request is for: the target's authority, else the Host line. Lower case; may be empty.
    pub authority: String,
    /// Header lines.
    pub headers: Headers,
}

impl Default for Head {
    fn default() -> Self {
        Head {
            method: http::Method::GET,
            target: String::new(),
            path: 0,
            raw: String::new(),
            authority: String::new(),
            headers: Headers::default(),
        }
    }
}

impl Head {
    /// Sets path and query. The path is a normalised one, beginning with `/` (or `*` for OPTIONS).
    pub fn set_target(&mut self, path: &str, query: Option<&str>) {
        self.target.clear();
        self.target.push_str(path);
        self.path = path.len();
        if let Some(query) = query {
            self.target.push('?');
            self.target.push_str(query);
        }
    }

    /// Normalised path, beginning with `/` (or `*` for OPTIONS). The one path for routing, access, logs and forwarding.
    pub fn path(&self) -> &str {
        self.target.get(..self.path).unwrap_or_default()
    }

    /// What follows `?`, without it.
    pub fn query(&self) -> Option<&str> {
        self.target.get(self.path + 1..)
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Puts another path before the query.
    pub fn set_path(&mut self, path: &str) {
        self.target.replace_range(..self.path, path);
        self.path = path.len();
    }

    /// Puts another query behind the path.
    pub fn set_query(&mut self, query: Option<&str>) {
        self.target.truncate(self.path);
        if let Some(query) = query {
            self.target.push('?');
            self.target.push_str(query);
        }
    }

    /// Remembers the target as it was sent, when the normalised one is another.
    pub(crate) fn set_raw_target(&mut self, raw: &str) {
        if raw != self.target {
            self.raw.push_str(raw);
        }
    }

    /// Path and query as the caller sent them: what signatures are made over. To be asked during access.
    pub fn raw_target(&self) -> &str {
        if self.raw.is_empty() { &self.target } else { &self.raw }
    }

    /// The authority without its port.
    pub fn host(&self) -> &str {
        let a = self.authority.as_str();
        if a.starts_with('[') {
            return a.find(']').map_or(a, |i| &a[..=i]);
        }
        a.rsplit_once(':').map_or(a, |(h, _)| h)
    }

    /// The media type of the body: lower-case comparison is the caller's, parameters are cut.
    pub fn media_type(&self) -> &str {
        self.headers.get("content-type").map_or("", |v| v.split(';').next().unwrap_or("").trim())
    }

    /// Nothing yet, with the room of one that was given back on this thread.
    pub(crate) fn recycled() -> Self {
        let mut head = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
        head.headers = Headers::recycled();
        head
    }

    /// Gives its room back.
    pub(crate) fn recycle(mut self) {
        if self.target.capacity() == 0
            || self.target.capacity() + self.raw.capacity() + self.authority.capacity() > KEPT_BYTES
        {
            return;
        }
        self.headers = Headers::default();
        self.target.clear();
        self.path = 0;
        self.raw.clear();
        self.authority.clear();
        let _ = KEPT.try_with(|kept| {
            if let Ok(mut kept) = kept.try_borrow_mut()
                && kept.len() < KEPT_MAX
            {
                kept.push(self);
            }
        });
    }
}

/// An answer on its way to the caller.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header lines.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}
