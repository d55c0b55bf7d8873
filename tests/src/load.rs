//! Load from several kept-alive connections, counting every answer.

use crate::net::Stream;
use crate::wire::{Kind, Wire};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What came of the load.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Requests that got no answer at all, with the reason of the first of them.
    pub lost: u64,
    /// Why the first one was lost.
    pub reason: String,
}

impl Tally {
    /// Requests sent.
    pub fn sent(&self) -> u64 {
        self.answers.values().sum::<u64>() + self.lost
    }
    /// Answers with this status.
    pub fn with(&self, status: u16) -> u64 {
        self.answers.get(&status).copied().unwrap_or(0)
    }
}

/// A load that runs until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// So many callers, each sending this request again and again.
    pub fn on(port: u16, callers: usize, request: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let threads = (0..callers)
            .map(|_| {
                let (stop, tally, request) = (stop.clone(), tally.clone(), request.to_owned());
                std::thread::spawn(move || caller(port, &request, &stop, &tally))
            })
            .collect();
        Load { stop, tally, threads }
    }
    /// How many requests have been answered so far.
    pub fn answered(&self) -> u64 {
        self.tally.lock().unwrap().answers.values().sum()
    }
    /// Ends it: what is in flight is still answered.
    pub fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.tally.lock().unwrap().clone()
    }
}

fn caller(port: u16, request: &str, stop: &AtomicBool, tally: &Mutex<Tally>) {
    let mut wire: Option<Wire> = None;
    while !stop.load(Ordering::Acquire) {
        let used = match wire.take() {
            Some(wire) => Ok(wire),
            None => TcpStream::connect(("127.0.0.1", port)).map(|s| {
                let _ = s.set_nodelay(true);
                Wire::new(Stream::Tcp(s))
            }),
        };
        let method = request.split(' ').next().unwrap_or("GET");
        let answered = used.and_then(|mut wire| {
            wire.send(request)?;
            let answer = wire.message(Kind::AnswerTo(method))?;
            Ok((wire, answer))
        });
        let mut tally = tally.lock().unwrap();
        match answered {
            Ok((kept, answer)) => {
                *tally.answers.entry(answer.status()).or_default() += 1;
                wire = (!answer.says("connection", "close")).then_some(kept);
            }
            Err(e) => {
                if tally.lost == 0 {
                    tally.reason = e.to_string();
                }
                tally.lost += 1;
            }
        }
    }
}
