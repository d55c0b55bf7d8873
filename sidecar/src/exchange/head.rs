//! Heads of requests and answers, in our own types.

use super::Body;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Header lines. Names compare without case.
#[derive(Debug, Clone, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    /// The codec's way in.
    pub(crate) fn from_map(map: HeaderMap) -> Self {
        Headers(map)
    }
    /// The codec's way out.
    pub(crate) fn into_map(self) -> HeaderMap {
        self.0
    }
    /// First value of a name, if it is text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|v| v.to_str().ok())
    }
    /// First value of a name.
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(HeaderValue::as_bytes)
    }
    /// Every value of a name, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.get_all(name).iter().map(HeaderValue::as_bytes)
    }
    /// Whether there is at least one line of the name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
    /// Every line: name in lower case, value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_bytes()))
    }
    /// How many lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Replaces every line of a name by one. A value that is no legal header value is not set; returns whether it was.
    pub fn set(&mut self, name: &'static str, value: impl AsRef<[u8]>) -> bool {
        match HeaderValue::from_bytes(value.as_ref()) {
            Ok(v) => {
                self.0.insert(HeaderName::from_static(name), v);
                true
            }
            Err(_) => false,
        }
    }
    /// Adds a line. A value that is no legal header value is not added; returns whether it was.
    pub fn append(&mut self, name: &'static str, value: impl AsRef<[u8]>) -> bool {
        match HeaderValue::from_bytes(value.as_ref()) {
            Ok(v) => {
                self.0.append(HeaderName::from_static(name), v);
                true
            }
            Err(_) => false,
        }
    }
    /// Removes every line of a name; returns whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }
    /// First value of a name that is known at build time: no parsing of the name.
    pub(crate) fn value(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.get(name)
    }
    /// Every value of a name that is known at build time, from either end.
    pub(crate) fn values<'a>(&'a self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
        self.0.get_all(name).iter().map(HeaderValue::as_bytes)
    }
    /// Replaces every line of a name by a value that is known to be legal.
    pub(crate) fn set_value(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.insert(name, value);
    }
    /// Removes every line whose name (lower case) is not wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        let gone: Vec<HeaderName> = self.0.keys().filter(|n| !wanted(n.as_str())).cloned().collect();
        for n in gone {
            self.0.remove(n);
        }
    }
}

/// The head of a request: method, target, header lines.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method as it came (upper case by convention, compared exactly).
    pub method: http::Method,
    /// Normalised path, beginning with `/` (or `*` for OPTIONS). The one path for routing, access, logs and forwarding.
    pub path: String,
    /// What follows `?`, without it.
    pub query: Option<String>,
    /// Host and port that the request is for: the target's authority, else the Host line. Lower case; may be empty.
    pub authority: String,
    /// Header lines.
    pub headers: Headers,
    /// Path and query as they came, when normalising changed nothing: saves building them again.
    pub(crate) wire: Option<http::uri::PathAndQuery>,
}

impl Head {
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
