//! Sockets of this machine that take lines.

use super::datagram::{Pieces, Taken};
use super::settings::Listen;
use super::source::{Shared, Source, now};
use super::split::{Ends, Splitter, uncounted};
use crate::sink::Place;
use nix::cmsg_space;
use nix::sys::socket::sockopt::{RcvBuf, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram};

/// Streams at once.
const STREAMS_MAX: usize = 64;
/// The largest datagram.
const DATAGRAM_MAX: usize = 64 << 10;
/// Bytes that the system keeps for a socket while we are busy elsewhere.
const BUFFER: usize = 4 << 20;
/// Datagrams that are read before others have their turn.
const ROUND: usize = 64;
/// How much earlier than the system's note a datagram over UDP may have been sent, in microseconds.
const UDP_SLACK: u64 = 1_000;
/// How much earlier than we read it a line of a stream may have been written, in microseconds.
const STREAM_SLACK: u64 = 50_000;
/// How long a socket rests after an error.
const ERROR_REST: Duration = Duration::from_millis(50);

/// A socket that is bound.
pub(super) enum Bound {
    Udp(UdpSocket),
    Tcp(TcpListener),
    Unix(UnixDatagram, SocketFile),
}

/// A socket's file, which ends with the socket.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds.
pub(super) fn bind(place: &Listen) -> io::Result<Bound> {
    Ok(match place {
        Listen::Udp(address) => {
            let socket = std::net::UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            stamped(&socket);
            Bound::Udp(UdpSocket::from_std(socket)?)
        }
        Listen::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Bound::Tcp(TcpListener::from_std(listener)?)
        }
        Listen::Unixgram(path) => {
            left_over(path)?;
            let socket = UnixDatagram::bind(path)?;
            stamped(&socket);
            Bound::Unix(socket, SocketFile(path.clone()))
        }
    })
}

/// A file that nobody receives at is left over from a crash and is replaced.
fn left_over(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(file) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    let asking = std::os::unix::net::UnixDatagram::unbound()?;
    if asking.connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process receives there"));
    }
    std::fs::remove_file(path)
}

/// The system notes when each datagram came; where it cannot, reading it has to do.
fn stamped(socket: &impl AsFd) {
    let _ = setsockopt(socket, ReceiveTimestampns, &true);
    let _ = setsockopt(socket, RcvBuf, &BUFFER);
}

/// Takes lines until it is aborted.
pub(super) async fn run(shared: Rc<Shared>, socket: Bound) {
    match socket {
        Bound::Udp(socket) => {
            let mut inbox = Datagrams::new(&shared, "udp", UDP_SLACK);
            loop {
                if socket.readable().await.is_err() || !inbox.read(|f| socket.try_io(Interest::READABLE, || f(&socket)))
                {
                    tokio::time::sleep(ERROR_REST).await;
                }
                tokio::task::yield_now().await;
            }
        }
        Bound::Unix(socket, _file) => {
            // Sending to a socket of this kind puts the datagram there at once.
            let mut inbox = Datagrams::new(&shared, "unixgram", 0);
            loop {
                if socket.readable().await.is_err() || !inbox.read(|f| socket.try_io(Interest::READABLE, || f(&socket)))
                {
                    tokio::time::sleep(ERROR_REST).await;
                }
                tokio::task::yield_now().await;
            }
        }
        Bound::Tcp(listener) => accept(shared, listener).await,
    }
}

struct Datagrams {
    shared: Rc<Shared>,
    source: Source,
    pieces: Pieces,
    bytes: Vec<u8>,
    slack: u64,
}

/// A datagram's length, when it came, and whether it was longer.
type Received = (usize, Option<u64>, bool);

impl Datagrams {
    fn new(shared: &Rc<Shared>, name: &'static str, slack: u64) -> Datagrams {
        let source = Source::new(shared, name);
        Datagrams { shared: shared.clone(), source, pieces: Pieces::default(), bytes: vec![0; DATAGRAM_MAX], slack }
    }

    /// Reads what is there; false after an error.
    fn read(
        &mut self,
        mut receive: impl FnMut(&mut dyn FnMut(&dyn AsRawFd) -> io::Result<Received>) -> io::Result<Received>,
    ) -> bool {
        for _ in 0..ROUND {
            let bytes = &mut self.bytes;
            match receive(&mut |socket| one(socket, bytes)) {
                Ok((n, stamp, cut)) => self.take(n, stamp, cut),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, n: usize, stamp: Option<u64>, cut: bool) {
        let mut lost = 0;
        let taken = self.pieces.take(&self.bytes[..n], Instant::now(), &mut lost);
        let read = now();
        let place = match stamp {
            Some(at) => Place::Between(at.saturating_sub(self.slack), at),
            None => Place::Between(read.saturating_sub(STREAM_SLACK), read),
        };
        match taken {
            Taken::Whole(message) => {
                self.source.take(message.trim_ascii_end(), place, cut);
                // Each datagram is a record of its own.
                self.source.flush();
            }
            Taken::Piece => {}
            Taken::Malformed => lost += 1,
        }
        if lost > 0 {
            self.shared.hub.count_lines("malformed", lost);
        }
    }
}

fn one(socket: &dyn AsRawFd, bytes: &mut [u8]) -> io::Result<Received> {
    let mut control = cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(bytes)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let stamp = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|c| match c {
            ControlMessageOwned::ScmTimestampns(at) => {
                let (seconds, nanos) = (u64::try_from(at.tv_sec()).ok()?, u64::try_from(at.tv_nsec()).ok()?);
                Some(seconds.saturating_mul(1_000_000) + nanos / 1000)
            }
            _ => None,
        })
    });
    Ok((message.bytes, stamp, message.flags.contains(MsgFlags::MSG_TRUNC)))
}

/// One more stream, until dropped.
struct Open(Rc<Cell<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn accept(shared: Rc<Shared>, listener: TcpListener) {
    let open = Rc::new(Cell::new(0));
    let mut warned = false;
    // They end with the listener.
    let mut streams = tokio::task::JoinSet::new();
    loop {
        while streams.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ERROR_REST).await;
            continue;
        };
        if open.get() >= STREAMS_MAX {
            if !std::mem::replace(&mut warned, true) {
                tracing::warn!("more than {STREAMS_MAX} streams of lines: one is closed");
            }
            continue;
        }
        open.set(open.get() + 1);
        streams.spawn_local(read(shared.clone(), stream, Open(open.clone())));
    }
}

async fn read(shared: Rc<Shared>, mut stream: TcpStream, _open: Open) {
    let mut source = Source::new(&shared, "tcp");
    let mut splitter = Splitter::new(Ends::Any);
    let mut bytes = vec![0; 16 << 10];
    loop {
        let due = source.due().map(tokio::time::Instant::from_std);
        let taken = match due {
            None => stream.read(&mut bytes).await,
            Some(due) => match tokio::time::timeout_at(due, stream.read(&mut bytes)).await {
                Ok(taken) => taken,
                Err(_) => {
                    source.flush();
                    continue;
                }
            },
        };
        let n = match taken {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        let at = now();
        let place = Place::Between(at.saturating_sub(STREAM_SLACK), at);
        splitter.feed(&bytes[..n], |piece| source.take(uncounted(piece.bytes), place, piece.cut));
        tokio::task::yield_now().await;
    }
    let at = now();
    let place = Place::Between(at.saturating_sub(STREAM_SLACK), at);
    splitter.end(|piece| source.take(uncounted(piece.bytes), place, piece.cut));
}
