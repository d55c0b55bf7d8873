//! Connections of callers: HTTP/1 and HTTP/2 on one port, told apart by what was agreed on in the TLS handshake, or by
//! their first bytes.

pub use super::life::Life;

use super::stream::{Socket, Stream};
use super::zmtp::wire::Message;
use super::{http1, http2};
use crate::exchange::frames::{Inlet, Proved};
use crate::exchange::{Answer, Body, Early, Fault, Head, Limits, Protocol};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;

/// How an HTTP/2 connection with prior knowledge begins (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One request as the codec hands it over.
pub struct Incoming {
    /// The head, or why it cannot be served.
    pub head: Result<Head, (Head, Fault)>,
    /// The body, still on the wire.
    pub body: Body,
    /// How it came.
    pub protocol: Protocol,
    /// The way to the connection's bytes, when another protocol is asked for.
    pub upgrade: Option<Upgrade>,
    /// The way of informational answers.
    pub early: Early,
    /// A message of ZeroMQ, which is yet to become a head and a body.
    pub message: Option<Box<Asked>>,
}

/// A message of a caller's, without its envelope.
pub struct Asked {
    /// Its frames.
    pub frames: Message,
    /// How it is read, and answered.
    pub inlet: Arc<Inlet>,
    /// What its connection has proved.
    pub proved: Rc<Proved>,
    /// It has no envelope, and should have one.
    pub bare: bool,
}

/// The way to the raw bytes of a connection, once both sides have agreed on another protocol.
pub struct Upgrade(oneshot::Receiver<Stream>);

impl Upgrade {
    pub(super) fn new(stream: oneshot::Receiver<Stream>) -> Self {
        Upgrade(stream)
    }
}

/// Bytes that a tunnel has carried so far.
#[derive(Debug, Default, Clone)]
pub struct Carried {
    /// To the instance.
    pub inward: Rc<Cell<u64>>,
    /// To the caller.
    pub outward: Rc<Cell<u64>>,
}

/// Relays bytes both ways until both sides have ended, and counts them as they pass.
pub async fn relay(near: Upgrade, far: Stream, carried: &Carried) -> std::io::Result<()> {
    let near = near.0.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionAborted))?;
    let (mut near, mut far) = (near.counted(carried.inward.clone()), far.counted(carried.outward.clone()));
    tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
}

/// Why a connection of a caller ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    Well,
    /// What came is not HTTP, and why; answered 400 where that was possible.
    Malformed(&'static str),
    /// The header block was over the limit; answered 431.
    HeadTooLarge,
    /// What came is not what is spoken here, and why; it was closed.
    Refused(String),
    /// Who it was that could not prove it.
    Login(String),
    /// The connection broke.
    Broken,
}

/// Serves a connection until it ends.
pub async fn serve<H, F>(socket: Socket, first: Vec<u8>, limits: &Limits, life: Rc<Life>, handle: H) -> Ended
where
    H: Fn(Incoming) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    let ended = if socket.speaks_two() || first.starts_with(PREFACE) {
        // Rare beside HTTP/1, and large.
        let mut serving = Box::pin(http2::server::serve(socket, first, limits, &life, handle));
        life.rule(serving.as_mut()).await
    } else {
        life.rule(pin!(http1::server::serve(socket, first, limits, &life, handle))).await
    };
    life.watch(None);
    ended.unwrap_or(Ended::Well)
}
