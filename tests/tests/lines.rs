//! The worker's own log lines: they get the scope of the command that they belong to, and of no other.

use fourmi_tests::{Fourmi, GelfServer, Setup, Worker, eventually, free_port, peers, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;

/// The record of the line that has this text.
#[track_caller]
fn line(server: &GelfServer, text: &str) -> Value {
    eventually(&format!("a record with {text:?}"), || lines(server, text).pop())
}

/// Every record of a line that has this text.
fn lines(server: &GelfServer, text: &str) -> Vec<Value> {
    let says = |r: &Value| r["short_message"].as_str().is_some_and(|m| m.contains(text));
    server.records().into_iter().filter(|r| r.get("_line_source").is_some() && says(r)).collect()
}

/// Lines that the worker wrote, by what became of them.
fn counted(fourmi: &Fourmi, result: &str) -> u64 {
    fourmi.metrics().sum("fourmi_worker_lines_total", &[("result", result)]) as u64
}

/// A worker of several processes, each of which handles one command at a time. `/NAME?ms=N` says `before NAME` and,
/// after so many milliseconds, `after NAME` on standard error; `id=1` adds the command's id; `flood=N` writes so many
/// lines to standard output.
const SCRIPT: &str = r#"
import os, socket, sys, time
port, processes = int(sys.argv[1]), int(sys.argv[2])
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', port))
s.listen(256)
parent = os.getpid()
for _ in range(processes - 1):
    if os.fork() == 0:
        break
s.settimeout(0.2)
while os.getpid() == parent or os.getppid() == parent:
    try:
        c, _ = s.accept()
    except socket.timeout:
        continue
    c.settimeout(30)
    head = b''
    while b'\r\n\r\n' not in head:
        more = c.recv(65536)
        if not more:
            break
        head += more
    if not head:
        c.close()
        continue
    target = head.split(b' ')[1].decode()
    name, _, query = target[1:].partition('?')
    asked = dict(p.split('=') for p in query.split('&') if p)
    ids = [l.split(b':', 1)[1].strip().decode() for l in head.split(b'\r\n') if l.lower().startswith(b'fourmi-id:')]
    mark = ' [' + ids[0] + ']' if 'id' in asked else ''
    os.write(2, ('before ' + name + mark + '\n').encode())
    flood = int(asked.get('flood', 0))
    for n in range(0, flood, 100):
        os.write(1, b''.join(b'flood %06d of the worker that says too much\n' % (n + i) for i in range(100)))
    time.sleep(int(asked.get('ms', 0)) / 1000)
    os.write(2, ('after ' + name + mark + '\n').encode())
    c.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok')
    c.close()
"#;

fn python(processes: &str, change: impl FnOnce(Setup) -> Setup) -> Fourmi {
    let port = free_port();
    let setup = Setup::beside(&format!("http://127.0.0.1:{port}"));
    let script = setup.folder().join("worker.py");
    std::fs::write(&script, SCRIPT).unwrap();
    let python = peers::program("python3").display().to_string();
    let arguments = [python, script.display().to_string(), port.to_string(), processes.to_owned()];
    change(setup.running(&arguments.each_ref().map(String::as_str))).start()
}

fn headers(name: &str) -> String {
    format!("Fourmi-Command: Do{name}\r\nFourmi-Id: {}\r\nFourmi-Tags: of={name}\r\n", id(name))
}

fn id(name: &str) -> String {
    format!("id-0000-of-{name}-1")
}

/// The record is of the command of this name and has its tags and no other.
#[track_caller]
fn is_of(record: &Value, name: &str) {
    assert_eq!(record["_command_id"], id(name), "{record}");
    assert_eq!((&record["_command"], &record["_tag_of"]), (&json!(format!("Do{name}")), &json!(name)), "{record}");
    assert_eq!(record["_tags"], format!("of={name}"), "{record}");
    assert_eq!(record["_trace_id"].as_str().map(str::len), Some(32), "{record}");
}

#[test]
fn a_php_workers_error_log_has_the_tags_and_the_id_of_its_command() {
    let server = GelfServer::start();
    let port = free_port();
    let setup = Setup::beside(&format!("http://127.0.0.1:{port}")).gelf(&server);
    let router = setup.folder().join("router.php");
    let code = r#"<?php
function fail($name) { throw new RuntimeException("no stock for $name"); }
$name = trim(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH), '/');
error_log("stock is low for $name, password=hunter2");
trigger_error("careful with $name", E_USER_WARNING);
echo $undefined;
if ($name === 'broken') { fail($name); }
echo 'ok';
"#;
    std::fs::write(&router, code).unwrap();
    let php = peers::program("php").display().to_string();
    let (address, router) = (format!("127.0.0.1:{port}"), router.display().to_string());
    let options = ["-d", "log_errors=1", "-d", "display_errors=0", "-d", "error_log="];
    let command: Vec<&str> = [&[php.as_str()][..], &options, &["-S", &address, &router]].concat();
    let fourmi = setup.running(&command).start();
    for name in ["one", "two", "broken"] {
        let status = fourmi.get_with(&format!("/{name}"), &headers(name)).status();
        assert_eq!(status, if name == "broken" { 500 } else { 200 });
    }
    for name in ["one", "two", "broken"] {
        let record = line(&server, &format!("stock is low for {name}"));
        is_of(&record, name);
        assert_eq!((record["_line_source"].as_str(), record["_service"].as_str()), (Some("stderr"), Some("payment")));
        assert!(!record.to_string().contains("hunter2"), "{record}");
        let record = line(&server, &format!("careful with {name}"));
        is_of(&record, name);
        assert_eq!(record["level"], 4, "{record}");
    }
    let record = line(&server, "no stock for broken");
    is_of(&record, "broken");
    assert_eq!(record["level"], 3, "{record}");
    let whole = record["full_message"].as_str().or(record["short_message"].as_str()).unwrap();
    assert!(whole.contains("Stack trace:\n#0") && whole.contains("{main}"), "one record has the whole trace: {record}");
    // Nothing on our own standard output or error is missing: no sink writes there.
    fourmi.says("stock is low for two, password=hunter2");
}

#[test]
fn row_79_interleaved_commands_never_get_each_others_tags() {
    let server = GelfServer::start();
    let fourmi = python("2", |setup| setup.gelf(&server).more("threads: 2"));
    // One after the other: every line has its command, though nothing in it says so.
    let mut client = fourmi.client();
    for n in 0..40 {
        let name = format!("seq{n}x");
        let request = format!("GET /{name} HTTP/1.1\r\nHost: a\r\n{}\r\n", headers(&name));
        assert_eq!(client.send(request).answer().status(), 200);
    }
    let mut known = 0;
    for n in 0..40 {
        let name = format!("seq{n}x");
        for record in [line(&server, &format!("before {name}")), line(&server, &format!("after {name}"))] {
            if record.get("_command_id").is_some() {
                is_of(&record, &name);
                known += 1;
            }
        }
    }
    // One that was read in the very moment in which its command began or ended may be nobody's.
    assert!(known >= 72, "{known} of 80");
    // At the same time: those that name their command have it, the others have theirs or none.
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let mut client = fourmi.client();
            std::thread::spawn(move || {
                for n in 0..25 {
                    let name = format!("par{caller}n{n}x");
                    let (named, ms) = (n % 2, n % 3);
                    let query = if named == 1 { format!("?ms={ms}&id=1") } else { format!("?ms={ms}") };
                    let request = format!("GET /{name}{query} HTTP/1.1\r\nHost: a\r\n{}\r\n", headers(&name));
                    assert_eq!(client.send(request).answer().status(), 200);
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|c| c.join().unwrap());
    for caller in 0..4 {
        for n in 0..25 {
            let name = format!("par{caller}n{n}x");
            for word in ["before", "after"] {
                let record = line(&server, &format!("{word} {name}"));
                if n % 2 == 1 || record.get("_command_id").is_some() {
                    is_of(&record, &name);
                } else {
                    let own: Vec<&String> = record
                        .as_object()
                        .unwrap()
                        .keys()
                        .filter(|k| k.starts_with("_tag") || *k == "_command")
                        .collect();
                    assert!(own.is_empty(), "{record}");
                }
            }
        }
    }
}

#[test]
fn a_worker_that_says_too_much_holds_nobody_up_and_every_line_is_counted() {
    const FLOOD: u64 = 200_000;
    let server = GelfServer::start();
    let fourmi = python("3", |setup| setup.gelf(&server));
    let ready = counted(&fourmi, "told");
    let port = fourmi.port();
    let flood = std::thread::spawn(move || {
        let request = format!("GET /flood?flood={FLOOD} HTTP/1.1\r\nHost: a\r\n{}\r\n", headers("flood"));
        fourmi_tests::Client::connect(port).send(request).answer().status()
    });
    let mut client = fourmi.client();
    let mut others = 0;
    while !flood.is_finished() || others < 20 {
        let name = format!("other{others}x");
        let request = format!("GET /{name} HTTP/1.1\r\nHost: a\r\n{}\r\n", headers(&name));
        assert_eq!(client.send(request).answer().status(), 200);
        others += 1;
        // The flood is to have the machine, not we.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(flood.join().unwrap(), 200);
    let written = FLOOD + 2 + 2 * others;
    let fates = ["told", "joined", "empty", "malformed", "dropped_rate", "dropped_full"];
    let mut last = Vec::new();
    until("every line has a fate", || {
        last = fates.iter().map(|f| counted(&fourmi, f)).collect();
        assert!(last.iter().sum::<u64>() - ready <= written, "{last:?} of {written}");
        last.iter().sum::<u64>() - ready == written
    });
    assert!(last[4] > 0, "more came than may: {last:?}");
    // And every record of a line or command is sent or counted as lost.
    let told = last[0] + others + 1;
    let known =
        |result: &str| fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "graylog"), ("result", result)]);
    until("every record has a fate", || {
        ["sent", "dropped_full", "dropped_error", "oversize"].iter().map(|r| known(r)).sum::<f64>() as u64 == told
    });
    // Our own standard output has the flood too, for no sink writes there.
    until("the flood is passed on", || {
        let unwritten = counted(&fourmi, "unwritten");
        fourmi.stdout().lines().count() as u64 + unwritten == FLOOD
    });
    assert!(fourmi.memory() < 256 << 20);
}

#[test]
fn last_words_are_heard_and_a_grandchild_holds_nothing_up() {
    let server = GelfServer::start();
    let script = r#"echo first; printf 'Exception: no\n  at here\n  at there\n'; echo '{"level":"error","msg":"last","token":"hunter2"}' >&2; sleep 300 & echo $! > pid; printf 'no end'; exit 3"#;
    let setup = Setup::beside(&format!("http://127.0.0.1:{}", free_port())).gelf(&server);
    let pid = setup.folder().join("pid");
    let mut fourmi = setup.running(&["sh", "-c", script]).spawn();
    assert_eq!(fourmi.ends(), 3);
    let grandchild = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(grandchild), Signal::SIGKILL).unwrap();
    line(&server, "first");
    assert_eq!(line(&server, "no end")["_line_source"], "stdout");
    let last = line(&server, "last");
    assert_eq!((last["level"].as_u64(), last["_token"].as_str()), (Some(3), Some("[redacted]")), "{last}");
    let trace = line(&server, "Exception: no");
    assert_eq!(trace["short_message"], "Exception: no\n  at here\n  at there");
    assert!(trace.get("_command").is_none() && trace.get("_tags").is_none(), "it belongs to no command: {trace}");
    until("all of it is passed on", || fourmi.stdout().contains("first\nException: no\n  at here\n  at there\nno end"));
}

#[test]
fn a_line_is_told_once() {
    let command = ["sh", "-c", "echo hello from the worker; while :; do sleep 1; done"];
    let beside = |worker: &Worker, logs: &str| Setup::beside(worker.address()).logs(logs).running(&command);
    let worker = Worker::echo();
    let said = |fourmi: &Fourmi| {
        fourmi.stdout().lines().filter(|l| l.contains("hello")).map(str::to_owned).collect::<Vec<_>>()
    };
    // A sink writes to standard output: the record stands there, the line does not.
    let fourmi = beside(&worker, "[{stdout: {format: json}}]").start();
    let record: Value = eventually("the record", || said(&fourmi).first().and_then(|l| serde_json::from_str(l).ok()));
    assert_eq!(
        (record["short_message"].as_str(), record["line_source"].as_str()),
        (Some("hello from the worker"), Some("stdout"))
    );
    assert_eq!(said(&fourmi).len(), 1);
    drop(fourmi);
    // None does, or the output is not captured: the line stands there as it is.
    let server = GelfServer::start();
    let graylog = format!("[{{graylog: {{to: \"udp://127.0.0.1:{}\"}}}}]", server.port());
    for (logs, more, told) in [("[]", "", 0), (&*graylog, "worker_logs: {capture: off}", 0), (&*graylog, "", 1)] {
        let fourmi = beside(&worker, logs).more(more).start();
        until("the line", || !said(&fourmi).is_empty());
        assert_eq!(said(&fourmi), ["hello from the worker"]);
        until("its record", || lines(&server, "hello").len() == told);
    }
}

#[test]
fn lines_come_over_local_sockets_in_every_format() {
    let server = GelfServer::start();
    let (udp, tcp) = (free_port(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.sock");
    let at = path.clone();
    // Logs with the id that it was given, or without one while it handles its only command.
    let worker = Worker::replying(move |request| {
        let id = request.header("fourmi-id").unwrap_or_default().to_owned();
        let name = request.target().trim_start_matches('/').to_owned();
        let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
        let send = |bytes: &[u8]| assert!(datagram.send_to(bytes, ("127.0.0.1", udp)).is_ok());
        let gelf = json!({"version": "1.1", "host": "php", "short_message": format!("gelf of {name}"), "level": 4, "_command_id": id, "_n": 5});
        send(gelf.to_string().as_bytes());
        let long = json!({"version": "1.1", "host": "php", "short_message": format!("chunks of {name}"), "_command_id": id, "_x": "y".repeat(900)}).to_string();
        for (nth, piece) in long.as_bytes().chunks(500).enumerate().collect::<Vec<_>>().into_iter().rev() {
            let of = long.len().div_ceil(500) as u8;
            send(&[&[0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, name.len() as u8, nth as u8, of], piece].concat());
        }
        send(format!("<11>1 - host app 7 - - syslog5424 of {name} for {id}").as_bytes());
        send(format!("<12>Nov 12 10:00:00 app[7]: old syslog of {name}").as_bytes());
        let unix = UnixDatagram::unbound().unwrap();
        unix.send_to(format!("{{\"level\":50,\"msg\":\"json of {name}\",\"req\":{{\"n\":1}}}}").as_bytes(), &at)
            .unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
        let zero = json!({"version": "1.1", "host": "h", "short_message": format!("zero of {name}"), "_fourmi_id": id});
        writeln!(stream, "{zero}\0{{\"severity\":\"ERROR\",\"message\":\"line of {name}\",\"command_id\":\"{id}\"}}")
            .unwrap();
        writeln!(stream, "text of {name}, {id}\n  and more of {name}").unwrap();
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let places = format!(
        "worker_logs: {{listen: [\"udp://127.0.0.1:{udp}\", \"tcp://127.0.0.1:{tcp}\", \"unixgram:{}\"]}}",
        path.display()
    );
    let setup = Setup::beside(worker.address()).gelf(&server);
    // Added while it runs.
    let without = setup.yaml();
    let fourmi = setup.start();
    fourmi.rewrite(&format!("{without}{places}\n"));
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    for name in ["a", "bb"] {
        assert_eq!(fourmi.get_with(&format!("/{name}"), &headers(name)).status(), 200);
        for (what, level) in [
            ("gelf", 4),
            ("chunks", 6),
            ("syslog5424", 3),
            ("old syslog", 4),
            ("json", 3),
            ("zero", 6),
            ("line", 3),
            ("text", 6),
        ] {
            let record = line(&server, &format!("{what} of {name}"));
            is_of(&record, name);
            assert_eq!(record["level"], level, "{record}");
        }
        assert_eq!(line(&server, &format!("gelf of {name}"))["_n"], "5");
        assert_eq!(line(&server, &format!("json of {name}"))["_req.n"], "1");
        assert!(
            line(&server, &format!("text of {name}"))["short_message"]
                .as_str()
                .unwrap()
                .ends_with(&format!("and more of {name}"))
        );
    }
    // Rubbish is counted, and stops nothing.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for rubbish in [&b"\x1f\x8bno gzip"[..], b"\x1e\x0f", b"\x1e\x0f12345678\x05\x02x"] {
        socket.send_to(rubbish, ("127.0.0.1", udp)).unwrap();
    }
    socket.send_to(b"\xff\xfe\x00binary", ("127.0.0.1", udp)).unwrap();
    until("rubbish is counted", || counted(&fourmi, "malformed") == 3);
    line(&server, "binary");
    // Places that are gone are closed, and the file with them.
    fourmi.rewrite(&without);
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    until("the socket's file is gone", || !path.exists());
    assert!(TcpStream::connect(("127.0.0.1", tcp)).is_err());
}

#[test]
fn only_this_machine_is_listened_to() {
    let worker = Worker::echo();
    for place in ["udp://0.0.0.0:12201", "tcp://192.0.2.1:12201"] {
        let more = format!("worker_logs: {{listen: [\"{place}\"]}}");
        let mut fourmi = Setup::beside(worker.address()).more(&more).spawn();
        assert_eq!(fourmi.ends(), 78);
        fourmi.says("worker_logs.listen");
        fourmi.says("127.0.0.1");
    }
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let more = format!("worker_logs: {{listen: [\"udp://{}\"]}}", taken.local_addr().unwrap());
    let mut fourmi = Setup::beside(worker.address()).more(&more).spawn();
    assert_eq!(fourmi.ends(), 1);
    fourmi.says("worker_logs.listen");
}
