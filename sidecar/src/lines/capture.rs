//! The worker's standard output and standard error, as pipes that are always emptied: whatever becomes of the sinks,
//! the worker never waits for us.

use super::pass::Pass;
use super::source::{Shared, Source};
use super::split::{Ends, Piece, Splitter};
use crate::sink::{OUTPUT_READ_MAX, Output, Place};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::time::Instant;

/// Bytes that a pipe holds while we are busy elsewhere; the system may allow less.
const PIPE_BYTES: i32 = 1 << 20;
/// How long the last words of the worker's own children are waited for, when the worker has ended.
const LAST: Duration = Duration::from_millis(200);
/// A write of a buffer of the C library or the like has at least so many bytes, and a multiple of it.
const BUFFER: usize = 1024;

/// One end for the worker, and ours.
pub(super) fn pipe() -> io::Result<(OwnedFd, Receiver, Arc<Output>)> {
    let (ours, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // A smaller pipe does as well.
    let _ = fcntl(&theirs, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    let output = Arc::new(Output::new(ours.try_clone()?));
    Ok((theirs, Receiver::from_owned_fd(ours)?, output))
}

/// Reads one output until it has ended, or the worker has and nothing is left.
pub(super) async fn run(
    shared: Rc<Shared>,
    which: usize,
    pipe: Receiver,
    output: Arc<Output>,
    mut pass: Pass,
    mut ended: watch::Receiver<bool>,
) {
    let mut source = Source::new(&shared, if which == 0 { "stdout" } else { "stderr" });
    let mut splitter = Splitter::new(Ends::Feed);
    let mut buffered = Buffered::default();
    let mut bytes = vec![0; OUTPUT_READ_MAX];
    let mut until = None;
    loop {
        if until.is_none() {
            let due = source.due().map(Instant::from_std);
            tokio::select! {
                biased;
                _ = ended.wait_for(|ended| *ended) => until = Some(Instant::now() + LAST),
                ready = pipe.readable() => if ready.is_err() { break },
                () = sleep_until(due) => {
                    source.flush();
                    continue;
                }
            }
        }
        let taken = output.read(|| match until {
            None => pipe.try_read(&mut bytes),
            // What the runtime has not heard of yet is there all the same.
            Some(_) => rustix::io::read(pipe.as_fd(), &mut bytes).map_err(io::Error::from),
        });
        let n = match taken {
            Ok((_, 0)) => break,
            Ok((_, n)) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && until.is_none() => continue,
            Err(_) => break,
        };
        let chunk = &bytes[..n];
        if shared.passed.get() {
            let unwritten = pass.write(chunk);
            if unwritten > 0 {
                shared.hub.count_lines("unwritten", unwritten);
            }
        }
        buffered.see(chunk, output.is_empty(), source_name(which));
        splitter.feed(chunk, |piece| {
            source.take(piece.bytes, buffered.place(which, &piece), piece.cut);
        });
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        // Others have their turn, however much the worker writes.
        tokio::task::yield_now().await;
    }
    splitter.end(|piece| source.take(piece.bytes, buffered.place(which, &piece), piece.cut));
    source.flush();
    pass.end().await;
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn source_name(which: usize) -> &'static str {
    if which == 0 { "standard output" } else { "standard error" }
}

/// Whether the worker holds its lines back until a buffer is full: then a line is written at some time after it was
/// logged, and may be of any command before.
#[derive(Default)]
struct Buffered {
    is: bool,
    warned: bool,
}

impl Buffered {
    fn place(&self, which: usize, piece: &Piece<'_>) -> Place {
        if self.is { Place::Unknown } else { Place::Bytes(which, piece.from, piece.to) }
    }

    fn see(&mut self, chunk: &[u8], all: bool, name: &str) {
        let whole = chunk.ends_with(b"\n");
        let full =
            all && !whole && chunk.len() >= BUFFER && chunk.len().is_multiple_of(BUFFER) && chunk.contains(&b'\n');
        if full {
            self.is = true;
            if !std::mem::replace(&mut self.warned, true) {
                tracing::warn!(
                    "the worker buffers its {name}: of lines without an id it cannot be told which command they are \
                     of; let it flush each line"
                );
            }
        } else if whole {
            self.is = false;
        }
    }
}
