//! Field pains F: streams, WebSocket, compression. Each name begins with the row it proves.

use fourmi_tests::{Setup, Worker};
use std::time::{Duration, Instant};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGVzdA==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn f1_events_are_not_held() {
    let worker = Worker::scripted(|mut conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
            for event in ["data: a\r\r", "data: b\r\n\r\n", "data: c\n\n", "x"] {
                conn.send(format!("{:x}\r\n{event}\r\n", event.len()));
                // Silence: whatever is held back would stay held back.
                if conn.wire.some().is_ok_and(|b| b.is_empty()) {
                    return;
                }
            }
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    let started = Instant::now();
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().header("content-type"), Some("text/event-stream"));
    assert_eq!(client.wire.chunk().unwrap().unwrap(), b"data: a\r\r");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn f3_nothing_is_decoded_on_the_way() {
    let packed: &[u8] =
        &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 7, 0, 0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0];
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nETag: \"s\"\r\nContent-Length: {}\r\n\r\n", packed.len())
            .into_bytes();
    bytes.extend_from_slice(packed);
    let worker = Worker::answering(bytes);
    let fourmi = Setup::beside(worker.address()).start();
    let answer = fourmi.get_with("/", "Accept-Encoding: gzip\r\n");
    assert_eq!(answer.body, packed);
    assert_eq!((answer.header("content-encoding"), answer.header("etag")), (Some("gzip"), Some("\"s\"")));
    assert_eq!(answer.header("content-length"), Some(packed.len().to_string().as_str()));
    assert_eq!(worker.last().header("accept-encoding"), Some("gzip"));
}

#[test]
fn f5_reload_does_not_touch_open_tunnels() {
    let worker = Worker::scripted(|mut conn| {
        if conn.head().is_some() {
            conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            while conn.wire.some().is_ok_and(|bytes| !bytes.is_empty() && conn.wire.send(bytes).is_ok()) {}
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut client = fourmi.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGVzdA==\r\n\r\n",
    );
    assert_eq!(client.answer_head().status(), 101);
    for n in 0..5 {
        fourmi.rewrite(&format!("{}tags: {{round: r{n}}}\n", fourmi.yaml()));
        assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
        client.send("ping");
        assert_eq!(client.wire.exactly(4).unwrap(), b"ping");
    }
}

#[test]
fn f2_parts_of_a_file_pass_as_they_are() {
    let part: Vec<u8> = (0..100).collect();
    let mut bytes = "HTTP/1.1 206 Partial Content\r\nContent-Type: text/plain\r\nAccept-Ranges: bytes\r\n\
                     Content-Range: bytes 0-99/5000\r\nETag: \"s\"\r\nContent-Length: 100\r\n\r\n"
        .as_bytes()
        .to_vec();
    bytes.extend_from_slice(&part);
    let worker = Worker::answering(bytes);
    let fourmi = Setup::beside(worker.address()).start();
    let answer = fourmi.get_with("/", "Range: bytes=0-99\r\nIf-Range: \"s\"\r\nAccept-Encoding: gzip, br\r\n");
    assert_eq!((answer.status(), answer.body.as_slice()), (206, part.as_slice()));
    for (name, value) in [
        ("content-range", Some("bytes 0-99/5000")),
        ("accept-ranges", Some("bytes")),
        ("content-length", Some("100")),
        ("etag", Some("\"s\"")),
        ("content-encoding", None),
        ("vary", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let seen = worker.last();
    assert_eq!((seen.header("range"), seen.header("if-range")), (Some("bytes=0-99"), Some("\"s\"")));
}

#[test]
fn f4_an_idle_websocket_is_not_cut() {
    let worker = Worker::scripted(|mut conn| {
        if conn.head().is_none() {
            return;
        }
        conn.send(SWITCHED);
        // A ping is answered by a pong, a text by a close with a code of the application's own.
        while let Ok(frame) = conn.wire.exactly(6) {
            match frame[0] {
                0x89 => conn.send([0x8a, 0]),
                _ => conn.send([0x88, 2, 0x0f, 0xa1]),
            };
        }
    });
    // Every limit that there is, far shorter than the silence.
    let limits = "timeouts: {head: 300ms, idle: 300ms, answer: 300ms, whole: 300ms, upstream_idle: 300ms}";
    let fourmi = Setup::beside(worker.address()).more(limits).start();
    let mut client = fourmi.client();
    assert_eq!(client.send(UPGRADE).answer_head().status(), 101);
    for _ in 0..3 {
        assert!(client.is_silent_for(Duration::from_millis(1200)), "cut although it is only idle");
        client.send([0x89, 0x80, 1, 2, 3, 4]);
        assert_eq!(client.wire.exactly(2).unwrap(), [0x8a, 0]);
    }
    client.send([0x81, 0x80, 1, 2, 3, 4]);
    assert_eq!(client.wire.exactly(4).unwrap(), [0x88, 2, 0x0f, 0xa1], "the close code passes");
    client.half_close();
    assert_eq!(client.rest(), "");
    fourmi.counts("fourmi_commands_total", &[("protocol", "websocket")], 1.0);
}
