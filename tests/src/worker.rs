//! Scripted workers: what stands behind Fourmi and does exactly what the test says.

use crate::net::{Stream, free_port};
use crate::wire::{Framing, Kind, Message, Wire};
use serde_json::json;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<Message>>,
    streams: Mutex<HashMap<usize, Stream>>,
    stopped: AtomicBool,
}

/// One connection as the script sees it.
pub struct Conn {
    /// The connection.
    pub wire: Wire,
    /// Which connection this is, from 0; those that ask whether the worker is there count too.
    pub nth: usize,
    used: bool,
    /// Where its newest request stands among those of all connections.
    at: usize,
    seen: Arc<Seen>,
}

impl Conn {
    /// The next whole request; none when the other side is done.
    pub fn request(&mut self) -> Option<Message> {
        let mut head = self.head()?;
        self.wire.body_into(&mut head, Kind::Request).ok()?;
        self.seen.requests.lock().unwrap()[self.at] = head.clone();
        Some(head)
    }
    /// The next request's head; its body stays on the wire.
    pub fn head(&mut self) -> Option<Message> {
        let head = self.wire.head().ok()?;
        if !std::mem::replace(&mut self.used, true) {
            self.seen.connections.fetch_add(1, Ordering::AcqRel);
        }
        let mut requests = self.seen.requests.lock().unwrap();
        self.at = requests.len();
        requests.push(head.clone());
        drop(requests);
        Some(head)
    }
    /// Sends bytes; a side that is gone is the test's business, not the worker's.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.send(bytes).is_ok()
    }
    /// Answers 200 with this body.
    pub fn ok(&mut self, body: impl AsRef<[u8]>) -> bool {
        let body = body.as_ref();
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())) && self.send(body)
    }
    /// Waits until the other side closes; says what still came.
    pub fn until_closed(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match self.wire.some() {
                Ok(bytes) if bytes.is_empty() => return all,
                Ok(bytes) => all.extend(bytes),
                Err(_) => return all,
            }
        }
    }
}

/// A worker; it ends when dropped.
pub struct Worker {
    address: String,
    port: u16,
    seen: Arc<Seen>,
}

impl Worker {
    /// A worker on a free port that runs this script for every connection, each in a thread of its own.
    pub fn scripted(script: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        Self::scripted_on(free_port(), script)
    }

    /// The same on a given port.
    pub fn scripted_on(port: u16, script: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        Self::scripted_bound((Ipv4Addr::LOCALHOST, port).into(), script)
    }

    /// The same on a given address of this machine, such as 127.0.0.2 or ::1.
    pub fn scripted_bound(address: SocketAddr, script: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        let accept = move || {
            listener.accept().map(|(s, _)| {
                let _ = s.set_nodelay(true);
                Stream::Tcp(s)
            })
        };
        let seen = Self::serve(accept, script);
        Worker { address: format!("http://{address}"), port: address.port(), seen }
    }

    /// The same on a unix socket.
    pub fn scripted_at(path: &Path, script: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let seen = Self::serve(move || listener.accept().map(|(s, _)| Stream::Unix(s)), script);
        Worker { address: format!("unix:{}", path.display()), port: 0, seen }
    }

    fn serve(
        accept: impl Fn() -> std::io::Result<Stream> + Send + 'static,
        script: impl Fn(Conn) + Send + Sync + 'static,
    ) -> Arc<Seen> {
        let seen = Arc::new(Seen::default());
        let script = Arc::new(script);
        let shared = seen.clone();
        std::thread::spawn(move || {
            let mut nth = 0;
            while let Ok(stream) = accept() {
                if shared.stopped.load(Ordering::Acquire) {
                    return;
                }
                shared.streams.lock().unwrap().insert(nth, stream.twin());
                let wire = Wire::new(stream);
                // Kept connections wait for as long as the test runs.
                wire.stream.read_timeout(Some(Duration::from_secs(300)));
                let conn = Conn { wire, nth, used: false, at: 0, seen: shared.clone() };
                let (script, shared) = (script.clone(), shared.clone());
                std::thread::spawn(move || {
                    script(conn);
                    // The last handle: the connection closes with its script.
                    shared.streams.lock().unwrap().remove(&nth);
                });
                nth += 1;
            }
        });
        seen
    }

    /// A worker that answers each request with the bytes that the function makes of it.
    pub fn replying(reply: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::scripted(move |conn| reply_loop(conn, &reply))
    }

    /// The same on a given port.
    pub fn replying_on(port: u16, reply: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::scripted_on(port, move |conn| reply_loop(conn, &reply))
    }

    /// A worker that answers every request with these bytes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::replying(move |_| bytes.clone())
    }

    /// A worker that tells what it saw: method, target, version, header lines and body, as JSON.
    /// The paths `/status/NNN` and `/slow/MS` answer with that status or after that time.
    pub fn echo() -> Self {
        Self::replying(echo)
    }

    /// The same on a unix socket.
    pub fn echo_at(path: &Path) -> Self {
        Self::scripted_at(path, |conn| reply_loop(conn, &echo))
    }

    /// The same on a given port.
    pub fn echo_on(port: u16) -> Self {
        Self::replying_on(port, echo)
    }

    /// The same on a given address of this machine.
    pub fn echo_bound(address: SocketAddr) -> Self {
        Self::scripted_bound(address, |conn| reply_loop(conn, &echo))
    }

    /// A worker that sends every body back while it comes.
    pub fn mirror() -> Self {
        Self::scripted(|mut conn| {
            while let Some(head) = conn.head() {
                if head.says("expect", "100-continue") {
                    conn.send("HTTP/1.1 100 Continue\r\n\r\n");
                }
                conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                let framing = Wire::framing(&head, Kind::Request);
                let mut left = if let Framing::Length(n) = framing { n as usize } else { usize::MAX };
                while left > 0 {
                    let piece = match framing {
                        Framing::Chunked => match conn.wire.chunk() {
                            Ok(Ok(data)) => data,
                            Ok(Err(_)) => break,
                            Err(_) => return,
                        },
                        _ => match conn.wire.exactly(left.min(16 << 10)) {
                            Ok(data) => data,
                            Err(_) => return,
                        },
                    };
                    left -= piece.len();
                    if !(conn.send(format!("{:x}\r\n", piece.len())) && conn.send(&piece) && conn.send("\r\n")) {
                        return;
                    }
                }
                if !conn.send("0\r\n\r\n") {
                    return;
                }
            }
        })
    }

    /// Its address as the configuration writes it.
    pub fn address(&self) -> &str {
        &self.address
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// How many connections brought it a request; those that only asked whether it is there do not count.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Acquire)
    }
    /// Every request that it saw, in the order of their heads.
    pub fn requests(&self) -> Vec<Message> {
        self.seen.requests.lock().unwrap().clone()
    }
    /// The last request that it saw.
    #[track_caller]
    pub fn last(&self) -> Message {
        self.requests().pop().expect("the worker saw no request")
    }
    /// Closes every connection, at once; new ones are still taken.
    pub fn cut(&self) {
        for (_, stream) in self.seen.streams.lock().unwrap().drain() {
            stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.seen.stopped.store(true, Ordering::Release);
        self.cut();
        // Wakes the accept loop, so that the port is free again.
        match self.address.strip_prefix("unix:") {
            Some(path) => drop(std::os::unix::net::UnixStream::connect(path)),
            None => drop(std::net::TcpStream::connect(self.address.trim_start_matches("http://"))),
        }
    }
}

fn reply_loop(mut conn: Conn, reply: &impl Fn(&Message) -> Vec<u8>) {
    while let Some(request) = conn.request() {
        if !conn.send(reply(&request)) || request.says("connection", "close") {
            return;
        }
    }
}

fn echo(request: &Message) -> Vec<u8> {
    let path = request.target().split('?').next().unwrap_or("");
    let number = |prefix: &str| path.strip_prefix(prefix).and_then(|n| n.parse::<u64>().ok());
    if let Some(ms) = number("/slow/") {
        std::thread::sleep(Duration::from_millis(ms));
    }
    let status = number("/status/").unwrap_or(200);
    let body = json!({
        "method": request.method(),
        "target": request.target(),
        "version": request.first.split(' ').nth(2),
        "headers": request.headers,
        "body": request.text(),
        "length": request.body.len(),
        "trailers": request.trailers,
    })
    .to_string();
    let length = body.len();
    let body = if request.method() == "HEAD" { String::new() } else { body };
    format!("HTTP/1.1 {status} Echo\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into()
}
