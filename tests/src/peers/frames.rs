//! Receivers over streams (TCP, TLS, unix) that cut what comes into frames, and can be as sick as a test wants.

use crate::net::free_port;
use crate::patience::{eventually, until};
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// How one message is told from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Ended by a NUL: GELF.
    Nul,
    /// Ended by a newline.
    Line,
    /// Its length in decimal and a space before it: syslog.
    OctetCounted,
    /// Its length in four bytes, little end first, before it: DogStatsD over a unix stream.
    LengthPrefixed,
}

/// What a pause lets the kernel take for us, so that a sender notices it soon.
const RECEIVE_BUFFER: usize = 64 << 10;
const TICK: Duration = Duration::from_millis(5);

enum Place {
    Tcp(u16),
    Tls(u16, Arc<ServerConfig>),
    Unix(PathBuf),
}

#[derive(Default)]
struct State {
    frames: Mutex<Vec<Vec<u8>>>,
    torn: Mutex<Vec<Vec<u8>>>,
    failures: Mutex<Vec<String>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    paused: AtomicBool,
    unwanted: AtomicBool,
    bound: AtomicBool,
    /// Connections of a generation before this one end.
    generation: AtomicUsize,
    reset: AtomicBool,
    stop: AtomicBool,
}

/// The receiver; it closes everything when dropped.
pub struct FrameSink {
    port: u16,
    path: PathBuf,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
    _folder: Option<TempDir>,
}

impl FrameSink {
    /// Over TCP on a free port.
    pub fn tcp(framing: Framing) -> Self {
        Self::tcp_on(free_port(), framing)
    }
    /// Over TCP on this port.
    pub fn tcp_on(port: u16, framing: Framing) -> Self {
        Self::start(Place::Tcp(port), framing, None)
    }
    /// Over TLS on a free port; see [`super::Certificates::server`].
    pub fn tls(server: Arc<ServerConfig>, framing: Framing) -> Self {
        Self::tls_on(free_port(), server, framing)
    }
    /// Over TLS on this port.
    pub fn tls_on(port: u16, server: Arc<ServerConfig>, framing: Framing) -> Self {
        Self::start(Place::Tls(port, server), framing, None)
    }
    /// Over a unix stream socket in a folder of its own.
    pub fn unix(framing: Framing) -> Self {
        let folder = TempDir::with_prefix("sink-").unwrap();
        Self::start(Place::Unix(folder.path().join("sink.sock")), framing, Some(folder))
    }
    fn start(place: Place, framing: Framing, folder: Option<TempDir>) -> Self {
        let state = Arc::new(State::default());
        let (port, path) = match &place {
            Place::Tcp(port) | Place::Tls(port, _) => (*port, PathBuf::new()),
            Place::Unix(path) => (0, path.clone()),
        };
        let shared = state.clone();
        let thread = Some(std::thread::spawn(move || listen(&place, framing, &shared)));
        let sink = FrameSink { port, path, state, thread, _folder: folder };
        sink.reopen();
        sink
    }

    /// Its port; 0 for a unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Its socket file; empty but for a unix socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Every whole message so far, without its framing.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        self.state.frames.lock().unwrap().clone()
    }
    /// How many there are.
    pub fn count(&self) -> usize {
        self.state.frames.lock().unwrap().len()
    }
    /// The same as text.
    pub fn texts(&self) -> Vec<String> {
        self.frames().iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect()
    }
    /// The same as JSON; a frame that is none fails the test.
    #[track_caller]
    pub fn records(&self) -> Vec<Value> {
        let read =
            |f: &Vec<u8>| serde_json::from_slice(f).unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(f)));
        self.frames().iter().map(read).collect()
    }
    /// Waits until there are so many messages.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Vec<u8>> {
        eventually(&format!("{count} frames, there are {}", self.count()), || {
            (self.count() >= count).then(|| self.frames())
        })
    }
    /// What connections left unfinished when they ended, and what could not be cut into frames.
    pub fn torn(&self) -> Vec<Vec<u8>> {
        self.state.torn.lock().unwrap().clone()
    }
    /// Why connections broke: refused handshakes among them.
    pub fn failures(&self) -> Vec<String> {
        self.state.failures.lock().unwrap().clone()
    }
    /// Connections accepted since the start.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::Acquire)
    }
    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::Acquire)
    }
    /// Reads no more; the sender's buffers run full.
    pub fn pause(&self) {
        self.state.paused.store(true, Ordering::Release);
    }
    /// Reads again.
    pub fn resume(&self) {
        self.state.paused.store(false, Ordering::Release);
    }
    /// Ends every connection with a reset; what was not read is lost.
    #[track_caller]
    pub fn kill_connections(&self) {
        self.end_connections(true);
    }
    /// Ends every connection as a server does that stops; a reset all the same where something was not read.
    #[track_caller]
    pub fn hang_up(&self) {
        self.end_connections(false);
    }
    #[track_caller]
    fn end_connections(&self, reset: bool) {
        self.state.reset.store(reset, Ordering::Release);
        self.state.generation.fetch_add(1, Ordering::AcqRel);
        until("the connections end", || self.state.open.load(Ordering::Acquire) == 0);
    }
    /// Accepts no more: connecting is refused. Connections stay; a unix socket's file stays, too, as after a crash.
    #[track_caller]
    pub fn close_listener(&self) {
        self.state.unwanted.store(true, Ordering::Release);
        until("the listener closes", || !self.state.bound.load(Ordering::Acquire));
    }
    /// Accepts again in the same place.
    #[track_caller]
    pub fn reopen(&self) {
        self.state.unwanted.store(false, Ordering::Release);
        until("the listener opens", || self.state.bound.load(Ordering::Acquire));
    }
    /// Takes the unix socket's file away, as a server does that stops in order; after [`FrameSink::close_listener`].
    pub fn remove_file(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
    /// As if the machine went away and nobody told the sender: all at once.
    #[track_caller]
    pub fn crash(&self) {
        self.close_listener();
        self.kill_connections();
    }
}

impl Drop for FrameSink {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    Unix(UnixStream),
}

fn bind(place: &Place) -> std::io::Result<Listener> {
    match place {
        Place::Tcp(port) | Place::Tls(port, _) => {
            let listener = TcpListener::bind(("127.0.0.1", *port))?;
            listener.set_nonblocking(true)?;
            setsockopt(&listener, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
            Ok(Listener::Tcp(listener))
        }
        Place::Unix(path) => {
            let _ = std::fs::remove_file(path);
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            Ok(Listener::Unix(listener))
        }
    }
}

fn accept(listener: &Listener, place: &Place) -> std::io::Result<Stream> {
    Ok(match listener {
        Listener::Tcp(listener) => {
            let stream = listener.accept()?.0;
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(TICK))?;
            match place {
                Place::Tls(_, config) => {
                    let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
                    Stream::Tls(Box::new(StreamOwned::new(connection, stream)))
                }
                _ => Stream::Tcp(stream),
            }
        }
        Listener::Unix(listener) => {
            let stream = listener.accept()?.0;
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(TICK))?;
            Stream::Unix(stream)
        }
    })
}

fn listen(place: &Place, framing: Framing, state: &Arc<State>) {
    let (mut listener, mut readers) = (None, Vec::new());
    while !state.stop.load(Ordering::Acquire) {
        let wanted = !state.unwanted.load(Ordering::Acquire);
        if wanted && listener.is_none() {
            listener = bind(place).ok();
        } else if !wanted {
            listener = None;
        }
        state.bound.store(listener.is_some(), Ordering::Release);
        match listener.as_ref().map(|l| accept(l, place)) {
            Some(Ok(stream)) => {
                state.open.fetch_add(1, Ordering::AcqRel);
                state.accepted.fetch_add(1, Ordering::AcqRel);
                let (state, generation) = (state.clone(), state.generation.load(Ordering::Acquire));
                readers.push(std::thread::spawn(move || {
                    read(stream, framing, &state, generation);
                    state.open.fetch_sub(1, Ordering::AcqRel);
                }));
            }
            _ => std::thread::sleep(TICK),
        }
    }
    for reader in readers {
        let _ = reader.join();
    }
}

fn read(mut stream: Stream, framing: Framing, state: &State, generation: usize) {
    let (mut pending, mut space) = (Vec::new(), vec![0; 32 << 10]);
    loop {
        if state.stop.load(Ordering::Acquire) {
            return;
        }
        if state.generation.load(Ordering::Acquire) != generation {
            if state.reset.load(Ordering::Acquire) {
                reset_on_close(&stream);
            }
            break;
        }
        if state.paused.load(Ordering::Acquire) {
            std::thread::sleep(TICK);
            continue;
        }
        let read = match &mut stream {
            Stream::Tcp(stream) => stream.read(&mut space),
            Stream::Tls(stream) => stream.read(&mut space),
            Stream::Unix(stream) => stream.read(&mut space),
        };
        match read {
            Ok(0) => break,
            Ok(n) => {
                pending.extend_from_slice(&space[..n]);
                cut(&mut pending, framing, state);
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => (),
            Err(e) => {
                state.failures.lock().unwrap().push(e.to_string());
                break;
            }
        }
    }
    if !pending.is_empty() {
        state.torn.lock().unwrap().push(pending);
    }
}

fn reset_on_close(stream: &Stream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    let _ = match stream {
        Stream::Tcp(stream) => setsockopt(stream, sockopt::Linger, &linger),
        Stream::Tls(stream) => setsockopt(&stream.sock, sockopt::Linger, &linger),
        Stream::Unix(_) => Ok(()),
    };
}

/// Takes the whole frames off the front of what came.
fn cut(pending: &mut Vec<u8>, framing: Framing, state: &State) {
    let mut at = 0;
    let mut frames = Vec::new();
    while let Some((start, end, next)) = frame(&pending[at..], framing) {
        frames.push(pending[at + start..at + end].to_vec());
        at += next;
    }
    pending.drain(..at);
    state.frames.lock().unwrap().extend(frames);
}

/// Where the first frame starts and ends, and where the next one starts.
fn frame(bytes: &[u8], framing: Framing) -> Option<(usize, usize, usize)> {
    let ended_by = |end: u8| bytes.iter().position(|b| *b == end).map(|n| (0, n, n + 1));
    let counted = |start: usize, length: usize| {
        let end = start.checked_add(length)?;
        (bytes.len() >= end).then_some((start, end, end))
    };
    match framing {
        Framing::Nul => ended_by(0),
        Framing::Line => ended_by(b'\n'),
        Framing::OctetCounted => {
            let space = bytes.iter().position(|b| *b == b' ')?;
            counted(space + 1, std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?)
        }
        Framing::LengthPrefixed => counted(4, u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize),
    }
}
