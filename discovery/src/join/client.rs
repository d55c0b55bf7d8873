//! Asking another registry: one connection, one request after the other.

use super::Settings;
use bytes::Bytes;
use http::header::{ACCEPT, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::response::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take that does not wait for anything.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const BODY_MAX: usize = 16 * 1024 * 1024;
/// So much is kept of what the other side says of an error.
const WHY_MAX: usize = 300;
const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");

/// Why something was not done at the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// What it answered; none when it did not.
    pub(super) status: Option<StatusCode>,
    text: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failed {
    pub(super) fn new(text: impl fmt::Display) -> Self {
        Failed { status: None, text: text.to_string() }
    }

    /// Whether there is no such thing there.
    pub(super) fn is_missing(&self) -> bool {
        self.status == Some(StatusCode::NOT_FOUND)
    }

    /// Whether it is what we asked that it did not like.
    pub(super) fn is_refusal(&self) -> bool {
        self.status.is_some_and(|status| status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS)
    }

    fn answered(status: StatusCode, body: &[u8]) -> Self {
        let said = String::from_utf8_lossy(body);
        let said: String = said.chars().filter(|c| !c.is_control()).take(WHY_MAX).collect();
        let text = match status {
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => format!("it does not let us: {status}: {said}"),
            _ => format!("it answers {status}: {said}"),
        };
        Failed { status: Some(status), text }
    }
}

/// Where a registry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    encrypted: bool,
    host: String,
    port: u16,
    /// As it is shown and sent as `Host`.
    pub(super) name: String,
}

impl Place {
    /// The place of a URL: `http://registry:8500`. The error says what is wrong with it.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
        let encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{url:?} begins with neither http:// nor https://")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| format!("{url:?} has no host"))?;
        if !matches!(uri.path(), "" | "/")
            || uri.query().is_some()
            || uri.authority().is_some_and(|a| a.as_str().contains('@'))
        {
            return Err(format!("{url:?} is more than a scheme, a host and a port"));
        }
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let name = format!("{host}:{port}");
        Ok(Place { encrypted, host: host.trim_matches(['[', ']']).to_owned(), port, name })
    }

    /// Whether it speaks TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

/// How another registry is asked.
pub(super) struct Client {
    place: Place,
    headers: HeaderMap,
    tls: Option<Arc<ClientConfig>>,
    connection: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Looks after it, and ends it when it is dropped.
    _driver: JoinSet<()>,
}

impl Client {
    pub(super) fn new(settings: &Settings, place: &Place) -> Self {
        let mut headers = HeaderMap::new();
        if let Ok(host) = HeaderValue::from_str(&place.name) {
            headers.insert(HOST, host);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("fourmi/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/x-ndjson"));
        let mut client = Client { place: place.clone(), headers, tls: settings.tls.clone(), connection: None };
        client.set_token(settings.token_value());
        client
    }

    /// From now on it is asked with that token, or with none.
    pub(super) fn set_token(&mut self, token: Option<HeaderValue>) {
        match token {
            Some(mut token) => {
                token.set_sensitive(true);
                self.headers.insert(TOKEN, token);
            }
            None => {
                self.headers.remove(TOKEN);
            }
        }
    }

    /// Asks, and gives the head of the answer, whatever its status. `wait` is how long the other side may take on
    /// purpose.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        wait: Duration,
    ) -> Result<Response<Incoming>, Failed> {
        let request = || {
            let mut request = Request::builder().method(method.clone()).uri(path).body(Full::new(body.clone()))?;
            request.headers_mut().clone_from(&self.headers);
            Ok::<_, http::Error>(request)
        };
        let first = request().map_err(Failed::new)?;
        // One that was used before may be closed by now; a new one is not.
        if let Some(mut old) = self.connection.take().filter(|old| !old.sender.is_closed()) {
            match old.exchange(first, wait).await {
                Ok(answer) => {
                    self.connection = Some(old);
                    return Ok(answer);
                }
                Err(failed) if !failed.is_closed => return Err(failed.why),
                Err(_) => {}
            }
        }
        let again = request().map_err(Failed::new)?;
        let mut new = self.connect().await?;
        let answer = new.exchange(again, wait).await.map_err(|failed| failed.why)?;
        self.connection = Some(new);
        Ok(answer)
    }

    /// Asks, and gives the whole of an answer that is a success.
    pub(super) async fn whole(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        wait: Duration,
    ) -> Result<(HeaderMap, Bytes), Failed> {
        let (head, body) = self.any(method, path, body, wait).await?;
        match head.status.is_success() {
            true => Ok((head.headers, body)),
            false => Err(Failed::answered(head.status, &body)),
        }
    }

    /// Asks, and gives the whole of an answer, whatever its status.
    pub(super) async fn any(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        wait: Duration,
    ) -> Result<(Parts, Bytes), Failed> {
        let answer = self.ask(method, path, body, wait).await?;
        let (head, body) = answer.into_parts();
        let read = timeout(ANSWER, Limited::new(body, BODY_MAX).collect()).await;
        match read {
            Ok(Ok(body)) => Ok((head, body.to_bytes())),
            Ok(Err(error)) => {
                self.connection = None;
                Err(Failed::new(format!("its answer cannot be read: {error}")))
            }
            Err(_) => {
                self.connection = None;
                Err(Failed::new("its answer did not come to an end"))
            }
        }
    }

    /// What an answer that is no success says.
    pub(super) async fn why(&mut self, answer: Response<Incoming>) -> Failed {
        let status = answer.status();
        // Nobody waits for the rest of it.
        self.connection = None;
        let body = timeout(ANSWER, Limited::new(answer.into_body(), BODY_MAX).collect()).await;
        let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        Failed::answered(status, &body)
    }

    /// Sends a change.
    pub(super) async fn put(&mut self, path: &str, body: Bytes) -> Result<(), Failed> {
        self.whole(Method::PUT, path, body, Duration::ZERO).await.map(drop)
    }

    async fn connect(&self) -> Result<Connection, Failed> {
        let Place { encrypted, host, port, name } = &self.place;
        let connected = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(Failed::new)?;
            let _ = stream.set_nodelay(true);
            if !encrypted {
                return Connection::over(stream).await;
            }
            let config = self.tls.clone().ok_or_else(|| Failed::new("there is nothing that says whom to trust"))?;
            let server = ServerName::try_from(host.clone()).map_err(Failed::new)?;
            let stream = TlsConnector::from(config).connect(server, stream).await.map_err(Failed::new)?;
            Connection::over(stream).await
        };
        let connected = timeout(CONNECT, connected).await;
        let told = |failed: Failed| Failed::new(format!("no connection to {name}: {failed}"));
        connected.unwrap_or_else(|_| Err(Failed::new(format!("not within {CONNECT:?}")))).map_err(told)
    }
}

/// Why there is no answer, and whether the connection was simply closed.
struct Unanswered {
    why: Failed,
    is_closed: bool,
}

impl Connection {
    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, Failed> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Failed::new)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Whoever waits for an answer is told.
            let _ = connection.await;
        });
        Ok(Connection { sender, _driver: driver })
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        wait: Duration,
    ) -> Result<Response<Incoming>, Unanswered> {
        let exchanged = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        match timeout(ANSWER + wait, exchanged).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let is_closed = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
                Err(Unanswered { why: Failed::new(format!("it does not answer: {error}")), is_closed })
            }
            Err(_) => Err(Unanswered { why: Failed::new("it does not answer in time"), is_closed: false }),
        }
    }
}

/// A text as a part of a path or of a query.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte.into()),
            _ => {
                let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0').to_ascii_uppercase();
                encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let place = Place::parse("http://registry:8500").unwrap();
        assert_eq!((place.is_encrypted(), place.name.as_str()), (false, "registry:8500"));
        let place = Place::parse("https://[::1]/").unwrap();
        assert_eq!((place.is_encrypted(), place.host.as_str(), place.name.as_str()), (true, "::1", "[::1]:443"));
        for wrong in ["registry:8500", "ftp://a", "http://", "http://a/v1", "http://u:p@a", "http://a?b", ""] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(encoded("a b/ä"), "a%20b%2F%C3%A4");
    }
}
