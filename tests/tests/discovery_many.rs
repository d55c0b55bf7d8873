//! Ten thousand programs that wait for one service, as a fleet of Consul's clients does.

use fourmi_tests::wire::Client;
use fourmi_tests::{Fourmi, Setup, free_port, until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const READERS: usize = 10_000;
const PART: usize = 500;
/// What one of them may take; 20 KiB were measured.
const EACH_MAX: u64 = 64 * 1024;

fn put(port: u16, body: &str) {
    let length = body.len();
    let path = "/v1/agent/service/register";
    let request = format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    assert_eq!(Client::connect(port).send(request).answer().status(), 200, "{body}");
}

/// How many have an answer.
fn answered(readers: &[TcpStream]) -> usize {
    let has = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let seen = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        !seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    readers.iter().filter(|stream| has(stream)).count()
}

/// In parts that wait for each other: whom the kernel cannot keep at the door comes again after a second at the earliest.
fn open(fourmi: &Fourmi, port: u16, index: &str) -> Vec<TcpStream> {
    let request = format!(
        "GET /v1/health/service/web?index={index}&wait=10m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    let one = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let mut all = Vec::with_capacity(READERS);
    while all.len() < READERS {
        all.extend((0..PART).map(one));
        until("they are taken", || fourmi.metrics().sum("process_open_fds", &[]) > all.len() as f64);
    }
    all
}

/// What it has used of a core meanwhile, in milliseconds.
fn cost(fourmi: &Fourmi, what: &str, done: impl FnOnce()) {
    let before = fourmi.cpu();
    done();
    println!("{what}: {} ms of a core", (fourmi.cpu() - before).as_millis());
}

#[test]
fn ten_thousand_wait_and_only_their_own_change_wakes_them() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let port = free_port();
    let section =
        format!("discovery: {{node: n1, address: 127.0.0.1, store: memory, http: {{listen: \"127.0.0.1:{port}\"}}}}");
    let fourmi = Setup::alone().more(&section).start();
    put(port, r#"{"Name": "web", "ID": "first"}"#);
    let get = "GET /v1/health/service/web HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let index = Client::connect(port).send(get).answer().header("x-consul-index").unwrap().to_owned();
    let before = fourmi.memory();
    let readers = open(&fourmi, port, &index);
    let each = fourmi.memory().saturating_sub(before) / READERS as u64;
    println!("{READERS} readers: {each} bytes each");
    assert!(each < EACH_MAX, "{each} bytes each");
    cost(&fourmi, "100 changes of another service", || {
        (0..100).for_each(|n| put(port, &format!("{{\"Name\": \"stock\", \"Port\": {n}}}")));
    });
    assert_eq!(answered(&readers), 0, "nobody was woken by another service");
    cost(&fourmi, "their own change", || {
        put(port, r#"{"Name": "web", "ID": "second"}"#);
        for mut reader in readers {
            reader.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert!(text.contains("\"ID\":\"second\""), "{text}");
        }
    });
}
