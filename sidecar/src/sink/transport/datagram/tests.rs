use super::*;
use std::net::UdpSocket as StdUdp;
use std::sync::{Arc, Mutex};
use tokio::time::{Instant, sleep};

/// Sends until something arrives; how many were refused before.
async fn until_received(out: &mut DatagramOut, receive: impl Fn() -> bool, counts: &Counts) -> u64 {
    let until = Instant::now() + Duration::from_secs(20);
    let mut refused = 0;
    while Instant::now() < until {
        if out.ready(true, counts).await
            && let Err(e) = out.send(b"word").await
        {
            counts.error(1, &e);
            refused += 1;
            out.failed();
        }
        sleep(Duration::from_millis(5)).await;
        if receive() {
            return refused;
        }
    }
    panic!("nothing arrived: {:?}", counts.last_error());
}

fn heard(socket: &StdUdp) -> bool {
    let mut buffer = [0; 64];
    let mut any = false;
    while socket.recv(&mut buffer).is_ok() {
        any = true;
    }
    any
}

fn receiver(address: &str) -> StdUdp {
    let socket = StdUdp::bind(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

#[tokio::test]
async fn a_port_that_opens_later_needs_no_restart() {
    let counts = Counts::default();
    let address = receiver("127.0.0.1:0").local_addr().unwrap();
    let mut out = DatagramOut::udp("127.0.0.1", address.port());
    for _ in 0..5 {
        assert!(out.ready(false, &counts).await);
        assert_eq!(out.send(b"lost").await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        out.failed();
    }
    let many = out.send_many(&[b"a", b"b", b"c"]).await;
    // On the same machine every one of them is known to be lost, the last before a refusal too.
    assert_eq!((many.sent, many.lost), (0, 3), "{many:?}");
    let socket = receiver(&address.to_string());
    until_received(&mut out, || heard(&socket), &counts).await;
    // Batches larger than one call, and of mixed lengths.
    let text = [b'x'; 100];
    let batch: Vec<&[u8]> = (0..75).map(|i| &text[..1 + i]).collect();
    let many = out.send_many(&batch).await;
    assert_eq!((many.sent, many.lost), (75, 0), "{many:?}");
    let mut lengths = Vec::new();
    let mut buffer = [0; 200];
    while let Ok(n) = socket.recv(&mut buffer) {
        lengths.push(n);
    }
    assert_eq!(lengths, (1..=75).collect::<Vec<_>>());
    let huge = vec![0; 70_000];
    assert!(DatagramOut::too_large(&out.send(&huge).await.unwrap_err()));
    let many = out.send_many(&[b"a", &huge, b"c"]).await;
    assert_eq!((many.sent, many.lost), (2, 1), "one that is too large costs only itself: {many:?}");
}

fn named(table: &Arc<Mutex<Vec<SocketAddr>>>, every: Duration) -> DatagramOut {
    let mut resolver = Resolver::new("receiver.test", 1).every(every);
    resolver.table = Some(table.clone());
    DatagramOut::resolved(resolver)
}

#[tokio::test]
async fn names_that_move_are_followed() {
    let counts = Counts::default();
    let (first, second) = (receiver("127.0.0.1:0"), receiver("127.0.0.2:0"));
    let table = Arc::new(Mutex::new(vec![first.local_addr().unwrap()]));
    let mut out = named(&table, Duration::from_millis(20));
    until_received(&mut out, || heard(&first), &counts).await;
    *table.lock().unwrap() = vec![second.local_addr().unwrap()];
    until_received(&mut out, || heard(&second), &counts).await;
    // The name service is away: what was known stays.
    table.lock().unwrap().clear();
    sleep(Duration::from_millis(50)).await;
    until_received(&mut out, || heard(&second), &counts).await;
    assert!(counts.last_error().unwrap().contains("no address"));
}

#[tokio::test]
async fn either_family_is_tried() {
    let counts = Counts::default();
    let v4 = receiver("127.0.0.1:0");
    let port = v4.local_addr().unwrap().port();
    let v6: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    let table = Arc::new(Mutex::new(vec![v6, v4.local_addr().unwrap()]));
    until_received(&mut named(&table, Duration::from_secs(30)), || heard(&v4), &counts).await;
    let literal = Resolver::new("[::1]", 9);
    assert_eq!(literal.addresses(), ["[::1]:9".parse().unwrap()]);
}

#[tokio::test]
async fn unix_datagrams_find_a_new_socket_file() {
    let counts = Counts::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d");
    let mut out = DatagramOut::unix(&path);
    assert!(!out.ready(false, &counts).await);
    assert!(counts.last_error().unwrap().contains("ENOENT"), "{:?}", counts.last_error());
    let first = UnixDatagram::bind(&path).unwrap();
    assert!(out.ready(false, &counts).await);
    out.send(b"one").await.unwrap();
    let mut buffer = [0; 64];
    assert_eq!(first.recv(&mut buffer).await.unwrap(), 3);
    // Gone without a successor, then with one: its first datagram is not lost.
    drop(first);
    let refused = out.send(b"two").await.unwrap_err().to_string();
    assert!(refused.contains("ECONNREFUSED"), "{refused}");
    std::fs::remove_file(&path).unwrap();
    assert!(!out.ready(false, &counts).await);
    let second = UnixDatagram::bind(&path).unwrap();
    assert!(out.ready(false, &counts).await);
    std::fs::remove_file(&path).unwrap();
    drop(second);
    let third = UnixDatagram::bind(&path).unwrap();
    let many = out.send_many(&[b"three", b"four4"]).await;
    assert_eq!((many.sent, many.lost), (2, 0), "{many:?}");
    assert_eq!(third.recv(&mut buffer).await.unwrap(), 5);
    // It does not read: its queue is full, and that is said.
    let full = loop {
        if let Err(e) = out.send(b"more").await {
            break e.to_string();
        }
    };
    assert!(full.contains("EAGAIN"), "{full}");
}
