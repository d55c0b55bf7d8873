//! What the worker writes goes on to our own output as it is, when no sink writes there. A reader that does not read
//! holds up neither the worker nor us: what finds no room is counted.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes that may wait for our own output.
const WAITING_MAX: usize = 4 << 20;
/// Pieces that may wait.
const PIECES_MAX: usize = 1024;
/// Bytes that are written at once.
const BATCH: usize = 256 << 10;
/// How long an output that somebody made non-blocking may stay full.
const FULL_WAIT: Duration = Duration::from_millis(5);
const FULL_TRIES: u32 = 200;
/// How long the rest may take at the end.
const LAST: Duration = Duration::from_millis(500);

/// A way to one of our own outputs.
pub(super) struct Pass {
    /// None when there is no such output any more.
    to: Option<Sender<Vec<u8>>>,
    waiting: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Pass {
    /// To standard output, or to standard error.
    pub(super) fn to(output: io::Result<File>) -> Pass {
        let (to, queue) = channel(PIECES_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let task = tokio::task::spawn_local(run(output.ok(), queue, waiting.clone()));
        Pass { to: Some(to), waiting, task }
    }

    /// Writes, without waiting; how many lines found no room.
    pub(super) fn write(&mut self, bytes: &[u8]) -> u64 {
        let lines = || memchr::memchr_iter(b'\n', bytes).count() as u64;
        if self.waiting.load(Relaxed) + bytes.len() > WAITING_MAX {
            return lines();
        }
        match self.to.as_ref().map(|to| to.try_send(bytes.to_vec())) {
            Some(Ok(())) => {
                self.waiting.fetch_add(bytes.len(), Relaxed);
                0
            }
            _ => lines(),
        }
    }

    /// Writes what waits, for a limited time.
    pub(super) async fn end(mut self) {
        self.to = None;
        let _ = tokio::time::timeout(LAST, &mut self.task).await;
    }
}

async fn run(output: Option<File>, mut queue: Receiver<Vec<u8>>, waiting: Arc<AtomicUsize>) {
    let Some(mut file) = output else { return };
    while let Some(mut bytes) = queue.recv().await {
        while bytes.len() < BATCH
            && let Ok(more) = queue.try_recv()
        {
            bytes.extend_from_slice(&more);
        }
        let n = bytes.len();
        let written = tokio::task::spawn_blocking(move || {
            let result = write_all(&mut file, &bytes);
            (file, result)
        });
        // A reader that is gone: nothing will be read any more.
        let Ok((back, Ok(()))) = written.await else { return };
        file = back;
        waiting.fetch_sub(n, Relaxed);
    }
}

fn write_all(out: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    let mut full = 0;
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                full = 0;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && full < FULL_TRIES => {
                full += 1;
                std::thread::sleep(FULL_WAIT);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
