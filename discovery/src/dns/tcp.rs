//! DNS by TCP. The library's own acceptor takes any number of connections, so this one stands in for it.

use super::handler::Handler;
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::NetError;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponse;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// So many connections are open at once; more wait.
const CONNECTIONS: usize = 256;
/// A connection on which nothing came or went for that long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// After an error of accepting, as when there are no more file handles.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers on a listener until it is dropped.
pub(super) async fn serve(listener: TcpListener, handler: Handler) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = tokio::task::JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let handler = handler.clone();
                open.spawn(async move {
                    // A connection that fails is the client's to open again.
                    let _ = talk(stream, from, handler).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a DNS connection was not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn talk(mut stream: TcpStream, from: SocketAddr, handler: Handler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let bytes = tokio::time::timeout(IDLE, read(&mut stream)).await??;
        let request = Request::from_bytes(bytes, from, Protocol::Tcp).map_err(io::Error::other)?;
        if request.metadata.message_type == hickory_proto::op::MessageType::Response {
            return Ok(());
        }
        let answer = Answer::default();
        handler.handle_request::<_, TokioTime>(&request, answer.clone()).await;
        let bytes = answer.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(bytes) = bytes {
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
struct Answer(Arc<Mutex<Option<Vec<u8>>>>);

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
