//! DNS by TCP. The library's own acceptor takes any number of connections, so this one stands in for it.

use super::handler::Handler;
use foldhash::HashMap;
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::NetError;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponse;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{self, AbortHandle, JoinSet};

/// So many connections are open at once; for one more, the one goes that has been silent for longest (RFC 7766 6.2.3).
const CONNECTIONS: usize = 256;
/// So many of one client, this machine apart; more are closed at once.
const OF_ONE: usize = 64;
/// A connection on which nothing came or went for that long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// After an error of accepting, as when there are no more file handles.
const PAUSE: Duration = Duration::from_millis(100);

/// An open connection.
struct Open {
    client: IpAddr,
    task: AbortHandle,
    /// When it asked last, or was opened: a number that grows from one to the next, whoever it was.
    asked: Arc<AtomicU64>,
}

/// Answers on a listener until it is dropped.
pub(super) async fn serve(listener: TcpListener, handler: Handler) {
    let mut tasks = JoinSet::new();
    let mut open: HashMap<task::Id, Open> = HashMap::default();
    let clock = Arc::new(AtomicU64::new(0));
    loop {
        let accepted = tokio::select! {
            Some(ended) = tasks.join_next_with_id() => {
                // A connection that fails is the client's to open again.
                let id = ended.map_or_else(|error| error.id(), |(id, _): (task::Id, io::Result<()>)| id);
                open.remove(&id);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let client = from.ip().to_canonical();
                if !client.is_loopback() && open.values().filter(|one| one.client == client).count() >= OF_ONE {
                    continue;
                }
                if open.len() >= CONNECTIONS {
                    close_silent(&mut open);
                }
                let asked = Arc::new(AtomicU64::new(tick(&clock)));
                let task = tasks.spawn(talk(stream, from, handler.clone(), (clock.clone(), asked.clone())));
                open.insert(task.id(), Open { client, task, asked });
            }
            Err(error) => {
                tracing::warn!(%error, "a DNS connection was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Closes the one that has asked nothing for longest.
fn close_silent(open: &mut HashMap<task::Id, Open>) {
    let silent = open.iter().min_by_key(|(_, one)| one.asked.load(Ordering::Relaxed)).map(|(id, _)| *id);
    if let Some(one) = silent.and_then(|id| open.remove(&id)) {
        one.task.abort();
    }
}

fn tick(clock: &AtomicU64) -> u64 {
    clock.fetch_add(1, Ordering::Relaxed)
}

async fn talk(
    mut stream: TcpStream,
    from: SocketAddr,
    handler: Handler,
    (clock, asked): (Arc<AtomicU64>, Arc<AtomicU64>),
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let bytes = tokio::time::timeout(IDLE, read(&mut stream)).await??;
        asked.store(tick(&clock), Ordering::Relaxed);
        let request = Request::from_bytes(bytes, from, Protocol::Tcp).map_err(io::Error::other)?;
        if request.metadata.message_type == hickory_proto::op::MessageType::Response {
            return Ok(());
        }
        let answer = Answer::default();
        handler.handle_request::<_, TokioTime>(&request, answer.clone()).await;
        if let Some(bytes) = answer.take() {
            tokio::time::timeout(IDLE, stream.write_all(&bytes)).await??;
        }
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Where the answer goes until it is written: with its length in front.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer(Arc<Mutex<Option<Vec<u8>>>>);

impl Answer {
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait::async_trait]
impl ResponseHandler for Answer {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut bytes = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut bytes);
        let info = response.destructive_emit(&mut encoder)?;
        let length = u16::try_from(bytes.len()).map_err(|_| NetError::from("the answer is too long"))?;
        let framed = [&length.to_be_bytes()[..], &bytes].concat();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(framed);
        Ok(info)
    }
}
