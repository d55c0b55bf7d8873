//! A connected stream of bytes: TCP or unix, plain or encrypted, that knows how many bytes the system took.

use super::datagram::unix_words;
use super::receipt::{self, State};
use crate::tls::{Connector, TlsStream, in_words};
use socket2::{SockRef, TcpKeepalive};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// When a silent TCP connection is probed first.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
/// How often then.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// How many probes stay unanswered before it is broken.
const KEEPALIVE_PROBES: u32 = 3;
/// How long a TLS 1.3 server may take to say its first word after the handshake.
const FIRST_WORD: Duration = Duration::from_millis(300);

enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket that counts what the system took.
pub(super) struct Counted {
    kind: Kind,
    taken: u64,
    /// What the system called acknowledged when nothing had been written; none if it does not count.
    base: Option<u64>,
}

impl Counted {
    fn new(kind: Kind) -> Counted {
        let base = match &kind {
            // A handshake acknowledges one (SYN); a system that says 0 does not count at all.
            Kind::Tcp(socket) => receipt::tcp_acknowledged(socket).filter(|n| *n > 0),
            Kind::Unix(_) => Some(0),
        };
        Counted { kind, taken: 0, base }
    }
}

impl AsyncRead for Counted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Kind::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Counted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(match &mut this.kind {
            Kind::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Kind::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        })?;
        this.taken += n as u64;
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(match &mut this.kind {
            Kind::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, parts),
            Kind::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, parts),
        })?;
        this.taken += n as u64;
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Kind::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// A connection in use.
pub(super) enum Line {
    /// The bytes as they are.
    Plain(Counted),
    /// Encrypted.
    Tls(Box<TlsStream<Counted>>),
}

impl Line {
    /// To one address. The caller limits the time.
    pub(super) async fn tcp(
        address: SocketAddr,
        host: &str,
        tls: Option<&Connector>,
        patience: Duration,
    ) -> io::Result<Line> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let options = SockRef::from(&socket);
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY)
            .with_retries(KEEPALIVE_PROBES);
        // A system that does not know these still works: the sender's own patience is the rule.
        let _ = options.set_tcp_keepalive(&keepalive);
        let _ = options.set_tcp_user_timeout(Some(patience));
        let counted = Counted::new(Kind::Tcp(socket));
        match tls {
            None => Ok(Line::Plain(counted)),
            Some(connector) => {
                let mut stream = Box::new(connector.connect(host, counted).await?);
                accepted(&mut stream).await.map_err(|e| in_words(host, e))?;
                Ok(Line::Tls(stream))
            }
        }
    }

    /// To a socket file.
    pub(super) async fn unix(path: &Path) -> io::Result<Line> {
        let socket = UnixStream::connect(path).await.map_err(|e| unix_words(path, e))?;
        Ok(Line::Plain(Counted::new(Kind::Unix(socket))))
    }

    fn counted(&self) -> &Counted {
        match self {
            Line::Plain(counted) => counted,
            Line::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Bytes that the system took so far, as they go over the wire.
    pub(super) fn taken(&self) -> u64 {
        self.counted().taken
    }

    /// Whether a byte that is written is one byte on the wire.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Line::Plain(_))
    }

    /// Whether it is a unix socket: the other side is on this machine and cannot vanish unseen.
    pub(super) fn is_unix(&self) -> bool {
        matches!(self.counted().kind, Kind::Unix(_))
    }

    /// Of the bytes taken, how many the other side surely has. For a unix socket this is to be believed only if
    /// the connection stands when it is looked at afterwards.
    pub(super) fn arrived(&self) -> u64 {
        let Counted { kind, taken, base } = self.counted();
        match (kind, base) {
            (Kind::Tcp(socket), Some(base)) => {
                receipt::tcp_acknowledged(socket).map_or(*taken, |n| n.saturating_sub(*base).min(*taken))
            }
            (Kind::Unix(socket), _) => {
                receipt::unix_unread(socket).map_or(*taken, |unread| taken.saturating_sub(unread))
            }
            (Kind::Tcp(_), None) => *taken,
        }
    }

    /// How the connection is now.
    pub(super) fn state(&self) -> State {
        match &self.counted().kind {
            Kind::Tcp(socket) => receipt::state(socket),
            Kind::Unix(socket) => receipt::state(socket),
        }
    }

    /// Throws away what the system has not sent yet: it must not arrive after it was given up here.
    pub(super) fn cut(self) {
        if let Kind::Tcp(socket) = &self.counted().kind {
            // Zero seconds: a reset at once, so closing does not block.
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
}

/// TLS 1.3 is done for us before the other side has looked at our certificate: what is sent at once would be
/// taken by its system and thrown away by its process. Nearly every server says something first (a ticket, or why
/// not); one that says nothing gets the benefit of the doubt.
async fn accepted(stream: &mut TlsStream<Counted>) -> io::Result<()> {
    let (counted, session) = stream.get_ref();
    if session.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return Ok(());
    }
    if let Kind::Tcp(socket) = &counted.kind
        && timeout(FIRST_WORD, socket.readable()).await.is_err()
    {
        return Ok(());
    }
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    poll_fn(|cx| match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
        Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
        Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
    })
    .await
}

macro_rules! each {
    ($self:ident, $line:ident => $call:expr) => {
        match $self.get_mut() {
            Line::Plain($line) => $call,
            Line::Tls($line) => $call,
        }
    };
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, line => Pin::new(line).poll_read(cx, buf))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, line => Pin::new(line).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, line => Pin::new(line).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, line => Pin::new(line).poll_shutdown(cx))
    }
}
