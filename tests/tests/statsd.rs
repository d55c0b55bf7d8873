//! StatsD: the receivers get what the caller knows, over every way, wherever they are.

use fourmi_tests::patience::patience;
use fourmi_tests::sidecar::run_fourmi_in;
use fourmi_tests::{Fourmi, Setup, StatsdServer, Worker, free_port, until};
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Sends commands with known outcomes: 12 times success, 3 client errors, 2 server errors, tags of two shops.
fn send_some(fourmi: &Fourmi) {
    let mut client = fourmi.client();
    for n in 0..12 {
        let headers = format!("Fourmi-Command: Pay\r\nFourmi-Tags: shop={}\r\n", n % 2);
        assert_eq!(client.post("/", &headers, "x").status(), 200);
    }
    for _ in 0..3 {
        assert_eq!(client.post("/status/404", "Fourmi-Command: Pay\r\n", "").status(), 404);
    }
    for _ in 0..2 {
        assert_eq!(client.post("/status/500", "Fourmi-Command: Refund\r\n", "").status(), 500);
    }
}

/// A receiver of any kind: the bytes as they came.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<u8>>>, Arc<AtomicBool>);

impl Received {
    /// Takes datagrams, each with a line feed behind it.
    fn datagrams(receive: impl Fn(&mut [u8]) -> std::io::Result<usize> + Send + 'static) -> Received {
        let received = Received::default();
        let to = received.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !to.1.load(Ordering::Acquire) {
                // Nothing for a while is an error too.
                let Ok(n) = receive(&mut buffer) else { continue };
                let mut to = to.0.lock().unwrap();
                to.extend_from_slice(&buffer[..n]);
                to.push(b'\n');
            }
        });
        received
    }
    fn udp(address: &str) -> Received {
        let socket = UdpSocket::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Received::datagrams(move |buffer| socket.recv(buffer))
    }
    fn unixgram(path: &Path) -> Received {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Received::datagrams(move |buffer| socket.recv(buffer))
    }
    /// Takes one stream after the other.
    fn streams<S: Read>(accept: impl Fn() -> std::io::Result<S> + Send + 'static) -> Received {
        let received = Received::default();
        let to = received.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(mut stream) = accept() {
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    to.0.lock().unwrap().extend_from_slice(&buffer[..n]);
                }
            }
        });
        received
    }
    /// Closes a socket of datagrams.
    fn close(self) {
        self.1.store(true, Ordering::Release);
    }
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
    /// Whole lines; with `framed`, those of whole packets with a length before each.
    fn lines(&self, framed: bool) -> Vec<String> {
        let bytes = self.bytes();
        let mut text = Vec::new();
        if framed {
            let mut at = 0;
            while let Some(length) = bytes.get(at..at + 4) {
                let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
                assert!((1..=8192).contains(&length), "{length}");
                let Some(packet) = bytes.get(at + 4..at + 4 + length) else { break };
                text.extend_from_slice(packet);
                text.push(b'\n');
                at += 4 + length;
            }
        } else {
            let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
            text.extend_from_slice(&bytes[..end]);
        }
        String::from_utf8(text).unwrap().lines().filter(|l| !l.is_empty()).map(str::to_owned).collect()
    }
    /// What the counter lines with all these words add up to.
    fn sum(&self, framed: bool, words: &[&str]) -> u64 {
        let lines = self.lines(framed);
        let counted = lines.iter().filter(|l| words.iter().all(|w| l.contains(w)));
        counted.filter_map(|l| l.split_once("|c")?.0.rsplit_once(':')?.1.parse::<u64>().ok()).sum()
    }
    #[track_caller]
    fn counts(&self, framed: bool, words: &[&str], expected: u64) {
        let give_up = Instant::now() + patience();
        while self.sum(framed, words) != expected {
            let lines = self.lines(framed).join("\n");
            assert!(Instant::now() < give_up, "{words:?} is {}, not {expected}:\n{lines}", self.sum(framed, words));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Beside a worker, with one StatsD sink that tells every 100 ms.
fn beside(worker: &Worker, to: &str, dialect: &str) -> Setup {
    let sink = format!("{{statsd: {{to: \"{to}\", dialect: {dialect}, interval: 100ms}}}}");
    Setup::beside(worker.address()).labels("shop").metric_sink(sink)
}

/// Runs under a hosts file of its own: the file's folder is the setup's.
fn with_hosts(setup: Setup, hosts: &str) -> (Setup, std::path::PathBuf) {
    let file = setup.folder().join("hosts");
    std::fs::write(&file, hosts).unwrap();
    let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", file.display());
    let setup = setup.under(&["unshare", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    (setup, file)
}

#[test]
fn row_35_influx_over_tcp() {
    let worker = Worker::echo();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = Received::streams(move || listener.accept().map(|(s, _)| s));
    let mut fourmi = beside(&worker, &format!("tcp://127.0.0.1:{port}"), "influx").start();
    send_some(&fourmi);
    received.counts(false, &["fourmi.commands,command=Pay,", ",outcome=success,", ",shop=1:"], 6);
    received.counts(false, &["fourmi.commands,command=Refund,", ",outcome=server_error,"], 2);
    fourmi.post("/", "Fourmi-Command: Last one\r\n", "");
    fourmi.signal(nix::sys::signal::SIGTERM);
    assert_eq!(fourmi.ends(), 0);
    received.counts(false, &["fourmi.commands,command=Last_one,"], 1);
    assert_eq!(received.bytes().last(), Some(&b'\n'), "no line is torn");
}

#[test]
fn row_35_graphite_over_udp() {
    let (worker, port) = (Worker::echo(), free_port());
    let received = Received::udp(&format!("127.0.0.1:{port}"));
    let fourmi = beside(&worker, &format!("udp://127.0.0.1:{port}"), "graphite").start();
    send_some(&fourmi);
    received.counts(false, &["fourmi.commands;command=Pay;", ";outcome=success;", ";shop=0:"], 6);
    received.counts(false, &["fourmi.tag;env=test;tag=shop;value=1:"], 6);
    let lines = received.lines(false);
    assert!(lines.iter().any(|l| l.starts_with("fourmi.command.duration;") && l.contains("|ms")), "{lines:?}");
    assert!(lines.iter().all(|l| !l.contains([' ', '#', ','])), "{lines:?}");
}

#[test]
fn row_46_a_packet_beyond_a_datagram_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fourmi.yaml");
    for (packet, code) in [(65_507, 0), (65_508, 78), (70_000, 78), (511, 78)] {
        let sink = format!("statsd: {{to: \"udp://127.0.0.1\", packet: {packet}}}");
        std::fs::write(
            &file,
            format!("worker: {{address: \"http://127.0.0.1:1\"}}\nmetrics: {{sinks: [{{{sink}}}]}}\n"),
        )
        .unwrap();
        let ended = run_fourmi_in(folder.path(), &["validate", "fourmi.yaml"]);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, code, "{packet}: {said}");
        assert!(code == 0 || said.contains(if packet < 512 { "512" } else { "65507" }), "{said}");
    }
}

#[test]
fn row_48_one_increment_and_silence() {
    let (worker, statsd) = (Worker::echo(), StatsdServer::start());
    let fourmi = Setup::beside(worker.address()).statsd(&statsd, "plain").start();
    fourmi.post("/", "Fourmi-Command: Once\r\n", "");
    statsd.counts("fourmi.test.payment.Once.success", &[], 1.0);
    let lines = statsd.lines().iter().filter(|l| l.name.contains("Once") && l.kind == "c").count();
    assert_eq!(lines, 1, "what does not move is not sent again");
}

#[test]
fn row_50_51_a_name_that_is_not_known_yet_and_then_moves() {
    let (worker, port) = (Worker::echo(), free_port());
    let (first, second) = (Received::udp(&format!("127.0.0.2:{port}")), Received::udp(&format!("127.0.0.3:{port}")));
    let setup = beside(&worker, &format!("udp://statsd.test:{port}"), "plain");
    let (setup, hosts) = with_hosts(setup, "127.0.0.1 localhost\n");
    let fourmi = setup.start();
    send_some(&fourmi);
    until("the sink says what is wrong", || {
        fourmi.metrics().sum("fourmi_sink_troubles_total", &[("sink", "statsd"), ("reason", "unreachable")]) >= 1.0
    });
    std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.2 statsd.test\n").unwrap();
    first.counts(false, &["fourmi.test.payment.Pay.success"], 12);
    let sockets = fourmi.metrics().sum("process_open_fds", &[]);
    std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.3 statsd.test\n").unwrap();
    let mut sent = 0;
    let give_up = Instant::now() + Duration::from_secs(30) + patience();
    while second.sum(false, &["Moved.success"]) == 0 {
        assert!(Instant::now() < give_up, "the new address is not found");
        fourmi.post("/", "Fourmi-Command: Moved\r\n", "");
        sent += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    let moved = |received: &Received| received.sum(false, &["Moved.success"]);
    until("every sum arrived at one of the two", || moved(&first) + moved(&second) == sent);
    let until_now = moved(&first);
    fourmi.post("/", "Fourmi-Command: Moved\r\n", "");
    until("the new one gets what comes", || moved(&first) + moved(&second) == sent + 1);
    assert_eq!(moved(&first), until_now, "nothing goes to the old address");
    let open = || fourmi.metrics().sum("process_open_fds", &[]);
    until("the old socket is closed", || open() <= sockets);
}

#[test]
fn row_53_a_name_with_two_families_of_which_one_listens() {
    for listening in ["127.0.0.1", "[::1]"] {
        let (worker, port) = (Worker::echo(), free_port());
        let received = Received::udp(&format!("{listening}:{port}"));
        let setup = beside(&worker, &format!("udp://statsd.test:{port}"), "plain");
        let (setup, _) = with_hosts(setup, "127.0.0.1 localhost\n::1 statsd.test\n127.0.0.1 statsd.test\n");
        let fourmi = setup.start();
        until(&format!("{listening} is found"), || {
            fourmi.post("/", "Fourmi-Command: Found\r\n", "");
            received.sum(false, &["Found.success"]) > 0
        });
        let sum = || received.sum(false, &["Stays.success"]);
        for _ in 0..20 {
            fourmi.post("/", "Fourmi-Command: Stays\r\n", "");
        }
        until("everything goes to the one that listens", || sum() == 20);
    }
}

#[test]
fn row_52_a_receiver_that_has_only_ipv6() {
    let (worker, port) = (Worker::echo(), free_port());
    let received = Received::udp(&format!("[::1]:{port}"));
    let fourmi = beside(&worker, &format!("udp://[::1]:{port}"), "plain").start();
    send_some(&fourmi);
    received.counts(false, &["fourmi.test.payment.Pay.success"], 12);
}

#[test]
fn row_56_datadog_over_unix_datagrams() {
    let worker = Worker::echo();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.sock");
    let fourmi = beside(&worker, &format!("unixgram:{}", path.display()), "datadog").start();
    send_some(&fourmi);
    let troubles = |why| fourmi.metrics().sum("fourmi_sink_troubles_total", &[("sink", "statsd"), ("reason", why)]);
    until("there is no socket yet", || troubles("absent") >= 1.0);
    let received = Received::unixgram(&path);
    received.counts(false, &["fourmi.commands:", "command:Pay,", "outcome:success"], 12);
    received.counts(false, &["fourmi.tag:", "tag:shop,value:1"], 6);
    // Another one in its place, as when its container is replaced.
    received.close();
    std::fs::remove_file(&path).unwrap();
    let received = Received::unixgram(&path);
    until("the new socket is found", || {
        fourmi.post("/", "Fourmi-Command: Again\r\n", "");
        received.sum(false, &["command:Again"]) > 0
    });
}

#[test]
fn row_57_datadog_over_a_unix_stream() {
    let worker = Worker::echo();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.stream");
    let listener = UnixListener::bind(&path).unwrap();
    let received = Received::streams(move || listener.accept().map(|(s, _)| s));
    let mut fourmi = beside(&worker, &format!("unix:{}", path.display()), "datadog").start();
    send_some(&fourmi);
    received.counts(true, &["fourmi.commands:", "command:Pay,", "outcome:client_error"], 3);
    fourmi.counts("fourmi_sink_records_total", &[("sink", "statsd"), ("result", "dropped_error")], 0.0);
    fourmi.post("/", "Fourmi-Command: Last\r\n", "");
    fourmi.signal(nix::sys::signal::SIGTERM);
    assert_eq!(fourmi.ends(), 0);
    received.counts(true, &["fourmi.commands:", "command:Last,"], 1);
}

#[test]
fn row_59_start_reload_and_stop_are_events() {
    let (worker, statsd) = (Worker::echo(), StatsdServer::start());
    let mut fourmi = Setup::beside(worker.address()).statsd(&statsd, "datadog").start();
    let told = |what: &str, kind: &str| {
        until(what, || {
            let mut events = statsd.events().into_iter().filter(|e| e.contains(what));
            events.any(|e| e.contains(&format!("|h:box|t:{kind}|#env:test,service:payment")))
        });
    };
    told("payment: fourmi is up", "success");
    let good = fourmi.yaml();
    fourmi.rewrite("wroker: 1\n");
    assert_ne!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    told("reload", "error");
    fourmi.rewrite(&good);
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    fourmi.signal(nix::sys::signal::SIGTERM);
    assert_eq!(fourmi.ends(), 0);
    told("payment: fourmi stops", "info");
    for event in statsd.events() {
        let (lengths, rest) = event.strip_prefix("_e{").unwrap().split_once("}:").unwrap();
        let lengths: Vec<usize> = lengths.split(',').map(|n| n.parse().unwrap()).collect();
        assert_eq!(rest.as_bytes()[lengths[0]], b'|', "{event}");
        assert!(rest[lengths[0] + 1 + lengths[1]..].starts_with("|d:"), "{event}");
    }
}

#[test]
fn row_58_plain_lines_add_up_and_have_no_tags() {
    let (worker, statsd) = (Worker::echo(), StatsdServer::start());
    let fourmi = Setup::beside(worker.address()).labels("shop").statsd(&statsd, "plain").start();
    send_some(&fourmi);
    statsd.counts("fourmi.test.payment.Pay.success", &[], 12.0);
    statsd.counts("fourmi.test.payment.Pay.client_error", &[], 3.0);
    statsd.counts("fourmi.test.payment.Refund.server_error", &[], 2.0);
    statsd.counts("fourmi.test.payment.tag.shop.0", &[], 6.0);
    statsd.counts("fourmi.test.payment.tag.shop.1", &[], 6.0);
    let lines = statsd.lines();
    assert!(lines.iter().all(|l| l.tags.is_empty()), "plain has no tags");
    let durations: Vec<_> = lines.iter().filter(|l| l.name == "fourmi.test.payment.Pay.duration").collect();
    assert!(!durations.is_empty() && durations.iter().all(|l| l.kind == "ms" && l.value >= 0.0), "{lines:?}");
    let count: f64 = durations.iter().map(|l| 1.0 / l.rate).sum();
    assert!((count - 15.0).abs() <= 15.0, "{count} durations of 15");
}

#[test]
fn row_34_39_44_datadog_lines_add_up_and_fit_their_datagrams() {
    let (worker, statsd) = (Worker::echo(), StatsdServer::start());
    let fourmi = Setup::beside(worker.address()).labels("shop").statsd(&statsd, "datadog").start();
    send_some(&fourmi);
    statsd.counts("fourmi.commands", &[("command", "Pay"), ("outcome", "success"), ("service", "payment")], 12.0);
    statsd.counts("fourmi.commands", &[("command", "Refund"), ("outcome", "server_error")], 2.0);
    statsd.counts("fourmi.tag", &[("tag", "shop"), ("value", "1")], 6.0);
    for n in 0..150 {
        fourmi.post("/", &format!("Fourmi-Command: Many{n}\r\n"), "");
    }
    statsd.counts("fourmi.commands", &[], 167.0);
    let datagrams = statsd.datagrams();
    assert!(datagrams.iter().all(|d| d.len() <= 1432), "{:?}", datagrams.iter().map(String::len).max());
    assert!(statsd.lines().iter().any(|l| l.name == "fourmi.command.duration"), "{datagrams:?}");
    // Sums, not a line an increment.
    let mut client = fourmi.client();
    let before = statsd.lines().len();
    for _ in 0..500 {
        client.post("/", "Fourmi-Command: Often\r\n", "");
    }
    statsd.counts("fourmi.commands", &[("command", "Often")], 500.0);
    let lines = statsd.lines().len() - before;
    let counters = statsd.lines().iter().filter(|l| l.kind == "c" && l.has(&[("command", "Often")])).count();
    assert!(counters < 100, "{counters} counter lines for 500 increments ({lines} lines in all)");
}

#[test]
fn row_49_the_last_sums_leave_before_the_end() {
    let (worker, statsd) = (Worker::echo(), StatsdServer::start());
    let setup = Setup::beside(worker.address()).statsd(&statsd, "plain");
    let yaml = setup.yaml().replace("interval: 100ms", "interval: 60s");
    let mut fourmi = setup.start();
    fourmi.rewrite(&yaml);
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    let before = statsd.sum("fourmi.test.payment.Last.success", &[]);
    fourmi.post("/", "Fourmi-Command: Last\r\n", "");
    fourmi.signal(nix::sys::signal::SIGTERM);
    assert_eq!(fourmi.ends(), 0);
    statsd.counts("fourmi.test.payment.Last.success", &[], before + 1.0);
}
