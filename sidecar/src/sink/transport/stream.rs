//! A stream of frames to a receiver that may stall, break off and come back: every frame is either confirmed or
//! still in our hands, and after a break it is written again, whole, on a new connection.
//!
//! Confirmed means what [`super::receipt`] says: the other side's system has it (TCP), its process has read it
//! (unix). What a receiver had not read when it was killed is lost with it over TCP, and no one can tell: then it
//! resets the connection. A receiver that closes after having read everything loses and repeats nothing.

pub(crate) use super::dial::Place;

use super::super::counts::Counts;
use super::backoff::Backoff;
use super::dial::{CONNECT_LIMIT, Dial};
use super::receipt::State;
use super::resolver::Resolver;
use super::socket::Line;
use super::window::Window;
use crate::tls::in_words;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// Bytes that may be unconfirmed before no more are taken.
const WINDOW_MAX: usize = 1 << 20;
/// How long a TCP connection may make no progress.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one call waits for the system to take bytes.
const SLICE: Duration = Duration::from_millis(250);
/// How long a receiver that hung up may still confirm.
const GRACE: Duration = Duration::from_secs(1);
/// Bytes of one write: with TLS their frames are confirmed together.
const CHUNK: usize = 64 << 10;
/// A connection that lived this long was not refused.
const LIVED: Duration = Duration::from_secs(5);
/// How soon and how often confirmations are looked for.
const POLL_FIRST: Duration = Duration::from_millis(2);
const POLL_LAST: Duration = Duration::from_millis(50);
/// Reads of one look: a receiver that talks without end does not hold us.
const READS: usize = 16;

/// The sender's end of a stream.
pub(crate) struct StreamOut {
    /// The host or the path, for people.
    name: String,
    dial: Dial,
    backoff: Backoff,
    due: Instant,
    line: Option<Line>,
    /// When the line was opened and how many frames it has confirmed.
    opened: Instant,
    served: u64,
    /// The receiver hung up: it may confirm until then. And whether it was told that we have nothing more.
    parting: Option<Instant>,
    shut: bool,
    window: Window,
    confirmed: u64,
    /// When bytes were last taken or confirmed, and how many were by then.
    progress: Instant,
    moved: (u64, u64),
    window_max: usize,
    patience: Duration,
}

impl StreamOut {
    /// Nothing is opened before [`StreamOut::ready`].
    pub(crate) fn new(place: Place) -> StreamOut {
        let now = Instant::now();
        let name = match &place {
            Place::Tcp { host, .. } => host.clone(),
            Place::Unix(path) => path.display().to_string(),
        };
        StreamOut {
            name,
            dial: Dial::new(place),
            backoff: Backoff::default(),
            due: now,
            line: None,
            opened: now,
            served: 0,
            parting: None,
            shut: false,
            window: Window::default(),
            confirmed: 0,
            progress: now,
            moved: (0, 0),
            window_max: WINDOW_MAX,
            patience: PATIENCE,
        }
    }

    /// Breaks a TCP connection that makes no progress for this long.
    pub(crate) fn patience(mut self, patience: Duration) -> StreamOut {
        self.patience = patience;
        self
    }

    /// Takes no more when this many bytes are unconfirmed.
    pub(crate) fn window(mut self, bytes: usize) -> StreamOut {
        self.window_max = bytes;
        self
    }

    /// Other pauses between attempts to connect.
    pub(crate) fn backoff(mut self, backoff: Backoff) -> StreamOut {
        self.backoff = backoff;
        self
    }

    /// Asks for the name's addresses in another rhythm.
    pub(crate) fn resolve(mut self, change: impl FnOnce(Resolver) -> Resolver) -> StreamOut {
        self.dial.resolve(change);
        self
    }

    /// Whether the receiver is there and frames may be written. Connects when it is time, writes again what a
    /// broken connection left unconfirmed, and lets go of a connection that stalls. Waits at most for a connection
    /// ([`CONNECT_LIMIT`]) or a moment for room.
    pub(crate) async fn ready(&mut self, counts: &Counts) -> bool {
        self.step(counts).await;
        self.line.is_some()
            && self.parting.is_none()
            && self.window.is_handed()
            && self.window.bytes() < self.window_max
    }

    /// Takes frames, `ends` being where each ends in `bytes`, and writes what the system takes at once or in a
    /// moment. From here on every frame is either in [`StreamOut::confirmed`] once or, at the end, in
    /// [`StreamOut::abandon`]; an error says only that the connection broke. Write only when
    /// [`StreamOut::ready`]: one call's bytes are held beyond the window's bound.
    pub(crate) async fn write(&mut self, bytes: &[u8], ends: &[usize]) -> io::Result<()> {
        if self.window.frames() == 0 {
            self.progress = Instant::now();
        }
        self.window.push(bytes, ends);
        if self.line.is_none() || self.parting.is_some() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        // The receiver may have gone since: then nothing more goes into that connection.
        self.listen().await?;
        let pushed = self.push().await;
        self.outcome(pushed)
    }

    /// Frames confirmed since the last call.
    pub(crate) fn confirmed(&mut self) -> u64 {
        std::mem::take(&mut self.confirmed)
    }

    /// Frames taken and not confirmed.
    pub(crate) fn pending(&self) -> usize {
        self.window.frames()
    }

    /// Whether a connection stands.
    pub(crate) fn is_connected(&self) -> bool {
        self.line.is_some() && self.parting.is_none()
    }

    /// Works while its owner waits for something else: returns when there is news (a confirmation, or the end of
    /// an idle connection), never when there is nothing to do. May be dropped at any time.
    pub(crate) async fn tend(&mut self, counts: &Counts) {
        let before = self.confirmed;
        let mut pause = POLL_FIRST;
        loop {
            if self.line.is_none() {
                if self.window.frames() == 0 {
                    return pending().await;
                }
                sleep_until(self.due).await;
            }
            self.step(counts).await;
            if self.confirmed != before {
                return;
            }
            if self.window.frames() > 0 {
                sleep(pause).await;
                pause = (pause * 2).min(POLL_LAST);
            } else if self.line.is_some() {
                let end = poll_fn(|cx| self.hear(cx)).await;
                if let Err(e) = self.outcome(end) {
                    counts.trouble(&e);
                }
                self.part().await;
                return;
            }
        }
    }

    /// At the end: connects, writes and waits until everything is confirmed, not beyond `until`, then ends the
    /// stream in order. Frames in the queue of a unix receiver that stands count as confirmed then.
    pub(crate) async fn settle(&mut self, until: Instant, counts: &Counts) {
        let mut pause = POLL_FIRST;
        while self.window.frames() > 0 && Instant::now() < until {
            if timeout_at(until, self.step(counts)).await.is_err() || self.window.frames() == 0 {
                break;
            }
            let wake = if self.line.is_none() { self.due.max(Instant::now()) } else { Instant::now() + pause };
            sleep_until(wake.min(until)).await;
            pause = (pause * 2).min(POLL_LAST);
        }
        let Some(line) = &mut self.line else { return };
        if line.is_unix() && matches!(line.state(), State::Open | State::Talking) {
            let taken = line.taken();
            self.confirm(taken);
        }
        if self.window.frames() == 0
            && let Some(line) = &mut self.line
        {
            let _ = timeout_at(until.max(Instant::now() + POLL_LAST), line.shutdown()).await;
        }
    }

    /// Gives up what was never confirmed: how many frames. What the system has not sent yet never leaves.
    pub(crate) fn abandon(&mut self) -> u64 {
        if self.window.frames() > 0
            && let Some(line) = self.line.take()
        {
            line.cut();
        }
        self.line = None;
        self.parting = None;
        self.window.clear()
    }

    /// One round: end what is over, connect, write, confirm.
    async fn step(&mut self, counts: &Counts) {
        self.part().await;
        if self.line.is_some() {
            let heard = self.listen().await;
            let fine = heard.and_then(|()| self.is_moving());
            if let Err(e) = fine {
                counts.trouble(&e);
                self.part().await;
            }
        }
        if self.line.is_none() {
            if Instant::now() < self.due {
                return;
            }
            match self.dial.open(CONNECT_LIMIT, self.patience).await {
                Ok(line) => {
                    self.line = Some(line);
                    self.opened = Instant::now();
                    self.served = 0;
                    self.progress = self.opened;
                    self.moved = (0, 0);
                }
                Err(e) => {
                    self.due = Instant::now() + self.backoff.next();
                    counts.trouble(&e);
                    return;
                }
            }
        }
        let pushed = self.push().await;
        if let Err(e) = self.outcome(pushed) {
            counts.trouble(&e);
        }
        self.look();
    }

    /// Writes what is not handed over yet, as long as the system takes it.
    async fn push(&mut self) -> io::Result<()> {
        let until = Instant::now() + SLICE;
        loop {
            let Some(line) = self.line.as_mut() else { return Ok(()) };
            let rest = self.window.rest();
            if !rest.is_empty() {
                let chunk = &rest[..rest.len().min(CHUNK)];
                match timeout_at(until, line.write(chunk)).await {
                    Err(_) => return Ok(()),
                    Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(Ok(n)) => self.window.handed(n),
                    Ok(Err(e)) => return Err(e),
                }
            }
            if !line.is_plain() {
                // Only then all of it has gone into the socket and the count is right.
                match timeout_at(until, line.flush()).await {
                    Err(_) => return Ok(()),
                    Ok(flushed) => flushed?,
                }
            }
            self.window.mark(line.taken(), line.is_plain());
            if self.window.is_handed() {
                return Ok(());
            }
        }
    }

    /// Confirms, and finds out whether the receiver is still there.
    async fn listen(&mut self) -> io::Result<()> {
        match self.look() {
            Some(State::Ended) => {
                let ended = Err(io::ErrorKind::UnexpectedEof.into());
                return self.outcome(ended);
            }
            Some(State::Broken) => {
                let broken = Err(io::ErrorKind::ConnectionReset.into());
                return self.outcome(broken);
            }
            Some(State::Open | State::Talking) | None => {}
        }
        // What it says is read so that its end is seen behind it, and TLS hears what is for TLS.
        let heard = poll_fn(|cx| Poll::Ready(self.hear(cx))).await;
        match heard {
            Poll::Pending => Ok(()),
            Poll::Ready(end) => self.outcome(end),
        }
    }

    /// Reads and forgets; ready only with an error: the end.
    fn hear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(line) = self.line.as_mut() else { return Poll::Pending };
        let mut scratch = [0; 2048];
        for _ in 0..READS {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *line).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes the system's word for what arrived.
    fn look(&mut self) -> Option<State> {
        let line = self.line.as_ref()?;
        let arrived = line.arrived();
        // Asked afterwards: only a unix connection that still stands gave a true number, and bytes that wait to be
        // read may hide its end.
        let state = line.state();
        let taken = line.taken();
        if !line.is_unix() || matches!(state, State::Open | State::Ended) {
            self.confirm(arrived);
            if self.moved != (taken, arrived) {
                self.moved = (taken, arrived);
                self.progress = Instant::now();
            }
        }
        Some(state)
    }

    fn confirm(&mut self, arrived: u64) {
        let n = self.window.confirm(arrived);
        self.confirmed += n;
        self.served += n;
    }

    /// An error when the connection has not moved for too long. A unix receiver that stalls is left alone: it
    /// cannot vanish unseen, and what it was given it will still read.
    fn is_moving(&mut self) -> io::Result<()> {
        let stands = self.line.as_ref().is_some_and(|line| !line.is_unix());
        if stands && self.window.frames() > 0 && self.progress.elapsed() > self.patience {
            self.close();
            let why = format!("{} took nothing for {:?}: connection given up", self.name, self.patience);
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        Ok(())
    }

    /// What an error means for the connection: over at once, or after the receiver had time to confirm.
    fn outcome(&mut self, result: io::Result<()>) -> io::Result<()> {
        let Err(e) = result else { return Ok(()) };
        let unix = self.line.as_ref().is_some_and(Line::is_unix);
        match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.parting.get_or_insert(Instant::now() + GRACE);
                Err(io::Error::new(e.kind(), format!("{} closed the connection", self.name)))
            }
            // The kernel tells by its own error whether all was read.
            io::ErrorKind::BrokenPipe if unix => {
                self.parting.get_or_insert(Instant::now() + GRACE);
                Err(e)
            }
            _ => {
                self.close();
                Err(in_words(&self.name, e))
            }
        }
    }

    /// Brings a connection that the receiver ended to its end.
    async fn part(&mut self) {
        while let Some(until) = self.parting {
            let Some(line) = self.line.as_mut() else { break };
            if !self.shut {
                self.shut = true;
                let _ = timeout_at(until, line.shutdown()).await;
            }
            let taken = line.taken();
            let state = self.look();
            let all = self.moved == (taken, taken);
            if all || matches!(state, Some(State::Broken) | None) || Instant::now() >= until {
                self.close();
                break;
            }
            sleep(POLL_FIRST).await;
        }
        self.parting = None;
    }

    /// Lets go of the connection; what it did not confirm is to be written again.
    fn close(&mut self) {
        self.parting = None;
        self.shut = false;
        let Some(line) = self.line.take() else { return };
        if !line.is_unix() {
            self.confirm(line.arrived());
        }
        let pause = if self.served > 0 || self.opened.elapsed() > LIVED {
            self.backoff.reset();
            Duration::ZERO
        } else {
            // Taken in and thrown out again is not much better than refused.
            self.backoff.next()
        };
        self.due = Instant::now() + pause;
        if line.arrived() < line.taken() {
            line.cut();
        }
        self.window.rewind();
    }
}

#[cfg(test)]
mod tests;
