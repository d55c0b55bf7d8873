//! The TLS handshake with a caller, before anything of HTTP.

use super::first::{First, read_first};
use super::{Worker, part};
use crate::codec::Socket;
use crate::codec::server::Life;
use crate::exchange::deadline;
use crate::tls::{self, Acceptor};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// Handshakes of one thread at once. Each holds some 20 KiB; when there is one more, the oldest is given up: who means
/// it is through in milliseconds.
const HANDSHAKES_MAX: usize = 1024;

/// How every record of a handshake begins (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

type Peer = Option<SocketAddr>;

/// Handshakes that are not over, by their age.
#[derive(Default)]
pub(super) struct Handshakes {
    running: RefCell<BTreeMap<u64, (Rc<Life>, Peer)>>,
    next: Cell<u64>,
}

/// One of them.
struct Running<'a>(&'a Handshakes, u64);

impl Handshakes {
    /// Begins one; and whose was given up for it.
    fn begin(&self, life: &Rc<Life>, peer: Peer) -> (Running<'_>, Option<Peer>) {
        let mut running = self.running.borrow_mut();
        let given_up = (running.len() >= HANDSHAKES_MAX).then(|| running.pop_first()).flatten();
        let given_up = given_up.map(|(_, (oldest, peer))| {
            oldest.close();
            peer
        });
        let key = self.next.get();
        self.next.set(key.wrapping_add(1));
        running.insert(key, (life.clone(), peer));
        (Running(self, key), given_up)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.borrow_mut().remove(&self.1);
    }
}

/// Encrypts a caller's connection, of which `first` was read, and reads the first bytes of what it says then. None when
/// it ended; then it was told, counted and logged.
pub(super) async fn encrypt(
    worker: &Worker,
    acceptor: &Acceptor,
    socket: Socket,
    first: Vec<u8>,
    peer: Peer,
    (life, by): (&Rc<Life>, Instant),
) -> Option<(Socket, Vec<u8>)> {
    if first.first() != Some(&HANDSHAKE) {
        let http = first.first().is_some_and(u8::is_ascii_uppercase);
        if http {
            worker.handshake_failed(peer, "it speaks plain HTTP to a port that speaks HTTPS");
            part(worker, socket, PLAIN).await;
        } else {
            worker.handshake_failed(peer, "what it sent is not TLS");
        }
        return None;
    }
    let (running, given_up) = worker.handshakes.begin(life, peer);
    if let Some(oldest) = given_up {
        worker.handshake_failed(oldest, "more handshakes at once than are allowed: the oldest is given up");
    }
    let late = || worker.handshake_failed(peer, "the handshake was not over in time (timeouts.head)");
    let shaken = tokio::select! {
        shaken = deadline::until(by, socket.accept(first, acceptor)) => shaken,
        () = life.ending() => {
            // The one who looks after connections may have looked first.
            if Instant::now() >= by {
                late();
            }
            return None;
        }
    };
    drop(running);
    let mut socket = match shaken {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => {
            worker.handshake_failed(peer, &tls::of_caller(&error));
            return None;
        }
        Err(deadline::Elapsed) => {
            late();
            return None;
        }
    };
    let read = tokio::select! {
        read = deadline::until(by, read_first(&mut socket, false, false)) => read,
        () = life.ending() => return None,
    };
    match read {
        Ok(Ok(First { bytes, .. })) if !bytes.is_empty() => Some((socket, bytes)),
        _ => None,
    }
}

/// What a caller is told that speaks plain HTTP.
const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nserver: fourmi\r\nconnection: close\r\n\
                     content-length: 45\r\n\r\nThis port speaks HTTPS: write https:// there.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_ends_the_oldest() {
        let handshakes = Handshakes::default();
        let lives: Vec<Rc<Life>> = (0..=HANDSHAKES_MAX).map(|_| Life::new()).collect();
        let mut running: Vec<Running<'_>> =
            lives[..HANDSHAKES_MAX].iter().map(|l| handshakes.begin(l, None).0).collect();
        // One in the middle is through.
        drop(running.remove(7));
        let (first, given_up) = handshakes.begin(&lives[HANDSHAKES_MAX], None);
        assert_eq!(given_up, None);
        let extra = Life::new();
        let (_second, given_up) = handshakes.begin(&extra, None);
        assert_eq!(given_up, Some(None));
        drop((running, first));
        assert_eq!(handshakes.running.borrow().len(), 1);
    }

    #[test]
    fn what_plain_http_is_told_is_as_long_as_it_says() {
        let (head, body) = PLAIN.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
    }
}
