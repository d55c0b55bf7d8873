//! Calls of etcd's JSON gateway, over one connection to one of its endpoints.

use super::settings::{Settings, Unusable};
use super::wire::{Line, Refusal, Token};
use bytes::{Buf, Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// The longest answer, and the longest line of a watch.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// gRPC's codes of what may be otherwise a moment later: cancelled, unknown, too late, aborted, unavailable.
const PASSING: [u64; 5] = [1, 2, 4, 10, 14];
/// The token is none, or not any more.
const UNAUTHENTICATED: u64 = 16;
const INVALID: u64 = 3;

/// Why a call was not done.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nobody answered, or nobody who can. It may have been done nevertheless.
    Away(String),
    /// etcd does not do so.
    Refused { code: u64, message: String },
    /// The answer is longer than we take.
    TooLong,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Away(why) => f.write_str(why),
            Failed::Refused { message, .. } => f.write_str(message),
            Failed::TooLong => write!(f, "the answer is longer than {ANSWER_MAX} bytes"),
        }
    }
}

impl Failed {
    fn away(why: impl fmt::Display) -> Self {
        Failed::Away(why.to_string())
    }

    fn of(refusal: Refusal) -> Self {
        let code = refusal.code.max(refusal.grpc_code);
        match PASSING.contains(&code) || refusal.message.contains("too many requests") {
            true => Failed::Away(refusal.message),
            false => Failed::Refused { code, message: refusal.message },
        }
    }

    /// What was read is not there any more.
    pub(super) fn is_compacted(&self) -> bool {
        matches!(self, Failed::Refused { message, .. } if message.contains("has been compacted"))
    }

    /// The lease is gone.
    pub(super) fn is_lease_gone(&self) -> bool {
        matches!(self, Failed::Refused { message, .. } if message.contains("lease not found"))
    }

    /// Whether another token would help.
    fn is_of_token(&self) -> bool {
        let Failed::Refused { code, message } = self else { return false };
        *code == UNAUTHENTICATED || *code == INVALID && message.contains("revision in header is old")
    }
}

type Result<T> = std::result::Result<T, Failed>;

#[derive(Debug)]
struct Endpoint {
    text: String,
    authority: String,
    host: String,
    port: u16,
    encrypted: bool,
}

impl Endpoint {
    fn parse(text: &str) -> Option<Self> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().ok()?;
        let encrypted = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(2379);
        let host = uri.host()?;
        let authority = format!("{host}:{port}");
        let host = host.trim_matches(['[', ']']).to_owned();
        Some(Endpoint { text: whole, authority, host, port, encrypted })
    }
}

/// Calls etcd.
pub(super) struct Client {
    endpoints: Vec<Endpoint>,
    at: usize,
    user: Option<(String, String)>,
    tls: Option<Arc<ClientConfig>>,
    token: Option<String>,
    sender: Option<SendRequest<Full<Bytes>>>,
    tasks: JoinSet<()>,
    patience: Duration,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> std::result::Result<Self, Unusable> {
        let parsed = |text: &String| Endpoint::parse(text).ok_or_else(|| Unusable::Endpoint(text.clone()));
        let endpoints = settings.endpoints.iter().map(parsed).collect::<std::result::Result<Vec<_>, _>>()?;
        if let Some(first) = endpoints.iter().find(|endpoint| endpoint.encrypted)
            && settings.tls.is_none()
        {
            return Err(Unusable::Tls(first.text.clone()));
        }
        if endpoints.is_empty() {
            return Err(Unusable::Endpoint(String::new()));
        }
        Ok(Client {
            // Many registries begin at different ones.
            at: fastrand::usize(..endpoints.len()),
            endpoints,
            user: settings.user.clone(),
            tls: settings.tls.clone(),
            token: None,
            sender: None,
            tasks: JoinSet::new(),
            patience: settings.patience(),
        })
    }

    /// How many endpoints there are.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    pub(super) fn endpoint(&self) -> &str {
        self.endpoints.get(self.at).map_or("", |endpoint| &endpoint.text)
    }

    /// Ends all connections, and goes on to the next endpoint.
    pub(super) fn move_on(&mut self) {
        self.sender = None;
        self.tasks.abort_all();
        while self.tasks.try_join_next().is_some() {}
        self.at = (self.at + 1) % self.endpoints.len().max(1);
    }

    /// Calls a path behind `/v3/`.
    pub(super) async fn call<T: DeserializeOwned>(&mut self, path: &str, body: &Value) -> Result<T> {
        let first = self.once(path, body).await;
        match first {
            Err(failed) if self.user.is_some() && failed.is_of_token() => {
                self.token = None;
                self.once(path, body).await
            }
            result => result,
        }
    }

    async fn once<T: DeserializeOwned>(&mut self, path: &str, body: &Value) -> Result<T> {
        self.log_in().await?;
        self.plain(path, body).await
    }

    /// Gets a token, when there is a user and none yet.
    async fn log_in(&mut self) -> Result<()> {
        if let Some((name, password)) = self.user.clone()
            && self.token.is_none()
        {
            let body = json!({"name": name, "password": password});
            match self.plain::<Token>("auth/authenticate", &body).await {
                Ok(answer) => self.token = Some(answer.token),
                // Then nobody has to, and nobody can.
                Err(Failed::Refused { message, .. }) if message.contains("not enabled") => {}
                Err(failed) => return Err(failed),
            }
        }
        Ok(())
    }

    async fn plain<T: DeserializeOwned>(&mut self, path: &str, body: &Value) -> Result<T> {
        let request = self.request(path, body.to_string())?;
        let patience = self.patience;
        let read = async {
            let response = self.send(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
            let bytes = body.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
                true => Failed::TooLong,
                false => Failed::away(error),
            })?;
            Ok((status, bytes.to_bytes()))
        };
        let (status, bytes) = within(patience, read).await?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| self.strange(status, &error));
        }
        match serde_json::from_slice::<Refusal>(&bytes) {
            Ok(refusal) if !refusal.message.is_empty() => Err(Failed::of(refusal)),
            Ok(_) => Err(self.strange(status, &"no message")),
            Err(error) => Err(self.strange(status, &error)),
        }
    }

    fn strange(&self, status: StatusCode, error: &dyn fmt::Display) -> Failed {
        Failed::Away(format!("{} does not answer as etcd does ({status}; {error})", self.endpoint()))
    }

    fn request(&self, path: &str, body: String) -> Result<Request<Full<Bytes>>> {
        let endpoint = self.endpoints.get(self.at).ok_or_else(|| Failed::away("no endpoint"))?;
        let mut request = Request::post(format!("/v3/{path}"));
        if let Some(headers) = request.headers_mut() {
            headers.insert(HOST, HeaderValue::from_str(&endpoint.authority).map_err(Failed::away)?);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            // A member that has lost the others ends our watch, so that we see it.
            headers.insert("grpc-metadata-hasleader", HeaderValue::from_static("true"));
            if let Some(token) = &self.token {
                headers.insert(AUTHORIZATION, HeaderValue::from_str(token).map_err(Failed::away)?);
            }
        }
        request.body(Full::from(body)).map_err(Failed::away)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let mut sender = match self.sender.take() {
            Some(sender) if sender.is_ready() => sender,
            _ => self.connect().await?,
        };
        let response = sender.send_request(request).await.map_err(Failed::away)?;
        self.sender = Some(sender);
        Ok(response)
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>> {
        let Some(endpoint) = self.endpoints.get(self.at) else { return Err(Failed::away("no endpoint")) };
        let failed = |error: &dyn fmt::Display| Failed::Away(format!("{}: {error}", endpoint.text));
        while self.tasks.try_join_next().is_some() {}
        let stream = TcpStream::connect((&*endpoint.host, endpoint.port)).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        match &self.tls {
            Some(tls) if endpoint.encrypted => {
                let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| failed(&error))?;
                let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
                open(&mut self.tasks, stream.map_err(|error| failed(&error))?).await
            }
            _ => open(&mut self.tasks, stream).await,
        }
    }

    /// Asks for changes, over a connection of its own.
    pub(super) async fn watch(&mut self, requests: &[Value]) -> Result<Lines> {
        self.log_in().await?;
        let body: Vec<String> = requests.iter().map(Value::to_string).collect();
        let request = self.request("watch", body.join("\n"))?;
        let patience = self.patience;
        let opened = async {
            let mut sender = self.connect().await?;
            let response = sender.send_request(request).await.map_err(Failed::away)?;
            // Who lets go of the sender ends the connection.
            Ok(Lines { body: response.into_body(), read: BytesMut::new(), seen: 0, _sender: sender })
        };
        within(patience, opened).await
    }
}

async fn within<T>(patience: Duration, done: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Failed::Away(format!("no answer within {patience:?}"));
    tokio::time::timeout(patience, done).await.map_err(late)?
}

async fn open(
    tasks: &mut JoinSet<()>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Failed::away)?;
    // Whoever sends sees its end.
    tasks.spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn parsed<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    let line: Line<T> = serde_json::from_slice(line).map_err(Failed::away)?;
    match (line.result, line.error) {
        (_, Some(refusal)) => Err(Failed::of(refusal)),
        (Some(result), None) => Ok(result),
        (None, None) => Err(Failed::away("a line of the stream says nothing")),
    }
}

/// The lines of a stream.
pub(super) struct Lines {
    body: Incoming,
    read: BytesMut,
    /// So much of it has no end of a line.
    seen: usize,
    _sender: SendRequest<Full<Bytes>>,
}

impl Lines {
    /// The next line. May be dropped and asked again.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<T> {
        loop {
            if let Some(line) = self.take() {
                return parsed(&line);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(Failed::away(error)),
                None => return Err(Failed::away("etcd has ended the stream of changes")),
            }
            if self.read.len() > ANSWER_MAX {
                return Err(Failed::TooLong);
            }
        }
    }

    /// A line that has come already.
    pub(super) fn ready<T: DeserializeOwned>(&mut self) -> Option<Result<T>> {
        Some(parsed(&self.take()?))
    }

    fn take(&mut self) -> Option<BytesMut> {
        let rest = self.read.get(self.seen..).unwrap_or_default();
        match rest.iter().position(|b| *b == b'\n') {
            Some(at) => {
                let line = self.read.split_to(self.seen + at);
                self.read.advance(1);
                self.seen = 0;
                Some(line)
            }
            None => {
                self.seen = self.read.len();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_as_people_write_them() {
        let parsed = |text: &str| Endpoint::parse(text).map(|e| (e.authority, e.host, e.port, e.encrypted));
        assert_eq!(parsed("etcd"), Some(("etcd:2379".into(), "etcd".into(), 2379, false)));
        assert_eq!(parsed("http://10.0.0.1:1"), Some(("10.0.0.1:1".into(), "10.0.0.1".into(), 1, false)));
        assert_eq!(parsed("https://[::1]:99/"), Some(("[::1]:99".into(), "::1".into(), 99, true)));
        for wrong in ["", "ftp://a", "http://", "a b"] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }
}
