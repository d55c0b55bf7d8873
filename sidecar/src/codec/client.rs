//! Connections to instances, owned by one worker thread. HTTP/1 connections are driven inside the task of the
//! exchange that uses them: no helper task, no wake-up across tasks.

use super::{LocalExecutor, Stream};
use crate::exchange::{Body, BodyError, Counted};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// hyper's side of the connection; its type is not nameable once it may be upgraded.
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

/// One HTTP/1 connection.
pub struct Http1 {
    sender: http1::SendRequest<Body>,
    driver: Option<Driver>,
    counted: Counted,
}

/// An answer as it comes from an instance.
pub type Received = Response<Incoming>;

/// Why sending failed.
pub struct SendError {
    /// The request, if not one byte of it was written.
    pub unsent: Option<Request<Body>>,
    /// What happened.
    pub cause: Cause,
}

/// What happened to a request that got no answer.
pub enum Cause {
    /// Its body went over the limit.
    TooLarge(u64),
    /// Its body broke off: the caller left.
    CallerGone,
    /// What came back is not HTTP.
    Nonsense(String),
    /// Its body is not what its head promised.
    BadBody(String),
    /// The instance says that it has not touched it (HTTP/2 REFUSED_STREAM; RFC 9113, 8.7).
    Refused,
    /// The connection ended.
    Ended,
}

/// hyper tells a malformed chunk as an input error of the connection.
fn chunk_error(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|e| e.downcast_ref::<std::io::Error>())
        .is_some_and(|e| matches!(e.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData))
}

impl SendError {
    fn new(unsent: Option<Request<Body>>, error: &hyper::Error) -> Self {
        let mut source = std::error::Error::source(error);
        let cause = loop {
            match source {
                Some(e) => match e.downcast_ref::<BodyError>() {
                    Some(BodyError::TooLarge(limit)) => break Cause::TooLarge(*limit),
                    Some(BodyError::Codec(e)) if e.is_parse() || chunk_error(e) => break Cause::BadBody(e.to_string()),
                    Some(_) => break Cause::CallerGone,
                    None => {
                        if e.downcast_ref::<h2::Error>().and_then(h2::Error::reason) == Some(h2::Reason::REFUSED_STREAM)
                        {
                            break Cause::Refused;
                        }
                        source = e.source();
                    }
                },
                None if error.is_parse() => break Cause::Nonsense(error.to_string()),
                None => break Cause::Ended,
            }
        };
        SendError { unsent, cause }
    }
}

impl Http1 {
    /// Takes a connected stream.
    pub async fn handshake(stream: Stream, counted: Counted) -> Result<Self, hyper::Error> {
        let (sender, driver) = http1::Builder::new().max_buf_size(256 << 10).handshake(TokioIo::new(stream)).await?;
        Ok(Http1 { sender, driver: Some(Box::pin(driver.with_upgrades())), counted })
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    /// Whether it can take another request: asked before each use, so that one the instance has closed is not used.
    pub async fn usable(&mut self) -> bool {
        std::future::poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        })
        .await;
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the answer's head.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Received, Box<SendError>> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        std::future::poll_fn(|cx| {
            if let Some(d) = driver
                && d.as_mut().poll(cx).is_ready()
            {
                *driver = None;
            }
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(|mut e| Box::new(SendError::new(e.take_message(), e.error())))
    }

    /// Lets it run on its own: for an upgraded connection, whose bytes are relayed elsewhere.
    pub fn detach(mut self) {
        if let Some(driver) = self.driver.take() {
            let counted = self.counted;
            tokio::task::spawn_local(async move {
                let _ = driver.await;
                drop(counted);
            });
        }
    }
}

/// Where a connection goes when it can take another request.
pub trait Home {
    /// Takes it.
    fn give_back(&self, conn: Http1);
}

/// An answer's body that drives the connection it comes from and gives it back at its end.
pub struct Http1Body {
    incoming: Incoming,
    conn: Option<Http1>,
    home: Rc<dyn Home>,
}

impl Http1Body {
    /// `home` gets the connection at the end.
    pub fn new(incoming: Incoming, conn: Http1, home: Rc<dyn Home>) -> Self {
        Http1Body { incoming, conn: Some(conn), home }
    }

    /// Lets the connection see the end of the exchange, and gives it back if it is free again.
    fn give_back(&mut self, cx: &mut Context<'_>) {
        let Some(mut conn) = self.conn.take() else { return };
        conn.drive(cx);
        if conn.driver.is_some() && conn.sender.is_ready() {
            self.home.give_back(conn);
        }
    }
}

/// The body of an answer: of a connection of its own, or of a stream of a shared one.
pub enum ReceivedBody {
    /// HTTP/1.
    Own(Http1Body),
    /// HTTP/2.
    Shared(Incoming),
}

impl HttpBody for ReceivedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            ReceivedBody::Own(body) => Pin::new(body).poll_frame(cx),
            ReceivedBody::Shared(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReceivedBody::Own(body) => body.is_end_stream(),
            ReceivedBody::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReceivedBody::Own(body) => body.size_hint(),
            ReceivedBody::Shared(body) => body.size_hint(),
        }
    }
}

impl HttpBody for Http1Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let mut polled = Pin::new(&mut this.incoming).poll_frame(cx);
        if polled.is_pending()
            && let Some(conn) = &mut this.conn
        {
            conn.drive(cx);
            polled = Pin::new(&mut this.incoming).poll_frame(cx);
        }
        match &polled {
            Poll::Ready(None) => this.give_back(cx),
            Poll::Ready(Some(Ok(_))) if this.incoming.is_end_stream() => this.give_back(cx),
            _ => {}
        }
        polled.map_err(BodyError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Http1Body {
    fn drop(&mut self) {
        // An answer without a body is never polled.
        if self.incoming.is_end_stream() {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            self.give_back(&mut cx);
        }
    }
}

/// One HTTP/2 connection; clones share it.
#[derive(Clone)]
pub struct Http2 {
    sender: http2::SendRequest<Body>,
}

impl Http2 {
    /// Takes a connected stream (prior knowledge). Windows are small enough that a slow reader bounds what we hold.
    pub async fn handshake(stream: Stream, counted: Counted) -> Result<Self, hyper::Error> {
        let (sender, driver) = http2::Builder::new(LocalExecutor)
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .max_header_list_size(256 << 10)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::task::spawn_local(async move {
            let _ = driver.await;
            drop(counted);
        });
        Ok(Http2 { sender })
    }

    /// Whether it has ended (GOAWAY included).
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the answer's head.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Received, Box<SendError>> {
        if let Err(error) = self.sender.ready().await {
            return Err(Box::new(SendError::new(Some(request), &error)));
        }
        self.sender
            .try_send_request(request)
            .await
            .map_err(|mut e| Box::new(SendError::new(e.take_message(), e.error())))
    }
}
