//! GOAWAY: to callers in two steps, so that no stream is lost on its way, and from instances.

use super::{ask, one};
use fourmi_tests::h2::{self, H2Client, H2Worker, Pieces, RawFrame, RawH2};
use fourmi_tests::{Setup, Worker, eventually, until};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// The last stream that a GOAWAY names, and its error.
fn goodbye(frame: &RawFrame) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
    (number(0) & 0x7fff_ffff, number(4))
}

fn request(raw: &mut RawH2, stream: u32, path: &str) {
    let lines = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "test")];
    raw.headers(stream, &lines, true);
}

/// The next frame of a kind; settings are acknowledged, pings are not.
#[track_caller]
fn next(raw: &mut RawH2, kind: u8) -> RawFrame {
    loop {
        let frame = raw.read().unwrap_or_else(|| panic!("the connection ended before a frame of kind {kind}"));
        if frame.kind == SETTINGS && frame.flags & 1 == 0 {
            raw.frame(SETTINGS, 1, 0, &[]);
        }
        if frame.kind == kind {
            return frame;
        }
    }
}

#[test]
fn a_caller_is_told_twice_and_loses_no_stream() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let worker = {
        let gate = gate.clone();
        Worker::replying(move |_| {
            let (open, opened) = &*gate;
            drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
        })
    };
    let fourmi = Setup::beside(worker.address()).more("timeouts: {caller_age: 300ms}").start();
    let mut raw = RawH2::connect(fourmi.port());
    request(&mut raw, 1, "/before");
    let first = next(&mut raw, GOAWAY);
    assert_eq!(goodbye(&first), (0x7fff_ffff, 0), "first: no stream more, please, and none is refused");
    let ping = next(&mut raw, PING);
    // It was on its way when that was said.
    request(&mut raw, 3, "/between");
    eventually("both are at the worker", || (worker.requests().len() == 2).then_some(()));
    raw.frame(PING, 1, 0, &ping.payload);
    let second = next(&mut raw, GOAWAY);
    assert_eq!(goodbye(&second), (3, 0), "then the last one that is served");
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let (mut answered, mut ended) = (Vec::new(), Vec::new());
    // To the end of the connection, which comes by itself.
    while let Some(frame) = raw.read() {
        assert!(frame.kind != 3, "no stream is reset: {frame:?}");
        if frame.kind == 1 {
            assert_eq!(frame.payload[0], 0x88, "200, as HPACK has it");
            answered.push(frame.stream);
        }
        if frame.kind < 2 && frame.flags & 1 == 1 {
            ended.push(frame.stream);
        }
    }
    answered.sort_unstable();
    ended.sort_unstable();
    assert_eq!((answered, ended), (vec![1, 3], vec![1, 3]));

    // A client of others that knows no more than that: it goes on on another connection, and nothing is lost.
    let reconnects = AtomicUsize::new(0);
    h2::run(async {
        let caller = || async {
            let (mut client, mut ends) = (H2Client::connect(fourmi.port()).await, 0);
            while ends < 2 {
                match client.send("GET", "/", &[], Pieces::default()).await {
                    Ok(answer) => assert_eq!(answer.status, 200),
                    // It was not sent: the connection had ended.
                    Err(e) if e.is_canceled() || e.is_closed() => {
                        ends += 1;
                        client = H2Client::connect(fourmi.port()).await;
                    }
                    Err(e) => panic!("a stream was lost: {e:?}"),
                }
            }
            reconnects.fetch_add(ends, Ordering::AcqRel);
        };
        tokio::join!(caller(), caller(), caller(), caller());
    });
    assert_eq!(reconnects.into_inner(), 8);
}

/// An instance whose first connection is no good, and every other is; it counts the streams that it saw.
fn instance(first: Option<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("h2c://{}", listener.local_addr().unwrap());
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    std::thread::spawn(move || {
        for nth in 0.. {
            let (Ok((stream, _)), counted) = (listener.accept(), counted.clone()) else { return };
            // Before the first connection there is one that only asks whether somebody is there.
            std::thread::spawn(move || serve(stream, nth == 1, first, &counted));
        }
    });
    (address, seen)
}

fn serve(mut stream: TcpStream, bad: bool, instead: Option<u8>, seen: &AtomicUsize) -> Option<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).ok()?;
    write(&mut stream, SETTINGS, 0, 0, &[])?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).ok()?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            SETTINGS if head[4] & 1 == 0 => write(&mut stream, SETTINGS, 1, 0, &[])?,
            1 => {
                seen.fetch_add(1, Ordering::AcqRel);
                match (bad, instead) {
                    (false, _) => write(&mut stream, 1, 5, id, &[0x88])?,
                    // The last stream that was taken is none.
                    (true, Some(kind)) => write(&mut stream, kind, 0, 0, &[0; 8])?,
                    (true, None) => {}
                }
            }
            _ => {}
        }
    }
}

fn write(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Option<()> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(id.to_be_bytes());
    bytes.extend_from_slice(payload);
    stream.write_all(&bytes).ok()
}

#[test]
fn a_stream_that_an_instance_did_not_take_has_not_run() {
    let (address, seen) = instance(Some(GOAWAY));
    let fourmi = Setup::beside(&address).start();
    // A POST that may have run is not sent again; this one cannot have.
    let answer = fourmi.post("/buy", "", "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(seen.load(Ordering::Acquire), 2);
    assert_eq!(fourmi.metrics().sum("fourmi_retries_total", &[("reason", "stale")]), 1.0);
}

#[test]
fn a_dead_connection_is_not_what_proves_an_instance() {
    // Somebody between forgot the first connection: nothing comes back on it, and it never ends.
    let ((address, _), other) = (instance(None), H2Worker::replying(|_| http::Response::new(Pieces::default())));
    let keys = "retries: {per_try: 200ms, budget: {least: 100}}, healthchecks: {passive: {ejection: {base: 500ms}}}";
    let service =
        format!("{{stock: {{algorithm: round-robin, address: [\"{address}\", \"{}\"], {keys}}}}}", other.address());
    let fourmi = Setup::alone().outbound(service).start();
    let becomes = |state: &str| {
        until(state, || {
            assert_eq!(ask(&fourmi, "stock").0, 200);
            one(&fourmi, "stock", &address)["state"] == state
        });
    };
    becomes("ejected");
    becomes("healthy");
    assert_eq!(one(&fourmi, "stock", &address)["ejections"], 1, "the first command after it was over a new connection");
}

/// An instance that lets so many bytes of its first stream come, and then says that it did nothing with it; every other
/// stream is taken whole. Gives back what came on each stream.
fn picky(after: usize, goodbye: bool) -> (String, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("h2c://{}", listener.local_addr().unwrap());
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let kept = bodies.clone();
    let take = move |mut stream: TcpStream, kept: &Mutex<Vec<Vec<u8>>>| -> Option<()> {
        stream.read_exact(&mut [0; 24]).ok()?;
        // Nobody shall wait for room: a MiB for a stream, 16 for the connection.
        write(&mut stream, SETTINGS, 0, 0, &[0, 4, 0, 16, 0, 0])?;
        write(&mut stream, 8, 0, 0, &(16_u32 << 20).to_be_bytes())?;
        let mut place = 0;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).ok()?;
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut all = kept.lock().unwrap();
            match head[3] {
                SETTINGS if head[4] & 1 == 0 => write(&mut stream, SETTINGS, 1, 0, &[])?,
                1 => {
                    place = all.len();
                    all.push(Vec::new());
                }
                0 => {
                    all[place].extend_from_slice(&payload);
                    if place == 0 && all[0].len() >= after {
                        match goodbye {
                            true => write(&mut stream, GOAWAY, 0, 0, &[0; 8])?,
                            false => write(&mut stream, 3, 0, id, &7_u32.to_be_bytes())?,
                        }
                    }
                }
                _ => {}
            }
            if matches!(head[3], 0 | 1) && head[4] & 1 == 1 && place > 0 {
                write(&mut stream, 1, 5, id, &[0x88])?;
            }
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (take, kept) = (take, kept.clone());
            std::thread::spawn(move || take(stream, &kept));
        }
    });
    (address, bodies)
}

#[test]
fn a_body_that_an_instance_did_not_take_is_given_to_it_again() {
    let body: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
    for goodbye in [false, true] {
        // Of a known length, of an unknown one, and one that is still coming when it is refused.
        let (address, bodies) = picky(1, goodbye);
        let fourmi = Setup::beside(&address).start();
        assert_eq!(fourmi.post("/buy", "", &body).status(), 200, "{goodbye}");
        assert!(bodies.lock().unwrap().len() == 2 && bodies.lock().unwrap()[1] == body);

        let (address, bodies) = picky(5, goodbye);
        let fourmi = Setup::beside(&address).start();
        let mut caller = fourmi.client();
        caller.send("POST /buy HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        until("the first stream is refused, and a second one begun", || bodies.lock().unwrap().len() == 2);
        caller.send("6\r\n world\r\n0\r\n\r\n");
        assert_eq!(caller.answer().status(), 200, "{goodbye}");
        assert_eq!(bodies.lock().unwrap()[1], b"hello world");
        assert_eq!(fourmi.metrics().sum("fourmi_retries_total", &[("reason", "stale")]), 1.0);
    }
    // More than is kept: it is told, and never half of it sent again.
    let (address, bodies) = picky(100_000, false);
    let fourmi = Setup::beside(&address).start();
    assert_eq!(fourmi.post("/buy", "", vec![7; 200_000]).status(), 502);
    assert_eq!(bodies.lock().unwrap().len(), 1);
}
