//! How they leave.

use super::*;
use crate::sink::{Event, EventKind, Hub, MetricSettings, StatsdPlace};
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::thread;

const LONG: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(20);

/// Packets of unique lines of 38 bytes.
fn packets(count: usize, bytes: usize) -> (Vec<Packet>, Vec<String>) {
    let mut packets = Packets::new(bytes);
    let lines: Vec<String> = (0..count).map(|n| format!("fourmi.the.line.number.{n:_>11}:1|c")).collect();
    lines.iter().for_each(|l| packets.line(l.as_bytes()));
    (packets.take().0, lines)
}

fn of(bytes: &[u8]) -> Vec<String> {
    bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| String::from_utf8(l.to_vec()).unwrap()).collect()
}

fn outlet() -> Arc<Outlet> {
    Outlet::new("statsd", "somewhere".into())
}

fn trouble(outlet: &Outlet, why: &str) -> u64 {
    outlet.counts.totals().troubles().find(|(name, _)| *name == why).map_or(0, |(_, n)| n)
}

#[tokio::test]
async fn row_47_a_datagram_too_large_for_the_way_is_halved_and_sent_again() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let port = receiver.local_addr().unwrap().port();
    let outlet = outlet();
    let mut out = Out::new(&StatsdPlace::Udp { host: "127.0.0.1".into(), port }, 70_000, LONG);
    assert_eq!(out.packet, 65_507, "more never fits");
    out.packet = 70_000;
    let (packets, lines) = packets(1780, 70_000);
    assert!(packets[0].bytes.len() > 65_507);
    assert!(out.ready(&outlet).await);
    out.send(packets, &outlet).await;
    let mut got = Vec::new();
    let mut buffer = vec![0; 70_000];
    while let Ok(n) = receiver.recv(&mut buffer) {
        assert!(n <= 35_000, "{n}");
        got.extend(of(&buffer[..n]));
    }
    assert_eq!(got, lines);
    assert!((PACKET_MIN..=35_000).contains(&out.packet), "{}", out.packet);
    assert_eq!((outlet.counts.totals().sent, trouble(&outlet, "size")), (1780, 1));
}

#[tokio::test]
async fn row_56_a_unix_datagram_socket_that_is_absent_gone_full_or_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.sock");
    let outlet = outlet();
    let mut out = Out::new(&StatsdPlace::UnixDatagram(path.clone()), 65_507, LONG);
    assert_eq!(out.packet, 8192);
    assert!(!out.ready(&outlet).await, "nothing is lost while there is no socket");
    assert_eq!((trouble(&outlet, "absent"), outlet.counts.totals().error), (1, 0));

    let bound = |path: &Path| {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket
    };
    let read = |socket: &UnixDatagram| {
        let mut buffer = vec![0; 16_384];
        let mut got = Vec::new();
        while let Ok(n) = socket.recv(&mut buffer) {
            assert!(n <= 8192);
            got.extend(of(&buffer[..n]));
        }
        got
    };
    let receiver = bound(&path);
    assert!(out.ready(&outlet).await);
    let (some, lines) = packets(300, 8192);
    out.send(some, &outlet).await;
    assert_eq!(read(&receiver), lines);

    drop(receiver);
    let (some, _) = packets(10, 8192);
    out.send(some, &outlet).await;
    assert_eq!((trouble(&outlet, "refused") > 0, outlet.counts.totals().error), (true, 10));

    std::fs::remove_file(&path).unwrap();
    let receiver = bound(&path);
    assert!(out.ready(&outlet).await);
    let (some, lines) = packets(10, 8192);
    out.send(some, &outlet).await;
    assert_eq!(read(&receiver), lines, "the socket of the new receiver is found");
    // Also when the old one was never noticed to be gone.
    drop(receiver);
    std::fs::remove_file(&path).unwrap();
    let receiver = bound(&path);
    let (some, lines) = packets(10, 8192);
    out.send(some, &outlet).await;
    assert_eq!(read(&receiver), lines);

    // It stands and does not read.
    let (some, lines) = packets(200_000, 8192);
    let before = outlet.counts.totals();
    out.send(some, &outlet).await;
    let after = outlet.counts.totals();
    assert_eq!(after.sent + after.error - before.sent - before.error, lines.len() as u64);
    assert_eq!((trouble(&outlet, "full"), after.error > before.error), (1, true));
    assert_eq!(read(&receiver).len() as u64, after.sent - before.sent);
}

/// What a receiver of length-prefixed packets has read: whole packets only.
fn unframed(bytes: &[u8]) -> (Vec<String>, usize) {
    let (mut lines, mut at) = (Vec::new(), 0);
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        assert!((1..=8192).contains(&length), "torn: {length}");
        let Some(packet) = bytes.get(at + 4..at + 4 + length) else { break };
        lines.extend(of(packet));
        at += 4 + length;
    }
    (lines, bytes.len() - at)
}

#[tokio::test]
async fn row_57_packets_of_a_unix_stream_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.stream");
    let listener = UnixListener::bind(&path).unwrap();
    // The first receiver reads little by little and leaves in the middle; the second one takes the rest.
    let reading = thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        let (mut early, mut buffer) = (Vec::new(), [0; 3001]);
        while early.len() < 400_000 {
            let n = first.read(&mut buffer).unwrap();
            early.extend_from_slice(&buffer[..n]);
            thread::sleep(Duration::from_micros(300));
        }
        drop(first);
        let (mut second, _) = listener.accept().unwrap();
        let mut late = Vec::new();
        second.read_to_end(&mut late).unwrap();
        (early, late)
    });
    let outlet = outlet();
    let mut out = Out::new(&StatsdPlace::UnixStream(path), 8192, LONG);
    assert!(out.ready(&outlet).await);
    let (packets, lines) = packets(50_000, 8192);
    out.send(packets, &outlet).await;
    outlet.stop(Instant::now() + PATIENCE);
    out.end(&outlet).await;
    drop(out);
    let (early, late) = reading.join().unwrap();
    let ((early, _), (late, torn)) = (unframed(&early), unframed(&late));
    assert_eq!(torn, 0, "what the second one got begins and ends with a whole packet");
    assert_eq!((outlet.counts.totals().sent, outlet.counts.totals().error), (lines.len() as u64, 0));
    let mut got = early;
    got.extend(late);
    got.sort();
    got.dedup();
    let mut lines = lines;
    lines.sort();
    assert_eq!(got.len(), lines.len(), "every line arrived");
    assert_eq!(got, lines);
}

#[tokio::test]
async fn lines_over_tcp_end_with_a_line_feed_and_survive_a_restart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let outlet = outlet();
    let mut out = Out::new(&StatsdPlace::Tcp { host: "localhost".into(), port }, 1432, LONG);
    let mut all = Vec::new();
    for round in 0..3 {
        let reading = {
            let listener = listener.try_clone().unwrap();
            thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
                // In order: everything is read, then the connection ends.
                while of(&got).len() < 500 {
                    let n = stream.read(&mut buffer).unwrap();
                    assert!(n > 0);
                    got.extend_from_slice(&buffer[..n]);
                }
                let _ = stream.write_all(b"what a receiver says is not listened to");
                got
            })
        };
        let give_up = Instant::now() + PATIENCE;
        while !out.ready(&outlet).await {
            assert!(Instant::now() < give_up, "{round}: {:?}", outlet.counts.last_error());
            out.rest(Duration::from_millis(20), &outlet).await;
        }
        let (packets, lines) = packets(500, 1432);
        out.send(packets, &outlet).await;
        while outlet.counts.totals().sent < 500 * (round + 1) {
            assert!(Instant::now() < give_up, "{:?}", outlet.counts.totals());
            out.rest(Duration::from_millis(20), &outlet).await;
        }
        let got = reading.join().unwrap();
        assert_eq!(got.last(), Some(&b'\n'));
        assert_eq!(of(&got), lines, "round {round}");
        all.extend(of(&got));
    }
    assert_eq!((all.len(), outlet.counts.totals().error), (1500, 0));
}

#[tokio::test]
async fn row_52_a_receiver_that_has_only_ipv6() {
    let receiver = UdpSocket::bind("[::1]:0").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let place = StatsdPlace::Udp { host: "::1".into(), port: receiver.local_addr().unwrap().port() };
    assert!(place.to_string().starts_with("udp://[::1]:"));
    let outlet = outlet();
    let mut out = Out::new(&place, 1432, LONG);
    assert!(out.ready(&outlet).await);
    let (packets, lines) = packets(3, 1432);
    out.send(packets, &outlet).await;
    let mut buffer = [0; 2000];
    let n = receiver.recv(&mut buffer).unwrap();
    assert_eq!(of(&buffer[..n]), lines);
}

fn received(socket: &UdpSocket) -> Vec<String> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 65_536];
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    while let Ok(n) = socket.recv(&mut buffer) {
        all.extend(of(&buffer[..n]));
    }
    all
}

#[tokio::test]
async fn row_59_events_are_told_once_over_reloads_to_those_who_know_them() {
    let [first, second, plain] = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let settings = |socket: &UdpSocket, dialect| StatsdSettings {
        place: StatsdPlace::Udp { host: "127.0.0.1".into(), port: socket.local_addr().unwrap().port() },
        dialect,
        interval: LONG,
        packet: 1432,
        samples: 64,
    };
    let metrics = |datadog: &UdpSocket| MetricSettings {
        labels: Vec::new(),
        statsd: vec![settings(datadog, Dialect::Datadog), settings(&plain, Dialect::Plain)],
        otlp: Vec::new(),
        prometheus: false,
    };
    let event = |title: &str| Event {
        title: title.into(),
        text: "a\nb".into(),
        kind: EventKind::Success,
        aggregation_key: Some("config".into()),
    };
    let who = identity(&[]);
    let (hub, _tellers) = Hub::new(&who, &[], &metrics(&first), 1);
    hub.event(event("start"));
    hub.start();
    let _tellers = hub.reload(&who, &[], &metrics(&second));
    hub.event(event("reloaded"));
    hub.shutdown(Duration::from_secs(5)).await;
    let events = |socket| received(socket).into_iter().filter(|l| l.starts_with("_e{")).collect::<Vec<_>>();
    let (first, second) = (events(&first), events(&second));
    assert_eq!((first.len(), second.len()), (1, 1), "{first:?} {second:?}");
    assert!(first[0].starts_with("_e{5,4}:start|a\\nb|d:"), "{first:?}");
    assert!(second[0].starts_with("_e{8,4}:reloaded|a\\nb|d:"), "{second:?}");
    assert!(second[0].ends_with("|h:pay-3|k:config|t:success|#env:prod,service:order"), "{second:?}");
    assert!(events(&plain).is_empty());
}
