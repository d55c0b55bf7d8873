//! Ports and streams.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};
use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Where the next search for a port starts. The range lies below the ephemeral one, so that no outgoing
/// connection of another test can sit on a port between its choice and its use.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A TCP port of the loopback address that nobody listens on.
pub fn free_port() -> u16 {
    let start = (std::process::id() % 150) as u16 * 80;
    for _ in 0..12_000 {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if nobody_listens(port) && std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20000 and 32000");
}

/// Asked by a socket that does not listen itself: a child that another thread has just begun holds a copy of it for a
/// moment, and only one that listens would be in the way then.
fn nobody_listens(port: u16) -> bool {
    let asked = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    asked.is_ok_and(|socket| {
        setsockopt(&socket, sockopt::ReuseAddr, &true).is_ok()
            && bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).is_ok()
    })
}

/// A stream over TCP or a unix socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// A second handle on the same stream.
    pub fn twin(&self) -> Stream {
        match self {
            Stream::Tcp(s) => Stream::Tcp(s.try_clone().unwrap()),
            Stream::Unix(s) => Stream::Unix(s.try_clone().unwrap()),
        }
    }
    /// Closes one or both directions; a stream that is gone already is closed enough.
    pub fn shutdown(&self, how: Shutdown) {
        let _ = match self {
            Stream::Tcp(s) => s.shutdown(how),
            Stream::Unix(s) => s.shutdown(how),
        };
    }
    /// How long a read may take before the test fails.
    pub fn read_timeout(&self, limit: Option<Duration>) {
        match self {
            Stream::Tcp(s) => s.set_read_timeout(limit).unwrap(),
            Stream::Unix(s) => s.set_read_timeout(limit).unwrap(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        match self {
            Stream::Tcp(s) => s.read(buf),
            Stream::Unix(s) => s.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> Result<usize> {
        match self {
            Stream::Tcp(s) => s.write(buf),
            Stream::Unix(s) => s.write(buf),
        }
    }
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
