//! A receiver over HTTP and HTTPS that can be as sick as a test wants; the strict ones of Splunk, Loggly, Datadog and
//! GELF stand on it.

use crate::gelf::unpack;
use crate::net::free_port;
use crate::patience::{eventually, until};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// No request of a test is longer.
const BODY_LIMIT: usize = 64 << 20;

/// One request as it came, and what became of it.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Method.
    pub method: String,
    /// Path, without the query.
    pub path: String,
    /// What stands behind the `?`; empty when there is none.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as it came, still packed.
    pub body: Vec<u8>,
    /// Which connection brought it, counted from 1.
    pub connection: usize,
    /// The status that it was answered with; 0 for none.
    pub status: u16,
}

impl Heard {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').filter_map(|p| p.split_once('=')).find(|(k, _)| *k == name).map(|(_, v)| v)
    }
    /// The body unpacked as its content coding says; `None` when it is not what it says, or of a coding unknown here.
    pub fn plain(&self) -> Option<Vec<u8>> {
        match self.header("content-encoding") {
            None | Some("identity") => Some(self.body.clone()),
            Some("gzip") if self.body.starts_with(&[0x1f, 0x8b]) => Some(unpack(&self.body)).filter(|b| !b.is_empty()),
            Some("deflate") if self.body.starts_with(&[0x78]) => Some(unpack(&self.body)).filter(|b| !b.is_empty()),
            Some(_) => None,
        }
    }
    /// The unpacked body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.plain().unwrap_or_default()).into_owned()
    }
}

/// What a request is answered with.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A status and a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Answer { status, headers: Vec::new(), body: body.into() }
    }
    /// A status and a body of JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Answer::new(status, body.to_string()).with("content-type", "application/json")
    }
    /// With a header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What can go wrong with a request that is heard; the receiver takes nothing of it.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This answer instead of the right one.
    Answer(Answer),
    /// No answer, and the connection stays.
    Silence,
    /// Bytes that are not HTTP, then the end.
    Garbage,
    /// The connection ends without an answer.
    Close,
}

impl Fault {
    /// A bare status.
    pub fn status(status: u16) -> Self {
        Fault::Answer(Answer::new(status, ""))
    }
    /// A status that says when to come again, in seconds.
    pub fn retry_after(status: u16, seconds: u64) -> Self {
        Fault::Answer(Answer::new(status, "").with("retry-after", seconds.to_string()))
    }
}

type Answering = dyn Fn(&Heard) -> Answer + Send + Sync;

struct State {
    heard: Mutex<Vec<Heard>>,
    next: Mutex<VecDeque<Fault>>,
    always: Mutex<Option<Fault>>,
    answering: Box<Answering>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    bound: AtomicUsize,
}

/// What the listener must do; each change is seen by every connection.
#[derive(Debug, Clone, Copy, Default)]
struct Wish {
    listen: bool,
    generation: usize,
    stop: bool,
}

/// The receiver; it closes everything when dropped.
pub struct HttpSink {
    port: u16,
    state: Arc<State>,
    wish: watch::Sender<Wish>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl HttpSink {
    /// Takes every POST with this status.
    pub fn answering(status: u16) -> Self {
        Self::start(move |heard| match heard.method.as_str() {
            "POST" => Answer::new(status, ""),
            _ => Answer::new(405, "").with("allow", "POST"),
        })
    }
    /// Answers what this says, on a free port.
    pub fn start(answering: impl Fn(&Heard) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_on(free_port(), None, answering)
    }
    /// The same on this port, with TLS if there is a server for it; see [`super::Certificates::server`].
    pub fn start_on(
        port: u16,
        tls: Option<Arc<ServerConfig>>,
        answering: impl Fn(&Heard) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(State {
            heard: Mutex::default(),
            next: Mutex::default(),
            always: Mutex::default(),
            answering: Box::new(answering),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            bound: AtomicUsize::new(0),
        });
        let (wish, wishes) = watch::channel(Wish::default());
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(listen(port, tls.map(TlsAcceptor::from), shared, wishes));
        });
        let sink = HttpSink { port, state, wish, thread: Some(thread) };
        sink.reopen();
        sink
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Every request so far, in the order of their answers.
    pub fn heard(&self) -> Vec<Heard> {
        self.state.heard.lock().unwrap().clone()
    }
    /// Waits until there are so many requests.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Heard> {
        eventually(&format!("{count} requests, there are {}", self.heard().len()), || {
            Some(self.heard()).filter(|h| h.len() >= count)
        })
    }
    /// What befalls the next requests, one each.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.next.lock().unwrap().extend(faults);
    }
    /// What befalls every request until this is said again with `None`.
    pub fn always(&self, fault: Option<Fault>) {
        *self.state.always.lock().unwrap() = fault;
    }
    /// Connections accepted since the start.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::Acquire)
    }
    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::Acquire)
    }
    /// Ends every connection, answered or not.
    #[track_caller]
    pub fn kill_connections(&self) {
        self.wish.send_modify(|w| w.generation += 1);
        until("the connections end", || self.open() == 0);
    }
    /// Accepts no more: connecting is refused.
    #[track_caller]
    pub fn close_listener(&self) {
        self.wish.send_modify(|w| w.listen = false);
        until("the listener closes", || self.state.bound.load(Ordering::Acquire) == 0);
    }
    /// Accepts again on the same port.
    #[track_caller]
    pub fn reopen(&self) {
        self.wish.send_modify(|w| w.listen = true);
        until("the listener opens", || self.state.bound.load(Ordering::Acquire) == 1);
    }
}

impl Drop for HttpSink {
    fn drop(&mut self) {
        self.wish.send_modify(|w| w.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn listen(port: u16, tls: Option<TlsAcceptor>, state: Arc<State>, mut wishes: watch::Receiver<Wish>) {
    let mut listener = None;
    loop {
        let wish = *wishes.borrow_and_update();
        if wish.stop {
            return;
        }
        if wish.listen && listener.is_none() {
            listener = TcpListener::bind(("127.0.0.1", port)).await.ok();
        } else if !wish.listen {
            listener = None;
        }
        state.bound.store(usize::from(listener.is_some()), Ordering::Release);
        let again = std::time::Duration::from_millis(20);
        let Some(open) = &listener else {
            let _ = tokio::time::timeout(again, wishes.changed()).await;
            continue;
        };
        tokio::select! {
            changed = wishes.changed() => if changed.is_err() { return },
            accepted = open.accept() => if let Ok((stream, _)) = accepted {
                let connection = state.accepted.fetch_add(1, Ordering::AcqRel) + 1;
                state.open.fetch_add(1, Ordering::AcqRel);
                let (state, tls, mut wishes) = (state.clone(), tls.clone(), wishes.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = connected(stream, tls, &state, connection) => (),
                        _ = wishes.wait_for(|w| w.generation != wish.generation) => (),
                    }
                    state.open.fetch_sub(1, Ordering::AcqRel);
                });
            },
        }
    }
}

async fn connected(stream: tokio::net::TcpStream, tls: Option<TlsAcceptor>, state: &Arc<State>, connection: usize) {
    let Ok(std) = stream.into_std() else { return };
    // Garbage goes past HTTP and TLS straight to the socket.
    let Ok(raw) = std.try_clone() else { return };
    let Ok(stream) = tokio::net::TcpStream::from_std(std) else { return };
    match tls {
        None => serve(stream, raw, state, connection).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, raw, state, connection).await;
            }
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    raw: std::net::TcpStream,
    state: &Arc<State>,
    connection: usize,
) {
    let service = hyper::service::service_fn(|request| answer(request, &raw, state, connection));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    mut raw: &std::net::TcpStream,
    state: &State,
    connection: usize,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let broken = |why: &str| std::io::Error::other(why.to_owned());
    let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|_| broken("the body broke off"))?;
    let mut heard = Heard {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: body.to_bytes().to_vec(),
        connection,
        status: 0,
    };
    let next = state.next.lock().unwrap().pop_front();
    let fault = next.or_else(|| state.always.lock().unwrap().clone());
    let answer = match &fault {
        None => Some((state.answering)(&heard)),
        Some(Fault::Answer(answer)) => Some(answer.clone()),
        Some(_) => None,
    };
    heard.status = answer.as_ref().map_or(0, |a| a.status);
    state.heard.lock().unwrap().push(heard);
    let Some(answer) = answer else {
        match fault {
            Some(Fault::Silence) => std::future::pending::<()>().await,
            Some(Fault::Garbage) => {
                let _ = raw.write_all(b"\x00\xff\xfeno HTTP at all\r\n\r\n\x15\x03");
            }
            _ => (),
        }
        return Err(broken("as the test wants it"));
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    Ok(response)
}
