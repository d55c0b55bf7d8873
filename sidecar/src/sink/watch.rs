//! What the worker's lines need of the data threads, and a line on its way to the sinks.
//!
//! Which command a line belongs to is not a matter of when we got round to reading it. A pipe counts bytes: whoever
//! gives the worker a command, or takes its answer, notes how many bytes the worker had written by then. A line
//! between two such notes was written between these two moments, however late it is read.

use super::entry::{Entry, Moment, Stretch};
use super::json::cut;
use super::redact::{REDACTED, Redactor, is_secret};
use rustix::io::ioctl_fionread;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// The most bytes that are read of an output at once.
pub(crate) const OUTPUT_READ_MAX: usize = 64 << 10;

/// What stands for a message that is not there.
const SUMMARY_FIELDS: usize = 8;
const SUMMARY_MAX: usize = 1024;

/// One output of the worker, as a pipe that we read.
#[derive(Debug)]
pub(crate) struct Output {
    /// The pipe's end that we read, as a second handle.
    end: OwnedFd,
    /// Bytes read so far.
    read: AtomicU64,
    /// Whether bytes are being read just now.
    reading: AtomicBool,
}

impl Output {
    /// Of this reading end.
    pub(crate) fn new(end: OwnedFd) -> Output {
        Output { end, read: AtomicU64::new(0), reading: AtomicBool::new(false) }
    }

    /// Reads with this function, which says how many bytes it took (at most [`OUTPUT_READ_MAX`]); where they began.
    pub(crate) fn read(&self, with: impl FnOnce() -> io::Result<usize>) -> io::Result<(u64, usize)> {
        self.reading.store(true, SeqCst);
        let result = with();
        let n = *result.as_ref().unwrap_or(&0);
        let from = self.read.fetch_add(n as u64, SeqCst);
        self.reading.store(false, SeqCst);
        result.map(|n| (from, n))
    }

    /// Whether nothing waits to be read.
    pub(crate) fn is_empty(&self) -> bool {
        ioctl_fionread(&self.end).is_ok_and(|n| n == 0)
    }

    /// How many bytes the worker has written; a range when we were reading at that moment. No lock.
    fn written(&self) -> Stretch {
        /// Reading takes microseconds, unless the reader lost its turn in the middle of it, perhaps to us.
        const TRIES: usize = 40;
        const YIELDS: usize = 4;
        let mut seen = self.look();
        for again in 0..TRIES + YIELDS {
            if seen.from == seen.to {
                break;
            }
            match again < TRIES {
                true => std::hint::spin_loop(),
                false => std::thread::yield_now(),
            }
            seen = self.look();
        }
        seen
    }

    fn look(&self) -> Stretch {
        let before = self.read.load(SeqCst);
        let busy = self.reading.load(SeqCst);
        let Ok(waiting) = ioctl_fionread(&self.end) else { return Stretch { from: before, to: u64::MAX } };
        let after = self.read.load(SeqCst);
        if busy || before != after || self.reading.load(SeqCst) {
            // What is being read may be counted already, or not yet.
            Stretch { from: before, to: after + waiting + OUTPUT_READ_MAX as u64 }
        } else {
            Stretch { from: before + waiting, to: before + waiting }
        }
    }
}

/// Whether the worker's lines are taken, and where its output is. Shared by all threads.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    wanted: AtomicBool,
    missed: AtomicBool,
    outputs: OnceLock<[Arc<Output>; 2]>,
}

impl Watch {
    /// Whether somebody wants to know which commands the worker has in its hands.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Says so. Commands that the worker has already are not known.
    pub(crate) fn want(&self, wanted: bool) {
        if wanted && !self.wanted.load(SeqCst) {
            self.missed.store(true, SeqCst);
        }
        self.wanted.store(wanted, SeqCst);
    }

    /// The worker's standard output and standard error; once, before it starts.
    pub(crate) fn set_outputs(&self, outputs: [Arc<Output>; 2]) {
        // There is one worker a process.
        let _ = self.outputs.set(outputs);
    }

    /// This moment.
    pub(crate) fn now(&self) -> Moment {
        let since = micros();
        let outputs = self.outputs.get().map_or_else(Default::default, |o| [o[0].written(), o[1].written()]);
        Moment { since, at: micros(), outputs }
    }

    /// A command began or ended and could not be told.
    pub(crate) fn missed(&self) {
        self.missed.store(true, SeqCst);
    }

    /// Whether that is so, until it is taken back.
    pub(crate) fn has_missed(&self) -> bool {
        self.missed.load(SeqCst)
    }

    /// Everything is known again.
    pub(crate) fn caught_up(&self) {
        self.missed.store(false, SeqCst);
    }
}

/// Microseconds since 1970.
pub(crate) fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(0))
}

/// Where a line comes from, as far as it tells which command the worker handled when it wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing is known.
    Unknown,
    /// Written between these two, in microseconds since 1970.
    Between(u64, u64),
    /// These bytes of standard output (0) or standard error (1).
    Bytes(usize, u64, u64),
}

/// A line that the worker wrote.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// Syslog's severity.
    pub(crate) level: u8,
    /// Its time, in microseconds since 1970.
    pub(crate) wall: u64,
    /// The time that stands in it; 0 when none does.
    pub(crate) own_time: u64,
    /// Its text.
    pub(crate) message: &'a str,
    /// What came with it; nested names have dots.
    pub(crate) fields: &'a [(String, String)],
    /// Where it comes from.
    pub(crate) place: Place,
    /// What must not be told.
    pub(crate) redactor: &'a Redactor,
}

impl Line<'_> {
    /// Appends it as an entry. The one place where a line's text and fields begin their way to the sinks: what must
    /// not be read by others is taken out here.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let values: Vec<_> = self.fields.iter().map(|(name, value)| self.shown(name, value)).collect();
        let mut message = self.redactor.text(self.message);
        if message.trim().is_empty() {
            // An object without a message: what it has instead, as it may be shown.
            let pairs = self.fields.iter().zip(&values).map(|((name, _), value)| format!("{name}={value}"));
            message = cut(&pairs.take(SUMMARY_FIELDS).collect::<Vec<_>>().join(" "), SUMMARY_MAX).0.to_owned().into();
        }
        let shown = self.fields.iter().zip(&values).map(|((name, _), value)| (name.as_str(), &**value)).collect();
        let mut entry = Entry::line(self.level, self.wall, &message, shown);
        entry.moment.at = micros();
        match self.place {
            Place::Unknown => entry.moment.at = 0,
            Place::Between(since, at) => (entry.moment.since, entry.moment.at) = (since, at),
            Place::Bytes(which, from, to) => {
                if let Some(stretch) = entry.moment.outputs.get_mut(which) {
                    *stretch = Stretch { from, to };
                }
            }
        }
        // A line that says itself when it was written is not of a command that was not there yet.
        if let Place::Bytes(..) = self.place {
            entry.moment.since = self.own_time;
        }
        entry.write(out);
    }

    fn shown<'a>(&self, name: &str, value: &'a str) -> std::borrow::Cow<'a, str> {
        if value.is_empty() {
            return value.into();
        }
        if is_secret(name) {
            return REDACTED.into();
        }
        let path: Vec<&str> = name.split('.').collect();
        self.redactor.json(&path, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn a_racing_reader_never_makes_the_place_wrong() {
        let (reader, writer) =
            nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        let output = Arc::new(Output::new(reader.try_clone().unwrap()));
        let done = Arc::new(AtomicBool::new(false));
        let reading = {
            let (output, done) = (output.clone(), done.clone());
            std::thread::spawn(move || {
                let mut bytes = vec![0; 777];
                let mut at = 0;
                loop {
                    let last = done.load(SeqCst);
                    match output.read(|| rustix::io::read(&reader, &mut bytes).map_err(io::Error::from)) {
                        Ok((from, n)) => {
                            assert_eq!(from, at, "bytes are counted in order");
                            at += n as u64;
                        }
                        Err(_) if last => return at,
                        Err(_) => std::thread::yield_now(),
                    }
                }
            })
        };
        let mut to = std::fs::File::from(writer);
        let (mut written, mut exact) = (0u64, 0);
        for n in 0..20_000usize {
            let chunk = vec![b'x'; n * 31 % 500 + 1];
            while to.write(&chunk).is_err() {
                std::thread::yield_now();
            }
            written += chunk.len() as u64;
            let mark = output.written();
            assert!(mark.from <= written && written <= mark.to, "{written} is not in {mark:?}");
            exact += u32::from(mark.from == mark.to);
        }
        done.store(true, SeqCst);
        assert_eq!(reading.join().unwrap(), written);
        assert!(exact > 0, "sometimes nobody was reading");
        assert!(output.is_empty() && output.read.load(Relaxed) == written);
    }

    #[test]
    fn what_must_not_be_read_does_not_become_an_entry() {
        let redactor = Redactor::new(&[], &[], &["/user/name".to_owned()]);
        let fields = [("password", "hunter2"), ("user.name", "Ann"), ("n", "5"), ("empty", "")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()));
        let mut line = Line {
            level: 3,
            wall: 1,
            own_time: 0,
            message: "login with password=hunter2",
            fields: &fields,
            place: Place::Unknown,
            redactor: &redactor,
        };
        let mut bytes = Vec::new();
        line.write(&mut bytes);
        line.message = "";
        line.write(&mut bytes);
        let told = String::from_utf8_lossy(&bytes);
        assert!(!told.contains("hunter2") && !told.contains("Ann"), "{told}");
        assert!(told.contains("login with password=[redacted]"), "{told}");
        assert!(told.contains("password=[redacted] user.name=[redacted] n=5"), "an object without a message: {told}");
    }
}
