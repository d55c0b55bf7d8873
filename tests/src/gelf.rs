//! A GELF receiver over UDP: puts chunks together, unpacks, and keeps the records.

use crate::net::free_port;
use crate::patience::eventually;
use serde_json::Value;
use std::collections::HashMap;
use std::io::Read;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
struct Got {
    records: Mutex<Vec<Value>>,
    datagrams: Mutex<Vec<Vec<u8>>>,
    stop: AtomicBool,
}

/// The receiver; it closes its port when dropped.
pub struct GelfServer {
    port: u16,
    got: Arc<Got>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl GelfServer {
    /// On a free port.
    pub fn start() -> Self {
        Self::start_on(free_port())
    }

    /// On this port.
    pub fn start_on(port: u16) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &(8 << 20));
        let got = Arc::new(Got::default());
        let shared = got.clone();
        let thread = std::thread::spawn(move || receive(&socket, &shared));
        GelfServer { port, got, thread: Some(thread) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Every record so far.
    pub fn records(&self) -> Vec<Value> {
        self.got.records.lock().unwrap().clone()
    }
    /// Every datagram so far, as it came.
    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        self.got.datagrams.lock().unwrap().clone()
    }
    /// Waits until there are so many records.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} GELF records"), || {
            let records = self.records();
            (records.len() >= count).then_some(records)
        })
    }
    /// Waits for the record whose field has this value.
    #[track_caller]
    pub fn record(&self, field: &str, value: &str) -> Value {
        eventually(&format!("a GELF record with {field} = {value}"), || {
            self.records().into_iter().find(|r| r[field] == value)
        })
    }
}

impl Drop for GelfServer {
    fn drop(&mut self) {
        self.got.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn receive(socket: &UdpSocket, got: &Got) {
    let mut partial: HashMap<[u8; 8], Vec<Option<Vec<u8>>>> = HashMap::new();
    let mut buf = vec![0; 65_536];
    while !got.stop.load(Ordering::Acquire) {
        let Ok(n) = socket.recv(&mut buf) else { continue };
        let datagram = buf[..n].to_vec();
        got.datagrams.lock().unwrap().push(datagram.clone());
        let whole = if datagram.starts_with(&[0x1e, 0x0f]) && n > 12 {
            let id: [u8; 8] = datagram[2..10].try_into().unwrap();
            let (nth, of) = (datagram[10] as usize, datagram[11] as usize);
            assert!(of <= 128 && nth < of, "chunk {nth} of {of}");
            let parts = partial.entry(id).or_insert_with(|| vec![None; of]);
            parts[nth] = Some(datagram[12..].to_vec());
            if parts.iter().any(Option::is_none) {
                continue;
            }
            partial.remove(&id).unwrap_or_default().into_iter().flatten().flatten().collect()
        } else {
            datagram
        };
        let record = serde_json::from_slice(&unpack(&whole));
        got.records.lock().unwrap().push(record.unwrap_or_else(|e| Value::String(format!("not JSON: {e}"))));
    }
}

/// Undoes gzip or zlib, told apart by their first bytes as Graylog does.
pub fn unpack(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let read = match bytes {
        [0x1f, 0x8b, ..] => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain),
        [0x78, ..] => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut plain),
        _ => return bytes.to_vec(),
    };
    read.map(|_| plain).unwrap_or_default()
}
