//! Lines at the end of a file, which others may move, remove or empty at any time: it is opened again when its path
//! leads elsewhere, and when the configuration is read again.

use super::stdout::JsonLines;
use super::{COMMON, Json, Sender, Sink, keys, read};
use crate::section::{Key, Kind, Shape, Wrong, key, word};
use crate::sink::drain::{Inbox, Outlet};
use crate::sink::entry::Entry;
use crate::sink::fields::Who;
use crate::sink::filter::{Common, Names};
use crate::sink::generation::Encode;
use crate::sink::record::{Form, RecordEncoder};
use crate::sink::text::TextEncoder;
use crate::sink::transport::Backoff;
use serde::Deserialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub(super) const KEY: Key = key(
    "file",
    Kind::Section(keys![
        key("path", Kind::Text(Shape::File), "The file; its folder must be there.").required(),
        key(
            "format",
            Kind::Word(&[word("json"), word("text"), word("gelf")]),
            "One line a record: JSON, text for people, or GELF's own JSON.",
        )
        .or("json"),
        key("mode", Kind::Text(Shape::Free), "Permissions of a file that is made, in octal.").or("\"0640\""),
    ]),
    "Lines in a file; rotate it by moving or emptying it.",
);

/// The longest line.
const LINE_MAX: usize = 256 << 10;
/// Bytes that are written at once.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes that are kept for the next batch.
const BATCH_KEPT: usize = 64 << 10;
/// How old what is known of the path may be when something is written.
const LOOK: Duration = Duration::from_secs(1);
/// The same when nothing is: a file that was moved is let go of.
const IDLE_LOOK: Duration = Duration::from_secs(10);
/// How long a sink that is no longer configured tries to write.
const RETIRED_MAX: Duration = Duration::from_secs(5);
/// Pauses between attempts: a disk that is full stays so for a while.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

#[derive(Deserialize)]
struct Raw {
    path: PathBuf,
    format: String,
    mode: String,
}

pub(super) fn build(values: &Json) -> Result<Sink, Wrong> {
    let Raw { path, format, mode } = read(values)?;
    let mode = match u32::from_str_radix(mode.trim_start_matches("0o"), 8) {
        Ok(mode) if mode <= 0o777 => mode,
        _ => return Err(Wrong::new(format!("`{mode}` is no file's mode"), "write it as 0640").of("mode")),
    };
    let target = path.display().to_string();
    place(&path).map_err(|w| w.of("path"))?;
    let send = appending(path, mode);
    let encode: Box<dyn Encode> = match format.as_str() {
        "text" => Box::new(TextEncoder::new(false)),
        "gelf" => {
            let names = Names::new(&read::<Common>(values)?);
            Box::new(GelfLines(RecordEncoder::new(Form::Gelf, names, LINE_MAX)))
        }
        _ => Box::new(JsonLines::new(values)?),
    };
    Ok(Sink { target, encode, send })
}

/// Appends what comes to a file, as soon as there can be one.
pub(in crate::sink) fn appending(path: PathBuf, mode: u32) -> Sender {
    Box::new(move |outlet, inbox| Box::pin(run(outlet, inbox, Target { path, mode, file: None })))
}

/// Whether there can be such a file.
fn place(path: &Path) -> Result<(), Wrong> {
    if path.is_dir() {
        return Err(Wrong::new(format!("`{}` is a folder", path.display()), "add the file's name"));
    }
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Err(Wrong::new(format!("`{}` is no file", path.display()), "write the path of a file")),
    };
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Wrong::new(format!("`{}` is no folder", folder.display()), "write another path")),
        Err(e) => {
            let message = format!("the folder `{}` cannot be used: {e}", folder.display());
            Err(Wrong::new(message, "make it, or write another path"))
        }
    }
}

/// One object of GELF a line.
struct GelfLines(RecordEncoder);

impl Encode for GelfLines {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        self.0.encode(out, entry, who);
        out.push(b'\n');
        true
    }
}

/// The file as far as it is open; used on helper threads only, since a disk may be slow.
struct Target {
    path: PathBuf,
    mode: u32,
    file: Option<File>,
}

impl Target {
    /// Closes the file if its path leads elsewhere by now. True when it was open and is no more.
    fn look(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        let here = |m: &std::fs::Metadata| (m.dev(), m.ino());
        let same = match (std::fs::metadata(&self.path), file.metadata()) {
            (Ok(named), Ok(open)) => here(&named) == here(&open),
            _ => false,
        };
        if !same {
            self.file = None;
        }
        !same
    }

    /// The file, made if need be. Appending finds the end by itself, also of a file that was emptied.
    fn open(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let opened = options.append(true).create(true).mode(self.mode).open(&self.path);
            let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", self.path.display()));
            self.file = Some(opened.map_err(named)?);
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes what is left of a batch.
    fn write(&mut self, batch: &mut Batch, look: bool) -> io::Result<()> {
        if look && self.look() {
            batch.whole_line();
        }
        let path = self.path.clone();
        let file = self.open()?;
        while batch.at < batch.bytes.len() {
            match file.write(&batch.bytes[batch.at..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => batch.at += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
            }
        }
        Ok(())
    }
}

/// Lines on their way into the file.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// How much of it is written, and how many whole lines were told to be.
    at: usize,
    told: u64,
}

impl Batch {
    fn lines(bytes: &[u8]) -> u64 {
        memchr::memchr_iter(b'\n', bytes).count() as u64
    }

    /// Lines that were written since the last call.
    fn written(&mut self) -> u64 {
        let all = Batch::lines(&self.bytes[..self.at]);
        let new = all.saturating_sub(self.told);
        self.told = all.max(self.told);
        new
    }

    /// Lines that are not.
    fn rest(&self) -> u64 {
        Batch::lines(&self.bytes).saturating_sub(self.told)
    }

    /// In another file a line begins at its beginning.
    fn whole_line(&mut self) {
        self.at = memchr::memrchr(b'\n', &self.bytes[..self.at]).map_or(0, |end| end + 1);
    }
}

/// Writes lines until the outlet ends. A batch that cannot be written is tried again, and meanwhile others wait in
/// the ring, which counts what it cannot hold.
async fn run(outlet: Arc<Outlet>, mut inbox: Inbox, target: Target) {
    let mut writer = Writer { outlet, target: Some(target), batch: Batch::default(), looked: None };
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        let more = tokio::select! {
            biased;
            () = writer.outlet.poked() => {
                writer.reopen();
                continue;
            }
            more = inbox.wait() => more,
            () = tokio::time::sleep(IDLE_LOOK) => {
                writer.look().await;
                continue;
            }
        };
        if !more {
            return;
        }
        while writer.batch.bytes.len() < BATCH_BYTES && inbox.pop(&mut writer.batch.bytes).is_some() {}
        let mut retired = None;
        while let Err(e) = writer.write().await {
            writer.outlet.counts.trouble(&e);
            let ending = writer.outlet.is_ending() && !writer.outlet.is_stopping();
            let patience = *retired.get_or_insert_with(Instant::now) + RETIRED_MAX;
            if !ending {
                retired = None;
            }
            if writer.outlet.is_late() || (ending && Instant::now() >= patience) {
                writer.outlet.counts.error(writer.batch.rest(), &e);
                writer.batch = Batch::default();
                break;
            }
            let pause = backoff.next();
            tokio::select! {
                () = writer.outlet.rest(pause) => {}
                // Whoever moved the file made room perhaps.
                () = writer.outlet.poked() => writer.reopen(),
            }
        }
        backoff.reset();
    }
}

struct Writer {
    outlet: Arc<Outlet>,
    /// Away while a helper thread has it; gone for good only when the runtime ends.
    target: Option<Target>,
    batch: Batch,
    /// When the path was last looked at.
    looked: Option<Instant>,
}

impl Writer {
    /// Lets go of the file, so that the next line opens whatever is there then.
    fn reopen(&mut self) {
        if let Some(target) = &mut self.target {
            target.file = None;
            self.batch.whole_line();
        }
    }

    /// Looks after a file that nobody writes to.
    async fn look(&mut self) {
        let Some(mut target) = self.target.take() else { return };
        self.target = tokio::task::spawn_blocking(move || {
            target.look();
            target
        })
        .await
        .ok();
    }

    /// Writes the batch on a helper thread, counts what was written, and empties it when all was.
    async fn write(&mut self) -> io::Result<()> {
        let Some(mut target) = self.target.take() else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut batch = std::mem::take(&mut self.batch);
        let look = self.looked.is_none_or(|at| at.elapsed() >= LOOK);
        if look {
            self.looked = Some(Instant::now());
        }
        let done = tokio::task::spawn_blocking(move || {
            let result = target.write(&mut batch, look);
            (target, batch, result)
        })
        .await;
        // Only at the end of the runtime; there the batch is gone with its thread.
        let (target, mut batch, result) = done.map_err(io::Error::other)?;
        self.outlet.counts.sent(batch.written());
        match &result {
            Ok(()) => {
                (batch.at, batch.told) = (0, 0);
                batch.bytes.clear();
                batch.bytes.shrink_to(BATCH_KEPT);
            }
            // Whatever is wrong with it: another attempt opens it again.
            Err(_) => self.looked = None,
        }
        (self.target, self.batch) = (Some(target), batch);
        result
    }
}

#[cfg(test)]
mod tests;
