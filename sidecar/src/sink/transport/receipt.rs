//! What the system knows of the bytes that it took from us.
//!
//! TCP: the other side's system acknowledges bytes (TCP_INFO, `tcpi_bytes_acked`, Linux 4.1). They are in its
//! receive queue then, and a connection that its process ends in order (FIN) has been read to that point.
//!
//! Unix streams: bytes stay charged to the sender until the receiver has read them (SO_MEMINFO, the same number
//! as SIOCOUTQ, Linux 4.12). It counts whole buffers, so it says "at most so much is unread". When the receiver
//! goes away, what it had not read is thrown away and is no longer charged either: the number means something only
//! while the connection stands.

use nix::getsockopt_impl;
use nix::libc::{self, c_int};
use nix::sys::socket::{MsgFlags, getsockopt, recv};
use std::os::fd::{AsFd, AsRawFd};

/// The beginning of `struct tcp_info` of linux/tcp.h.
type TcpInfoBytes = [u8; 128];
/// Where `tcpi_bytes_acked` stands in it.
const BYTES_ACKED: std::ops::Range<usize> = 120..128;
/// `SO_MEMINFO` of asm-generic/socket.h.
const SO_MEMINFO: c_int = 55;
/// `SK_MEMINFO_VARS` of linux/sock_diag.h.
type MemInfo = [u32; 9];
/// `SK_MEMINFO_WMEM_ALLOC`.
const WMEM_ALLOC: usize = 2;

#[derive(Clone, Copy)]
struct TcpInfo;
getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    TcpInfoBytes,
    nix::sys::socket::sockopt::GetStruct<TcpInfoBytes>
);

#[derive(Clone, Copy)]
struct MemoryInfo;
getsockopt_impl!(MemoryInfo, libc::SOL_SOCKET, SO_MEMINFO, MemInfo, nix::sys::socket::sockopt::GetStruct<MemInfo>);

/// Bytes that the other side's system has acknowledged, those of the handshake included.
pub(super) fn tcp_acknowledged(socket: &impl AsFd) -> Option<u64> {
    let info = getsockopt(socket, TcpInfo).ok()?;
    Some(u64::from_ne_bytes(info[BYTES_ACKED].try_into().ok()?))
}

/// The most that the receiver on this machine has not read yet.
pub(super) fn unix_unread(socket: &impl AsFd) -> Option<u64> {
    Some(u64::from(getsockopt(socket, MemoryInfo).ok()?[WMEM_ALLOC]))
}

/// How a connection is, as the system sees it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It stands.
    Open,
    /// It stands, and bytes from the other side wait to be read.
    Talking,
    /// The other side has said everything, or has gone in order.
    Ended,
    /// It is broken.
    Broken,
}

/// Asks the system, past whatever the runtime has not been told yet.
pub(super) fn state(socket: &impl AsFd) -> State {
    let mut byte = [0];
    match recv(socket.as_fd().as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
        Ok(0) => State::Ended,
        Ok(_) => State::Talking,
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => State::Open,
        Err(_) => State::Broken,
    }
}
