//! One HTTP/1.1 client for every receiver that takes POST requests: one connection, kept while it lasts.

use super::backoff::Backoff;
use super::dial::{CONNECT_LIMIT, Dial, Place};
use super::socket::Line;
use super::url::Url;
use crate::tls::ClientTls;
use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::io::{self, Write};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a request may take, the connection included.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are kept; the rest is not read and its connection ends.
const ANSWER_MAX: usize = 64 << 10;
/// Bytes of an answer's head.
const HEAD_MAX: usize = 64 << 10;
/// The longest `retry-after` that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What a receiver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpAnswer {
    /// Status code.
    pub(crate) status: u16,
    /// How long it asks to be left alone (RFC 9110, section 10.2.3), an hour at most.
    pub(crate) retry_after: Option<Duration>,
    /// The body's first 64 KiB.
    pub(crate) body: Bytes,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    used: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The client of one receiver.
pub(crate) struct HttpOut {
    url: Url,
    headers: HeaderMap,
    dial: Dial,
    open: Option<Open>,
    limit: Duration,
    backoff: Backoff,
    due: Instant,
}

impl HttpOut {
    /// A client that sends `headers` with every request. Nothing is opened yet; an error is one of the TLS files.
    pub(crate) fn new(url: Url, tls: &ClientTls, headers: HeaderMap) -> Result<HttpOut, String> {
        let connector = if url.tls { Some(tls.connector(&[b"http/1.1"])?) } else { None };
        let mut headers = headers;
        let host = HeaderValue::from_str(&url.authority()).map_err(|_| format!("`{}` is no valid host", url.host))?;
        headers.insert(HOST, host);
        let dial = Dial::new(Place::Tcp { host: url.host.clone(), port: url.port, tls: connector });
        let due = Instant::now();
        Ok(HttpOut { url, headers, dial, open: None, limit: LIMIT, backoff: Backoff::default(), due })
    }

    /// Another limit of the whole request.
    pub(crate) fn limit(mut self, limit: Duration) -> HttpOut {
        self.limit = limit;
        self
    }

    /// Other pauses after failures.
    pub(crate) fn backoff(mut self, backoff: Backoff) -> HttpOut {
        self.backoff = backoff;
        self
    }

    /// Where requests go.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// How long to leave the receiver alone now: it failed, answered 429 or 5xx, or asked for it. Zero when it
    /// is well.
    pub(crate) fn pause(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Posts a body. Any status is an answer; an error means that there was none that can be understood. A kept
    /// connection that turns out closed before anything was answered is replaced by a new one, once.
    pub(crate) async fn post(
        &mut self,
        path_and_query: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> io::Result<HttpAnswer> {
        self.send(Method::POST, path_and_query, headers, body).await
    }

    /// The same with another method.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path_and_query: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> io::Result<HttpAnswer> {
        let uri: Uri = path_and_query.parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let mut head = self.headers.clone();
        for (name, value) in headers {
            head.insert(name, value.clone());
        }
        let until = Instant::now() + self.limit;
        let result = match timeout_at(until, self.exchange(&method, &uri, &head, &body)).await {
            Ok(result) => result,
            Err(_) => {
                // It may answer later: nobody may take that for the answer to another request.
                self.open = None;
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {:?}", self.limit)))
            }
        };
        let pause = match &result {
            Ok(answer) if answer.status == 429 || answer.status >= 500 => {
                self.backoff.next().max(answer.retry_after.unwrap_or_default())
            }
            Ok(_) => {
                self.backoff.reset();
                Duration::ZERO
            }
            Err(_) => self.backoff.next(),
        };
        self.due = Instant::now() + pause;
        result.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.url.authority())))
    }

    async fn exchange(
        &mut self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> io::Result<HttpAnswer> {
        loop {
            let mut open = match self.open.take().filter(|open| !open.sender.is_closed()) {
                Some(open) => open,
                None => connect(&mut self.dial).await?,
            };
            let again = open.used;
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = headers.clone();
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            let sent = async {
                open.sender.ready().await?;
                open.sender.send_request(request).await
            };
            let response = match sent.await {
                Ok(response) => response,
                Err(e) if again && unanswered(&e) => continue,
                Err(e) => return Err(in_words(&e)),
            };
            let (parts, incoming) = response.into_parts();
            let (body, whole) = collect(incoming).await?;
            open.used = true;
            if whole {
                self.open = Some(open);
            }
            return Ok(HttpAnswer { status: parts.status.as_u16(), retry_after: retry_after(&parts), body });
        }
    }
}

async fn connect(dial: &mut Dial) -> io::Result<Open> {
    let line: Line = dial.open(CONNECT_LIMIT, LIMIT).await?;
    let handshake = http1::Builder::new().max_buf_size(HEAD_MAX).handshake(TokioIo::new(line));
    let (sender, connection) =
        timeout(CONNECT_LIMIT, handshake).await.map_err(|_| io::ErrorKind::TimedOut)?.map_err(|e| in_words(&e))?;
    // How it ends shows in the requests.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok(Open { sender, driver, used: false })
}

/// The body's beginning, and whether that was all of it.
async fn collect(mut incoming: Incoming) -> io::Result<(Bytes, bool)> {
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|e| in_words(&e))?;
        if let Ok(data) = frame.into_data() {
            let room = ANSWER_MAX - body.len();
            body.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((body.freeze(), false));
            }
        }
    }
    Ok((body.freeze(), true))
}

/// Whether a kept connection ended before the receiver answered anything, as when its idle time was over.
fn unanswered(error: &hyper::Error) -> bool {
    let reset = io_error(error).is_some_and(|e| {
        matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
    });
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || reset
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>())
}

fn in_words(error: &hyper::Error) -> io::Error {
    if let Some(e) = io_error(error) {
        return io::Error::new(e.kind(), e.to_string());
    }
    if error.is_parse() {
        return io::Error::new(io::ErrorKind::InvalidData, format!("the answer is not HTTP/1.1 ({error})"));
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return io::Error::new(io::ErrorKind::UnexpectedEof, "the receiver closed the connection without an answer");
    }
    io::Error::other(error.to_string())
}

fn retry_after(parts: &http::response::Parts) -> Option<Duration> {
    let text = parts.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number holds still mean "long".
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let at = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
        Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// A body packed by RFC 1952, fast.
pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4 + 32), Compression::fast());
    // Into memory: it cannot fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests;
