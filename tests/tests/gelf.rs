//! GELF over every way, to receivers that are sick, gone and back, or somebody else's program.

use fourmi_tests::patience::eventually_or;
use fourmi_tests::peers::{Certificates, FrameSink, Framing, GoGelf, graygelf, printed_records};
use fourmi_tests::{Fourmi, GelfServer, Setup, Worker, eventually, free_port, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn to(url: &str, keys: &str) -> String {
    format!("[{{graylog: {{to: \"{url}\"{}{keys}}}}}]", if keys.is_empty() { "" } else { ", " })
}

fn send(fourmi: &Fourmi, ids: impl IntoIterator<Item = u32>) {
    let mut client = fourmi.client();
    for id in ids {
        assert_eq!(client.post("/", &format!("Fourmi-Command: Pay\r\nFourmi-Id: n{id}\r\n"), "x").status(), 200);
    }
}

/// What the sink has counted.
fn result(fourmi: &Fourmi, result: &str) -> u64 {
    fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "graylog"), ("result", result)]) as u64
}

/// Waits until so many records were told and each is in one of the counts; how many were lost.
fn accounted(fourmi: &Fourmi, told: u64) -> u64 {
    let now = || ["sent", "dropped_full", "dropped_error"].map(|r| result(fourmi, r));
    let all = || {
        let [sent, full, error] = now();
        (sent + full + error == told).then_some(full + error)
    };
    eventually_or("every record is in a count", all, || format!("sent, full, error: {:?} of {told}", now()))
}

fn ids(records: &[Value]) -> Vec<String> {
    records.iter().map(|r| r["_command_id"].as_str().unwrap().to_owned()).collect()
}

/// Every record came once, and those that are missing are as many as were counted.
fn nothing_twice(records: &[Value], told: u64, lost: u64) {
    let ids = ids(records);
    let unique: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "a record came twice");
    assert_eq!(told - unique.len() as u64, lost, "the missing numbers are the counted losses");
}

/// Stands between Fourmi and a receiver of datagrams, and gives them on as it likes.
struct Relay {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Relay {
    /// `pass` is given every datagram and returns those that go on now.
    fn start(to: u16, mut pass: impl FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) -> Relay {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (port, stop) = (socket.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !stopped.load(Ordering::Acquire) {
                let Ok(n) = socket.recv(&mut buffer) else { continue };
                for datagram in pass(buffer[..n].to_vec()) {
                    socket.send_to(&datagram, ("127.0.0.1", to)).unwrap();
                }
            }
        });
        Relay { port, stop, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.take().unwrap().join();
    }
}

#[test]
fn row_06_a_tag_that_is_null_is_absent() {
    let (worker, server) = (Worker::echo(), GelfServer::start());
    let identify = "commands: {identify: {name: /name, tags: {note: /note, shop: /shop}}}";
    let fourmi = Setup::beside(worker.address()).gelf(&server).more(identify).start();
    let body = r#"{"name": "Pay", "note": null, "shop": 7}"#;
    fourmi.post("/", "Content-Type: application/json\r\n", body);
    let record = server.record("_command", "Pay");
    assert_eq!(record["_tag_shop"], "7");
    assert!(record.get("_tag_note").is_none() && !record["_tags"].as_str().unwrap().contains("note"), "{record}");
}

#[test]
fn row_21_chunks_in_any_order_are_the_same_message() {
    let (worker, node) = (Worker::echo(), graygelf());
    let seen = Arc::new(Mutex::new(0));
    let (chunks, mut held) = (seen.clone(), Vec::new());
    let relay = Relay::start(node.port, move |datagram| {
        assert!(datagram.starts_with(&[0x1e, 0x0f]), "larger than a datagram");
        let of = usize::from(datagram[11]);
        held.push(datagram);
        if held.len() < of {
            return Vec::new();
        }
        *chunks.lock().unwrap() = held.len();
        std::mem::take(&mut held).into_iter().rev().collect()
    });
    let logs = to(&format!("udp://127.0.0.1:{}", relay.port), "compress: none, chunk: 512");
    let fourmi = Setup::beside(worker.address()).logs(logs).start();
    fourmi.post("/", "Fourmi-Command: Pay\r\nFourmi-Id: reversed\r\nFourmi-Tags: shop=7\r\n", "x");
    let record = eventually("graygelf has the record", || {
        printed_records(&node).into_iter().find(|r| r.to_string().contains("reversed"))
    });
    let text = record.to_string();
    assert!(text.contains("\"Pay\"") && text.contains("127.0.0.1"), "{text}");
    assert!(*seen.lock().unwrap() > 1);
}

#[test]
fn the_go_library_reads_chunks_packed_messages_and_frames() {
    // In order only: its reader takes the first chunk's length for the longest one.
    let (worker, go) = (Worker::echo(), GoGelf::start());
    let port = go.port();
    for (id, logs) in [
        ("cut", to(&format!("udp://127.0.0.1:{port}"), "compress: none, chunk: 512")),
        ("packed", to(&format!("udp://127.0.0.1:{port}"), "compress: zlib")),
        ("framed", to(&format!("tcp://127.0.0.1:{port}"), "")),
    ] {
        let fourmi = Setup::beside(worker.address()).logs(logs).start();
        fourmi.post("/status/201", &format!("Fourmi-Command: Pay\r\nFourmi-Id: {id}\r\n"), "x");
        let record = go.record("_command_id", id);
        assert_eq!((&record["_command"], record["_status"].as_f64()), (&Value::from("Pay"), Some(201.0)), "{record}");
    }
    assert!(go.complaints().is_empty(), "{:?}", go.complaints());
}

#[test]
fn row_22_a_message_without_one_of_its_chunks_is_none_and_the_next_is_fine() {
    let (worker, node) = (Worker::echo(), graygelf());
    let (mut first, mut withheld) = (None, 0);
    let relay = Relay::start(node.port, move |datagram| {
        assert!(datagram.starts_with(&[0x1e, 0x0f]));
        let id = datagram[2..10].to_vec();
        let is_first = *first.get_or_insert_with(|| id.clone()) == id;
        if is_first && datagram[10] == 0 {
            withheld += 1;
            assert_eq!(withheld, 1, "nothing is sent twice");
            return Vec::new();
        }
        vec![datagram]
    });
    let logs = to(&format!("udp://127.0.0.1:{}", relay.port), "compress: none, chunk: 512");
    let fourmi = Setup::beside(worker.address()).logs(logs).start();
    let has = |id: &str| printed_records(&node).iter().any(|r| r.to_string().contains(id));
    fourmi.post("/", "Fourmi-Id: incomplete\r\n", "x");
    std::thread::sleep(Duration::from_secs(6));
    assert!(!has("incomplete"));
    fourmi.post("/", "Fourmi-Id: complete\r\n", "x");
    until("the next message", || has("complete"));
    assert!(!has("incomplete"));
}

#[test]
fn row_26_a_receiver_that_reads_no_more_holds_up_no_command_and_sees_no_torn_frame() {
    let (worker, sink) = (Worker::echo(), FrameSink::tcp(Framing::Nul));
    let logs = to(&format!("tcp://127.0.0.1:{}", sink.port()), "buffer: 64KiB");
    let fourmi = Setup::beside(worker.address()).logs(logs).start();
    send(&fourmi, 0..20);
    sink.wait_for(20);
    sink.pause();
    let mut told = 20;
    // The window, both systems' buffers and the ring run full.
    until("records fit nowhere any more", || {
        send(&fourmi, told..told + 200);
        told += 200;
        result(&fourmi, "dropped_full") > 0
    });
    sink.resume();
    send(&fourmi, told..told + 100);
    told += 100;
    let lost = accounted(&fourmi, told.into());
    until("what was sent has been read", || sink.count() as u64 == u64::from(told) - lost);
    // Each of them is JSON, or this fails.
    nothing_twice(&sink.records(), told.into(), lost);
}

#[test]
fn row_27_a_receiver_that_comes_back_gets_nothing_twice_and_losses_are_counted() {
    let (worker, sink) = (Worker::echo(), FrameSink::tcp(Framing::Nul));
    let logs = to(&format!("tcp://127.0.0.1:{}", sink.port()), "buffer: 64KiB");
    let fourmi = Setup::beside(worker.address()).logs(logs).start();
    let mut told = 0;
    for round in 0..3 {
        send(&fourmi, told..told + 50);
        told += 50;
        until("all have come", || sink.count() as u64 == u64::from(told) - result(&fourmi, "dropped_full"));
        sink.crash();
        // Those that fit wait; in the second round more come than fit.
        let more = if round == 1 { 500 } else { 20 };
        send(&fourmi, told..told + more);
        told += more;
        sink.reopen();
        let lost = accounted(&fourmi, told.into());
        until("what was sent has been read", || sink.count() as u64 == u64::from(told) - lost);
        assert_eq!(lost > 0, round >= 1, "{lost} were lost in round {round}");
        nothing_twice(&sink.records(), told.into(), lost);
    }
    assert!(sink.torn().is_empty());
}

#[test]
fn row_28_a_port_that_opens_later_needs_no_restart() {
    let (worker, port) = (Worker::echo(), free_port());
    let logs = to(&format!("udp://127.0.0.1:{port}"), "compress: none");
    let fourmi = Setup::beside(worker.address()).logs(logs).start();
    let mut told = 0;
    until("refusals are counted", || {
        send(&fourmi, told..told + 1);
        told += 1;
        result(&fourmi, "dropped_error") > 1
    });
    let server = GelfServer::start_on(port);
    until("a record arrives", || {
        send(&fourmi, told..told + 1);
        told += 1;
        !server.records().is_empty()
    });
}

#[test]
fn records_over_tcp_and_tls_are_those_of_udp() {
    let (worker, udp, tcp) = (Worker::echo(), GelfServer::start(), FrameSink::tcp(Framing::Nul));
    let certificates = Certificates::new();
    let tls = FrameSink::tls(certificates.server_for_known_clients(), Framing::Nul);
    let (certificate, key) = certificates.client_files();
    let logs = format!(
        "[{{graylog: {{to: \"udp://127.0.0.1:{}\", chunk: lan}}}}, {{graylog: {{to: \"tcp://127.0.0.1:{}\"}}}}, \
         {{graylog: {{to: \"tls://localhost:{}\", tls: {{ca: \"{}\", certificate: \"{}\", key: \"{}\"}}}}}}]",
        udp.port(),
        tcp.port(),
        tls.port(),
        certificates.ca_file().display(),
        certificate.display(),
        key.display(),
    );
    let fourmi = Setup::beside(worker.address()).logs(logs).start();
    fourmi.post("/status/201", "Fourmi-Command: Pay\r\nFourmi-Id: 1\r\nFourmi-Tags: shop=7\r\n", "hello");
    let expected = udp.wait_for(1);
    for sink in [&tcp, &tls] {
        sink.wait_for(1);
        assert_eq!(sink.records(), expected);
    }
    until("all are confirmed though nothing more comes", || result(&fourmi, "sent") == 3);
    // A reload that leaves them as they are leaves their connections open.
    fourmi.admin("POST", "/api/v1/reload");
    send(&fourmi, 2..3);
    tcp.wait_for(2);
    tls.wait_for(2);
    assert_eq!((tcp.accepted(), tls.accepted()), (1, 1));
}

#[test]
fn a_certificate_that_is_over_is_named_and_a_good_one_resumes() {
    let (worker, certificates, port) = (Worker::echo(), Certificates::new(), free_port());
    let expired = FrameSink::tls_on(port, certificates.server(certificates.expired()), Framing::Nul);
    let keys = format!("tls: {{ca: \"{}\"}}", certificates.ca_file().display());
    let logs = to(&format!("tls://localhost:{port}"), &keys);
    let fourmi = Setup::beside(worker.address()).logs(logs).start();
    send(&fourmi, 0..5);
    until("the error says what is wrong", || {
        let sinks = fourmi.admin("GET", "/api/v1/sinks").text();
        sinks.contains("expired")
    });
    assert_eq!((result(&fourmi, "dropped_error"), expired.count()), (0, 0), "the records wait");
    drop(expired);
    let good = FrameSink::tls_on(port, certificates.server(certificates.good()), Framing::Nul);
    good.wait_for(5);
    send(&fourmi, 5..6);
    good.wait_for(6);
    assert_eq!(ids(&good.records()), ["n0", "n1", "n2", "n3", "n4", "n5"]);
}

#[test]
fn what_waits_when_fourmi_ends_is_sent_or_counted() {
    let (worker, sink) = (Worker::echo(), FrameSink::tcp(Framing::Nul));
    let logs = to(&format!("tcp://127.0.0.1:{}", sink.port()), "");
    let mut fourmi = Setup::beside(worker.address()).logs(logs).start();
    send(&fourmi, 0..100);
    fourmi.signal(nix::sys::signal::Signal::SIGTERM);
    until("fourmi has ended", || !fourmi.is_running());
    assert_eq!(sink.wait_for(100).len(), 100);
    assert!(sink.torn().is_empty());
}
