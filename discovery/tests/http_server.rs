//! The server of Consul's API as a whole: its limits, many readers that wait, what it does when it is reloaded and
//! dropped, and that it lives through anything that is sent to it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "calling/client.rs"]
#[allow(dead_code, reason = "the rows use all of it")]
mod client;

use client::ask;
use fourmi_discovery::http::{Limits, Server, Settings, Tls};
use fourmi_discovery::{Check, Definition, Instance, Node, Probe, Registry, State, Store};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(20);
const HERE: &str = "127.0.0.1:0";

fn settings(limits: Limits) -> Settings {
    Settings { node: "n1".into(), limits, ..Settings::default() }
}

async fn serve(registry: &Registry, limits: Limits) -> (Server, SocketAddr) {
    let server = Server::start(&[HERE.parse().unwrap()], registry.clone(), None, settings(limits)).await.unwrap();
    let address = server.addresses()[0];
    (server, address)
}

async fn index(address: SocketAddr, path: &str) -> u64 {
    ask(address, &format!("GET {path}"), &[]).await.header("x-consul-index").unwrap().parse().unwrap()
}

/// A connection on which a read waits.
async fn waiting(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /v1/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("an answer");
    text
}

#[tokio::test]
async fn a_change_wakes_those_who_wait_for_it_and_nobody_else() {
    let registry = Registry::default();
    let (server, address) = serve(&registry, Limits::default()).await;
    let (web, stock) = (index(address, "health/service/web").await, index(address, "health/service/stock").await);
    let mut readers = Vec::new();
    for _ in 0..300 {
        readers.push(waiting(address, &format!("health/service/web?index={web}&wait=60s")).await);
    }
    let began = Instant::now();
    let other = waiting(address, &format!("health/service/stock?index={stock}&wait=1s")).await;
    registry.register(Instance::new("web", "a", "n1", 80), Vec::new(), false).unwrap();
    for reader in readers {
        let answer = rest(reader).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"ID\":\"a\""), "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(rest(other).await.ends_with("[]"));
    assert!(began.elapsed() >= Duration::from_secs(1), "it waited to the end: {:?}", began.elapsed());
    assert_eq!(server.counts().collect::<Vec<_>>(), [("health/service", "2xx", 303)]);
}

#[tokio::test]
async fn no_change_is_missed_and_no_number_goes_back() {
    let registry = Registry::default();
    let (_server, address) = serve(&registry, Limits::default()).await;
    let writing = registry.clone();
    let writer = tokio::spawn(async move {
        for n in 1..=200_u16 {
            writing.register(Instance::new("web", "a", "n1", n), Vec::new(), false).unwrap();
            if n % 3 == 0 {
                assert!(writing.deregister("n1", "a"));
                writing.register(Instance::new("web", "a", "n1", n), Vec::new(), false).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let (mut seen, mut last) = (0, String::new());
    let began = Instant::now();
    while !last.contains("\"Port\":200,") {
        let call = format!("GET health/service/web?index={seen}&wait=10s");
        let answer = ask(address, &call, &[]).await;
        let now = answer.header("x-consul-index").unwrap().parse().unwrap();
        assert!(now >= seen, "{now} after {seen}");
        assert!(now > seen || answer.body == last, "one number, two answers");
        (seen, last) = (now, answer.body);
        assert!(began.elapsed() < PATIENCE, "{last}");
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn an_answer_changes_with_its_number_only() {
    let registry = Registry::default();
    let (_server, address) = serve(&registry, Limits::default()).await;
    let paths = [
        "catalog/nodes",
        "catalog/services",
        "catalog/service/web",
        "catalog/node/n1",
        "catalog/node-services/n2",
        "health/service/web",
        "health/service/web?passing",
        "health/checks/web",
        "health/node/n2",
        "health/state/any",
        "health/service/web?filter=a+in+Service.Tags",
        "catalog/services?filter=a+in+ServiceTags",
    ];
    let mut seen = vec![(0, String::new()); paths.len()];
    let mut random = fastrand::Rng::with_seed(3);
    for n in 0..150 {
        let node = random.choice(["n1", "n2"]).unwrap();
        let id = random.choice(["a", "b", "c"]).unwrap();
        let mut made = Instance::new(random.choice(["web", "stock"]).unwrap(), id, node, random.u16(1..4));
        made.tags.extend(random.bool().then(|| "a".to_owned()));
        let mut check = Check::new(Definition::of(&made, format!("c{id}"), Probe::Ttl(Duration::from_secs(30))));
        check.definition = Definition { notes: random.u8(0..2).to_string(), ..(*check.definition).clone() }.into();
        match random.u8(0..12) {
            0..4 => drop(registry.register(made, vec![check], random.bool())),
            4..7 => {
                let state = random.choice([State::Passing, State::Warning, State::Critical]).unwrap();
                registry.report(node, &format!("c{id}"), state, "told");
            }
            7 => drop(registry.deregister(node, id)),
            8 => drop(registry.deregister_check(node, &format!("c{id}"))),
            9 => drop(registry.put_check(Check::new(Definition::of_node(node, "disk", Probe::Manual)))),
            10 => drop(registry.put_node(Node::new(node, IpAddr::from([10, 0, 0, random.u8(1..4)])))),
            _ => drop(registry.deregister_node(node)),
        }
        for (path, (last, body)) in paths.iter().zip(&mut seen) {
            let answer = ask(address, &format!("GET {path}"), &[]).await;
            let index: u64 = answer.header("x-consul-index").unwrap().parse().unwrap();
            // For people it is made anew.
            let mark = if path.contains('?') { '&' } else { '?' };
            let anew = ask(address, &format!("GET {path}{mark}pretty"), &[]).await.body;
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(read(&anew), read(&answer.body), "{n} {path}");
            assert!(index >= *last, "{n} {path}: {index} after {last}");
            assert!(index > *last || *body == answer.body, "{n} {path} {index}:\n{body}\n{}", answer.body);
            (*last, *body) = (index, answer.body);
        }
    }
}

#[tokio::test]
async fn more_than_may_wait_are_told_to_come_again() {
    let registry = Registry::default();
    let (_server, address) = serve(&registry, Limits { blocked: 2, ..Limits::default() }).await;
    let path = format!("catalog/nodes?index={}&wait=60s", index(address, "catalog/nodes").await);
    let one = waiting(address, &path).await;
    let two = waiting(address, &path).await;
    let began = Instant::now();
    while ask(address, &format!("GET {path}&wait=1ms"), &[]).await.status != 503 {
        assert!(began.elapsed() < PATIENCE);
    }
    assert_eq!(ask(address, "GET catalog/nodes", &[]).await.status, 200, "others are answered");
    // A client that goes leaves its place.
    drop(one);
    let shorter = format!("GET catalog/nodes?index={}&wait=50ms", index(address, "catalog/nodes").await);
    while ask(address, &shorter, &[]).await.status != 200 {
        assert!(began.elapsed() < PATIENCE);
    }
    drop(two);
}

#[tokio::test]
async fn connections_have_a_limit_and_heads_a_time() {
    let registry = Registry::default();
    let limits = Limits { connections: 2, head_time: Duration::from_millis(300), ..Limits::default() };
    let (_server, address) = serve(&registry, limits).await;
    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /v1/agent/self HTT").await.unwrap();
        silent.push(stream);
    }
    assert_eq!(ask(address, "GET agent/self", &[]).await.status, 200);
    assert!(began.elapsed() > Duration::from_millis(300), "it waited for a place: {:?}", began.elapsed());
    for mut stream in silent {
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed");
    }
}

#[tokio::test]
async fn when_all_places_are_taken_the_one_that_rests_longest_goes() {
    let registry = Registry::default();
    let (_server, address) = serve(&registry, Limits { connections: 3, ..Limits::default() }).await;
    let index = index(address, "health/service/web").await;
    let blocked = waiting(address, &format!("health/service/web?index={index}&wait=60s")).await;
    let mut resting = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut read = [0; 4096];
        assert!(stream.read(&mut read).await.unwrap() > 0);
        resting.push(stream);
    }
    // Each of these needs a place, and only they who rest give theirs, the first first.
    let mut third = TcpStream::connect(address).await.unwrap();
    third.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut read = [0; 4096];
    assert!(tokio::time::timeout(PATIENCE, third.read(&mut read)).await.expect("it has a place").unwrap() > 0);
    assert_eq!(rest(resting.remove(0)).await, "", "closed");
    let mut other = resting.remove(0);
    other.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(other.read(&mut read).await.unwrap() > 0, "the other one stays");
    registry.register(Instance::new("web", "w", "n1", 80), Vec::new(), false).unwrap();
    assert!(rest(blocked).await.contains("\"ID\":\"w\""), "and who waits for an answer gets it");
}

#[tokio::test]
async fn listeners_may_encrypt() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let made = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let made =
        Arc::new(made.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], private).unwrap());
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    let tls = Tls::new(move || {
        counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(Arc::clone(&made))
    });
    let settings = Settings { tls: Some(tls), ..settings(Limits::default()) };
    let server = Server::start(&[HERE.parse().unwrap()], Registry::default(), None, settings).await.unwrap();
    let address = server.addresses()[0];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    for _ in 0..2 {
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(b"GET /v1/agent/self HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("an answer");
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("NodeName"), "{text}");
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 2, "each handshake is made with what holds then");
    assert!(!rest(waiting(address, "agent/self").await).await.contains("NodeName"), "nobody is answered plainly");
}

#[tokio::test]
async fn who_does_not_read_is_given_up() {
    let registry = Registry::default();
    let limits = Limits { connections: 1, write_time: Duration::from_millis(300), ..Limits::default() };
    let (_server, address) = serve(&registry, limits).await;
    for n in 0..4000 {
        let mut instance = Instance::new("web", format!("i{n}"), "n1", 80);
        instance.meta.insert("a".into(), "x".repeat(500));
        registry.register(instance, Vec::new(), false).unwrap();
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Several megabytes for each of them.
    let request = "GET /v1/health/service/web HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.repeat(4).as_bytes()).await.unwrap();
    assert_eq!(ask(address, "GET agent/self", &[]).await.status, 200, "its place is free again");
    drop(stream);
}

#[tokio::test]
async fn one_connection_takes_many_requests() {
    let registry = Registry::default();
    let (_server, address) = serve(&registry, Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = r#"{"Name":"web"}"#;
    let put = format!(
        "PUT /v1/agent/service/register HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(put.repeat(20).as_bytes()).await.unwrap();
    stream.write_all(b"GET /v1/agent/services HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let text = rest(stream).await;
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 21, "{text}");
    assert!(text.contains("\"Service\":\"web\""));
}

#[tokio::test]
async fn new_settings_count_from_the_next_request_on() {
    let registry = Registry::default();
    let (server, address) = serve(&registry, Limits::default()).await;
    server.reload(Settings {
        node: "n2".into(),
        blocked_paths: vec!["/v1/status".into()],
        ..settings(Limits { body: 4, ..Limits::default() })
    });
    assert_eq!(ask(address, "GET status/leader", &[]).await.status, 403);
    assert_eq!(ask(address, r#"PUT agent/service/register {"Name":"web"}"#, &[]).await.status, 413);
    server.reload(Settings { node: "n2".into(), ..settings(Limits::default()) });
    assert_eq!(ask(address, r#"PUT agent/service/register {"Name":"web"}"#, &[]).await.status, 200);
    assert_eq!(registry.snapshot().node("n2").unwrap().instances.len(), 1, "our node is registered when it is needed");
    let counts: Vec<_> = server.counts().collect();
    assert_eq!(
        counts,
        [("agent/service/register", "2xx", 1), ("agent/service/register", "4xx", 1), ("other", "4xx", 1)]
    );
}

#[tokio::test]
async fn what_is_answered_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    {
        let store = Arc::new(Store::open(&path, fourmi_discovery::Limits::default()).unwrap());
        let registry = store.registry().clone();
        let given = settings(Limits::default());
        let server = Server::start(&[HERE.parse().unwrap()], registry, Some(store), given).await.unwrap();
        let put = r#"PUT agent/service/register {"Name":"web","Port":80,"SocketPath":"/run/web.sock"}"#;
        assert_eq!(ask(server.addresses()[0], put, &[]).await.status, 200);
        // Nothing that is dropped from here on may be what writes it.
        let copied = directory.path().join("copy.db");
        std::fs::copy(&path, &copied).unwrap();
        std::fs::copy(path.with_extension("db-wal"), copied.with_extension("db-wal")).unwrap();
        let copy = Store::open(&copied, fourmi_discovery::Limits::default()).unwrap();
        let snapshot = copy.registry().snapshot();
        let member = &snapshot.service("web").unwrap().members[0];
        assert_eq!((member.instance.port, &*member.instance.socket), (80, "/run/web.sock"));
    }
}

#[tokio::test]
async fn it_ends_when_it_is_dropped() {
    let registry = Registry::default();
    let (server, address) = serve(&registry, Limits::default()).await;
    let path = format!("catalog/nodes?index={}&wait=60s", index(address, "catalog/nodes").await);
    let reader = waiting(address, &path).await;
    let error = Server::start(&[address], registry, None, settings(Limits::default())).await.err().unwrap().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("another process"), "{error}");
    drop(server);
    let mut reader = reader;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut answer)).await.expect("it is closed");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn whatever_is_sent_it_lives() {
    let registry = Registry::default();
    let (_server, address) = serve(&registry, Limits::default()).await;
    let bodies = [
        r#"{"ID":"a","Name":"web","Port":80,"Tags":["a"],"Check":{"TTL":"10s","Status":"passing"},"Meta":{"a":"b"}}"#,
        r#"{"Node":"foo","Address":"10.0.0.1","Service":{"Service":"x","Weights":{"Passing":1}},"Checks":[{"Name":"c"}]}"#,
        r#"{"Name":"c","HTTP":"http://127.0.0.1:1/","Interval":"10s","Header":{"a":["b"]},"OutputMaxSize":10}"#,
    ];
    let paths = [
        "PUT /v1/agent/service/register",
        "PUT /v1/catalog/register",
        "PUT /v1/agent/check/register",
        "GET /v1/health/service/web?filter=(Service.Tags+contains+a)+and+not+Node.Meta+is+empty&near=a&tag=b",
        "GET /v1/agent/service/a?hash=1&wait=1ms",
        "GET /v1/catalog/nodes?index=1&wait=1ms&node-meta=a:b",
        "PUT /v1/kv/a/b?cas=0&flags=1",
        "GET /v1/kv/a?recurse&keys&separator=/",
        "DELETE /v1/kv/%E4?recurse",
    ];
    let mut running = JoinSet::new();
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..1500 {
        let (path, body) = (paths[random.usize(..paths.len())], bodies[random.usize(..bodies.len())]);
        let head = format!("{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut bytes = [head.as_bytes(), body.as_bytes()].concat();
        let from = if random.bool() { 0 } else { head.len() };
        for _ in 0..random.usize(0..6) {
            let at = random.usize(from..bytes.len());
            bytes[at] = random.u8(..);
        }
        running.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(&bytes).await;
            let mut answer = [0; 64];
            let _ = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut answer)).await;
        });
        if running.len() > 50 {
            running.join_next().await.unwrap().unwrap();
        }
    }
    running.join_all().await;
    assert_eq!(ask(address, "GET agent/self", &[]).await.status, 200);
}
