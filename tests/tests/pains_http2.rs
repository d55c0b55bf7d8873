//! Field pains E: HTTP/2 and gRPC. Each name begins with the row it proves.

use fourmi_tests::h2::{self, H2Client, H2Worker, Pieces, RawH2};
use fourmi_tests::patience::patience;
use fourmi_tests::wire::Kind;
use fourmi_tests::{Fourmi, Setup, Worker, until};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Takes every request's body, and gives back the connection's window only when all of it is used up, as some do.
/// Streams of their own have all the window they want.
struct Stingy {
    port: u16,
    /// Bytes of bodies that came.
    received: Arc<AtomicUsize>,
}

impl Stingy {
    fn allowing(streams: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, received) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let count = received.clone();
        // It ends with the test's process; a connection ends with its other side.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = count.clone();
                std::thread::spawn(move || Self::serve(stream, streams, &count));
            }
        });
        Stingy { port, received }
    }

    fn address(&self) -> String {
        format!("h2c://127.0.0.1:{}", self.port)
    }

    fn serve(mut stream: TcpStream, streams: u32, received: &AtomicUsize) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).ok()?;
        let mut settings = [0, 3].to_vec();
        settings.extend(streams.to_be_bytes());
        settings.extend([0, 4]);
        settings.extend((1u32 << 20).to_be_bytes());
        Self::write(&mut stream, 4, 0, 0, &settings)?;
        let mut left = 65_535;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).ok()?;
            let (kind, flags, id) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            match (kind, flags & 1) {
                (4, 0) => Self::write(&mut stream, 4, 1, 0, &[])?,
                (6, 0) => Self::write(&mut stream, 6, 1, 0, &payload)?,
                _ => {}
            }
            if kind == 0 {
                received.fetch_add(length, Ordering::AcqRel);
                left -= length;
                if left == 0 {
                    left = 65_535;
                    Self::write(&mut stream, 8, 0, 0, &65_535u32.to_be_bytes())?;
                }
            }
            if kind < 2 && flags & 1 == 1 {
                Self::write(&mut stream, 1, 5, id, &[0x88])?;
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
}

#[test]
fn e1_no_byte_of_window_is_held_back_by_a_stream_that_waits() {
    let worker = Stingy::allowing(100);
    let fourmi = Setup::beside(&worker.address()).start();
    let mut first = fourmi.client();
    first.send("POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffe\r\n");
    first.send(vec![b'x'; 65_534]).send("\r\n");
    until("the first body but its end has arrived", || worker.received.load(Ordering::Acquire) == 65_534);
    // The second waits for one byte of window that the first does not need; the first waits for the second.
    assert_eq!(fourmi.post("/second", "", "y".repeat(5000)).status(), 200);
    assert_eq!(first.send("1\r\nx\r\n0\r\n\r\n").answer().status(), 200);
}

#[test]
fn e2_ten_thousand_at_once_are_all_served() {
    const CALLERS: usize = 20;
    const EACH: usize = 500;
    let worker = Stingy::allowing(100);
    let fourmi = Setup::beside(&worker.address()).start();
    let done = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            let client = H2Client::connect(fourmi.port()).await;
            for _ in 0..EACH {
                let (mut client, done) = (client.clone(), done.clone());
                calls.spawn(async move {
                    let body = Pieces::of(vec![b'x'; 10 << 10]);
                    let answer = client.send("POST", "/", &[], body).await;
                    assert_eq!(answer.map(|a| a.status).ok(), Some(200));
                    done.fetch_add(1, Ordering::AcqRel);
                });
            }
        }
        // As long as it goes on, it may take its time.
        while let Some(call) = tokio::time::timeout(patience(), calls.join_next())
            .await
            .unwrap_or_else(|_| panic!("stuck after {} of {}", done.load(Ordering::Acquire), CALLERS * EACH))
        {
            call.unwrap();
        }
    });
    assert_eq!(worker.received.load(Ordering::Acquire), CALLERS * EACH * (10 << 10));
}

/// The windows that an HTTP/2 server gave this caller, kept by hand.
struct Windows {
    raw: RawH2,
    connection: i64,
    stream: i64,
    initial: i64,
}

impl Windows {
    fn on(fourmi: &Fourmi) -> Self {
        Windows { raw: RawH2::connect(fourmi.port()), connection: 65_535, stream: 0, initial: 65_535 }
    }
    fn post(&mut self, id: u32, path: &str) {
        self.raw.headers(id, &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)], false);
        self.stream = self.initial;
    }
    /// Takes in frames until so much may be sent on this stream.
    fn room(&mut self, id: u32, bytes: i64) {
        while self.connection < bytes || self.stream < bytes {
            let frame = self.raw.read().expect("the connection ended, or its window never came back");
            let number = |at: usize| i64::from(u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap()));
            match (frame.kind, frame.stream) {
                (4, _) if frame.flags & 1 == 0 => {
                    for at in (0..frame.payload.len()).step_by(6) {
                        if frame.payload[at + 1] == 4 {
                            self.stream += number(at + 2) - self.initial;
                            self.initial = number(at + 2);
                        }
                    }
                    self.raw.frame(4, 1, 0, &[]);
                }
                (6, _) if frame.flags & 1 == 0 => self.raw.frame(6, 1, 0, &frame.payload),
                (8, 0) => self.connection += number(0),
                (8, stream) if stream == id => self.stream += number(0),
                (7, _) => panic!("GOAWAY: {frame:?}"),
                (3, stream) if stream == id => panic!("reset: {frame:?}"),
                _ => {}
            }
        }
        self.connection -= bytes;
        self.stream -= bytes;
    }
}

#[test]
fn e3_windows_come_back_after_uploads_that_were_reset() {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    let worker = Worker::scripted(move |mut conn| {
        while let Some(mut head) = conn.head() {
            if head.target() == "/half" {
                count.fetch_add(1, Ordering::AcqRel);
                conn.until_closed();
                return;
            }
            if conn.wire.body_into(&mut head, Kind::Request).is_ok() {
                conn.ok(head.body.len().to_string());
            }
        }
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut caller = Windows::on(&fourmi);
    let half = vec![b'x'; 8 << 10];
    for batch in 0..25 {
        let ids: Vec<u32> = (batch * 40..(batch + 1) * 40).map(|n| 2 * n + 1).collect();
        for id in &ids {
            caller.post(*id, "/half");
            caller.room(*id, half.len() as i64);
            caller.raw.frame(0, 0, *id, &half);
        }
        let all = (batch as usize + 1) * 40;
        until("the uploads have begun", || begun.load(Ordering::Acquire) == all);
        for id in ids {
            caller.raw.frame(3, 0, id, &8u32.to_be_bytes());
        }
    }
    let (id, pieces) = (2001, 64u8);
    caller.post(id, "/whole");
    for n in 1..=pieces {
        caller.room(id, 16 << 10);
        caller.raw.frame(0, u8::from(n == pieces), id, &[b'y'; 16 << 10]);
    }
    let verdict = caller.raw.verdict(id).expect("an answer");
    assert_eq!((verdict.kind, verdict.payload.first()), (1, Some(&0x88)), "{verdict:?}");
    assert_eq!(worker.requests().len(), 1001);
}

#[test]
fn e4_one_stream_too_many_is_refused_alone() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    let mut raw = RawH2::connect(fourmi.port());
    let settings = raw.read().unwrap();
    assert_eq!((settings.kind, settings.flags), (4, 0));
    let mut limits = settings.payload.chunks_exact(6).filter(|s| s[..2] == [0, 3]);
    let limit = u32::from_be_bytes(limits.next().expect("a limit is told")[2..].try_into().unwrap());
    raw.frame(4, 1, 0, &[]);
    let get = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/slow/1500")];
    let extra = 2 * limit + 1;
    for id in (1..=extra).step_by(2) {
        raw.headers(id, &get, true);
    }
    let (mut answered, mut refused) = (0, Vec::new());
    while answered < limit || refused.is_empty() {
        let frame = raw.read().expect("the connection goes on");
        match (frame.kind, frame.flags & 1) {
            (1, _) => answered += 1,
            (3, _) => refused.push((frame.stream, frame.payload.last().copied())),
            (4, 0) => raw.frame(4, 1, 0, &[]),
            (7, _) => panic!("GOAWAY: {frame:?}"),
            (0, _) => {
                let size = (frame.payload.len() as u32).to_be_bytes();
                if !frame.payload.is_empty() {
                    raw.frame(8, 0, 0, &size);
                }
            }
            _ => {}
        }
    }
    assert_eq!(refused, [(extra, Some(7))], "REFUSED_STREAM, which says that nothing was done");
}

fn hello_h2(streams: u32) -> H2Worker {
    H2Worker::with_streams(streams, |request| http::Response::new(Pieces::of(request.path.clone())))
}

#[test]
fn e4_more_at_once_than_the_peer_allows() {
    let worker = hello_h2(5);
    let fourmi = Setup::beside(&worker.address()).start();
    h2::run(async {
        let client = H2Client::connect(fourmi.port()).await;
        let calls: Vec<_> = (0..60)
            .map(|n| {
                let mut client = client.clone();
                tokio::spawn(async move {
                    let path = format!("/{n}");
                    let answer = client.send("GET", &path, &[("delay-ms", "10")], Pieces::default()).await.unwrap();
                    assert_eq!((answer.status, answer.body), (200, path.into()));
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    });
}

#[test]
fn e5_going_away_gracefully_loses_no_stream() {
    let worker = Worker::echo();
    let mut fourmi = Setup::beside(worker.address()).start();
    h2::run(async {
        let client = H2Client::connect(fourmi.port()).await;
        let calls: Vec<_> = (0..25)
            .map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move { client.get("/slow/500").await.status })
            })
            .collect();
        while worker.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fourmi.signal(nix::sys::signal::SIGTERM);
        for call in calls {
            assert_eq!(call.await.unwrap(), 200);
        }
    });
    assert_eq!(fourmi.ends(), 0);
}

#[test]
fn e5_streams_that_come_while_the_goaway_goes_are_served() {
    let worker = Worker::echo();
    let mut fourmi = Setup::beside(worker.address()).start();
    let (mut served, mut turned_away) = (0, 0);
    h2::run(async {
        let client = H2Client::connect(fourmi.port()).await;
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..200 {
            let mut client = client.clone();
            calls.spawn(async move { client.send("GET", "/slow/100", &[], Pieces::default()).await });
            if n == 40 {
                fourmi.signal(nix::sys::signal::SIGTERM);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while let Some(call) = calls.join_next().await {
            match call.unwrap() {
                Ok(answer) => {
                    assert_eq!(answer.status, 200);
                    served += 1;
                }
                // Never sent: the client knew of the GOAWAY.
                Err(e) if e.is_canceled() || e.is_closed() => turned_away += 1,
                Err(e) => panic!("lost after {served}: {e:?}"),
            }
        }
    });
    assert!(served > 40 && turned_away > 0, "{served} served, {turned_away} turned away");
    assert_eq!(worker.requests().len(), served);
    assert_eq!(fourmi.ends(), 0);
}

#[test]
fn e6_after_goaway_new_calls_take_a_new_connection() {
    let worker = hello_h2(100);
    let fourmi = Setup::beside(&worker.address()).start();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        assert_eq!(client.get("/first").await.status, 200);
        let mut long = client.clone();
        let long =
            tokio::spawn(async move { long.send("GET", "/long", &[("delay-ms", "800")], Pieces::default()).await });
        while worker.requests().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        worker.go_away();
        for _ in 0..10 {
            assert_eq!(client.get("/next").await.status, 200);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(long.await.unwrap().unwrap().status, 200, "what was in flight is finished");
    });
    assert_eq!(worker.connections(), 2);
}

#[test]
fn e7_trailers_only_is_still_an_error() {
    let worker = H2Worker::replying(|request| {
        let reply = http::Response::builder().header("content-type", "application/grpc");
        match request.path.as_str() {
            "/shop.Stock/Only" => reply.header("grpc-status", "14").body(Pieces::default()).unwrap(),
            "/shop.Stock/Late" => reply.body(Pieces::of(vec![0; 5]).with_trailers(&[("grpc-status", "14")])).unwrap(),
            _ => reply.body(Pieces::of(vec![0; 5]).with_trailers(&[("grpc-status", "0")])).unwrap(),
        }
    });
    let fourmi = Setup::beside(&worker.address()).start();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        let mut call = async |path: &str| client.send("POST", path, &grpc, Pieces::of(vec![0; 5])).await.unwrap();
        let only = call("/shop.Stock/Only").await;
        assert_eq!((only.header("grpc-status"), only.ended_with_headers), (Some("14"), true));
        let late = call("/shop.Stock/Late").await;
        assert_eq!((late.header("grpc-status"), late.trailer("grpc-status")), (None, Some("14")));
        let fine = call("/shop.Stock/Fine").await;
        assert_eq!((fine.trailer("grpc-status"), fine.body.len()), (Some("0"), 5));
    });
    let grpc = ("protocol", "grpc");
    fourmi.counts("fourmi_commands_total", &[grpc, ("outcome", "server_error")], 2.0);
    fourmi.counts("fourmi_commands_total", &[grpc, ("outcome", "success")], 1.0);
}

#[test]
fn e7_our_own_errors_are_grpc_errors_to_grpc_callers() {
    let nobody = fourmi_tests::free_port();
    let fourmi = Setup::beside(&format!("h2c://127.0.0.1:{nobody}")).more("timeouts: {hold: 100ms}").spawn();
    fourmi.wait_live();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        let answer = client.send("POST", "/a.B/C", &grpc, Pieces::of(vec![0; 5])).await.unwrap();
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")));
        assert!(answer.header("grpc-message").is_some());
    });
}

#[test]
fn e8_te_trailers_reaches_the_worker_and_nothing_else_of_te() {
    let worker = hello_h2(10);
    let fourmi = Setup::beside(&worker.address()).start();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        client.send("POST", "/a.B/C", &grpc, Pieces::of(vec![0; 5])).await.unwrap();
    });
    assert_eq!(worker.requests().pop().unwrap().header("te"), Some("trailers"));
    fourmi.get_with("/", "TE: gzip, trailers;q=0.5\r\nConnection: TE\r\n");
    assert!([None, Some("trailers")].contains(&worker.requests().pop().unwrap().header("te")));
}

#[test]
fn e9_cookie_crumbs_are_one_line() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("limits: {headers: 50}").start();
    let crumbs: Vec<String> = (0..60).map(|n| format!("c{n}={n}")).collect();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let lines: Vec<(&str, &str)> = crumbs.iter().map(|c| ("cookie", c.as_str())).collect();
        assert_eq!(client.send("GET", "/", &lines, Pieces::default()).await.unwrap().status, 200);
    });
    assert_eq!(worker.last().all("cookie"), [crumbs.join("; ")]);
}

#[test]
fn http_2_and_http_1_share_a_port_and_keep_their_meaning() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    h2::run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let answer = client.send("POST", "/a?b=c", &[("x-one", "1")], Pieces::of("hello")).await.unwrap();
        let echo: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((echo["target"].as_str(), echo["body"].as_str()), (Some("/a?b=c"), Some("hello")));
        assert_eq!(client.get("/status/404").await.status, 404);
    });
    assert_eq!(worker.last().header("host"), Some(format!("127.0.0.1:{}", fourmi.port()).as_str()));
    assert_eq!(fourmi.get("/").status(), 200);
    fourmi.counts("fourmi_commands_total", &[("protocol", "http/2")], 2.0);
    fourmi.counts("fourmi_commands_total", &[("protocol", "http/1.1")], 1.0);
}
