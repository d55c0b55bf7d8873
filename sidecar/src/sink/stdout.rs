//! Lines on standard output, written in batches by a helper thread of the runtime: a reader that does not read
//! stops neither the commands nor the other sinks.

use super::drain::{Inbox, Outlet};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that are written at once.
const BATCH_BYTES: usize = 256 << 10;
/// How long a pipe that somebody made non-blocking may stay full.
const FULL_TRIES: u32 = 200;
const FULL_WAIT: Duration = Duration::from_millis(5);

/// Standard output without the library's buffer of lines.
pub(crate) fn standard_output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Writes lines until the outlet ends.
pub(crate) async fn run(outlet: Arc<Outlet>, mut inbox: Inbox, file: io::Result<File>) {
    let mut file = file.map_err(|e| outlet.counts.note(&e)).ok();
    let mut batch = Vec::new();
    while inbox.wait().await {
        loop {
            batch.clear();
            while batch.len() < BATCH_BYTES {
                if inbox.pop(&mut batch).is_none() {
                    break;
                }
            }
            if batch.is_empty() {
                break;
            }
            let lines = memchr::memchr_iter(b'\n', &batch).count() as u64;
            let Some(mut out) = file.take() else {
                outlet.counts.error(lines, &"no standard output");
                continue;
            };
            let written = tokio::task::spawn_blocking(move || {
                let result = write_all(&mut out, &batch);
                (out, batch, result)
            })
            .await;
            match written {
                Ok((out, bytes, result)) => {
                    let whole = result.as_ref().map_or_else(|(n, _)| *n, |()| bytes.len());
                    let told = memchr::memchr_iter(b'\n', &bytes[..whole]).count() as u64;
                    outlet.counts.sent(told);
                    if let Err((_, e)) = result {
                        outlet.counts.error(lines - told, &e);
                    }
                    (file, batch) = (Some(out), bytes);
                }
                // Only at the end of the runtime.
                Err(e) => {
                    outlet.counts.error(lines, &e);
                    batch = Vec::new();
                }
            }
        }
        batch.shrink_to(BATCH_BYTES);
    }
}

/// Writes everything; with an error comes how many bytes were written before it.
fn write_all(out: &mut File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut at = 0;
    let mut full = 0;
    while at < bytes.len() {
        match out.write(&bytes[at..]) {
            Ok(0) => return Err((at, io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                at += n;
                full = 0;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && full < FULL_TRIES => {
                full += 1;
                std::thread::sleep(FULL_WAIT);
            }
            Err(e) => return Err((at, e)),
        }
    }
    Ok(())
}
