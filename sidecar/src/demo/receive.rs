//! The demo's own Graylog and StatsD: one UDP socket of each for every Fourmi, read by a thread of their own, so
//! that nothing the demo does besides makes a datagram wait.

use super::gelf::{Chunks, Records};
use super::statsd::Counted;
use super::system::SERVICES;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

/// Asked of the kernel for each socket; it gives what `net.core.rmem_max` allows.
const BUFFER: usize = 8 << 20;

/// What came from one Fourmi.
#[derive(Debug, Clone, Default)]
pub(super) struct Received {
    /// By GELF.
    pub(super) records: Records,
    /// By StatsD.
    pub(super) counted: Counted,
}

/// The receivers of every Fourmi, in the order of [`SERVICES`]. Dropped, they stop.
pub(super) struct Receivers {
    /// GELF and StatsD port of each.
    pub(super) ports: Vec<(u16, u16)>,
    received: Arc<Vec<Mutex<Received>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receivers {
    /// Binds all of them and starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let mut sockets = Vec::new();
        let mut ports = Vec::new();
        for _ in SERVICES {
            let (gelf, statsd) = (bind()?, bind()?);
            ports.push((gelf.local_addr()?.port(), statsd.local_addr()?.port()));
            sockets.push((gelf, statsd));
        }
        let received: Arc<Vec<Mutex<Received>>> = Arc::new(SERVICES.iter().map(|_| Mutex::default()).collect());
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let shared = Arc::clone(&received);
        let thread = std::thread::Builder::new().name("receivers".to_owned()).spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, async move {
                for (index, (gelf, statsd)) in sockets.into_iter().enumerate() {
                    tokio::task::spawn_local(read_gelf(gelf, Arc::clone(&shared), index));
                    tokio::task::spawn_local(read_statsd(statsd, Arc::clone(&shared), index));
                }
                let _ = stopped.await;
            });
        })?;
        Ok(Receivers { ports, received, stop: Some(stop), thread: Some(thread) })
    }

    /// What came from one Fourmi so far.
    pub(super) fn get(&self, index: usize) -> Received {
        lock(&self.received[index]).clone()
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bind() -> io::Result<std::net::UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket.into())
}

async fn read_gelf(socket: std::net::UdpSocket, received: Arc<Vec<Mutex<Received>>>, index: usize) {
    let mut chunks = Chunks::default();
    let command = SERVICES[index].command;
    read(socket, |datagram| chunks.take(datagram, command, &mut lock(&received[index]).records)).await;
}

async fn read_statsd(socket: std::net::UdpSocket, received: Arc<Vec<Mutex<Received>>>, index: usize) {
    let command = SERVICES[index].command;
    read(socket, |datagram| lock(&received[index]).counted.take(datagram, command)).await;
}

async fn read(socket: std::net::UdpSocket, mut take: impl FnMut(&[u8])) {
    let Ok(socket) = UdpSocket::from_std(socket) else { return };
    let mut buffer = vec![0; 64 << 10];
    loop {
        // Errors are late news of somebody who sent to a closed port; the next datagram may be fine.
        if let Ok(length) = socket.recv(&mut buffer).await {
            take(&buffer[..length]);
        }
    }
}

/// Datagrams that the kernel dropped because one of our sockets was full: losses that are ours, not Fourmi's.
pub(super) fn kernel_drops(port: u16) -> u64 {
    std::fs::read_to_string("/proc/net/udp").map_or(0, |table| drops_in(&table, port))
}

/// The last column of the socket's line in `/proc/net/udp` (proc(5)).
fn drops_in(table: &str, port: u16) -> u64 {
    let local = format!("0100007F:{port:04X}");
    let mut lines = table.lines().map(str::split_ascii_whitespace);
    let of = lines.find_map(|mut words| (words.nth(1) == Some(&local)).then(|| words.next_back()).flatten());
    of.and_then(|drops| drops.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn both_are_received_by_service() {
        let receivers = Receivers::start().unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (gelf, statsd) = receivers.ports[1];
        for _ in 0..100 {
            let record = br#"{"_command":"ReserveStock","_direction":"inbound","_outcome":"success","_duration_ms":1}"#;
            sender.send_to(record, ("127.0.0.1", gelf)).unwrap();
        }
        sender.send_to(b"fourmi.demo.stock.ReserveStock.success:7|c\n", ("127.0.0.1", statsd)).unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && (receivers.get(1).records.inbound < 100 || receivers.get(1).counted.inbound < 7) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!((receivers.get(1).records.inbound, receivers.get(1).counted.inbound), (100, 7));
        assert_eq!(receivers.get(0).records.inbound, 0);
        assert_eq!(kernel_drops(gelf), 0);
    }

    #[test]
    fn the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                     12: 0100007F:2FA9 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 123 2 0000000000000000 42\n";
        assert_eq!((drops_in(table, 12201), drops_in(table, 12202)), (42, 0));
    }
}
