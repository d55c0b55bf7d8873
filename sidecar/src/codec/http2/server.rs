//! Connections of callers that speak HTTP/2 with prior knowledge.

use super::{CONNECTION_WINDOW, STREAM_WINDOW, call};
use crate::codec::life::Life;
use crate::codec::server::{Ended, Incoming};
use crate::codec::stream::{Socket, Stream};
use crate::exchange::{Answer, Limits};
use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection};
use std::future::Future;
use std::rc::Rc;
use std::task::{Poll, ready};

/// Streams one caller may have at once.
const STREAMS_MAX: u32 = 250;
/// Streams that their caller may have reset before we look at them (CVE-2023-44487): they count no longer among those
/// above, and still lie here. One more ends the connection.
const RESET_UNSEEN_MAX: usize = 20;
/// Streams that we reset and remember for a moment, because frames of them may still be on their way.
const RESET_KEPT_MAX: usize = 50;
/// Streams that we may have to reset because of what the caller does, over the life of its connection. Who errs more
/// often lets us work for nothing.
const RESET_FOR_ERRORS_MAX: usize = 1024;
/// What a stream may hold of its answer while the caller's window is shut. (A header block in many CONTINUATION frames
/// needs no limit of ours: `h2` has one that follows from the largest head.)
const SEND_BUFFER: usize = STREAM_WINDOW as usize;

/// Serves a connection until it ends. `first` are the bytes already read.
pub(in crate::codec) async fn serve<H, F>(
    socket: Socket,
    first: Vec<u8>,
    limits: &Limits,
    life: &Life,
    handle: H,
) -> Ended
where
    H: Fn(Incoming) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    life.multiplexes();
    let watcher = socket.watcher();
    life.watch(Some(Box::new(move || watcher.as_ref().is_some_and(|s| !matches!(s.take_error(), Ok(None))))));
    let handshake = Builder::new()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESET_UNSEEN_MAX)
        .max_concurrent_reset_streams(RESET_KEPT_MAX)
        .max_local_error_reset_streams(Some(RESET_FOR_ERRORS_MAX))
        .handshake(Stream::new(socket, first));
    let served = match handshake.await {
        Ok(conn) => accept(conn, life, Rc::new(handle), limits.headers).await,
        Err(e) => Err(e),
    };
    match served {
        Ok(()) => Ended::Well,
        Err(e) if e.is_library() && e.reason() != Some(Reason::ENHANCE_YOUR_CALM) => Ended::Malformed("not HTTP/2"),
        Err(_) => Ended::Broken,
    }
}

/// Takes streams until the connection ends, or is asked to and all of them have.
async fn accept<H, F>(
    mut conn: Connection<Stream, Bytes>,
    life: &Life,
    handle: Rc<H>,
    lines_max: usize,
) -> Result<(), h2::Error>
where
    H: Fn(Incoming) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    let mut told = false;
    std::future::poll_fn(|cx| {
        if life.is_ending() && !std::mem::replace(&mut told, true) {
            conn.graceful_shutdown();
        }
        while let Some(accepted) = ready!(conn.poll_accept(cx)) {
            let (request, respond) = accepted?;
            tokio::task::spawn_local(call::serve(request, respond, handle.clone(), lines_max));
        }
        Poll::Ready(Ok(()))
    })
    .await
}
