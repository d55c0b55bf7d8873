//! Lines on standard output, written in batches by a helper thread of the runtime: a reader that does not read
//! stops neither the commands nor the other sinks.

use super::{COMMON, Json, Sink, keys, read};
use crate::section::{Key, Kind, Wrong, key, word};
use crate::sink::drain::{Inbox, Outlet};
use crate::sink::entry::Entry;
use crate::sink::fields::Who;
use crate::sink::filter::{Common, Names};
use crate::sink::generation::Encode;
use crate::sink::record::{Form, RecordEncoder};
use crate::sink::text::TextEncoder;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

pub(super) const KEY: Key = key(
    "stdout",
    Kind::Section(keys![
        key(
            "format",
            Kind::Word(&[word("auto"), word("text"), word("json")]),
            "`auto`: text on a terminal, JSON elsewhere.",
        )
        .or("auto"),
    ]),
    "Lines on standard output.",
);

/// The longest line.
const LINE_MAX: usize = 256 << 10;

#[derive(Deserialize)]
struct Raw {
    format: String,
}

pub(super) fn build(values: &Json) -> Result<Sink, Wrong> {
    let Raw { format } = read(values)?;
    let terminal = io::stdout().is_terminal();
    let encode: Box<dyn Encode> = match format.as_str() {
        "json" => Box::new(JsonLines::new(values)?),
        "auto" if !terminal => Box::new(JsonLines::new(values)?),
        _ => {
            // https://no-color.org: any value but an empty one.
            let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
            Box::new(TextEncoder::new(terminal && !plain))
        }
    };
    Ok(Sink {
        target: "stdout".into(),
        encode,
        send: Box::new(|outlet, inbox| Box::pin(run(outlet, inbox, standard_output()))),
    })
}

/// One JSON object a line.
pub(super) struct JsonLines(RecordEncoder);

impl JsonLines {
    /// With the section's names of fields.
    pub(super) fn new(values: &Json) -> Result<JsonLines, Wrong> {
        let names = Names::new(&read::<Common>(values)?);
        Ok(JsonLines(RecordEncoder::new(Form::Json, names, LINE_MAX)))
    }
}

impl Encode for JsonLines {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        self.0.encode(out, entry, who);
        out.push(b'\n');
        true
    }
}

impl Encode for TextEncoder {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, _: &Who) -> bool {
        self.line(out, entry);
        true
    }
}

/// Bytes that are written at once.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes that are kept for the next batch.
const BATCH_KEPT: usize = 64 << 10;
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
        batch.clear();
        while batch.len() < BATCH_BYTES && inbox.pop(&mut batch).is_some() {}
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
                // A burst should not keep its memory for ever.
                batch.clear();
                batch.shrink_to(BATCH_KEPT);
            }
            // Only at the end of the runtime.
            Err(e) => {
                outlet.counts.error(lines, &e);
                batch = Vec::new();
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::ring::begin;
    use std::io::{BufRead, BufReader};
    use tokio::time::Instant;

    fn push(outlet: &Outlet, ring: &mut crate::sink::ring::Writer, line: &str) {
        let mut scratch = Vec::new();
        begin(&mut scratch);
        scratch.extend_from_slice(line.as_bytes());
        assert!(ring.push(&mut scratch));
        outlet.ring();
    }

    #[tokio::test]
    async fn lines_are_written_and_a_broken_pipe_is_only_counted() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let outlet = Outlet::new("stdout", String::new());
        let mut ring = outlet.connect(4096, &Arc::default());
        let task = tokio::spawn(run(outlet.clone(), Inbox::new(outlet.clone()), Ok(File::from(writer))));
        let mut lines = BufReader::new(File::from(reader)).lines();
        push(&outlet, &mut ring, "one\n");
        push(&outlet, &mut ring, "two\n");
        let read =
            tokio::task::spawn_blocking(move || [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()]);
        assert_eq!(read.await.unwrap(), ["one", "two"]);
        // The reader is gone with the closure.
        push(&outlet, &mut ring, "three\n");
        while outlet.counts.totals().error == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        push(&outlet, &mut ring, "four\n");
        outlet.stop(Instant::now() + Duration::from_secs(2));
        task.await.unwrap();
        let totals = outlet.counts.totals();
        assert_eq!((totals.sent, totals.error), (2, 2));
        assert!(outlet.counts.last_error().unwrap().contains("pipe"));
    }
}
