//! A look by HTTP.

use super::{Outcome, connect};
use crate::checks::Trust;
use crate::model::{Definition, Probe, State};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::error::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// So many redirects are followed.
const REDIRECTS: usize = 10;

/// What a check may ask of ourselves.
const HEALTH: [&str; 2] = ["/readyz", "/livez"];

type Failed = Box<dyn Error + Send + Sync>;

pub(super) async fn look(definition: &Definition, trust: &Trust) -> Outcome {
    let Probe::Http { url, method, headers, body, redirects } = &definition.probe else {
        return Outcome::critical("no HTTP check");
    };
    let mut asked = Asked { definition, trust, headers, method: method.clone(), body: body.clone() };
    let mut url = url.clone();
    // What comes after a question mark may be secret, and outputs are shown to everybody.
    let shown = |url: &str| url.split('?').next().unwrap_or_default().to_owned();
    for _ in 0..=REDIRECTS {
        let answer = match asked.ask(&url).await {
            Ok(answer) => answer,
            Err(error) => return Outcome::critical(format!("{}: {error}", shown(&url))),
        };
        if let Some(next) = answer.next.filter(|_| *redirects) {
            if !matches!(answer.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                (asked.method, asked.body) = (String::new(), String::new());
            }
            url = next;
            continue;
        }
        let state = match answer.status {
            status if status.is_success() => State::Passing,
            StatusCode::TOO_MANY_REQUESTS => State::Warning,
            _ => State::Critical,
        };
        return Outcome { state, output: format!("{}: {} {}", shown(&url), answer.status, answer.body) };
    }
    Outcome::critical(format!("more than {REDIRECTS} redirects"))
}

struct Answer {
    status: StatusCode,
    body: String,
    /// Where it leads, when it is a redirect.
    next: Option<String>,
}

struct Asked<'a> {
    definition: &'a Definition,
    trust: &'a Trust,
    headers: &'a [(String, String)],
    method: String,
    body: String,
}

impl Asked<'_> {
    async fn ask(&self, url: &str) -> Result<Answer, Failed> {
        let uri: Uri = url.parse()?;
        let host = uri.host().ok_or("the URL has no host")?;
        let encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("the URL is neither http nor https".into()),
        };
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let address = format!("{host}:{port}");
        let request = self.request(&uri)?;
        match encrypted {
            false => {
                let stream = connect::tcp(&address).await?;
                self.allowed(&stream, &request)?;
                self.exchange(stream, request, &uri).await
            }
            true => {
                let stream = connect::tls(&address, &self.definition.tls, self.trust, false).await?;
                self.allowed(stream.get_ref().0, &request)?;
                self.exchange(stream, request, &uri).await
            }
        }
    }

    /// Of ourselves only how we are may be asked.
    fn allowed(&self, stream: &TcpStream, request: &Request<Full<Bytes>>) -> Result<(), Failed> {
        let asks = request.method() == Method::GET && HEALTH.contains(&request.uri().path());
        match self.trust.is_own(stream) && !asks {
            true => Err("that is this Fourmi itself; of it a check may ask /readyz and /livez only".into()),
            false => Ok(()),
        }
    }

    fn request(&self, uri: &Uri) -> Result<Request<Full<Bytes>>, Failed> {
        let method = if self.method.is_empty() { Method::GET } else { self.method.parse()? };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(method).uri(path).body(Full::from(self.body.clone()))?;
        let headers = request.headers_mut();
        if let Some(authority) = uri.authority() {
            // Who logs in by the URL does not send that as the host.
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            headers.insert(HOST, HeaderValue::from_str(host)?);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static("Fourmi Health Check"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/plain, text/*, */*"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        for (name, value) in self.headers {
            headers.insert(name.parse::<HeaderName>()?, HeaderValue::from_str(value)?);
        }
        Ok(request)
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
        uri: &Uri,
    ) -> Result<Answer, Failed> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let answered = async {
            let response = sender.send_request(request).await?;
            let (status, next) = (response.status(), next(&response, uri));
            Ok(Answer { status, next, body: self.read(response).await })
        };
        // The connection works as long as it is looked after, and ends with the answer.
        tokio::pin!(connection, answered);
        tokio::select! {
            answer = &mut answered => answer,
            ended = &mut connection => {
                ended?;
                answered.await
            }
        }
    }

    /// As much of the body as is kept.
    async fn read(&self, response: Response<Incoming>) -> String {
        let mut body = response.into_body();
        let mut read = Vec::new();
        while read.len() < self.definition.output_max {
            match body.frame().await {
                Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(_)) | None => break,
            }
        }
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// Where a redirect leads.
fn next(response: &Response<Incoming>, from: &Uri) -> Option<String> {
    if !response.status().is_redirection() {
        return None;
    }
    let to = response.headers().get(LOCATION)?.to_str().ok()?;
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    Some(match to {
        _ if to.contains("://") => to.to_owned(),
        _ if to.starts_with("//") => format!("{scheme}:{to}"),
        _ if to.starts_with('/') => format!("{scheme}://{authority}{to}"),
        _ => {
            let directory = from.path().rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{scheme}://{authority}{directory}/{to}")
        }
    })
}
