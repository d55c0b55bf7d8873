//! Whatever comes to the port of names, names and commands are answered.

use super::{CHECK, command, has, with};
use fourmi_tests::dns::Tool;
use fourmi_tests::{Fourmi, Instance, Section, dns};
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Names by UDP and commands are answered now.
#[track_caller]
fn lives(section: &Section, fourmi: &Fourmi, instance: &Instance) {
    let reply = dns::dig(section.at, "stock.service.consul", "A");
    assert!(reply.is(&[&instance.a()]), "{}", reply.said);
    assert_eq!(command(fourmi, "stock.service.consul"), (200, instance.id.clone()));
}

/// By TCP, too.
#[track_caller]
fn takes_connections(section: &Section, instance: &Instance) {
    let reply = Tool::Dig.asks(section.at, true, "stock.service.consul", "A");
    assert!(reply.is(&[&instance.a()]), "{}", reply.said);
}

/// The same bytes at every run.
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_be_bytes()[3]
    }
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.byte()).collect()
    }
}

/// A question for `stock.service.consul` with these counts in its header and this behind it.
fn message(counts: [u8; 8], rest: &[u8]) -> Vec<u8> {
    [&[0x12, 0x34, 0x01, 0x00][..], &counts, rest].concat()
}

const QUESTION: &[u8] = b"\x05stock\x07service\x06consul\x00\x00\x01\x00\x01";

/// Datagrams that were made to break who reads them.
fn datagrams() -> Vec<Vec<u8>> {
    let one = [0, 1, 0, 0, 0, 0, 0, 0];
    let whole = message(one, QUESTION);
    let mut all: Vec<Vec<u8>> = (0..whole.len()).map(|n| whole[..n].to_vec()).collect();
    // Pointers to themselves, to each other, forward, and out of the message.
    for name in [&b"\xc0\x0c"[..], b"\xc0\x0e\xc0\x0c", b"\xc0\x20", b"\xff\xff", b"\x01a\xc0\x0c"] {
        all.push(message(one, &[name, b"\x00\x01\x00\x01"].concat()));
    }
    // Labels of forbidden kinds, one too long, a name too long, a label that ends nowhere.
    all.push(message(one, b"\x40\x05stock\x00\x00\x01\x00\x01"));
    all.push(message(one, b"\x80\x05stock\x00\x00\x01\x00\x01"));
    all.push(message(one, &[&b"\x3f".repeat(300)[..], b"\x00\x00\x01\x00\x01"].concat()));
    all.push(message(one, &[&b"\x01a".repeat(200)[..], b"\x00\x00\x01\x00\x01"].concat()));
    all.push(message(one, b"\x3fstock"));
    // Counts that promise more than there is; no question; two; an answer; other opcodes.
    all.push(message([0xff; 8], QUESTION));
    all.push(message([0; 8], QUESTION));
    all.push(message([0, 2, 0, 0, 0, 0, 0, 0], &QUESTION.repeat(2)));
    for flags in [0x80, 0x10, 0x20, 0x28, 0x78, 0xff] {
        let mut other = whole.clone();
        other[2] = flags;
        all.push(other);
    }
    // OPT records: twice, with a length that lies, of an unknown version.
    let opt = b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00";
    let with_opt = [0, 1, 0, 0, 0, 0, 0, 1];
    all.push(message([0, 1, 0, 0, 0, 0, 0, 2], &[QUESTION, opt, opt].concat()));
    all.push(message(with_opt, &[QUESTION, b"\x00\x00\x29\x00\x00\x00\x00\x00\x00\xff\xff"].concat()));
    all.push(message(with_opt, &[QUESTION, b"\x00\x00\x29\x10\x00\x00\xff\x00\x00\x00\x00"].concat()));
    let mut noise = Noise(0x5eed_f00d);
    for n in 0..2000 {
        let length = usize::from(noise.byte()) * if n % 50 == 0 { 200 } else { 1 };
        all.push(noise.bytes(length));
        // A good beginning and a bad end.
        let mut bad = whole.clone();
        let at = usize::from(noise.byte()) % bad.len();
        bad[at] = noise.byte();
        all.push(bad);
    }
    all
}

#[test]
fn hostile_datagrams_stop_neither_answers_nor_commands() {
    let [one] = Instance::several(0);
    let section = Section::new().stock([&one], CHECK);
    let fourmi = with(&section);
    has(&section, "stock.service.consul", &[&one]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (n, datagram) in datagrams().iter().enumerate() {
        socket.send_to(datagram, section.at).unwrap();
        if n % 500 == 0 {
            lives(&section, &fourmi, &one);
        }
    }
    lives(&section, &fourmi, &one);
    takes_connections(&section, &one);
}

/// Sends datagrams as fast as it can until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Flood {
    fn on(at: SocketAddr) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, datagrams) = (stop.clone(), datagrams());
        let thread = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut sent = 0_u64;
            for datagram in datagrams.iter().cycle() {
                if stopped.load(Ordering::Acquire) {
                    break;
                }
                sent += u64::from(socket.send_to(datagram, at).is_ok());
            }
            sent
        });
        Flood { stop, thread: Some(thread) }
    }
    fn stop(&mut self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.thread.take().map_or(0, |thread| thread.join().unwrap_or(0))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn a_flood_of_datagrams_stops_neither_answers_nor_commands() {
    let [one] = Instance::several(0);
    let section = Section::new().stock([&one], CHECK);
    let fourmi = with(&section);
    has(&section, "stock.service.consul", &[&one]);
    let (memory, said) = (fourmi.memory(), fourmi.stderr().len());
    let mut flood = Flood::on(section.at);
    for _ in 0..20 {
        assert_eq!(command(&fourmi, "stock").0, 200);
        // A datagram among so many may be dropped by the kernel; by TCP nothing is lost.
        takes_connections(&section, &one);
    }
    let sent = flood.stop();
    let (grown, said) = (fourmi.memory().saturating_sub(memory) >> 20, fourmi.stderr().len() - said);
    println!("{sent} datagrams; {grown} MiB more; {said} bytes of log");
    assert!(grown < 64, "{grown} MiB more");
    assert!(said < 64 << 10, "{said} bytes of log: {}", &fourmi.stderr()[..4096]);
    has(&section, "stock.service.consul", &[&one]);
}

fn connects(at: SocketAddr) -> TcpStream {
    TcpStream::connect(at).unwrap()
}

#[test]
fn connections_that_keep_nothing_of_their_word_stop_neither_answers_nor_commands() {
    let [one] = Instance::several(0);
    let section = Section::new().stock([&one], CHECK);
    let fourmi = with(&section);
    has(&section, "stock.service.consul", &[&one]);
    let mut held = Vec::new();
    let whole = message([0, 1, 0, 0, 0, 0, 0, 0], QUESTION);
    let framed = [&u16::try_from(whole.len()).unwrap().to_be_bytes()[..], &whole].concat();
    let noise = Noise(7).bytes(70_000);
    for said in [
        &[0xff_u8, 0xff][..],
        &[0xff],
        &[0, 0],
        &[0, 1, 0],
        &[0, 12, 0],
        &framed[..framed.len() - 1],
        &noise,
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        for _ in 0..10 {
            let mut stream = connects(section.at);
            // It may be closed while we still speak.
            let _ = stream.write_all(said);
            held.push(stream);
        }
    }
    lives(&section, &fourmi, &one);
    takes_connections(&section, &one);
    drop(held);
    takes_connections(&section, &one);
}

#[test]
fn a_thousand_idle_connections_stop_neither_answers_nor_commands() {
    let [one] = Instance::several(0);
    let section = Section::new().stock([&one], CHECK);
    let fourmi = with(&section);
    has(&section, "stock.service.consul", &[&one]);
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, soft.max(hard.min(8192)), hard).unwrap();
    let held: Vec<TcpStream> = (0..1000).map(|_| connects(section.at)).collect();
    lives(&section, &fourmi, &one);
    takes_connections(&section, &one);
    drop(held);
    lives(&section, &fourmi, &one);
    takes_connections(&section, &one);
}
