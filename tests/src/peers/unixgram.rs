//! A receiver over a unix datagram socket, as DogStatsD has one.

use crate::patience::{eventually, until};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

#[derive(Default)]
struct State {
    datagrams: Mutex<Vec<Vec<u8>>>,
    paused: AtomicBool,
    unwanted: AtomicBool,
    bound: AtomicBool,
    stop: AtomicBool,
}

/// The receiver; it is gone when dropped.
pub struct UnixgramSink {
    folder: TempDir,
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl UnixgramSink {
    /// In a folder of its own.
    pub fn start() -> Self {
        let sink = Self::absent();
        sink.reopen();
        sink
    }
    /// Only the folder: there is no socket before [`UnixgramSink::reopen`].
    pub fn absent() -> Self {
        let (folder, state) = (TempDir::with_prefix("unixgram-").unwrap(), Arc::new(State::default()));
        state.unwanted.store(true, Ordering::Release);
        let (path, shared) = (folder.path().join("dsd.sock"), state.clone());
        let thread = Some(std::thread::spawn(move || receive(&path, &shared)));
        UnixgramSink { folder, state, thread }
    }
    /// Its socket file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("dsd.sock")
    }
    /// Every datagram so far.
    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        self.state.datagrams.lock().unwrap().clone()
    }
    /// Every line of them.
    pub fn lines(&self) -> Vec<String> {
        let datagrams = self.datagrams();
        datagrams
            .iter()
            .flat_map(|d| String::from_utf8_lossy(d).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }
    /// Waits for a line that has this text.
    #[track_caller]
    pub fn line(&self, with: &str) -> String {
        eventually(&format!("a line with {with}: {:?}", self.lines()), || {
            self.lines().into_iter().find(|l| l.contains(with))
        })
    }
    /// Reads no more: soon the kernel says "try again" to the sender.
    pub fn pause(&self) {
        self.state.paused.store(true, Ordering::Release);
    }
    /// Reads again.
    pub fn resume(&self) {
        self.state.paused.store(false, Ordering::Release);
    }
    /// Closes the socket and leaves its file, as a crash does: sending is refused.
    #[track_caller]
    pub fn close(&self) {
        self.state.unwanted.store(true, Ordering::Release);
        until("the socket closes", || !self.state.bound.load(Ordering::Acquire));
    }
    /// Takes the file away, too; after [`UnixgramSink::close`].
    pub fn remove_file(&self) {
        let _ = std::fs::remove_file(self.path());
    }
    /// Makes a new socket with the same name.
    #[track_caller]
    pub fn reopen(&self) {
        self.state.unwanted.store(false, Ordering::Release);
        until("the socket opens", || self.state.bound.load(Ordering::Acquire));
    }
}

impl Drop for UnixgramSink {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn receive(path: &Path, state: &State) {
    let (mut socket, mut space) = (None, vec![0; 65_536]);
    while !state.stop.load(Ordering::Acquire) {
        let wanted = !state.unwanted.load(Ordering::Acquire);
        if wanted && socket.is_none() {
            let _ = std::fs::remove_file(path);
            socket = UnixDatagram::bind(path).ok();
        } else if !wanted {
            socket = None;
        }
        state.bound.store(socket.is_some(), Ordering::Release);
        let tick = Duration::from_millis(5);
        match &socket {
            Some(socket) if !state.paused.load(Ordering::Acquire) => {
                let _ = socket.set_read_timeout(Some(tick));
                if let Ok(n) = socket.recv(&mut space) {
                    state.datagrams.lock().unwrap().push(space[..n].to_vec());
                }
            }
            _ => std::thread::sleep(tick),
        }
    }
}
