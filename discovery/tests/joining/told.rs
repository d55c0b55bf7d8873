//! The stream itself, as anybody may read it, and what a replica answers.

use super::road::Road;
use super::{Central, HERE, connected, follow, following, put, settings, until};
use fourmi_discovery::join::Settings;
use fourmi_discovery::{Record, State, dns};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use rustls::pki_types::PrivateKeyDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

type Lines = tokio::io::Lines<BufReader<TcpStream>>;

async fn read(central: &Central, query: &str) -> (String, Lines) {
    let mut stream = TcpStream::connect(central.address).await.unwrap();
    let request = format!("GET /v1/fourmi/changes{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut head = String::new();
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if line.is_empty() {
            return (head, lines);
        }
        head += &format!("{line}\n");
    }
}

/// The lines of one batch; those of chunks are left out.
async fn batch(lines: &mut Lines) -> Vec<String> {
    let mut batch = Vec::new();
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if line.starts_with('{') {
            batch.push(line.clone());
        }
        if line.starts_with("{\"at\"") {
            return batch;
        }
    }
}

#[tokio::test]
async fn lines() {
    let central = Central::start().await;
    put(&central.registry, "n1", "web", "web-1", [10, 0, 1, 1], State::Passing);
    let (head, mut first) = read(&central, "").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/x-ndjson"), "{head}");
    let whole = batch(&mut first).await;
    let hello: serde_json::Value = serde_json::from_str(&whole[0]).unwrap();
    assert_eq!(hello["hello"]["node"], "central");
    assert_eq!(whole[1], "{\"all\":true}");
    let kinds: Vec<&str> = whole[2..].iter().map(|line| line.split('"').nth(1).unwrap()).collect();
    assert_eq!(kinds, ["node", "node", "instance", "at"]);
    let (at, epoch) = (hello["hello"]["at"].clone(), hello["hello"]["epoch"].as_str().unwrap().to_owned());
    // One of many on a node is told alone, and only as it is in the end.
    for n in 0..100 {
        put(&central.registry, "n1", "many", &format!("many-{n}"), [10, 0, 2, n], State::Passing);
    }
    while !batch(&mut first).await.iter().any(|line| line.contains("many-99")) {}
    central.registry.report("n1", "c-many-7", State::Critical, "once");
    central.registry.report("n1", "c-many-7", State::Warning, "twice");
    let change = batch(&mut first).await;
    assert_eq!(change.len(), 2, "{change:?}");
    assert!(change[0].contains("many-7") && change[0].contains("twice"));
    // Goes on from a number, and begins anew where it cannot.
    let (_, mut again) = read(&central, &format!("?since={at}&epoch={epoch}")).await;
    let missed = batch(&mut again).await;
    assert_eq!(missed.len(), 102, "who it is, what changed, the number");
    for query in [format!("?since={at}&epoch=other"), format!("?since=99999999&epoch={epoch}"), format!("?since={at}")]
    {
        let (_, mut anew) = read(&central, &query).await;
        assert_eq!(batch(&mut anew).await[1], "{\"all\":true}", "{query}");
    }
    let (head, _) = read(&central, "?since=x").await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let (head, _) = read(&central, "?dc=other").await;
    assert!(head.starts_with("HTTP/1.1 500"), "{head}");
}

#[tokio::test]
async fn who_follows_has_a_limit_and_who_does_not_read_is_let_go() {
    let mut http = settings();
    http.limits.followers = 2;
    http.limits.write_time = Duration::from_millis(500);
    let central = Central::of((HERE, 0).into(), None, http).await;
    for n in 0..200 {
        for m in 0..20 {
            put(&central.registry, "n1", "web", &format!("web-{m}-{n}"), [10, 0, m, n], State::Passing);
        }
    }
    let (_, one) = read(&central, "").await;
    let (_, other) = read(&central, "").await;
    let (head, _) = read(&central, "").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    drop(one);
    // The other one takes nothing; what it would have to take grows beyond what a connection holds.
    let end = std::time::Instant::now() + super::PATIENCE;
    let mut free = 0;
    while free < 2 {
        assert!(std::time::Instant::now() < end, "it is let go");
        for m in 0..20 {
            for n in 0..200 {
                let state = if fastrand::bool() { State::Warning } else { State::Critical };
                central.registry.report("n1", &format!("c-web-{m}-{n}"), state, &fastrand::u64(..).to_string());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (head, one) = read(&central, "").await;
        let (again, two) = read(&central, "").await;
        free = [head, again].iter().filter(|head| head.starts_with("HTTP/1.1 200")).count();
        drop((one, two));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(other);
}

async fn answers(address: SocketAddr, name: &str, kind: RecordType) -> Vec<String> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    socket.send(&message.to_vec().unwrap()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(super::PATIENCE, socket.recv(&mut answer)).await.unwrap().unwrap();
    let message = Message::from_vec(&answer[..read]).unwrap();
    let mut shown: Vec<String> =
        message.answers.iter().map(|record| format!("{} {}", record.name, record.data)).collect();
    shown.sort();
    shown
}

#[tokio::test]
async fn names_are_answered_as_there_and_go_on_without_it() {
    let central = Central::start().await;
    let registry = &central.registry;
    put(registry, "n1", "web", "web-1", [10, 0, 1, 1], State::Passing);
    put(registry, "n2", "web", "web-2", [10, 0, 1, 2], State::Warning);
    put(registry, "n2", "web", "web-3", [10, 0, 1, 3], State::Critical);
    registry.put_record("1.orders.skydns.local", Record::host("10.0.0.9", 80)).unwrap();
    let expires = Some(SystemTime::now() + Duration::from_secs(3));
    registry.put_record("2.orders.skydns.local", Record { expires, ..Record::host("10.0.0.8", 80) }).unwrap();
    let (joined, replica) = follow(following(central.url()));
    connected(&joined).await;
    let mut addresses = Vec::new();
    let mut servers = Vec::new();
    for registry in [registry.clone(), replica] {
        let server = dns::Server::bind(&[(HERE, 0).into()], registry, dns::Settings::default()).await.unwrap();
        addresses.push(server.addresses()[0]);
        servers.push(server);
    }
    let asked = [
        ("web.service.consul.", RecordType::A),
        ("web.service.consul.", RecordType::SRV),
        ("n2.node.consul.", RecordType::A),
        ("orders.skydns.local.", RecordType::A),
        ("1.0.0.10.in-addr.arpa.", RecordType::PTR),
        ("nobody.service.consul.", RecordType::A),
    ];
    let mut there = Vec::new();
    for (name, kind) in asked {
        let answer = answers(addresses[0], name, kind).await;
        assert_eq!(answers(addresses[1], name, kind).await, answer, "{name} {kind}");
        there.push(answer);
    }
    assert_eq!((there[0].len(), there[3].len()), (2, 2));
    central.kill().await;
    until("it is cut off", || !joined.status().connected).await;
    for ((name, kind), before) in asked.iter().zip(&there).take(3) {
        assert_eq!(answers(addresses[1], name, *kind).await, *before, "{name} {kind}");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(answers(addresses[1], "orders.skydns.local.", RecordType::A).await.len(), 1, "an entry ends by itself");
}

#[tokio::test]
async fn by_tls() {
    let central = Central::start().await;
    put(&central.registry, "n1", "web", "web-1", [10, 0, 1, 1], State::Passing);
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server =
        rustls::ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let server = server.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], private).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let registry = central.address;
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(stream).await else { return };
                let mut far = TcpStream::connect(registry).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let trusting = |roots| {
        let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        Some(Arc::new(config.with_no_client_auth()))
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let url = format!("https://localhost:{port}");
    for stream in [true, false] {
        let (joined, replica) = follow(Settings { tls: trusting(roots.clone()), stream, ..following(&*url) });
        connected(&joined).await;
        until("it is there", || replica.snapshot().usable("web").count() == 1).await;
    }
    let (joined, _replica) = follow(Settings { tls: trusting(rustls::RootCertStore::empty()), ..following(&*url) });
    until("nobody is trusted", || joined.status().error.is_some_and(|why| why.contains("certificate"))).await;
}

#[tokio::test]
async fn a_road_that_stands_still_is_left() {
    let (one, other) = (Central::start().await, Central::start().await);
    put(&other.registry, "n1", "web", "web-1", [10, 0, 1, 1], State::Passing);
    let road = Road::to(one.address).await;
    let (joined, replica) = follow(Settings { urls: vec![road.url(), other.url()], ..following("") });
    connected(&joined).await;
    road.set(super::road::How::Still);
    until("the other one is followed", || replica.snapshot().usable("web").count() == 1).await;
}
