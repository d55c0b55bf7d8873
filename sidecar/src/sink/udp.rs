//! A datagram socket to a named place that may move, be away, or not be known yet.

use super::counts::Counts;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How long an answer of the resolver is believed.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How soon it is asked again after an error.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
/// How long one question may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the system's send buffer may stay full.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// How many addresses of a name are kept.
const ADDRESSES_MAX: usize = 16;

type Lookup = JoinHandle<io::Result<Vec<SocketAddr>>>;

/// The socket, connected so that "nobody listens" comes back as an error.
pub(crate) struct UdpOut {
    host: String,
    port: u16,
    addresses: Vec<SocketAddr>,
    current: Option<SocketAddr>,
    socket: Option<UdpSocket>,
    lookup: Option<Lookup>,
    due: Instant,
    /// Whether the system takes many datagrams in one call (UDP_SEGMENT, Linux 4.18).
    pub(crate) segments: bool,
}

impl UdpOut {
    /// Nothing is opened or asked before [`UdpOut::ready`].
    pub(crate) fn new(host: &str, port: u16) -> UdpOut {
        UdpOut {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            addresses: Vec::new(),
            current: None,
            socket: None,
            lookup: None,
            due: Instant::now(),
            segments: true,
        }
    }

    /// Makes sure of an open socket; false when there is none to be had now. Asks the resolver again when it is
    /// time, without waiting for it unless `patient` or no address is known.
    pub(crate) async fn ready(&mut self, patient: bool, counts: &Counts) -> bool {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            self.addresses = vec![SocketAddr::new(ip, self.port)];
        } else {
            if self.lookup.is_none() && Instant::now() >= self.due {
                let (host, port) = (self.host.clone(), self.port);
                self.lookup = Some(tokio::spawn(async move {
                    let found = tokio::net::lookup_host((host.as_str(), port)).await?;
                    Ok(found.take(ADDRESSES_MAX).collect())
                }));
            }
            self.take_lookup(patient, counts).await;
        }
        if self.socket.is_none() {
            self.open(counts);
        }
        self.socket.is_some()
    }

    async fn take_lookup(&mut self, patient: bool, counts: &Counts) {
        let Some(lookup) = self.lookup.as_mut() else { return };
        if !lookup.is_finished() && !patient && !self.addresses.is_empty() {
            return;
        }
        let found = match timeout(RESOLVE_TIMEOUT, lookup).await {
            Ok(Ok(Ok(found))) if !found.is_empty() => Ok(found),
            Ok(Ok(Ok(_))) => Err("no address".to_owned()),
            Ok(Ok(Err(e))) => Err(e.to_string()),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err("the resolver does not answer".to_owned()),
        };
        if let Some(lookup) = self.lookup.take() {
            lookup.abort();
        }
        match found {
            Ok(found) => {
                self.due = Instant::now() + RESOLVE_EVERY;
                if self.current.is_none_or(|current| !found.contains(&current)) {
                    self.socket = None;
                    self.current = None;
                }
                self.addresses = found;
            }
            // The old addresses are better than none.
            Err(why) => {
                self.due = Instant::now() + RESOLVE_AGAIN;
                counts.note(&format_args!("{}: {why}", self.host));
            }
        }
    }

    /// Opens a socket to the address after the one that failed, or to the first.
    fn open(&mut self, counts: &Counts) {
        let n = self.addresses.len();
        let first = self.current.and_then(|c| self.addresses.iter().position(|a| *a == c)).map_or(0, |i| i + 1);
        for i in 0..n {
            let address = self.addresses[(first + i) % n];
            match connected(address) {
                Ok(socket) => {
                    self.socket = Some(socket);
                    self.current = Some(address);
                    return;
                }
                Err(e) => counts.note(&format_args!("{address}: {e}")),
            }
        }
    }

    /// The address in use did not take it: the next one is tried, and the name is asked for again soon.
    pub(crate) fn failed(&mut self) {
        self.due = self.due.min(Instant::now() + RESOLVE_AGAIN);
        if self.addresses.len() > 1 {
            self.socket = None;
        }
    }

    /// Sends one datagram.
    pub(crate) async fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.attempt(|socket| socket.try_send(packet)).await
    }

    /// Sends the bytes as datagrams of `segment` bytes, the last one possibly shorter, in one system call.
    pub(crate) async fn send_segments(&mut self, packets: &[u8], segment: u16) -> io::Result<()> {
        self.attempt(|socket| {
            socket.try_io(Interest::WRITABLE, || {
                let control = [ControlMessage::UdpGsoSegments(&segment)];
                sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(packets)], &control, MsgFlags::empty(), None)
                    .map_err(io::Error::from)
            })
        })
        .await
    }

    async fn attempt(&mut self, send: impl Fn(&UdpSocket) -> io::Result<usize>) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut stale = true;
        loop {
            match send(socket) {
                Ok(_) => break,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    timeout(SEND_TIMEOUT, socket.writable()).await.map_err(|_| io::ErrorKind::TimedOut)??;
                }
                // Late news of an earlier datagram: this one has not been tried yet.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused && std::mem::take(&mut stale) => {}
                Err(e) => return Err(e),
            }
        }
        // On the same machine, "nobody listens" is known at once.
        match socket.take_error()? {
            Some(e) => Err(e),
            None => Ok(()),
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
