//! HTTP/2 with prior knowledge: a client and a worker on hyper, and frames by hand for what hyper would not send.

use crate::net::free_port;
use crate::patience::patience;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::rt::ReadBufCursor;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Runs a test's asynchronous part, no longer than twice the patience.
pub fn run<T>(part: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(patience() * 2, part).await.expect("took too long") })
}

/// tokio's stream as hyper wants it.
struct Io(TcpStream);

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut space = [0; 16 << 10];
        let room = to.remaining().min(space.len());
        let mut buf = ReadBuf::new(&mut space[..room]);
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
        to.put_slice(buf.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[derive(Clone)]
struct Spawn;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, task: F) {
        tokio::spawn(task);
    }
}

/// A body of known pieces, and trailers if there are any.
#[derive(Debug, Default)]
pub struct Pieces {
    data: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Pieces {
    /// One piece; nothing at all when it is empty.
    pub fn of(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let data = if body.is_empty() { VecDeque::new() } else { [body].into() };
        Pieces { data, trailers: None }
    }
    /// With trailers.
    pub fn with_trailers(mut self, lines: &[(&str, &str)]) -> Self {
        self.trailers = Some(header_map(lines));
        self
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(self.trailers.take().map(|t| Ok(Frame::trailers(t))))
    }
    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }
}

fn header_map(lines: &[(&str, &str)]) -> HeaderMap {
    let pair =
        |(n, v): &(&str, &str)| (n.parse::<http::HeaderName>().unwrap(), v.parse::<http::HeaderValue>().unwrap());
    let mut map = HeaderMap::new();
    for (name, value) in lines.iter().map(pair) {
        map.append(name, value);
    }
    map
}

/// A message that was read to its end.
#[derive(Debug, Clone)]
pub struct Whole {
    /// The status; 0 for a request.
    pub status: u16,
    /// The method; GET for an answer.
    pub method: Method,
    /// `:path`, for a request.
    pub path: String,
    /// `:authority`, for a request.
    pub authority: String,
    /// Header lines.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Trailers, if there were any.
    pub trailers: Option<HeaderMap>,
    /// Whether the stream had ended with the headers.
    pub ended_with_headers: bool,
}

impl Whole {
    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
    /// A trailer's first value.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name).and_then(|v| v.to_str().ok())
    }
}

/// A client on one connection; its clones share it.
#[derive(Clone)]
pub struct H2Client {
    sender: hyper::client::conn::http2::SendRequest<Pieces>,
    port: u16,
}

impl H2Client {
    /// Connects to a port of the loopback address.
    pub async fn connect(port: u16) -> Self {
        let io = Io(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        let (sender, connection) = hyper::client::conn::http2::handshake(Spawn, io).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        H2Client { sender, port }
    }

    /// Sends a request and reads its answer to the end.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Pieces,
    ) -> Result<Whole, hyper::Error> {
        let authority = format!("127.0.0.1:{}", self.port);
        self.send_to(&authority, method, path, headers, body).await
    }

    /// The same with this authority.
    pub async fn send_to(
        &mut self,
        authority: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Pieces,
    ) -> Result<Whole, hyper::Error> {
        let uri = format!("http://{authority}{path}");
        let mut request = Request::builder().method(method).uri(uri).body(body).unwrap();
        *request.headers_mut() = header_map(headers);
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let mut whole = collect(body).await?;
        whole.status = head.status.as_u16();
        whole.headers = head.headers;
        Ok(whole)
    }

    /// A GET that must be answered.
    pub async fn get(&mut self, path: &str) -> Whole {
        self.send("GET", path, &[], Pieces::default()).await.unwrap()
    }
}

async fn collect(body: Incoming) -> Result<Whole, hyper::Error> {
    let ended_with_headers = body.is_end_stream();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    Ok(Whole {
        status: 0,
        method: Method::GET,
        path: String::new(),
        authority: String::new(),
        headers: HeaderMap::new(),
        body: collected.to_bytes(),
        trailers,
        ended_with_headers,
    })
}

/// A worker that speaks HTTP/2 with prior knowledge.
pub struct H2Worker {
    port: u16,
    seen: Arc<Mutex<Vec<Whole>>>,
    connections: Arc<AtomicUsize>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    drain: tokio::sync::watch::Sender<()>,
}

impl H2Worker {
    /// On a free port; every whole request is answered by the function, after `delay-ms` if it has that header.
    pub fn replying(reply: impl Fn(&Whole) -> Response<Pieces> + Send + Sync + 'static) -> Self {
        Self::with_streams(200, reply)
    }

    /// The same, allowing so many streams at once on a connection.
    pub fn with_streams(streams: u32, reply: impl Fn(&Whole) -> Response<Pieces> + Send + Sync + 'static) -> Self {
        let port = free_port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let (all, count, reply) = (seen.clone(), connections.clone(), Arc::new(reply));
        let (drain, drained) = tokio::sync::watch::channel(());
        let (up, is_up) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
                up.send(()).unwrap();
                loop {
                    let stream = tokio::select! {
                        accepted = listener.accept() => accepted.unwrap().0,
                        _ = &mut stopped => return,
                    };
                    let (all, reply, count) = (all.clone(), reply.clone(), count.clone());
                    let used = Arc::new(std::sync::atomic::AtomicBool::new(false));
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let (all, reply) = (all.clone(), reply.clone());
                        if !used.swap(true, Ordering::AcqRel) {
                            count.fetch_add(1, Ordering::AcqRel);
                        }
                        async move {
                            let (head, body) = request.into_parts();
                            let mut whole = collect(body).await?;
                            whole.method = head.method;
                            whole.path = head.uri.path_and_query().map(|p| p.to_string()).unwrap_or_default();
                            whole.authority = head.uri.authority().map(|a| a.to_string()).unwrap_or_default();
                            whole.headers = head.headers;
                            all.lock().unwrap().push(whole.clone());
                            if let Some(ms) = whole.header("delay-ms").and_then(|v| v.parse().ok()) {
                                tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
                            }
                            Ok::<_, hyper::Error>(reply(&whole))
                        }
                    });
                    let mut server = hyper::server::conn::http2::Builder::new(Spawn);
                    server.max_concurrent_streams(streams);
                    let mut drained = drained.clone();
                    drained.mark_unchanged();
                    tokio::spawn(async move {
                        let mut connection = std::pin::pin!(server.serve_connection(Io(stream), service));
                        tokio::select! {
                            _ = connection.as_mut() => return,
                            Ok(()) = drained.changed() => connection.as_mut().graceful_shutdown(),
                        }
                        let _ = connection.await;
                    });
                }
            });
        });
        is_up.recv().unwrap();
        H2Worker { port, seen, connections, stop: Some(stop), drain }
    }

    /// Its address as the configuration writes it.
    pub fn address(&self) -> String {
        format!("h2c://127.0.0.1:{}", self.port)
    }
    /// Every request that it saw.
    pub fn requests(&self) -> Vec<Whole> {
        self.seen.lock().unwrap().clone()
    }
    /// How many connections brought it a request.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }
    /// Sends GOAWAY on every connection that stands; what is in flight is finished, new ones are taken.
    pub fn go_away(&self) {
        let _ = self.drain.send(());
    }
}

impl Drop for H2Worker {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// One frame (RFC 9113 4.1).
#[derive(Debug, Clone)]
pub struct RawFrame {
    /// Type: 0 DATA, 1 HEADERS, 3 RST_STREAM, 4 SETTINGS, 7 GOAWAY, 8 WINDOW_UPDATE.
    pub kind: u8,
    /// Flags: 1 END_STREAM or ACK, 4 END_HEADERS.
    pub flags: u8,
    /// Stream.
    pub stream: u32,
    /// Payload.
    pub payload: Vec<u8>,
}

/// A connection on which frames are written by hand.
pub struct RawH2 {
    stream: StdStream,
}

impl RawH2 {
    /// Connects, and sends the preface with empty settings.
    pub fn connect(port: u16) -> Self {
        let mut stream = StdStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(patience())).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut raw = RawH2 { stream };
        raw.frame(4, 0, 0, &[]);
        raw
    }
    /// Writes a frame.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes).unwrap();
    }
    /// Writes HEADERS with END_HEADERS: every line a literal that is not indexed (RFC 7541 6.2.2).
    pub fn headers(&mut self, stream: u32, lines: &[(&str, &str)], end: bool) {
        let mut block = Vec::new();
        for (name, value) in lines {
            block.push(0);
            for text in [name, value] {
                assert!(text.len() < 127, "lengths of one byte only");
                block.push(text.len() as u8);
                block.extend_from_slice(text.as_bytes());
            }
        }
        self.frame(1, 4 | u8::from(end), stream, &block);
    }
    /// The next frame; none when the connection ends.
    pub fn read(&mut self) -> Option<RawFrame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(RawFrame { kind: head[3], flags: head[4], stream, payload })
    }
    /// The first frame that ends or answers this stream: HEADERS, RST_STREAM or GOAWAY; none when the
    /// connection just ends.
    pub fn verdict(&mut self, stream: u32) -> Option<RawFrame> {
        loop {
            let frame = self.read()?;
            if frame.kind == 4 && frame.flags & 1 == 0 {
                self.frame(4, 1, 0, &[]);
            }
            if frame.kind == 7 || (frame.stream == stream && matches!(frame.kind, 1 | 3)) {
                return Some(frame);
            }
        }
    }
}
