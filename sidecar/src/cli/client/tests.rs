use super::*;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Answers as many connections as there are answers, and returns the request lines it got.
fn server(answers: &'static [&'static str]) -> (Target, Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = target(&format!("http://{}/", listener.local_addr().unwrap()));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let thread = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            seen.lock().unwrap().push(request.lines().next().unwrap().to_owned());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (target, asked, thread)
}

fn target(admin: &str) -> Target {
    Target { admin: Some(admin.to_owned()), load: crate::config::LoadOptions::default(), json: false }
}

const OK: &str = "HTTP/1.1 200 OK\r\n\r\nready\n";
const NO: &str = "HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready\n[-] worker: refused\n";

#[test]
fn health_waits_until_ready() {
    let (target, asked, thread) = server(&[NO, NO, OK]);
    assert_eq!(health(&target, Some(Duration::from_secs(10)), false), DONE);
    thread.join().unwrap();
    assert_eq!(*asked.lock().unwrap(), vec!["GET /readyz HTTP/1.1"; 3]);

    let (target, asked, thread) = server(&[NO]);
    assert_eq!(health(&target, None, true), FAILED);
    thread.join().unwrap();
    assert_eq!(*asked.lock().unwrap(), ["GET /livez HTTP/1.1"]);
}

#[test]
fn nobody_and_nonsense_are_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(health(&target(&free.to_string()), Some(Duration::from_millis(250)), false), UNREACHABLE);
    let (target, _, thread) = server(&["SSH-2.0-x\r\n"]);
    assert_eq!(stop(&target), UNREACHABLE);
    thread.join().unwrap();
    assert_eq!(reload(&super::tests::target("https://localhost")), USAGE);
}

#[test]
fn changes_are_posted_and_refusals_shown() {
    let (target, asked, thread) = server(&["HTTP/1.1 422 x\r\n\r\nfourmi.yaml:1:1: error\n"]);
    assert_eq!(reload(&target), FAILED);
    thread.join().unwrap();
    assert_eq!(*asked.lock().unwrap(), ["POST /api/v1/reload HTTP/1.1"]);
}

#[test]
fn drain_waits_for_the_last_command() {
    const BUSY: &str = "HTTP/1.1 200 OK\r\n\r\n{\"in_flight\": 2}";
    const QUIET: &str = "HTTP/1.1 200 OK\r\n\r\n{\"in_flight\": 0}";
    let (target, asked, thread) = server(&[OK, QUIET, BUSY, QUIET, QUIET, QUIET]);
    assert_eq!(drain(&target, Some(Duration::ZERO), Duration::from_secs(10)), DONE);
    thread.join().unwrap();
    assert_eq!(asked.lock().unwrap().len(), 6, "one quiet moment between two commands is not the end");

    let (target, _, thread) = server(&[OK, BUSY]);
    assert_eq!(drain(&target, Some(Duration::ZERO), Duration::ZERO), LATER);
    thread.join().unwrap();
}

#[test]
fn addresses_of_every_form() {
    let parsed = |text: &str| parse(text).map(|place| place.authority).ok();
    assert_eq!(parsed("http://10.0.0.1:99/").as_deref(), Some("10.0.0.1:99"));
    assert_eq!(parsed("localhost").as_deref(), Some("localhost:9901"));
    assert_eq!(parsed("HTTP://[::1]:99").as_deref(), Some("[::1]:99"));
    for wrong in ["https://a", "http://a/b", "http://u@a", "", "a:99999", "a b"] {
        assert_eq!(parsed(wrong), None, "{wrong}");
    }
    assert_eq!(reachable("0.0.0.0:1".parse().unwrap()).to_string(), "127.0.0.1:1");
    assert_eq!(reachable("[::]:1".parse().unwrap()).to_string(), "[::1]:1");
}
