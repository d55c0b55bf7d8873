//! A datagram socket to a named place that may move, be away, or not be known yet.

use super::super::counts::Counts;
use super::resolver::Resolver;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, sendmmsg, sendmsg};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::timeout;

/// How long the system's send buffer, or the queue of a receiver on this machine, may stay full.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Datagrams of one call without UDP_SEGMENT.
pub(crate) const MANY_MAX: usize = 32;

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Socket {
    async fn writable(&self) -> io::Result<()> {
        match self {
            Socket::Udp(socket) => socket.writable().await,
            Socket::Unix(socket) => socket.writable().await,
        }
    }

    fn try_io<R>(&self, call: impl FnOnce(RawFd) -> nix::Result<R>) -> io::Result<R> {
        match self {
            Socket::Udp(s) => s.try_io(Interest::WRITABLE, || call(s.as_raw_fd()).map_err(io::Error::from)),
            Socket::Unix(s) => s.try_io(Interest::WRITABLE, || call(s.as_raw_fd()).map_err(io::Error::from)),
        }
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Socket::Udp(socket) => socket.take_error(),
            Socket::Unix(socket) => socket.take_error(),
        }
    }
}

enum Place {
    Udp { resolver: Resolver, current: Option<SocketAddr> },
    Unix(PathBuf),
}

/// What became of datagrams that were sent together.
#[derive(Debug, Default)]
pub(crate) struct Many {
    /// Taken by the system.
    pub(crate) sent: usize,
    /// Refused.
    pub(crate) lost: usize,
    /// Why, if any was refused.
    pub(crate) error: Option<io::Error>,
}

impl Many {
    /// The system keeps to itself why it stopped halfway. A full buffer shows in the next call; a refusal, which is
    /// news of the last datagram that it took, does not.
    fn refused_before(&mut self, cut_short: &mut bool) {
        if std::mem::take(cut_short) {
            self.sent -= 1;
            self.lost += 1;
            self.error = Some(io::ErrorKind::ConnectionRefused.into());
        }
    }
}

/// The socket, connected so that "nobody listens" comes back as an error.
pub(crate) struct DatagramOut {
    place: Place,
    socket: Option<Socket>,
    /// Whether the system takes many datagrams in one call as one buffer (UDP_SEGMENT, Linux 4.18).
    pub(crate) segments: bool,
}

impl DatagramOut {
    /// UDP. Nothing is opened or asked before [`DatagramOut::ready`].
    pub(crate) fn udp(host: &str, port: u16) -> DatagramOut {
        DatagramOut::resolved(Resolver::new(host, port))
    }

    /// UDP to what a resolver finds.
    pub(crate) fn resolved(resolver: Resolver) -> DatagramOut {
        DatagramOut { place: Place::Udp { resolver, current: None }, socket: None, segments: true }
    }

    /// A unix datagram socket with a path.
    pub(crate) fn unix(path: &Path) -> DatagramOut {
        DatagramOut { place: Place::Unix(path.to_owned()), socket: None, segments: false }
    }

    /// Makes sure of an open socket; false when there is none to be had now. Asks the resolver again when it is
    /// time, without waiting for it unless `patient` or no address is known.
    pub(crate) async fn ready(&mut self, patient: bool, counts: &Counts) -> bool {
        if let Place::Udp { resolver, current } = &mut self.place {
            resolver.refresh(patient).await;
            if let Some(why) = resolver.take_trouble() {
                counts.trouble(&io::Error::new(io::ErrorKind::HostUnreachable, why));
            }
            if current.is_some_and(|c| !resolver.addresses().contains(&c)) {
                self.socket = None;
                *current = None;
            }
        }
        if self.socket.is_none() {
            self.open(counts);
        }
        self.socket.is_some()
    }

    /// Opens a socket to the address after the one that failed, or to the first.
    fn open(&mut self, counts: &Counts) {
        let (resolver, current) = match &mut self.place {
            Place::Udp { resolver, current } => (resolver, current),
            Place::Unix(path) => {
                match unix_connected(path) {
                    Ok(socket) => self.socket = Some(Socket::Unix(socket)),
                    Err(e) => counts.trouble(&e),
                }
                return;
            }
        };
        let addresses = resolver.addresses();
        let n = addresses.len();
        let first = current.and_then(|c| addresses.iter().position(|a| *a == c)).map_or(0, |i| i + 1);
        for i in 0..n {
            let address = addresses[(first + i) % n];
            match connected(address) {
                Ok(socket) => {
                    self.socket = Some(Socket::Udp(socket));
                    *current = Some(address);
                    return;
                }
                Err(e) => counts.trouble(&io::Error::new(e.kind(), format!("{address}: {e}"))),
            }
        }
        if n > 0 {
            resolver.failed();
        }
    }

    /// The address in use did not take it: the next one is tried, and the name is asked for again soon.
    pub(crate) fn failed(&mut self) {
        match &mut self.place {
            Place::Udp { resolver, .. } => {
                resolver.failed();
                if resolver.addresses().len() > 1 {
                    self.socket = None;
                }
            }
            Place::Unix(_) => self.socket = None,
        }
    }

    /// Sends one datagram.
    pub(crate) async fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.attempt(|fd| sendmsg::<()>(fd, &[IoSlice::new(packet)], &[], MsgFlags::MSG_NOSIGNAL, None).map(|_| ()))
            .await
    }

    /// Sends the bytes as datagrams of `segment` bytes, the last one possibly shorter, in one system call.
    pub(crate) async fn send_segments(&mut self, packets: &[u8], segment: u16) -> io::Result<()> {
        self.attempt(|fd| {
            let control = [ControlMessage::UdpGsoSegments(&segment)];
            sendmsg::<()>(fd, &[IoSlice::new(packets)], &control, MsgFlags::empty(), None).map(|_| ())
        })
        .await
    }

    /// Sends datagrams of any lengths, up to [`MANY_MAX`] in one system call. What is refused is not tried again.
    pub(crate) async fn send_many(&mut self, datagrams: &[&[u8]]) -> Many {
        let mut many = Many::default();
        let mut rest = datagrams;
        let mut cut_short = false;
        while !rest.is_empty() {
            let now = &rest[..rest.len().min(MANY_MAX)];
            match self.attempt(|fd| send_some(fd, now)).await {
                Ok(taken) => {
                    many.refused_before(&mut cut_short);
                    let taken = taken.clamp(1, now.len());
                    cut_short = taken < now.len() && matches!(self.place, Place::Udp { .. });
                    many.sent += taken;
                    rest = &rest[taken..];
                }
                Err(e) => {
                    // Any other error is why it stopped there.
                    cut_short &= e.kind() == io::ErrorKind::ConnectionRefused;
                    many.refused_before(&mut cut_short);
                    many.lost += 1;
                    many.error = Some(e);
                    rest = &rest[1..];
                    if self.socket.is_none() {
                        many.lost += rest.len();
                        break;
                    }
                }
            }
        }
        many
    }

    /// One call, again when there was no room, or when the receiver's socket file is a new one.
    async fn attempt<R>(&mut self, call: impl Fn(RawFd) -> nix::Result<R>) -> io::Result<R> {
        let mut stale = true;
        loop {
            let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
            let result = match socket.try_io(&call) {
                Ok(done) => {
                    // On the same machine, "nobody listens" is known at once.
                    if let Some(e) = socket.take_error()? {
                        return Err(e);
                    }
                    return Ok(done);
                }
                Err(e) => e,
            };
            match (&self.place, result.raw_os_error().map(Errno::from_raw)) {
                (place, _) if result.kind() == io::ErrorKind::WouldBlock => {
                    let full = |_| io::Error::new(io::ErrorKind::TimedOut, full(place));
                    timeout(SEND_TIMEOUT, socket.writable()).await.map_err(full)??;
                }
                // Late news of an earlier datagram: this one has not been tried yet.
                (Place::Udp { .. }, Some(Errno::ECONNREFUSED)) if std::mem::take(&mut stale) => {}
                // The receiver that we knew is gone; there may be another by the same path.
                (Place::Unix(path), Some(Errno::ECONNREFUSED | Errno::ENOTCONN | Errno::ECONNRESET | Errno::EPIPE))
                    if std::mem::take(&mut stale) =>
                {
                    self.socket = None;
                    self.socket = Some(Socket::Unix(unix_connected(path)?));
                }
                // Who asks about the size needs the system's own error.
                (Place::Unix(path), errno) if errno != Some(Errno::EMSGSIZE) => return Err(unix_words(path, result)),
                _ => return Err(result),
            }
        }
    }

    /// Whether an error says that this system or device does not do UDP_SEGMENT for such datagrams.
    pub(crate) fn refuses_segments(error: &io::Error) -> bool {
        matches!(
            error.raw_os_error().map(Errno::from_raw),
            Some(Errno::EINVAL | Errno::EIO | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP | Errno::EMSGSIZE)
        )
    }

    /// Whether the datagram was larger than the way allows.
    pub(crate) fn too_large(error: &io::Error) -> bool {
        error.raw_os_error() == Some(Errno::EMSGSIZE as i32)
    }
}

fn full(place: &Place) -> String {
    match place {
        Place::Udp { .. } => "the system's send buffer stays full".to_owned(),
        Place::Unix(path) => format!("{}: the receiver does not read and its queue is full (EAGAIN)", path.display()),
    }
}

fn send_some(fd: RawFd, datagrams: &[&[u8]]) -> nix::Result<usize> {
    let slices: Vec<[IoSlice<'_>; 1]> = datagrams.iter().map(|d| [IoSlice::new(d)]).collect();
    let nobody = [None::<()>; MANY_MAX];
    let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
    let sent = sendmmsg(fd, &mut headers, &slices, &nobody[..slices.len()], [], MsgFlags::MSG_NOSIGNAL)?;
    Ok(sent.count())
}

fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    UdpSocket::from_std(socket)
}

fn unix_connected(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path).map_err(|e| unix_words(path, e))?;
    Ok(socket)
}

/// A unix socket's error with its path and what it means.
pub(super) fn unix_words(path: &Path, error: io::Error) -> io::Error {
    let meaning = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => "no such socket (ENOENT): is the receiver started, and the folder shared with it?",
        Some(Errno::ECONNREFUSED) => "nobody listens on this socket any more (ECONNREFUSED)",
        Some(Errno::EAGAIN) => "the receiver does not take more (EAGAIN)",
        Some(Errno::EACCES) => "we may not write to this socket (EACCES): see its mode and owner",
        Some(Errno::EPROTOTYPE) => "a unix socket of another kind, stream or datagram (EPROTOTYPE)",
        _ => return io::Error::new(error.kind(), format!("{}: {error}", path.display())),
    };
    io::Error::new(error.kind(), format!("{}: {meaning}", path.display()))
}

#[cfg(test)]
mod tests;
