//! One receiver's address, its token, and what its answers usually mean.

use super::Verdict;
use super::secret::Secret;
use crate::section::{Key, Kind, Wrong, key, word};
use crate::sink::transport::{HttpAnswer, HttpOut, Url, gzip};
use crate::tls::{ClientTls, section};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use std::io;
use std::time::Duration;

/// Shorter bodies are sent as they are.
const PACK_MIN: usize = 1024;
/// Longer bodies are packed beside the thread that all sinks share.
const PACK_ASIDE: usize = 32 << 10;
/// Bytes of a receiver's words that are shown.
const WORDS_MAX: usize = 160;
const AGENT: &str = concat!("fourmi/", env!("CARGO_PKG_VERSION"));

/// The section `tls:` of a sink.
pub(crate) const TLS: Key = key("tls", Kind::Section(section::KEYS), "How `https://` encrypts and whom it trusts.");
const PACKINGS: &[crate::section::Word] = &[word("gzip"), word("none")];
/// The key `compress` of a sink.
pub(crate) const COMPRESS: Key = key("compress", Kind::Word(PACKINGS), "How bodies are packed.");

/// How bodies are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compress {
    /// RFC 1952.
    Gzip,
    /// Not at all.
    None,
}

/// Where the token stands in a request.
pub(crate) enum Place {
    /// In `authorization`, behind this word.
    Authorization(&'static str),
    /// In a header of its own.
    Header(HeaderName),
    /// In the path, where it says `{token}`.
    Path,
}

/// A way to send bodies to one receiver.
pub(crate) struct Post {
    out: HttpOut,
    method: Method,
    path: String,
    kind: &'static str,
    compress: Compress,
    secret: Option<(Secret, Place)>,
}

impl Post {
    /// To this URL, whose path is this one if none is written. An error names the key `url` or `tls`.
    pub(crate) fn new(
        url: &str,
        path: &str,
        tls: section::Values,
        kind: &'static str,
        compress: Compress,
    ) -> Result<Post, Wrong> {
        Post::to("url", url, path, tls, kind, compress)
    }

    /// The same under another name of the key.
    pub(crate) fn to(
        key: &'static str,
        url: &str,
        path: &str,
        tls: section::Values,
        kind: &'static str,
        compress: Compress,
    ) -> Result<Post, Wrong> {
        let url = Url::parse(url, None).map_err(|why| Wrong::new(why, "see the receiver's own page").of(key))?;
        let tls = ClientTls::from(tls);
        if !url.tls && tls != ClientTls::default() {
            return Err(Wrong::new("http:// is not encrypted", "use https://, or remove `tls`").of("tls"));
        }
        let path = if url.path == "/" { path.to_owned() } else { url.path.clone() };
        let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))]);
        let out = HttpOut::new(url, &tls, headers).map_err(|why| Wrong::new(why, "see `tls`").of("tls"))?;
        Ok(Post { out, method: Method::POST, path, kind, compress, secret: None })
    }

    /// With a token.
    pub(crate) fn with(mut self, secret: Secret, place: Place) -> Post {
        self.secret = Some((secret, place));
        self
    }

    /// At this path behind the one that is written.
    pub(crate) fn below(mut self, path: &str) -> Post {
        self.path = format!("{}{path}", self.out.url().path.trim_end_matches('/'));
        self
    }

    /// With another method.
    pub(crate) fn method(mut self, method: Method) -> Post {
        self.method = method;
        self
    }

    /// With another limit of time for each request.
    pub(crate) fn limit(mut self, limit: Duration) -> Post {
        self.out = self.out.limit(limit);
        self
    }

    /// Where it sends, without the token.
    pub(crate) fn target(&self) -> String {
        let url = self.out.url();
        let path = self.path.split('?').next().unwrap_or_default();
        format!("http{}://{}{path}", if url.tls { "s" } else { "" }, url.authority())
    }

    /// Sends a body of records. A token that is refused is read again, and if it is another one, tried once more.
    pub(crate) async fn send(
        &mut self,
        headers: &[(HeaderName, HeaderValue)],
        body: impl Into<Bytes>,
    ) -> io::Result<HttpAnswer> {
        let body = body.into();
        let packed = match self.compress {
            Compress::Gzip if body.len() >= PACK_ASIDE => {
                let plain = body.clone();
                tokio::task::spawn_blocking(move || gzip(&plain)).await.ok()
            }
            Compress::Gzip if body.len() >= PACK_MIN => Some(gzip(&body)),
            _ => None,
        };
        let mut all = headers.to_vec();
        if packed.is_some() {
            all.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
        }
        let path = self.path.clone();
        self.ask(&path, &all, packed.map_or(body, Bytes::from)).await
    }

    /// Sends a body as it is to another path.
    pub(crate) async fn ask(
        &mut self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> io::Result<HttpAnswer> {
        let mut renewed = false;
        loop {
            let mut all = vec![(CONTENT_TYPE, HeaderValue::from_static(self.kind))];
            all.extend_from_slice(headers);
            let mut to = path.to_owned();
            if let Some((secret, place)) = &self.secret {
                let hidden = |text: &str| {
                    let mut value = HeaderValue::from_str(text)
                        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the token fits in no header"))?;
                    value.set_sensitive(true);
                    io::Result::Ok(value)
                };
                match place {
                    Place::Authorization(word) => {
                        all.push((AUTHORIZATION, hidden(&format!("{word} {}", secret.value()))?));
                    }
                    Place::Header(name) => all.push((name.clone(), hidden(secret.value())?)),
                    Place::Path => to = to.replace("{token}", secret.value()),
                }
            }
            let answer = self.out.send(self.method.clone(), &to, &all, body.clone()).await?;
            if matches!(answer.status, 401 | 403)
                && !std::mem::replace(&mut renewed, true)
                && let Some((secret, _)) = &mut self.secret
                && secret.renew().await
            {
                continue;
            }
            return Ok(answer);
        }
    }

    /// What the receiver said, for people: on one line, not long, and never with the token.
    pub(crate) fn words(&self, answer: &HttpAnswer) -> String {
        let place = self.out.url().authority();
        let mut text = String::from_utf8_lossy(&answer.body).into_owned();
        if let Some((secret, _)) = &self.secret {
            text = text.replace(secret.value(), "(the token)");
        }
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect();
        match text.trim() {
            "" => format!("{place} answered {}", answer.status),
            text => format!("{place} answered {}: {text}", answer.status),
        }
    }

    /// What an answer means where nothing else is known of it.
    pub(crate) fn usual(&self, answer: &HttpAnswer) -> Verdict {
        let why = self.words(answer);
        match answer.status {
            200..=299 => Verdict::Taken,
            408 | 425 | 429 | 500.. => Verdict::Later(answer.retry_after, why),
            413 => Verdict::Halve(why),
            401 | 403 | 407 => Verdict::Parked(format!("{why}; is the token right?")),
            300..=399 | 404 | 405 => Verdict::Parked(format!("{why}; is the URL right?")),
            _ => Verdict::Refused(why),
        }
    }
}
