//! The first bytes of a connection: what it speaks.

use crate::codec::Socket;
use crate::codec::proxy_protocol::{self, Parsed};
use crate::codec::server::PREFACE;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;

/// Enough for either HTTP preface or a PROXY protocol header.
const FIRST: usize = 4096 + 16;

/// The first bytes of a connection.
pub(super) struct First {
    pub(super) bytes: Vec<u8>,
    /// The caller, where a PROXY protocol header tells it.
    pub(super) source: Option<SocketAddr>,
}

/// Reads as much as it takes to tell HTTP/2 from HTTP/1 (or, if `any`, anything from nothing), after a PROXY protocol
/// header where one may come.
pub(super) async fn read_first(socket: &mut Socket, proxy: bool, any: bool) -> Result<First, Option<&'static str>> {
    let mut bytes = Vec::with_capacity(1024);
    let mut source = None;
    let mut header = proxy;
    loop {
        if header {
            match proxy_protocol::parse(&bytes) {
                Parsed::NotProxy => header = false,
                Parsed::Invalid(why) => return Err(Some(why)),
                Parsed::Done { len, source: told } => {
                    bytes.drain(..len);
                    source = told;
                    header = false;
                }
                Parsed::Partial => {}
            }
        }
        if !header && !bytes.is_empty() {
            let n = bytes.len().min(PREFACE.len());
            if any || bytes[..n] != PREFACE[..n] || n == PREFACE.len() {
                return Ok(First { bytes, source });
            }
        }
        if bytes.len() >= FIRST {
            return Err(Some("its first bytes are not HTTP"));
        }
        match socket.read_buf(&mut bytes).await {
            Ok(0) if header || bytes.is_empty() => return Err(None),
            Ok(0) => return Ok(First { bytes, source }),
            Ok(_) => {}
            Err(_) => return Err(None),
        }
    }
}
