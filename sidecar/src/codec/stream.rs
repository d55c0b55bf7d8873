//! A byte stream over TCP or a unix socket, with the bytes already read for telling protocols apart put back.

pub(super) use super::secured::Failed;
use super::secured::Secured;
use crate::tls::{Acceptor, Connector, Peer};
#[cfg(target_os = "linux")]
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;
use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connection's bytes.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// Encrypted, over one of these.
    Tls(Box<Secured>),
    /// Taken: its bytes go elsewhere.
    Taken,
}

fn taken<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl Socket {
    /// Takes it out of its place.
    pub(super) fn take(&mut self) -> Socket {
        std::mem::replace(self, Socket::Taken)
    }

    /// Ready when there is something to read, or its end; costs no system call unless it is encrypted.
    pub(super) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tcp(s) => s.poll_read_ready(cx),
            Socket::Unix(s) => s.poll_read_ready(cx),
            Socket::Tls(s) => s.poll_read_ready(cx),
            Socket::Taken => taken(),
        }
    }

    /// Whether the other end has broken it off (not: has said that it will send no more).
    pub(super) fn is_broken(&self) -> bool {
        match self {
            Socket::Tcp(s) => !matches!(SockRef::from(s).take_error(), Ok(None)),
            Socket::Unix(s) => !matches!(SockRef::from(s).take_error(), Ok(None)),
            Socket::Tls(s) => s.socket().is_broken(),
            Socket::Taken => false,
        }
    }

    /// Whether the other end sends nothing more, whatever still waits to be read.
    pub(super) fn has_left(&self) -> bool {
        #[cfg(target_os = "linux")]
        {
            let fd = match self {
                Socket::Tcp(s) => s.as_fd(),
                Socket::Unix(s) => s.as_fd(),
                Socket::Tls(s) => return s.socket().has_left(),
                Socket::Taken => return false,
            };
            let mut asked = [PollFd::new(fd, PollFlags::from_bits_retain(nix::libc::POLLRDHUP))];
            poll(&mut asked, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
        }
        #[cfg(not(target_os = "linux"))]
        self.is_broken()
    }

    /// Whether nothing can be read and its end has not come, by a look that takes nothing of what the other end says.
    pub(super) fn is_silent(&mut self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let looked = match self {
            Socket::Tcp(s) => SockRef::from(&*s).peek(&mut byte),
            Socket::Unix(s) => SockRef::from(&*s).peek(&mut byte),
            Socket::Tls(s) => return s.is_silent(),
            Socket::Taken => return false,
        };
        looked.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Says now that all has come that was read, and not when it has something to say itself: an instance that writes its
    /// answer in pieces and lets the system gather them (Nagle) sends the next piece only then, 40 ms later.
    pub(super) fn acknowledge(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Socket::Tcp(s) => drop(SockRef::from(s).set_tcp_quickack(true)),
            #[cfg(not(target_os = "linux"))]
            Socket::Tcp(_) => {}
            Socket::Tls(s) => s.socket().acknowledge(),
            Socket::Unix(_) | Socket::Taken => {}
        }
    }

    /// Its end will be a reset, which nobody takes for the end of a message.
    pub(super) fn reset_on_close(&self) {
        match self {
            Socket::Tcp(s) => drop(SockRef::from(s).set_linger(Some(Duration::ZERO))),
            Socket::Tls(s) => s.socket().reset_on_close(),
            Socket::Unix(_) | Socket::Taken => {}
        }
    }

    /// Takes leave in the same moment or not at all: an encrypted connection that just ends looks like one that was cut.
    pub(super) fn take_leave(&mut self) {
        if let Socket::Tls(s) = self {
            let _ = Pin::new(&mut **s).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Bytes that have left, as they stand on the wire; only an encrypted one knows. What it takes may lie in it for a
    /// while, and what it did not take may have left in part.
    pub(super) fn left(&self) -> u64 {
        if let Socket::Tls(s) = self { s.left() } else { 0 }
    }

    /// What its session failed of, now or later; nothing ever where there is none.
    pub(super) fn failed(&self) -> Failed {
        if let Socket::Tls(s) = self { s.failed() } else { Failed::default() }
    }

    /// Who the other side is, if it is encrypted and the other side has shown a certificate.
    pub fn peer(&self) -> Option<Peer> {
        if let Socket::Tls(s) = self { s.peer() } else { None }
    }

    /// How it is encrypted.
    pub fn session(&self) -> Option<crate::tls::Session> {
        if let Socket::Tls(s) = self { s.session() } else { None }
    }

    /// The server name that a caller asked for when it shook hands, in lower case.
    pub fn server_name(&self) -> Option<std::sync::Arc<str>> {
        if let Socket::Tls(s) = self { s.server_name() } else { None }
    }

    /// Whether both sides agreed on HTTP/2 when they shook hands.
    pub fn speaks_two(&self) -> bool {
        matches!(self, Socket::Tls(s) if s.speaks_two())
    }

    /// Whether it is encrypted.
    pub fn is_secure(&self) -> bool {
        matches!(self, Socket::Tls(_))
    }

    /// Shakes hands with a caller; `first` was read from it already. There is no time limit here.
    pub async fn accept(self, first: Vec<u8>, acceptor: &Acceptor) -> io::Result<Socket> {
        Ok(Socket::Tls(Secured::accept(Stream::new(self, first), acceptor).await?))
    }

    /// Shakes hands with an instance, whose certificate must be for `host`. There is no time limit here.
    pub async fn connect(self, host: &str, connector: &Connector) -> io::Result<Socket> {
        Ok(Socket::Tls(Secured::connect(Stream::new(self, Vec::new()), host, connector).await?))
    }

    /// A second handle, only ever asked whether it is broken.
    pub(super) fn watcher(&self) -> Option<socket2::Socket> {
        match self {
            Socket::Tcp(s) => SockRef::from(s).try_clone().ok(),
            Socket::Tls(s) => s.socket().watcher(),
            Socket::Unix(_) | Socket::Taken => None,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Socket::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Socket::Unix(s) => Pin::new(s).poll_read(cx, buf),
            Socket::Tls(s) => Pin::new(&mut **s).poll_read(cx, buf),
            Socket::Taken => taken(),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Socket::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Socket::Unix(s) => Pin::new(s).poll_write(cx, buf),
            Socket::Tls(s) => Pin::new(&mut **s).poll_write(cx, buf),
            Socket::Taken => taken(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Socket::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Socket::Unix(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Socket::Tls(s) => Pin::new(&mut **s).poll_write_vectored(cx, bufs),
            Socket::Taken => taken(),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is not encrypted has left when it was written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Socket::Tls(s) => Pin::new(&mut **s).poll_flush(cx),
            Socket::Tcp(_) | Socket::Unix(_) | Socket::Taken => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Socket::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Socket::Unix(s) => Pin::new(s).poll_shutdown(cx),
            Socket::Tls(s) => Pin::new(&mut **s).poll_shutdown(cx),
            Socket::Taken => taken(),
        }
    }
}

/// A [`Socket`] with bytes put back.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    prefix: Vec<u8>,
    read: usize,
    /// Bytes that were read from it.
    passed: Option<Rc<Cell<u64>>>,
}

impl Stream {
    /// A stream whose first bytes are `prefix`.
    pub fn new(socket: Socket, prefix: Vec<u8>) -> Self {
        Stream { socket, prefix, read: 0, passed: None }
    }

    /// The same, counting what is read from it.
    pub(super) fn counted(mut self, passed: Rc<Cell<u64>>) -> Self {
        self.passed = Some(passed);
        self
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Ready when there is something to read, or its end.
    pub(super) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.read < self.prefix.len() { Poll::Ready(Ok(())) } else { self.socket.poll_read_ready(cx) }
    }

    fn count(&self, n: usize) {
        if let Some(passed) = &self.passed {
            passed.set(passed.get() + n as u64);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read < this.prefix.len() {
            let rest = &this.prefix[this.read..];
            let n = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..n]);
            this.read += n;
            this.count(n);
            if this.read == this.prefix.len() {
                this.prefix = Vec::new();
                this.read = 0;
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, buf);
        this.count(buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
