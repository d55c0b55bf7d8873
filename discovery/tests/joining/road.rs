//! A road to a registry that can be cut, stand still, or lose the stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How the road is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Open,
    /// Connections end, and new ones are refused.
    Cut,
    /// Nothing moves.
    Still,
    /// Who asks for the stream of changes gets what a Consul answers.
    NoStream,
}

pub(crate) struct Road {
    pub(crate) address: SocketAddr,
    how: watch::Sender<How>,
    /// Bytes that came back from the registry.
    carried: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Road {
    pub(crate) async fn to(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (how, seen) = watch::channel(How::Open);
        let carried = Arc::new(AtomicU64::new(0));
        let mut task = JoinSet::new();
        let counted = Arc::clone(&carried);
        task.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if *seen.borrow() != How::Cut {
                    open.spawn(carry(stream, registry, seen.clone(), Arc::clone(&counted)));
                }
            }
        });
        Road { address, how, carried, _task: task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, how: How) {
        self.how.send_replace(how);
    }

    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

async fn carry(mut near: TcpStream, registry: SocketAddr, mut how: watch::Receiver<How>, carried: Arc<AtomicU64>) {
    let Ok(mut far) = TcpStream::connect(registry).await else { return };
    let (mut there, mut back) = (vec![0; 65536], vec![0; 65536]);
    loop {
        let now = *how.borrow_and_update();
        match now {
            How::Cut => return,
            How::Still => {
                let _ = how.changed().await;
                continue;
            }
            How::Open | How::NoStream => {}
        }
        tokio::select! {
            changed = how.changed() => if changed.is_err() { return },
            read = near.read(&mut there) => match read {
                Ok(read) if read > 0 => {
                    if now == How::NoStream && there.starts_with(b"GET /v1/fourmi/") {
                        let text = "Invalid URL path: not a recognized HTTP API endpoint";
                        let head = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                        let _ = near.write_all(head.as_bytes()).await;
                        continue;
                    }
                    if far.write_all(&there[..read]).await.is_err() { return }
                }
                _ => return,
            },
            read = far.read(&mut back) => match read {
                Ok(read) if read > 0 => {
                    carried.fetch_add(read as u64, Ordering::Relaxed);
                    if near.write_all(&back[..read]).await.is_err() { return }
                }
                _ => return,
            },
        }
    }
}
