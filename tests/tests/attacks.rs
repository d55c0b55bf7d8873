//! What an attacker, a rude caller or a hasty operator does, and what must not come of it.

use fourmi_tests::h2::RawH2;
use fourmi_tests::net::Stream;
use fourmi_tests::{Client, Fourmi, GelfServer, Load, Setup, Worker, free_port, until};
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nFourmi-Command: Chat\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Key: dGVzdA==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A worker that tunnels whoever asks for it, streams `/events` for ever, and answers the rest.
fn lasting() -> Worker {
    Worker::scripted(|mut conn| {
        while let Some(request) = conn.request() {
            if request.header("upgrade").is_some() {
                conn.send(SWITCHED);
                conn.until_closed();
            } else if request.target() == "/events" {
                conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
                conn.send("9\r\ndata: 1\n\n\r\n");
                conn.until_closed();
            } else {
                conn.ok("ok");
            }
        }
    })
}

fn tunnel(fourmi: &Fourmi) -> Client {
    let mut client = fourmi.client();
    assert_eq!(client.send(UPGRADE).answer_head().status(), 101);
    client
}

#[test]
fn nobody_reaches_fourmi_itself_through_its_outbound_side() {
    let worker = Worker::echo();
    let services = format!("{{stock: {{address: \"{}\"}}}}", worker.address());
    let fourmi = Setup::beside(worker.address()).outbound(services).start();
    let spellings = ["127.0.0.1", "127.1", "2130706433", "0.0.0.0", "localhost", "LOCALHOST.", "[::ffff:127.0.0.1]"];
    let mut sent = 0;
    for port in [fourmi.admin_port(), fourmi.port(), fourmi.outbound_port()] {
        for host in spellings {
            let own = format!("{host}:{port}");
            for head in [
                format!("POST http://{own}/api/v1/reload HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"),
                format!("POST /api/v1/reload HTTP/1.1\r\nHost: {own}\r\n"),
                format!("CONNECT {own} HTTP/1.1\r\nHost: {own}\r\n"),
            ] {
                let answer = fourmi.outbound().send(format!("{head}\r\n")).answer_head();
                assert!((400..600).contains(&answer.status()), "{head}{answer:?}");
                sent += 1;
            }
        }
    }
    // A loop would have counted each of them again and again.
    fourmi.counts("fourmi_commands_total", &[("direction", "outbound")], f64::from(sent));
    fourmi.counts("fourmi_commands_in_flight", &[], 0.0);
    let scrape = fourmi.metrics();
    assert_eq!(scrape.sum("fourmi_commands_total", &[]), f64::from(sent), "{}", scrape.text());
    assert_eq!(scrape.sum("fourmi_reloads_total", &[]), 0.0, "the admin API was reached");
    assert_eq!(worker.requests().len(), 0);
    // The same machine's other ports are what the outbound side is for.
    let other = format!("GET http://127.1:{}/ HTTP/1.1\r\nHost: a\r\n\r\n", worker.port());
    assert_eq!(fourmi.outbound().send(other).answer().status(), 200);
}

#[test]
fn a_caller_that_resets_is_noticed_and_one_that_half_closes_is_not_gone() {
    let closed = Arc::new(AtomicUsize::new(0));
    let counter = closed.clone();
    let worker = Worker::scripted(move |mut conn| {
        while let Some(request) = conn.request() {
            if request.target() == "/late" {
                std::thread::sleep(Duration::from_millis(1500));
                conn.ok("late");
            } else {
                conn.until_closed();
                counter.fetch_add(1, Ordering::AcqRel);
            }
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut rude = fourmi.client();
    rude.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the worker has it", || worker.requests().len() == 1);
    fourmi.counts("fourmi_commands_in_flight", &[], 1.0);
    let Stream::Tcp(stream) = &rude.wire.stream else { unreachable!() };
    setsockopt(stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    let left = Instant::now();
    drop(rude);
    fourmi.counts("fourmi_commands_total", &[("outcome", "cancelled")], 1.0);
    fourmi.counts("fourmi_commands_in_flight", &[], 0.0);
    until("the worker's connection is closed", || closed.load(Ordering::Acquire) == 1);
    assert!(left.elapsed() < Duration::from_secs(3), "noticed after {:?}", left.elapsed());

    let mut polite = fourmi.client();
    polite.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").half_close();
    assert_eq!(polite.answer().text(), "late");
    fourmi.counts("fourmi_commands_total", &[("outcome", "success")], 1.0);
}

/// PINGs every 100 ms for so long; every one is answered.
fn ping_for(raw: &mut RawH2, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        raw.frame(6, 0, 0, b"attacks!");
        raw.frame(8, 0, 0, &1u32.to_be_bytes());
        let acknowledged = loop {
            let frame = raw.read().expect("the connection ended although idle is long");
            match (frame.kind, frame.flags & 1) {
                (6, 1) => break frame,
                (4, 0) => raw.frame(4, 1, 0, &[]),
                (7, _) => panic!("GOAWAY although idle is long: {frame:?}"),
                _ => {}
            }
        };
        assert_eq!(acknowledged.payload, b"attacks!");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_idle_http2_connection_outlives_the_limit_of_heads_and_ends_by_goaway() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("timeouts: {head: 1s, idle: 20s}").start();
    let authority = format!("127.0.0.1:{}", fourmi.port());
    let get = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", &authority)];
    // One that never asked anything, one that did.
    for first in [1, 3] {
        let mut raw = RawH2::connect(fourmi.port());
        if first == 3 {
            raw.headers(1, &get, true);
            assert_eq!(raw.verdict(1).map(|f| f.kind), Some(1));
        }
        ping_for(&mut raw, Duration::from_millis(2500));
        raw.headers(first, &get, true);
        assert_eq!(raw.verdict(first).map(|f| f.kind), Some(1), "HEADERS");
    }

    let fourmi = Setup::beside(worker.address()).more("timeouts: {head: 5s, idle: 1s}").start();
    let mut raw = RawH2::connect(fourmi.port());
    raw.headers(1, &get, true);
    assert_eq!(raw.verdict(1).map(|f| f.kind), Some(1));
    let idle = Instant::now();
    let mut goodbye = None;
    while let Some(frame) = raw.read() {
        match (frame.kind, frame.flags & 1) {
            (6, 0) => raw.frame(6, 1, 0, &frame.payload),
            (7, _) => goodbye = Some(frame),
            _ => {}
        }
    }
    let took = idle.elapsed();
    assert!((800..6000).contains(&(took.as_millis() as u64)), "{took:?}");
    let goodbye = goodbye.expect("the connection ended without GOAWAY");
    assert_eq!(goodbye.payload[4..8], [0; 4], "NO_ERROR: {goodbye:?}");
}

#[test]
fn a_stop_ends_streams_and_tunnels_in_its_grace_and_tells_each() {
    let (worker, gelf) = (lasting(), GelfServer::start());
    let mut fourmi = Setup::beside(worker.address()).gelf(&gelf).more("timeouts: {drain: 2s}").start();
    let _tunnel = tunnel(&fourmi);
    let mut events = fourmi.client();
    events.send("GET /events HTTP/1.1\r\nHost: a\r\nFourmi-Command: Events\r\n\r\n");
    assert_eq!(events.answer_head().status(), 200);
    assert_eq!(events.wire.chunk().unwrap().unwrap(), b"data: 1\n\n");
    let told = Instant::now();
    fourmi.signal(Signal::SIGTERM);
    assert_eq!(fourmi.ends(), 0, "{}", fourmi.stderr());
    let took = told.elapsed();
    assert!((1500..5000).contains(&(took.as_millis() as u64)), "{took:?}");
    // The process is gone: what it told is in the receiver's socket by now.
    gelf.record("_command", "Chat");
    gelf.record("_command", "Events");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(gelf.records().len(), 2, "{:?}", gelf.records());
}

#[test]
fn tunnels_count_as_connections() {
    let worker = lasting();
    let fourmi = Setup::beside(worker.address()).more("limits: {connections: 3}").start();
    let mut tunnels: Vec<Client> = (0..3).map(|_| tunnel(&fourmi)).collect();
    fourmi.counts("fourmi_connections", &[("side", "client")], 3.0);
    let mut fourth = fourmi.client();
    let answer = fourth.answer();
    assert_eq!((answer.status(), answer.says("connection", "close")), (503, true));
    // No byte is missing and none is left over.
    assert_eq!((answer.json()["status"].as_u64(), fourth.rest().as_str()), (Some(503), ""));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    tunnels.pop();
    until("there is room again", || {
        let mut next = fourmi.client();
        next.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        next.answer().status() == 200
    });
}

#[test]
fn a_standard_output_that_nobody_reads_does_not_hold_the_end() {
    let worker = Worker::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    // A pipe that is open on both ends, so that writing neither fails nor goes on once it is full.
    let script = "mkfifo pipe && exec \"$0\" \"$@\" 1<>pipe";
    let setup = Setup::beside(worker.address()).logs("[{stdout: {format: json}}]").under(&["sh", "-c", script]);
    let mut fourmi = setup.start();
    let mut client = fourmi.client();
    for _ in 0..3000 {
        assert_eq!(client.get("/").status(), 200, "logging does not hold commands either");
    }
    drop(client);
    std::thread::sleep(Duration::from_millis(500));
    let told = Instant::now();
    fourmi.signal(Signal::SIGTERM);
    until("fourmi ends", || !fourmi.is_running());
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
    assert_eq!(fourmi.ends(), 0);
}

#[test]
fn bodies_that_identification_reads_have_limits_of_time_and_size() {
    let worker = Worker::echo();
    let identify = "commands: {identify: {name: /command, id: /id}}";
    let fourmi =
        Setup::beside(worker.address()).more(identify).more("timeouts: {answer: 1s}\nlimits: {body: 1KiB}").start();
    let asked = Instant::now();
    let mut stalled = fourmi.client();
    let head =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 200\r\n\r\n";
    stalled.send(head).send("{\"specversion\":");
    let answer = stalled.answer();
    assert_eq!(answer.status(), 408, "{answer:?}");
    assert!((800..4000).contains(&(asked.elapsed().as_millis() as u64)), "{:?}", asked.elapsed());
    fourmi.counts("fourmi_commands_total", &[("outcome", "timeout")], 1.0);

    let chunked = |size: usize| {
        let body = format!("{{\"command\": \"Pay\", \"id\": \"1\", \"more\": \"{}\"}}", "x".repeat(size));
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        fourmi.client().send(head).try_send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())).answer()
    };
    assert_eq!(chunked(4000).status(), 413);
    assert_eq!(worker.requests().len(), 0, "the worker was bothered");
    assert_eq!(chunked(500).status(), 200);
    fourmi.counts("fourmi_commands_total", &[("command", "Pay"), ("outcome", "success")], 1.0);
}

#[test]
fn trailers_and_look_alikes_cannot_say_what_only_fourmi_says() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: Fourmi-Id, X-Forwarded-For, Host, X-Sum\r\n\
                Transfer-Encoding: chunked\r\nFourmi_Id: evil\r\nFOURMI_TAGS: a=b\r\nX_Forwarded_For: 6.6.6.6\r\n\
                Fine_Name: kept\r\n\r\n";
    let end = "0\r\nFourmi-Id: evil\r\nX-Forwarded-For: 6.6.6.6\r\nHost: evil\r\nX-Sum: 7\r\n\r\n";
    let answer = fourmi.client().send(head).send("5\r\nhello\r\n").send(end).answer();
    assert_eq!(answer.status(), 200);
    let seen = worker.last();
    assert_eq!(seen.text(), "hello");
    let names: Vec<String> = seen.trailers.iter().map(|(n, _)| n.to_ascii_lowercase()).collect();
    assert_eq!(names, ["x-sum"]);
    for gone in ["fourmi_id", "fourmi_tags", "x_forwarded_for"] {
        assert_eq!(seen.header(gone), None, "{gone} reached the worker");
    }
    assert_eq!(seen.header("fine_name"), Some("kept"));
    assert!(!format!("{seen:?}").contains("evil") && !format!("{seen:?}").contains("6.6.6.6"), "{seen:?}");
}

#[test]
fn what_cannot_be_read_right_is_told_right() {
    let worker = lasting();
    let fourmi = Setup::beside(worker.address()).outbound("{}").start();
    // TLS asked of a proxy in plain text would leave it unencrypted.
    let port = worker.port();
    for target in [format!("https://127.0.0.1:{port}/x"), "https://localhost/".into()] {
        let answer =
            fourmi.outbound().send(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")).answer();
        assert_eq!(answer.status(), 400, "{target}: {answer:?}");
    }
    assert_eq!(worker.requests().len(), 0);
    // Connection is a list, however many lines it has.
    let two = UPGRADE.replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade");
    assert_eq!(fourmi.client().send(two).answer_head().status(), 101);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nFourmi-Command: Bad\r\nTransfer-Encoding: chunked\r\n\r\n";
    for size in ["zz\r\nhello\r\n", "-5\r\nhello\r\n", "5\r\nhello\r\nnonsense\r\n"] {
        let answer = fourmi.client().send(chunked).try_send(size).answer();
        assert_eq!(answer.status(), 400, "{size:?}: {answer:?}");
    }
    fourmi.counts("fourmi_commands_total", &[("command", "Bad"), ("outcome", "rejected")], 3.0);
    fourmi.counts("fourmi_commands_total", &[("outcome", "cancelled")], 0.0);
}

/// An HTTP/2 worker by hand: refuses so many streams first, then answers 200 without a body.
fn refusing(refusals: usize) -> (u16, Arc<AtomicUsize>) {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let serve = move |mut stream: TcpStream, counter: Arc<AtomicUsize>| -> std::io::Result<()> {
        stream.read_exact(&mut [0; 24])?;
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])?;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head)?;
            stream.read_exact(&mut vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize])?;
            let id = &head[5..];
            match (head[3], head[4] & 1) {
                (4, 0) => stream.write_all(&[0, 0, 0, 4, 1, 0, 0, 0, 0])?,
                (1, _) if counter.fetch_add(1, Ordering::AcqRel) < refusals => {
                    // RST_STREAM with REFUSED_STREAM.
                    stream.write_all(&[&[0, 0, 4, 3, 0], id, &7u32.to_be_bytes()].concat())?;
                }
                // HEADERS with END_STREAM and END_HEADERS: `:status: 200` stands in the static table.
                (1, _) => stream.write_all(&[&[0, 0, 1, 1, 5], id, &[0x88]].concat())?,
                _ => {}
            }
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let counter = counter.clone();
            std::thread::spawn(move || serve(stream, counter));
        }
    });
    (port, asked)
}

#[test]
fn a_refused_stream_is_sent_again() {
    let (port, asked) = refusing(1);
    let fourmi = Setup::beside(&format!("h2c://127.0.0.1:{port}")).start();
    assert_eq!(fourmi.get("/").status(), 200);
    assert_eq!(asked.load(Ordering::Acquire), 2);
    fourmi.counts("fourmi_commands_total", &[("outcome", "success")], 1.0);
    fourmi.counts("fourmi_commands_total", &[], 1.0);
    assert_eq!(fourmi.metrics().sum("fourmi_retries_total", &[]), 1.0);
}

#[test]
fn a_listener_can_leave_and_come_back_at_once() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("threads: 2").start();
    let extra = free_port();
    let one = format!("inbound: [{{listen: \"http://127.0.0.1:{}\"}}]", fourmi.port());
    let both = one.replace("}]", &format!("}}, {{listen: \"http://127.0.0.1:{extra}\"}}]"));
    let without = fourmi.yaml();
    let with = without.replace(&one, &both);
    assert_ne!(with, without);
    let load = Load::on(fourmi.port(), 2, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for round in 0..20 {
        for (yaml, open) in [(&with, true), (&without, false)] {
            fourmi.rewrite(yaml);
            let answer = fourmi.admin("POST", "/api/v1/reload");
            assert_eq!(answer.status(), 200, "round {round}, open {open}: {}", answer.text());
            if open {
                assert_eq!(Client::connect(extra).get("/").status(), 200, "round {round}");
            } else {
                assert!(TcpStream::connect(("127.0.0.1", extra)).is_err(), "round {round}: still open");
            }
        }
    }
    let tally = load.stop();
    assert_eq!((tally.with(200), tally.lost), (tally.sent(), 0), "{tally:?}");
    assert!(tally.sent() > 0);
    fourmi.counts("fourmi_reloads_total", &[("result", "ok")], 40.0);
}

#[test]
fn one_address_may_be_the_worker_and_a_service() {
    let worker = Worker::echo();
    let address = worker.address();
    let fourmi = Setup::beside(address)
        .worker(format!("{{address: \"{address}\", ready: {{http: /healthz, interval: 100ms}}}}"))
        .outbound(format!("{{stock: {{address: \"{address}\"}}}}"))
        .start();
    for round in 0..5 {
        assert_eq!(fourmi.get("/in").status(), 200, "round {round}");
        let answer = fourmi.outbound().send("GET /out HTTP/1.1\r\nHost: stock\r\n\r\n").answer();
        assert_eq!(answer.status(), 200, "round {round}");
        let asked = || worker.requests().iter().filter(|r| r.target() == "/healthz").count();
        let before = asked();
        until("it is asked again", || asked() > before);
    }
}

#[test]
fn a_worker_that_will_not_stop_is_killed() {
    let setup = Setup::beside(&format!("http://127.0.0.1:{}", free_port())).more("timeouts: {drain: 1s}");
    let marker = setup.folder().join("up");
    let script = format!("trap '' TERM; touch {}; exec sleep 60", marker.display());
    let mut fourmi = setup.running(&["sh", "-c", &script]).spawn();
    until("the worker is deaf", || marker.exists());
    let told = Instant::now();
    fourmi.signal(Signal::SIGTERM);
    assert_eq!(fourmi.ends(), 137, "{}", fourmi.stderr());
    let took = told.elapsed();
    assert!((800..4000).contains(&(took.as_millis() as u64)), "{took:?}");
}
