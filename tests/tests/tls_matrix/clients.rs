//! openssl and curl as callers.

use fourmi_tests::patience::patience;
use fourmi_tests::peers::{program, run};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What a client offers and wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello<'a> {
    pub(crate) port: u16,
    /// `1.2` or `1.3`.
    pub(crate) version: &'a str,
    pub(crate) sni: Option<&'a str>,
    pub(crate) alpn: Option<&'a str>,
    pub(crate) ca: &'a str,
    /// Files of its own certificate and key.
    pub(crate) shows: Option<(&'a str, &'a str)>,
    /// The command's id.
    pub(crate) id: &'a str,
}

/// What became of it: `200 SUBJECT VERSION ALPN`, or `refused`; and everything that was said.
pub(crate) type Seen = (String, String);

/// A `GET /` over HTTP/2, as bytes: preface, SETTINGS, HEADERS with literals.
fn two(id: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x84, 0x41, 4];
    block.extend(b"test");
    block.extend([0, 9]);
    block.extend(b"fourmi-id");
    block.push(id.len() as u8);
    block.extend(id.as_bytes());
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend([0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1]);
    bytes.extend(block);
    bytes
}

fn one(id: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: test\r\nFourmi-Id: {id}\r\nConnection: close\r\n\r\n").into_bytes()
}

/// Whether an answer with 200 has come, in either version.
fn answered(bytes: &[u8]) -> bool {
    bytes.windows(12).any(|w| w == b"HTTP/1.1 200")
        || bytes.windows(7).any(|w| w[0] == 1 && w[2..] == [0, 0, 0, 1, 0x88])
}

/// `openssl s_client` with more options.
pub(crate) fn openssl(hello: Hello<'_>, more: &[&str]) -> Seen {
    let mut command = Command::new(program("openssl"));
    command.args(["s_client", "-ign_eof", "-CAfile", hello.ca, "-connect", &format!("127.0.0.1:{}", hello.port)]);
    command.arg(if hello.version == "1.2" { "-tls1_2" } else { "-tls1_3" });
    match hello.sni {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    if let Some(alpn) = hello.alpn {
        command.args(["-alpn", alpn]);
    }
    if let Some((certificate, key)) = hello.shows {
        command.args(["-cert", certificate, "-key", key]);
    }
    let mut child =
        command.args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let printed = Arc::new(Mutex::new(Vec::new()));
    let streams: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
    let readers = streams.map(|mut stream| {
        let printed = printed.clone();
        std::thread::spawn(move || {
            let mut some = [0; 8192];
            while let Ok(n @ 1..) = stream.read(&mut some) {
                printed.lock().unwrap().extend_from_slice(&some[..n]);
            }
        })
    });
    let mut input = child.stdin.take().unwrap();
    // It may have ended already.
    let _ = input.write_all(&if hello.alpn == Some("h2") { two(hello.id) } else { one(hello.id) });
    let give_up = Instant::now() + patience();
    let two = hello.alpn == Some("h2");
    while child.try_wait().unwrap().is_none() {
        // Over HTTP/1.1 the server closes, and openssl ends by itself.
        if (two && answered(&printed.lock().unwrap())) || Instant::now() > give_up {
            let _ = child.kill();
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(input);
    readers.into_iter().for_each(|r| r.join().unwrap());
    let bytes = printed.lock().unwrap().clone();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !answered(&bytes) {
        return ("refused".to_owned(), text);
    }
    let after = |mark: &str| text.lines().find_map(|l| l.strip_prefix(mark)).unwrap_or("?").trim().to_owned();
    let subject = after("subject=CN = ");
    let session = ["New, ", "Reused, "].iter().map(|m| after(m)).find(|s| s != "?").unwrap_or_default();
    let version = session.split(',').next().unwrap_or_default().to_owned();
    let alpn = match text.contains("No ALPN negotiated") {
        true => "-".to_owned(),
        false => after("ALPN protocol: "),
    };
    (format!("200 {subject} {version} {alpn}"), text)
}

/// curl, which believes only what is for the name that it asks for.
pub(crate) fn curl(hello: Hello<'_>) -> Seen {
    let Hello { port, .. } = hello;
    let host = hello.sni.unwrap_or("127.0.0.1");
    let (url, resolve) = (format!("https://{host}:{port}/"), format!("{host}:{port}:127.0.0.1"));
    let id = format!("Fourmi-Id: {}", hello.id);
    let told = "%{http_code} %{http_version} %{certs}";
    let mut words = vec!["-sS", "-o", "/dev/null", "--noproxy", "*", "--cacert", hello.ca, "-H", &id, "-w", told];
    words.extend(["--max-time", "20", "--resolve", &resolve]);
    match hello.version {
        "1.2" => words.extend(["--tls-max", "1.2"]),
        _ => words.push("--tlsv1.3"),
    }
    match hello.alpn {
        Some("h2") => words.push("--http2"),
        Some(_) => words.push("--http1.1"),
        None => words.extend(["--no-alpn", "--http1.1"]),
    }
    if let Some((certificate, key)) = hello.shows {
        words.extend(["--cert", certificate, "--key", key]);
    }
    words.push(&url);
    let output = run("curl", &words);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => {
            let mut words = text.split(' ');
            let (status, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let subject = text.lines().find_map(|l| l.split_once("Subject:CN = ")).map_or("?", |(_, s)| s.trim());
            let protocol = if version == "2" { "h2" } else { "http/1.1" };
            (format!("{status} {subject} {protocol}"), said)
        }
        _ if said.contains("no alternative certificate subject name matches") => ("other name".to_owned(), said),
        _ => ("refused".to_owned(), said),
    }
}
