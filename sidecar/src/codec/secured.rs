//! An encrypted connection: what its codec asks of a socket, answered by the session above the socket.

use super::stream::{Socket, Stream};
use crate::tls::{self, Acceptor, Connector, Peer};
use rustls::CommonState;
use socket2::SockRef;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

/// Reads of one look at a connection that rests: a server sends some session tickets and changes its key now and then,
/// and no more.
const LOOKS_MAX: usize = 8;

/// The bytes of a session as they stand on the wire.
#[derive(Debug)]
struct Wire {
    stream: Stream,
    left: u64,
}

/// A session over a socket.
#[derive(Debug)]
pub struct Secured {
    session: TlsStream<Wire>,
    failed: Failed,
}

/// What a session failed of, once it has: for those who are told less.
pub(super) type Failed = Rc<RefCell<Option<io::Error>>>;

impl Secured {
    pub(super) async fn accept(stream: Stream, acceptor: &Acceptor) -> io::Result<Box<Secured>> {
        let session = acceptor.accept(Wire { stream, left: 0 }).await?;
        Ok(Box::new(Secured { session: session.into(), failed: Failed::default() }))
    }

    pub(super) async fn connect(stream: Stream, host: &str, connector: &Connector) -> io::Result<Box<Secured>> {
        let session = connector.connect_now(host, Wire { stream, left: 0 }).await?;
        Ok(Box::new(Secured { session: session.into(), failed: Failed::default() }))
    }

    fn common(&self) -> (&Wire, &CommonState) {
        self.session.get_ref()
    }

    /// The socket below.
    pub(super) fn socket(&self) -> &Socket {
        self.common().0.stream.socket()
    }

    /// What it failed of, now or later.
    pub(super) fn failed(&self) -> Failed {
        self.failed.clone()
    }

    /// Bytes that have left.
    pub(super) fn left(&self) -> u64 {
        self.common().0.left
    }

    /// Whether both sides agreed on HTTP/2 (ALPN).
    pub(super) fn speaks_two(&self) -> bool {
        self.common().1.alpn_protocol() == Some(b"h2")
    }

    /// Who the other side is, if it has shown a certificate.
    pub(super) fn peer(&self) -> Option<Peer> {
        tls::peer(self.common().1)
    }

    /// How it is encrypted.
    pub(super) fn session(&self) -> Option<tls::Session> {
        tls::session(self.common().1)
    }

    /// The server name that a caller asked for, in lower case.
    pub(super) fn server_name(&self) -> Option<std::sync::Arc<str>> {
        let TlsStream::Server(stream) = &self.session else { return None };
        stream.get_ref().1.server_name().map(|name| name.to_ascii_lowercase().into())
    }

    /// Ready when there is something to read, or its end. What the session itself is told (tickets, new keys) is taken
    /// and is nothing to read.
    pub(super) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (wire, session) = self.session.get_mut();
        // Most often nothing has come, and the session need not look for itself.
        if session.wants_read() {
            ready!(wire.stream.poll_read_ready(cx))?;
        }
        ready!(Pin::new(&mut self.session).poll_fill_buf(cx))?;
        Poll::Ready(Ok(()))
    }

    /// Whether the other side has said nothing and has not ended the connection, asked of the system itself. A ticket
    /// that came in the meantime is no reason to give a connection up, so what lies there is taken into the session.
    pub(super) fn is_silent(&mut self) -> bool {
        matches!(self.hear(), Heard::Nothing)
    }

    /// Takes what lies in the socket, without the event loop.
    fn hear(&mut self) -> Heard {
        let TlsStream::Client(stream) = &mut self.session else { return Heard::Something(None) };
        let (wire, session) = stream.get_mut();
        for _ in 0..LOOKS_MAX {
            let read = match wire.stream.socket() {
                Socket::Tcp(s) => session.read_tls(&mut &*SockRef::from(s)),
                Socket::Unix(s) => session.read_tls(&mut &*SockRef::from(s)),
                Socket::Tls(_) | Socket::Taken => return Heard::Something(None),
            };
            match read {
                Ok(0) => return Heard::Something(None),
                Ok(_) => match session.process_new_packets() {
                    Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
                    Ok(_) => return Heard::Something(None),
                    Err(e) => return Heard::Something(Some(e)),
                },
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(_) => return Heard::Something(None),
            }
        }
        Heard::Something(None)
    }

    /// A write that fails often has its reason in what the other side said before.
    fn written<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(written, Poll::Ready(Err(_)))
            && let Heard::Something(Some(e)) = self.hear()
        {
            *self.failed.borrow_mut() = Some(io::Error::new(io::ErrorKind::InvalidData, e));
        }
        written
    }
}

/// What a look at a connection found.
enum Heard {
    /// Nothing for us.
    Nothing,
    /// Something, or the end, or what the session failed of.
    Something(Option<rustls::Error>),
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.session).poll_read(cx, buf);
        if let Poll::Ready(Err(e)) = &read {
            *self.failed.borrow_mut() = tls::failure(e);
        }
        read
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.session).poll_write(cx, buf);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.session).poll_write_vectored(cx, bufs);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.session).poll_flush(cx);
        self.written(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.session).poll_shutdown(cx)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.left += n as u64;
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // One record is what there usually is, and the system takes one piece faster than a list of one.
        let n = match bufs {
            [one] => ready!(Pin::new(&mut self.stream).poll_write(cx, one))?,
            _ => ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?,
        };
        self.left += n as u64;
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
