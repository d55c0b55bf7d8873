//! What was found when the HTTP codecs were attacked: commands that lose bytes, and connections that nothing ends.

use fourmi_tests::h2::{H2Worker, Pieces, RawH2};
use fourmi_tests::net::Stream;
use fourmi_tests::wire::{Kind, Wire};
use fourmi_tests::{Fourmi, GelfServer, Setup, Worker, until};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// More callers than events that one look at the kernel brings.
const CROWD: usize = 1200;

/// The next connection that brings a request, and the request. Those that only ask whether we are there are closed.
fn next_request(listener: &TcpListener) -> (TcpStream, fourmi_tests::Message) {
    loop {
        let (stream, _) = listener.accept().unwrap();
        let mut wire = Wire::new(Stream::Tcp(stream.try_clone().unwrap()));
        // A body that does not come is what this is about, and no reason to wait for long.
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let Ok(mut message) = wire.head() else { continue };
        if wire.body_into(&mut message, Kind::Request).is_err() {
            message.body = b"(less than was announced)".to_vec();
        }
        return (stream, message);
    }
}

fn stopped(fourmi: &Fourmi) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", fourmi.pid())).unwrap();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

/// A kept connection that the instance resets just before a command is written to it: none of it has left, so it is
/// sent again, and all of it must be. The crowd's bytes come between the command and the reset, so that one look at the
/// kernel brings the command alone.
fn what_is_sent_again(request: &[u8]) -> Vec<u8> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(soft.max(8 << 10)), hard).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let fourmi = Setup::beside(&address).more("timeouts: {head: 120s, upstream_idle: 120s, answer: 120s}").start();
    let mut caller = fourmi.client();
    let mut crowd: Vec<_> = (0..CROWD).map(|_| fourmi.client()).collect();
    fourmi.counts("fourmi_connections", &[("side", "client")], (CROWD + 1) as f64);
    caller.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut kept, _) = next_request(&listener);
    kept.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    assert_eq!(caller.answer().text(), "ok");
    fourmi.counts("fourmi_commands_in_flight", &[], 0.0);

    fourmi.signal(Signal::SIGSTOP);
    until("fourmi stands still", || stopped(&fourmi));
    caller.send(request);
    for other in &mut crowd {
        other.send("G");
    }
    setsockopt(&kept, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    drop(kept);
    fourmi.signal(Signal::SIGCONT);

    let (_again, message) = next_request(&listener);
    message.body
}

#[test]
fn a_chunked_command_that_is_sent_again_is_sent_whole() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = what_is_sent_again(format!("{head}5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n").as_bytes());
    assert_eq!(String::from_utf8_lossy(&body), "helloworld");
}

#[test]
fn a_command_of_known_length_that_is_sent_again_is_sent_whole() {
    // The first read of the command ends within its body; its padding does not travel on, so that the two pieces of
    // the body are ready before a byte of the head has left.
    let pad = "p".repeat(3800);
    let head =
        format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: x-pad\r\nX-Pad: {pad}\r\nContent-Length: 2000\r\n\r\n");
    assert!((3800..4090).contains(&head.len()));
    let body = "b".repeat(2000);
    assert_eq!(String::from_utf8_lossy(&what_is_sent_again(format!("{head}{body}").as_bytes())), body);
}

/// A worker whose every answer is this long.
fn long(bytes: usize) -> Worker {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + bytes, b'x');
    Worker::answering(answer)
}

const GET: [(&str, &str); 5] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("fourmi-command", "Read")];

#[test]
fn a_caller_that_stops_reading_is_held_no_longer_than_timeouts_whole() {
    let worker = long(48 << 20);
    let server = GelfServer::start();
    let fourmi = Setup::beside(worker.address()).gelf(&server).more("timeouts: {whole: 1s}").start();
    let mut one = fourmi.client();
    one.send("GET / HTTP/1.1\r\nHost: a\r\nFourmi-Command: Read\r\n\r\n");
    // Its stream's window is 64 KiB, and never opened again.
    let mut two = RawH2::connect(fourmi.port());
    two.headers(1, &GET, true);
    let begun = || fourmi.metrics().sum("fourmi_connections", &[("side", "client")]) >= 2.0;
    until("both have come", begun);
    for record in server.wait_for(2) {
        assert_eq!(record["_outcome"], "timeout", "{record}");
    }
    fourmi.counts("fourmi_commands_in_flight", &[], 0.0);
    fourmi.counts("fourmi_connections", &[("side", "upstream")], 0.0);
}

#[test]
fn an_idle_caller_of_http2_is_let_go_whatever_it_answers() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).more("timeouts: {idle: 500ms, head: 500ms}").start();
    // One that does nothing, one that is in the middle of a header block, one that has been served.
    let _silent = RawH2::connect(fourmi.port());
    let mut halfway = RawH2::connect(fourmi.port());
    halfway.frame(1, 1, 1, b"\x82");
    let mut served = RawH2::connect(fourmi.port());
    served.headers(1, &GET, true);
    assert_eq!(served.verdict(1).map(|frame| frame.kind), Some(1));
    // None of them answers the ping that goes before the end.
    fourmi.counts("fourmi_connections", &[("side", "client")], 0.0);
}

#[test]
fn an_answer_is_whole_although_more_came_behind_its_request() {
    const BYTES: usize = 3 << 20;
    let worker = long(BYTES);
    let fourmi = Setup::beside(worker.address()).start();
    // An old caller's line end behind its request, and an impatient caller's next request.
    for behind in ["\r\n", "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut caller = fourmi.client();
        caller.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let head = caller.answer_head();
        caller.send(behind);
        // Everything has left Fourmi's hands, and is still on its way.
        fourmi.counts("fourmi_commands_in_flight", &[], 0.0);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(head.header("content-length"), Some(&*BYTES.to_string()));
        assert_eq!(caller.wire.rest().len(), BYTES, "{behind:?}");
    }
}

#[test]
fn a_body_goes_on_while_nobody_reads_the_answer() {
    const UP: usize = 24 << 20;
    // Answers at once, more than all buffers hold, and reads meanwhile.
    let worker = Worker::scripted(|mut conn| {
        let Some(head) = conn.head() else { return };
        let Some(length) = head.header("content-length").and_then(|v| v.parse::<usize>().ok()) else { return };
        let mut twin = conn.wire.stream.twin();
        let answering = std::thread::spawn(move || {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 48 << 20);
            let _ = twin.write_all(head.as_bytes()).and_then(|()| twin.write_all(&vec![b'x'; 48 << 20]));
        });
        let _ = conn.wire.exactly(length);
        let _ = answering.join();
    });
    let fourmi = Setup::beside(worker.address()).start();
    let mut caller = fourmi.client();
    caller.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {UP}\r\n\r\n"));
    let Stream::Tcp(stream) = &mut caller.wire.stream else { unreachable!("it was connected to a port") };
    // The answer has begun before the body does.
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    stream.set_write_timeout(Some(fourmi_tests::patience::patience())).unwrap();
    stream.write_all(&vec![b'y'; UP]).expect("the worker reads the body, so it must go on");
}

#[test]
fn what_follows_a_refused_connect_is_its_body_and_no_command() {
    let worker = Worker::echo();
    let services = format!("{{stock: {{address: \"{}\"}}}}", worker.address());
    let fourmi = Setup::beside(worker.address()).outbound(services).start();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: stock\r\n\r\n";
    let nobody = fourmi_tests::free_port();
    let mut caller = fourmi.outbound();
    let head = format!("CONNECT 127.0.0.1:{nobody} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", hidden.len());
    caller.send(head + hidden);
    assert!(caller.answer().status() >= 400);
    caller.try_send("GET /after HTTP/1.1\r\nHost: stock\r\nConnection: close\r\n\r\n");
    caller.rest();
    let seen: Vec<String> = worker.requests().iter().map(|r| r.target().to_owned()).collect();
    assert!(!seen.contains(&"/hidden".to_owned()), "{seen:?}");
}

#[test]
fn an_answer_without_a_body_is_no_cancelled_one_when_its_stream_ends_later() {
    let worker = H2Worker::replying(|_| {
        let mut answer = http::Response::new(Pieces::of("").with_trailers(&[("x-after", "all")]));
        *answer.status_mut() = http::StatusCode::NO_CONTENT;
        answer
    });
    let server = GelfServer::start();
    let fourmi = Setup::beside(&worker.address()).gelf(&server).start();
    let answer = fourmi.get_with("/", "Fourmi-Command: Done\r\n");
    assert_eq!(answer.status(), 204);
    let record = server.record("_command", "Done");
    assert_eq!(record["_outcome"], "success", "{record}");
}
