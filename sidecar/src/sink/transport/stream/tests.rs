use super::*;
use crate::tls::ClientTls;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

trait Stream: AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for T {}

enum Listener {
    Tcp(TcpListener),
    Tls(TcpListener, Arc<ServerConfig>),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Listener::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
            Listener::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
            Listener::Tls(listener, config) => {
                let socket = listener.accept().await?.0;
                Ok(Box::new(tokio_rustls::TlsAcceptor::from(config.clone()).accept(socket).await?))
            }
        }
    }
}

/// What a receiver saw: the frames of each connection, and whether bytes followed a torn one.
#[derive(Default)]
struct Seen {
    frames: Vec<u64>,
    garbled: usize,
    connections: usize,
}

struct Receiver {
    seen: Arc<Mutex<Seen>>,
    reading: Arc<AtomicBool>,
    hang_up: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Receiver {
    fn start(listener: Listener) -> Receiver {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let reading = Arc::new(AtomicBool::new(true));
        let hang_up = Arc::new(Notify::new());
        let (s, r, h) = (seen.clone(), reading.clone(), hang_up.clone());
        let task = tokio::spawn(async move {
            loop {
                let Ok(stream) = listener.accept().await else { continue };
                s.lock().unwrap().connections += 1;
                read(stream, &s, &r, &h).await;
            }
        });
        Receiver { seen, reading, hang_up, task }
    }

    fn received(&self) -> Vec<u64> {
        self.seen.lock().unwrap().frames.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Frames are 400 bytes: a number, padding, a NUL. When told to hang up, every other time at once, else in order:
/// what was sent before is read.
async fn read(mut stream: Box<dyn Stream>, seen: &Mutex<Seen>, reading: &AtomicBool, hang_up: &Notify) {
    let mut held: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    let mut leaving = false;
    loop {
        while !reading.load(SeqCst) {
            sleep(Duration::from_millis(5)).await;
        }
        let n = tokio::select! {
            biased;
            () = hang_up.notified(), if !leaving => {
                if seen.lock().unwrap().connections.is_multiple_of(2) {
                    // Killed, when it had read all there was.
                    while let Poll::Ready(n) = poll_fn(|cx| Poll::Ready(poll_some(&mut stream, cx, &mut buffer))).await {
                        held.extend_from_slice(&buffer[..n]);
                        if n == 0 {
                            break;
                        }
                    }
                    take(&mut held, seen);
                    return;
                }
                leaving = true;
                let _ = stream.shutdown().await;
                continue;
            }
            n = stream.read(&mut buffer) => n.unwrap_or(0),
        };
        if n == 0 {
            return;
        }
        held.extend_from_slice(&buffer[..n]);
        take(&mut held, seen);
    }
}

fn poll_some(stream: &mut Box<dyn Stream>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<usize> {
    let mut buffer = ReadBuf::new(buffer);
    match Pin::new(stream).poll_read(cx, &mut buffer) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(_) => Poll::Ready(buffer.filled().len()),
    }
}

fn take(held: &mut Vec<u8>, seen: &Mutex<Seen>) {
    while let Some(end) = held.iter().position(|b| *b == 0) {
        let frame: Vec<u8> = held.drain(..=end).collect();
        let number = std::str::from_utf8(&frame[..end]).ok().and_then(|t| t.trim_end().parse().ok());
        let mut seen = seen.lock().unwrap();
        match number {
            Some(number) if frame.len() == FRAME => seen.frames.push(number),
            _ => seen.garbled += 1,
        }
    }
}

const FRAME: usize = 400;

fn frames(from: u64, n: u64) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for number in from..from + n {
        bytes.extend_from_slice(format!("{number:<width$}\0", width = FRAME - 1).as_bytes());
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn certificate() -> (Arc<ServerConfig>, String) {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (Arc::new(config), cert.pem())
}

fn quick() -> Backoff {
    Backoff::new(Duration::from_millis(5), Duration::from_millis(50))
}

struct Bench {
    place: Place,
    receiver: Receiver,
    _folder: tempfile::TempDir,
}

async fn bench(kind: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let (listener, place) = match kind {
        "unix" => {
            let path: PathBuf = folder.path().join("s");
            (Listener::Unix(UnixListener::bind(&path).unwrap()), Place::Unix(path))
        }
        _ => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            if kind == "tcp" {
                (Listener::Tcp(listener), Place::Tcp { host: "127.0.0.1".into(), port, tls: None })
            } else {
                let (config, pem) = certificate();
                let ca = folder.path().join("ca.pem");
                std::fs::write(&ca, pem).unwrap();
                let settings =
                    ClientTls { ca: vec![ca.into()], server_name: Some("localhost".into()), ..ClientTls::default() };
                let tls = Some(settings.connector(&[]).unwrap());
                (Listener::Tls(listener, config), Place::Tcp { host: "127.0.0.1".into(), port, tls })
            }
        }
    };
    Bench { place, receiver: Receiver::start(listener), _folder: folder }
}

/// Writes frames `from..from+n` in batches as their owner would; the frames that were confirmed meanwhile.
async fn write(out: &mut StreamOut, counts: &Counts, from: u64, n: u64, batch: u64) {
    let mut next = from;
    let until = Instant::now() + Duration::from_secs(60);
    while next < from + n {
        assert!(Instant::now() < until, "stuck at {next}: {:?}", counts.last_error());
        if !out.ready(counts).await {
            sleep(Duration::from_millis(1)).await;
            continue;
        }
        let some = batch.min(from + n - next);
        let (bytes, ends) = frames(next, some);
        if let Err(e) = out.write(&bytes, &ends).await {
            counts.note(&e);
        }
        next += some;
        counts.sent(out.confirmed());
        tokio::task::yield_now().await;
    }
}

async fn receivers_end_and_come_back(kind: &str) {
    let Bench { place, receiver, _folder } = bench(kind).await;
    let counts = Counts::default();
    let mut out = StreamOut::new(place).backoff(quick());
    let mut written = 0;
    for round in 0..6 {
        write(&mut out, &counts, written, 500, 20 + round).await;
        written += 500;
        // In the middle of what is under way.
        receiver.hang_up.notify_one();
        write(&mut out, &counts, written, 300, 7).await;
        written += 300;
    }
    out.settle(Instant::now() + Duration::from_secs(20), &counts).await;
    counts.sent(out.confirmed());
    let lost = out.abandon();
    let seen = wait_for(&receiver, written).await;
    assert_eq!(lost, 0, "{kind}: {:?}", counts.last_error());
    assert_eq!(counts.totals().sent, written, "{kind}");
    assert_eq!(seen.garbled, 0, "{kind}: bytes after a torn frame");
    let mut numbers = seen.frames.clone();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..written).collect::<Vec<_>>(), "{kind}: each exactly once");
    assert!(seen.connections >= 4, "{kind}: {} connections", seen.connections);
}

async fn wait_for(receiver: &Receiver, n: u64) -> Seen {
    let until = Instant::now() + Duration::from_secs(20);
    while (receiver.received().len() as u64) < n && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
    // Whatever comes too much comes now.
    sleep(Duration::from_millis(50)).await;
    std::mem::take(&mut *receiver.seen.lock().unwrap())
}

#[tokio::test]
async fn every_frame_arrives_once_over_tcp() {
    receivers_end_and_come_back("tcp").await;
}

#[tokio::test]
async fn every_frame_arrives_once_over_tls() {
    receivers_end_and_come_back("tls").await;
}

#[tokio::test]
async fn every_frame_arrives_once_over_a_unix_socket() {
    receivers_end_and_come_back("unix").await;
}

#[tokio::test]
async fn a_receiver_that_pauses_gets_everything_in_order() {
    for kind in ["tcp", "tls", "unix"] {
        let Bench { place, receiver, _folder } = bench(kind).await;
        let counts = Counts::default();
        let mut out = StreamOut::new(place).backoff(quick()).patience(Duration::from_secs(20));
        write(&mut out, &counts, 0, 50, 10).await;
        receiver.reading.store(false, SeqCst);
        // Until nothing more is taken: the system's buffers and then the window are full.
        let mut next = 50;
        let full = Instant::now() + Duration::from_secs(2);
        while Instant::now() < full {
            if out.ready(&counts).await {
                let (bytes, ends) = frames(next, 100);
                out.write(&bytes, &ends).await.unwrap();
                next += 100;
            }
            counts.sent(out.confirmed());
            assert!(out.window.bytes() <= WINDOW_MAX + bytes_of(100), "bounded");
            tokio::task::yield_now().await;
        }
        assert!(!out.ready(&counts).await, "{kind}: {next} frames and still room");
        receiver.reading.store(true, SeqCst);
        write(&mut out, &counts, next, 50, 10).await;
        next += 50;
        out.settle(Instant::now() + Duration::from_secs(20), &counts).await;
        counts.sent(out.confirmed());
        assert_eq!((out.abandon(), counts.totals().sent), (0, next), "{kind}");
        let seen = wait_for(&receiver, next).await;
        assert_eq!(seen.frames, (0..next).collect::<Vec<_>>(), "{kind}");
        assert_eq!((seen.garbled, seen.connections), (0, 1), "{kind}");
    }
}

fn bytes_of(frames: usize) -> usize {
    frames * FRAME
}

#[tokio::test]
async fn a_receiver_that_stalls_for_ever_is_left() {
    let Bench { place, receiver, _folder } = bench("tcp").await;
    let counts = Counts::default();
    let mut out = StreamOut::new(place).backoff(quick()).patience(Duration::from_millis(300)).window(64 << 10);
    receiver.reading.store(false, SeqCst);
    let until = Instant::now() + Duration::from_secs(30);
    let mut next = 0;
    // The system's buffers take some megabytes first.
    while !counts.last_error().is_some_and(|e| e.contains("took nothing")) {
        assert!(Instant::now() < until, "{:?}", counts.last_error());
        if out.ready(&counts).await {
            let (bytes, ends) = frames(next, 100);
            let _ = out.write(&bytes, &ends).await;
            next += 100;
        }
        counts.sent(out.confirmed());
    }
    let waiting = out.pending() as u64;
    assert!(waiting > 0);
    receiver.reading.store(true, SeqCst);
    out.settle(Instant::now() + Duration::from_secs(20), &counts).await;
    counts.sent(out.confirmed());
    assert_eq!((out.abandon(), counts.totals().sent), (0, next));
    let seen = wait_for(&receiver, next).await;
    let mut numbers = seen.frames;
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((numbers.len() as u64, seen.garbled), (next, 0), "all there, whole");
}

#[tokio::test]
async fn idle_connections_are_watched_and_their_end_costs_no_frame() {
    for kind in ["tcp", "tls", "unix"] {
        let Bench { place, receiver, _folder } = bench(kind).await;
        let counts = Counts::default();
        let mut out = StreamOut::new(place).backoff(quick());
        write(&mut out, &counts, 0, 1, 1).await;
        let tended = async {
            while out.pending() > 0 {
                out.tend(&counts).await;
            }
            counts.sent(out.confirmed());
            receiver.hang_up.notify_one();
            out.tend(&counts).await;
        };
        tokio::time::timeout(Duration::from_secs(20), tended).await.expect("told of the end");
        assert!(!out.is_connected(), "{kind}");
        write(&mut out, &counts, 1, 1, 1).await;
        while out.pending() > 0 {
            out.tend(&counts).await;
        }
        counts.sent(out.confirmed());
        assert_eq!((wait_for(&receiver, 2).await.frames, counts.totals().sent), (vec![0, 1], 2), "{kind}");
    }
}

#[tokio::test]
async fn a_receiver_that_is_away_is_waited_for_and_at_the_end_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later");
    let counts = Counts::default();
    let mut out = StreamOut::new(Place::Unix(path.clone())).backoff(quick());
    assert!(!out.ready(&counts).await);
    assert!(counts.last_error().unwrap().contains("no such socket"), "{:?}", counts.last_error());
    let receiver = Receiver::start(Listener::Unix(UnixListener::bind(&path).unwrap()));
    write(&mut out, &counts, 0, 10, 3).await;
    assert_eq!(wait_for(&receiver, 10).await.frames.len(), 10);
    while out.pending() > 0 {
        out.tend(&counts).await;
    }
    drop(receiver);
    std::fs::remove_file(&path).unwrap();
    let (bytes, ends) = frames(10, 4);
    let _ = out.write(&bytes, &ends).await;
    out.settle(Instant::now() + Duration::from_millis(300), &counts).await;
    counts.sent(out.confirmed());
    assert_eq!((counts.totals().sent, out.abandon()), (10, 4), "no frame is forgotten");
}

#[tokio::test]
async fn a_client_certificate_that_is_asked_for_late_loses_nothing() {
    // TLS 1.3 lets a client write before the server has refused it.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    roots.add(cert.der().clone()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let asking = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, cert.pem()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let _receiver = Receiver::start(Listener::Tls(listener, Arc::new(asking)));
    let tls = ClientTls { ca: vec![ca.into()], ..ClientTls::default() }.connector(&[]).unwrap();
    let mut out = StreamOut::new(Place::Tcp { host: "localhost".into(), port, tls: Some(tls) }).backoff(quick());
    let counts = Counts::default();
    for _ in 0..3 {
        assert!(!out.ready(&counts).await);
        sleep(Duration::from_millis(60)).await;
    }
    let said = counts.last_error().unwrap();
    assert!(said.contains("asks for a client certificate"), "{said}");
}
