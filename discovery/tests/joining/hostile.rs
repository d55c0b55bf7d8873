//! Other sides that answer what they should not: bounded, told, and survived.

use super::{Central, PATIENCE, connected, follow, following, put, until};
use fourmi_discovery::join::Settings;
use fourmi_discovery::{Instance, State};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n";
const HELLO: &str = "{\"hello\":{\"form\":1,\"node\":\"x\",\"datacenter\":\"dc1\",\"epoch\":\"e\",\"at\":1,\"age\":0}}\n{\"all\":true}\n";

/// Answers everything with a beginning, and then with the same again and again for so many times.
async fn hostile(beginning: String, again: Vec<u8>, times: usize) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (beginning, again) = (beginning.clone(), again.clone());
            open.spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(beginning.as_bytes()).await;
                for _ in 0..times {
                    if stream.write_all(&again).await.is_err() {
                        return;
                    }
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, task)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn streams() {
    let good = Central::start().await;
    put(&good.registry, "n1", "web", "web-1", [10, 0, 1, 1], State::Passing);
    let endless = vec![b'a'; 65536];
    let deep = format!("{STREAM}{HELLO}{}\n", "[".repeat(100_000));
    let cases = [
        ("garbage", "\u{1}\u{2}not http at all\r\n\r\n".to_owned(), endless.clone(), 100),
        ("an endless head", "HTTP/1.1 200 OK\r\nx: ".to_owned(), endless.clone(), 10_000),
        ("an endless line", STREAM.to_owned(), endless.clone(), 100_000),
        ("an endless line behind the first", format!("{STREAM}{HELLO}"), endless, 100_000),
        ("another form", format!("{STREAM}{}", HELLO.replace("\"form\":1", "\"form\":99")), Vec::new(), 0),
        ("another datacenter", format!("{STREAM}{}", HELLO.replace("dc1", "dc9")), Vec::new(), 0),
        (
            "an epoch that no path can have",
            format!("{STREAM}{}{{\"at\":1}}\n", HELLO.replace("\"e\"", "\"ä &?%\"")),
            Vec::new(),
            0,
        ),
        (
            "a long epoch",
            format!("{STREAM}{}{{\"at\":1}}\n", HELLO.replace("\"e\"", &format!("\"{}\"", "e".repeat(100_000)))),
            Vec::new(),
            0,
        ),
        ("no beginning", format!("{STREAM}{{\"at\":1}}\n"), Vec::new(), 0),
        ("two beginnings", format!("{STREAM}{HELLO}{HELLO}"), Vec::new(), 0),
        ("a number that is none", format!("{STREAM}{HELLO}{{\"at\":1e400}}\n"), Vec::new(), 0),
        ("a negative number", format!("{STREAM}{HELLO}{{\"at\":-1}}\n"), Vec::new(), 0),
        ("wrong JSON", format!("{STREAM}{HELLO}{{\"at\":\n"), Vec::new(), 0),
        ("other JSON", format!("{STREAM}{HELLO}{{\"instance\":[1,2]}}\n"), Vec::new(), 0),
        ("too deep", deep, Vec::new(), 0),
        ("bytes that are no text", format!("{STREAM}{HELLO}"), vec![0xff, b'\n'], 10),
        ("half a line", format!("{STREAM}{HELLO}{{\"at\""), Vec::new(), 0),
    ];
    let before = resident();
    for (what, beginning, again, times) in cases {
        let (address, _task) = hostile(beginning, again, times).await;
        let urls = vec![format!("http://{address}"), good.url()];
        let register = vec![(Instance::new("pay", "pay", "", 1), Vec::new())];
        let (joined, replica) = follow(Settings { urls, register, datacenter: "dc1".into(), ..following("") });
        until(what, || joined.status().error.is_some() || joined.status().registry == good.address.to_string()).await;
        connected(&joined).await;
        until(what, || replica.snapshot().usable("web").count() == 1).await;
        assert_eq!(replica.snapshot().usable("pay").count(), 1, "{what}");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 200 * 1024, "{grown} KiB more");
}

#[tokio::test]
async fn too_much_of_everything() {
    let mut lines = format!("{STREAM}{HELLO}");
    for n in 0..20_000 {
        lines += &format!(
            "{{\"node\":[{{\"name\":\"n{n}\",\"address\":\"10.0.0.1\"}},[]]}}\n{{\"instance\":[{{\"id\":\"i{n}\",\"service\":\"s{n}\",\"node\":\"n{n}\"}},[]]}}\n"
        );
    }
    lines += "{\"instance\":[{\"id\":\"i\",\"service\":\"no label!\",\"node\":\"n0\"},[]]}\n";
    lines += "{\"instance\":[{\"id\":\"i\",\"service\":\"s\",\"node\":\"nobody\"},[]]}\n";
    lines += "{\"no_node\":\"side\"}\n{\"no_instance\":[\"side\",\"pay\"]}\n{\"at\":18446744073709551615}\n";
    let (address, _task) = hostile(lines, Vec::new(), 0).await;
    let register = vec![(Instance::new("pay", "pay", "", 1), Vec::new())];
    let (joined, replica) = follow(Settings { register, ..following(format!("http://{address}")) });
    until("it is read", || joined.status().number == u64::MAX).await;
    let snapshot = replica.snapshot();
    assert!(snapshot.len() <= 4096 && snapshot.nodes().count() <= 4096);
    assert!(joined.status().refused > 30_000, "{:?}", joined.status());
    assert_eq!(snapshot.usable("pay").count(), 1, "what is ours is not theirs to take away");
}

#[tokio::test]
async fn answers() {
    let good = Central::start().await;
    put(&good.registry, "n1", "web", "web-1", [10, 0, 1, 1], State::Passing);
    let answer = |head: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\n{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    };
    let cases = [
        ("no JSON", answer("x-consul-index: 5\r\n", "<html>")),
        ("other JSON", answer("x-consul-index: 5\r\n", "[[]]")),
        ("too much", "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_owned() + &"[".repeat(20_000_000)),
        ("an error", "HTTP/1.1 500 X\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwhat".to_owned()),
    ];
    for (what, text) in cases {
        let (address, _task) = hostile(text, Vec::new(), 0).await;
        let urls = vec![format!("http://{address}"), good.url()];
        let (joined, replica) = follow(Settings { urls, stream: false, ..following("") });
        until(what, || joined.status().error.is_some()).await;
        connected(&joined).await;
        until(what, || replica.snapshot().usable("web").count() == 1).await;
    }
    // Who has no number, or answers at once, is not asked without end.
    for head in ["", "x-consul-index: 0\r\n", "x-consul-index: 18446744073709551615\r\n", "x-consul-index: -1\r\n"] {
        let (address, _task) = hostile(answer(head, "{}"), Vec::new(), 0).await;
        let (joined, _replica) = follow(Settings { stream: false, ..following(format!("http://{address}")) });
        tokio::time::timeout(PATIENCE, tokio::time::sleep(Duration::from_millis(300))).await.unwrap();
        drop(joined);
    }
}
