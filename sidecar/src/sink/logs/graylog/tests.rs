use super::pack::Packing;
use super::udp::Gelf;
use crate::sink::drain::{Inbox, Outlet};
use crate::sink::entry::{Entry, What};
use crate::sink::fields::Who;
use crate::sink::filter::Names;
use crate::sink::record::tests::{identity, sample};
use crate::sink::record::{Form, RecordEncoder};
use crate::sink::ring::{RING_BYTES, Writer, begin};
use std::collections::HashMap;
use std::io::Read;
use std::net::UdpSocket;
use std::sync::Arc;
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
    let gelf = Gelf::new(outlet.clone(), host, port, compress, chunk);
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
