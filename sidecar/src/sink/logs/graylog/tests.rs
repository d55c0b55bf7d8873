use super::super::LogSettings;
use super::super::tests::values;
use super::pack::Packing;
use super::udp::Gelf;
use super::{Datagram, tcp};
use crate::sink::drain::{Inbox, Outlet};
use crate::sink::entry::{Entry, What};
use crate::sink::fields::Who;
use crate::sink::filter::Names;
use crate::sink::generation::Encode;
use crate::sink::record::tests::{identity, sample};
use crate::sink::record::{Form, RecordEncoder};
use crate::sink::ring::{RING_BYTES, Writer, begin};
use serde_json::json;
use std::collections::HashMap;
use std::io::Read;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::time::Instant;

struct Rig {
    outlet: Arc<Outlet>,
    ring: Writer,
    task: tokio::task::JoinHandle<()>,
}

fn rig(host: &str, port: u16, compress: Packing, chunk: usize) -> Rig {
    let outlet = Outlet::new("graylog", String::new());
    let ring = outlet.connect(RING_BYTES, &Arc::default());
    let gelf = Gelf::new(outlet.clone(), host, port, compress, Arc::new(AtomicUsize::new(chunk)));
    let task = tokio::spawn(gelf.run(Inbox::new(outlet.clone())));
    Rig { outlet, ring, task }
}

impl Rig {
    fn push(&mut self, record: &[u8]) {
        let mut scratch = Vec::new();
        begin(&mut scratch);
        scratch.extend_from_slice(record);
        assert!(self.ring.push(&mut scratch));
        self.outlet.ring();
    }

    async fn end(self) {
        self.outlet.stop(Instant::now() + Duration::from_secs(2));
        self.task.await.unwrap();
    }

    async fn until(&self, done: impl Fn(&Outlet) -> bool) {
        let end = Instant::now() + Duration::from_secs(5);
        while !done(&self.outlet) {
            assert!(Instant::now() < end, "{:?} {:?}", self.outlet.counts.totals(), self.outlet.counts.last_error());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn receiver(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket
}

fn datagrams(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(n) = socket.recv(&mut buffer) {
        all.push(buffer[..n].to_vec());
    }
    all
}

#[tokio::test]
async fn plain_records_leave_in_equal_segments_and_lose_nothing() {
    let socket = receiver("127.0.0.1:0");
    let mut rig = rig("127.0.0.1", socket.local_addr().unwrap().port(), Packing::None, 8192);
    let mut encoder = RecordEncoder::new(Form::Gelf, Names::all(), 1 << 20);
    let who = Who::new(&identity(&[]));
    let mut x = sample(&identity(&[]));
    for n in 0..40 {
        x.command.id = format!("{}{n}", "i".repeat(n % 13));
        let mut record = Vec::new();
        encoder.encode(&mut record, &Entry::of(What::Command, &x), &who);
        rig.push(&record);
    }
    // One that is exactly as large as a datagram may be.
    rig.push(&[b' '; 8190].into_iter().chain(*b"{}").collect::<Vec<u8>>());
    rig.until(|o| o.counts.totals().sent == 41).await;
    let got = datagrams(&socket);
    assert_eq!(got.len(), 41);
    for datagram in &got {
        serde_json::from_slice::<serde_json::Value>(datagram).unwrap();
    }
    rig.end().await;
}

#[tokio::test]
async fn large_records_are_packed_and_cut() {
    for (compress, size, repeats) in
        [(Packing::None, 1420, 30), (Packing::Gzip, 600, 600), (Packing::Zlib, 600, 600)]
    {
        let socket = receiver("127.0.0.1:0");
        let mut rig = rig("127.0.0.1", socket.local_addr().unwrap().port(), compress, size);
        let mut noise = fastrand::Rng::with_seed(3);
        let record: Vec<u8> = (0..repeats * 50).map(|_| noise.alphanumeric() as u8).collect();
        rig.push(&record);
        rig.push(&record);
        rig.push(b"{}");
        rig.until(|o| o.counts.totals().sent == 3).await;
        let mut parts: HashMap<[u8; 8], Vec<Vec<u8>>> = HashMap::new();
        let mut whole = Vec::new();
        for datagram in datagrams(&socket) {
            assert!(datagram.len() <= size);
            if datagram.starts_with(&[0x1e, 0x0f]) {
                parts.entry(datagram[2..10].try_into().unwrap()).or_default().push(datagram);
            } else {
                whole.push(datagram);
            }
        }
        // Too short to be packed.
        assert_eq!((whole, parts.len()), (vec![b"{}".to_vec()], 2));
        for mut pieces in parts.into_values() {
            // A receiver may get them in any order.
            pieces.reverse();
            assert!(pieces.iter().all(|p| usize::from(p[11]) == pieces.len()));
            pieces.sort_by_key(|p| p[10]);
            let joined: Vec<u8> = pieces.iter().flat_map(|p| p[12..].to_vec()).collect();
            let mut back = Vec::new();
            match compress {
                Packing::None => back = joined,
                Packing::Gzip => {
                    assert!(joined.starts_with(&[0x1f, 0x8b]));
                    flate2::read::GzDecoder::new(&joined[..]).read_to_end(&mut back).map(|_| ()).unwrap();
                }
                Packing::Zlib => {
                    flate2::read::ZlibDecoder::new(&joined[..]).read_to_end(&mut back).map(|_| ()).unwrap()
                }
            }
            assert_eq!(back, record);
        }
        let noise: Vec<u8> = (0..200_000).map(|_| noise.alphanumeric() as u8).collect();
        rig.push(&noise);
        rig.until(|o| o.counts.totals().oversize == 1).await;
        rig.end().await;
    }
}

#[tokio::test]
async fn nobody_listening_is_counted_and_goes_on() {
    let socket = receiver("127.0.0.1:0");
    let address = socket.local_addr().unwrap().to_string();
    drop(socket);
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut rig = rig("127.0.0.1", port, Packing::None, 1420);
    for n in 1..=5 {
        rig.push(b"{}");
        rig.push(b"{\"a\":1}");
        rig.until(|o| o.counts.totals().error == n * 2).await;
    }
    assert!(rig.outlet.counts.last_error().unwrap().contains("refused"));
    let socket = receiver(&address);
    rig.push(b"{}");
    rig.until(|o| o.counts.totals().sent == 1).await;
    assert_eq!(datagrams(&socket), [b"{}"]);
    assert_eq!(rig.outlet.counts.totals().error, 10);
    rig.end().await;
}

#[tokio::test]
async fn a_name_is_resolved_and_each_of_its_addresses_tried() {
    let socket = receiver("127.0.0.1:0");
    let mut rig = rig("localhost", socket.local_addr().unwrap().port(), Packing::None, 1420);
    // With an address of each family the first may refuse; the next one is tried then.
    let end = Instant::now() + Duration::from_secs(5);
    while rig.outlet.counts.totals().sent == 0 {
        assert!(Instant::now() < end, "{:?}", rig.outlet.counts.last_error());
        rig.push(b"{}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!datagrams(&socket).is_empty());
    rig.end().await;
}

#[tokio::test]
async fn without_an_address_records_wait_and_are_counted_at_the_end() {
    let mut rig = rig("no-such-host.invalid", 12201, Packing::None, 1420);
    rig.push(b"{}");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(rig.outlet.counts.totals().error, 0);
    let outlet = rig.outlet.clone();
    outlet.stop(Instant::now() + Duration::from_millis(300));
    rig.task.await.unwrap();
    assert_eq!(outlet.counts.totals().error, 1);
}

#[tokio::test]
async fn a_sink_that_is_no_longer_configured_ends_without_an_address() {
    let mut rig = rig("no-such-host.invalid", 12201, Packing::None, 1420);
    rig.push(b"{}");
    rig.outlet.retire();
    drop(rig.ring);
    tokio::time::timeout(Duration::from_secs(8), rig.task).await.unwrap().unwrap();
    assert_eq!(rig.outlet.counts.totals().error, 1);
}

/// Puts the datagrams of one message together, whatever their order.
fn joined(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let mut pieces: Vec<&Vec<u8>> = datagrams.iter().collect();
    pieces.sort_by_key(|p| p[10]);
    assert!(pieces.iter().all(|p| p.starts_with(&[0x1e, 0x0f]) && usize::from(p[11]) == pieces.len()));
    assert!(pieces.windows(2).all(|p| p[0][2..10] == p[1][2..10] && p[0][10] + 1 == p[1][10]));
    pieces.iter().flat_map(|p| p[12..].to_vec()).collect()
}

fn noise(length: usize) -> Vec<u8> {
    let mut noise = fastrand::Rng::with_seed(7);
    (0..length).map(|_| noise.alphanumeric() as u8).collect()
}

#[tokio::test]
async fn row_17_a_small_message_is_one_datagram_without_a_header() {
    let socket = receiver("127.0.0.1:0");
    let mut rig = rig("127.0.0.1", socket.local_addr().unwrap().port(), Packing::None, 8192);
    rig.push(&noise(500));
    rig.until(|o| o.counts.totals().sent == 1).await;
    assert_eq!(datagrams(&socket), [noise(500)]);
    rig.end().await;
}

#[tokio::test]
async fn row_18_a_message_that_just_fits_is_one_datagram() {
    let socket = receiver("127.0.0.1:0");
    let mut rig = rig("127.0.0.1", socket.local_addr().unwrap().port(), Packing::None, 8192);
    rig.push(&noise(8192));
    rig.until(|o| o.counts.totals().sent == 1).await;
    assert_eq!(datagrams(&socket), [noise(8192)]);
    rig.push(&noise(8193));
    rig.until(|o| o.counts.totals().sent == 2).await;
    let got = datagrams(&socket);
    assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [8192, 25]);
    assert_eq!(joined(&got), noise(8193));
    rig.end().await;
}

#[tokio::test]
async fn row_19_every_message_has_an_id_of_its_own() {
    let socket = receiver("127.0.0.1:0");
    let mut rig = rig("127.0.0.1", socket.local_addr().unwrap().port(), Packing::Gzip, 1420);
    let message: Vec<u8> = {
        let mut random = fastrand::Rng::with_seed(1);
        (0..20_000).map(|_| random.u8(..)).collect()
    };
    let mut ids = Vec::new();
    for n in 1..=2 {
        rig.push(&message);
        rig.until(|o| o.counts.totals().sent == n).await;
        let got = datagrams(&socket);
        assert_eq!((got.len(), got[14].len()), (15, 12 + 20_000 - 14 * 1408));
        assert_eq!(joined(&got), message, "what packing makes no shorter is sent as it is");
        ids.push(got[0][2..10].to_vec());
    }
    assert_ne!(ids[0], ids[1]);
    rig.end().await;
}

#[tokio::test]
async fn row_20_the_largest_line_leaves_in_at_most_128_chunks() {
    for (packing, chunk) in [(Packing::None, 1420), (Packing::Gzip, 512)] {
        let socket = receiver("127.0.0.1:0");
        let _ = nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBuf, &(1 << 20));
        let mut rig = rig("127.0.0.1", socket.local_addr().unwrap().port(), packing, chunk);
        let mut encoder = Datagram {
            encoder: RecordEncoder::new(Form::Gelf, Names::all(), usize::MAX),
            most: 1 << 20,
            chunk: Arc::new(AtomicUsize::new(chunk)),
        };
        let mut record = Vec::new();
        let text = String::from_utf8(noise(300_000)).unwrap();
        encoder.encode(&mut record, &Entry::line(6, 1, &text, Vec::new()), &Who::new(&identity(&[])));
        rig.push(&record);
        rig.until(|o| o.counts.totals().sent == 1).await;
        let got = datagrams(&socket);
        assert!((1..=128).contains(&got.len()), "{}", got.len());
        let mut whole = joined(&got);
        if packing == Packing::Gzip {
            assert!(whole.starts_with(&[0x1f, 0x8b]), "row 24: packed first, then cut");
            let packed = std::mem::take(&mut whole);
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut whole).unwrap();
        }
        assert_eq!(whole, record);
        let read: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(read["_truncated"], "true");
        assert!(read["full_message"].as_str().unwrap().len() > 60_000);
        rig.end().await;
    }
}

#[tokio::test]
async fn row_24_packed_first_and_then_cut() {
    let socket = receiver("127.0.0.1:0");
    let mut rig = rig("127.0.0.1", socket.local_addr().unwrap().port(), Packing::Gzip, 600);
    rig.push(&noise(5000));
    rig.until(|o| o.counts.totals().sent == 1).await;
    let packed = joined(&datagrams(&socket));
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < 5000);
    let mut back = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
    assert_eq!(back, noise(5000));
    rig.end().await;
}

#[tokio::test]
async fn packed_records_leave_many_in_one_call_and_lose_nothing() {
    for (packing, segments) in [(Packing::Gzip, true), (Packing::None, false)] {
        let socket = receiver("127.0.0.1:0");
        let outlet = Outlet::new("graylog", String::new());
        let ring = outlet.connect(RING_BYTES, &Arc::default());
        let port = socket.local_addr().unwrap().port();
        let mut gelf = Gelf::new(outlet.clone(), "127.0.0.1", port, packing, Arc::new(AtomicUsize::new(1420)));
        if !segments {
            gelf = gelf.without_segments();
        }
        let mut rig = Rig { outlet: outlet.clone(), ring, task: tokio::spawn(gelf.run(Inbox::new(outlet))) };
        let records: Vec<Vec<u8>> = (0..150).map(|n| noise(300 + n * 13 % 400)).collect();
        records.iter().for_each(|r| rig.push(r));
        rig.until(|o| o.counts.totals().sent == 150).await;
        let got: Vec<Vec<u8>> = datagrams(&socket)
            .into_iter()
            .map(|d| match d.starts_with(&[0x1f, 0x8b]) {
                true => {
                    let mut back = Vec::new();
                    flate2::read::GzDecoder::new(&d[..]).read_to_end(&mut back).unwrap();
                    back
                }
                false => d,
            })
            .collect();
        assert_eq!(got, records);
        rig.end().await;
    }
}

#[tokio::test]
async fn row_28_a_port_that_opens_later_needs_no_restart() {
    let socket = receiver("127.0.0.1:0");
    let address = socket.local_addr().unwrap();
    drop(socket);
    let mut rig = rig("127.0.0.1", address.port(), Packing::None, 1420);
    for n in 0..10 {
        rig.push(format!("{{\"n\":{n}}}").as_bytes());
        rig.until(|o| o.counts.totals().error == n + 1).await;
    }
    assert!(rig.outlet.counts.totals().troubles().any(|(why, n)| why == "refused" && n > 0));
    let socket = receiver(&address.to_string());
    rig.push(b"{\"n\":10}");
    rig.until(|o| o.counts.totals().sent == 1).await;
    assert_eq!(datagrams(&socket), [b"{\"n\":10}"]);
    rig.end().await;
}

#[tokio::test]
async fn row_25_a_huge_line_is_one_frame_below_graylogs_limit() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = values(json!({
        "to": format!("tcp://{}", listener.local_addr().unwrap()), "chunk": "wan", "buffer": 8 << 20,
    }));
    let mut sink = LogSettings::new("graylog", settings).unwrap().build(&Arc::default()).ok().unwrap();
    let outlet = Outlet::new("graylog", String::new());
    let ring = outlet.connect(8 << 20, &Arc::default());
    let task = tokio::spawn((sink.send)(outlet.clone(), Inbox::new(outlet.clone())));
    let mut rig = Rig { outlet, ring, task };
    let text = "0123456789".repeat(500_000);
    for line in [text.as_str(), "small"] {
        let mut frame = Vec::new();
        sink.encode.encode(&mut frame, &Entry::line(6, 1, line, Vec::new()), &Who::new(&identity(&[])));
        rig.push(&frame);
    }
    let mut stream = listener.accept().await.unwrap().0;
    let mut got = Vec::new();
    while memchr::memchr_iter(0, &got).count() < 2 {
        tokio::io::AsyncReadExt::read_buf(&mut stream, &mut got).await.unwrap();
    }
    let frames: Vec<&[u8]> = got.split(|b| *b == 0).collect();
    assert!(frames[0].len() < 2_097_152 && frames[0].len() > 2_000_000, "{}", frames[0].len());
    let read: serde_json::Value = serde_json::from_slice(frames[0]).unwrap();
    assert_eq!(read["_truncated"], "true");
    assert!(text.starts_with(read["full_message"].as_str().unwrap()));
    let read: serde_json::Value = serde_json::from_slice(frames[1]).unwrap();
    assert_eq!(read["short_message"], "small");
    rig.until(|o| o.counts.totals().sent == 2).await;
    rig.end().await;
}

#[test]
fn row_10_a_frame_over_tcp_has_one_nul_which_is_its_end() {
    let mut x = sample(&identity(&[]));
    x.command.tags = vec![("odd".into(), "new\nline \"q\" \\ \t \u{0} end".into())];
    let mut framed = tcp::Framed(RecordEncoder::new(Form::Gelf, Names::all(), tcp::FRAME_MAX));
    let mut out = Vec::new();
    assert!(framed.encode(&mut out, &Entry::of(What::Command, &x), &Who::new(&x.identity)));
    assert_eq!(memchr::memchr_iter(0, &out).collect::<Vec<_>>(), [out.len() - 1]);
    let read: serde_json::Value = serde_json::from_slice(&out[..out.len() - 1]).unwrap();
    assert_eq!(read["_tag_odd"], "new\nline \"q\" \\ \t \u{0} end");
}

#[test]
fn sections_that_cannot_be_are_refused_with_their_key() {
    let check = |own: serde_json::Value| {
        let mut all = json!({"to": "udp://h", "chunk": "wan"});
        all.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        LogSettings::new("graylog", values(all)).map(|s| s.build(&Arc::default()).ok().unwrap().target)
    };
    for (own, target) in [
        (json!({}), "udp://h:12201"),
        (json!({"to": "udp://h:1", "chunk": "lan", "compress": "zlib"}), "udp://h:1"),
        (json!({"chunk": 8192}), "udp://h:12201"),
        (json!({"to": "tcp://h", "compress": "none"}), "tcp://h:12201"),
        (json!({"to": "tls://h", "tls": {"verify": false}}), "tls://h:12201"),
    ] {
        assert_eq!(check(own).unwrap(), target);
    }
    for (own, key) in [
        (json!({"to": "tcp://h", "compress": "gzip"}), "compress"),
        (json!({"to": "tls://h", "compress": "zlib"}), "compress"),
        (json!({"to": "tcp://h", "tls": {"verify": false}}), "tls"),
        (json!({"tls": {"server_name": "h"}}), "tls"),
        (json!({"to": "tls://h", "tls": {"ca": "/no/such/file"}}), "tls"),
        (json!({"to": "unix:/h"}), "to"),
        (json!({"rename": {"command": "status"}}), "rename"),
    ] {
        assert_eq!(check(own.clone()).unwrap_err().key, Some(key), "{own}");
    }
}
