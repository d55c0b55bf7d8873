//! The DNS server as a whole: it follows changes, takes new settings, and lives through anything that is sent to it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use fourmi_discovery::dns::{Order, Server, Settings};
use fourmi_discovery::{Address, Check, Definition, Instance, Node, Probe, Registry, State, Weights};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const PATIENCE: Duration = Duration::from_secs(20);

async fn serve(registry: &Registry, settings: Settings) -> (Server, SocketAddr) {
    let server = Server::bind(&["127.0.0.1:0".parse().unwrap()], registry.clone(), settings).await.unwrap();
    let address = server.addresses()[0];
    (server, address)
}

fn with(addresses: &[(&str, u16, State)]) -> Registry {
    let registry = Registry::default();
    registry.put_node(Node::new("n1", IpAddr::V4(Ipv4Addr::LOCALHOST))).unwrap();
    for (address, weight, state) in addresses {
        let made = Instance {
            address: Some(Address::parse(address)),
            weights: Weights { passing: *weight, warning: 1 },
            ..Instance::new("web", *address, "n1", 80)
        };
        let check = Check::new(Definition::of(&made, *address, Probe::Manual)).state(*state);
        registry.register(made, vec![check], false).unwrap();
    }
    registry
}

fn question(id: u16) -> Vec<u8> {
    question_for(id, "web.service.consul.")
}

fn question_for(id: u16, name: &str) -> Vec<u8> {
    let name = Name::from_ascii(name).unwrap();
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, RecordType::A));
    message.to_vec().unwrap()
}

fn read(answer: &[u8]) -> (ResponseCode, Vec<String>) {
    let message = Message::from_vec(answer).unwrap();
    let address = |data: &RData| match data {
        RData::A(a) => a.0.to_string(),
        other => panic!("{other:?}"),
    };
    (message.metadata.response_code, message.answers.iter().map(|record| address(&record.data)).collect())
}

async fn ask(address: SocketAddr) -> (ResponseCode, Vec<String>) {
    ask_for(address, "web.service.consul.").await
}

async fn ask_for(address: SocketAddr, name: &str) -> (ResponseCode, Vec<String>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    socket.send(&question_for(7, name)).await.unwrap();
    let mut answer = vec![0; 512];
    let read = tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await.expect("it answers").unwrap();
    self::read(&answer[..read])
}

#[tokio::test]
async fn answers_follow_every_change_and_new_settings() {
    let registry = with(&[("10.0.0.1", 1, State::Passing), ("10.0.0.2", 1, State::Warning)]);
    let (server, address) = serve(&registry, Settings::default()).await;
    assert_eq!(ask(address).await.1.len(), 2);
    server.reload(Settings { only_passing: true, ..Settings::default() });
    assert_eq!(ask(address).await.1, ["10.0.0.1"]);
    registry.report("n1", "10.0.0.2", State::Passing, "");
    assert!(registry.drain("n1", "10.0.0.1", true));
    assert_eq!(ask(address).await.1, ["10.0.0.2"]);
    assert!(registry.deregister_node("n1"));
    assert_eq!(ask(address).await, (ResponseCode::NXDomain, Vec::new()));
    let counts: Vec<_> = server.counts().collect();
    assert_eq!(counts, [("A", "noerror", 3), ("A", "nxdomain", 1)]);
}

#[tokio::test]
async fn weights_decide_who_is_in_front() {
    let registry = with(&[("10.0.0.1", 9, State::Passing), ("10.0.0.2", 1, State::Passing)]);
    let (_server, address) = serve(&registry, Settings { order: Order::Weighted, ..Settings::default() }).await;
    let mut front = 0;
    for _ in 0..300 {
        front += usize::from(ask(address).await.1[0] == "10.0.0.1");
    }
    // 270 are expected; so far off is one in more than 10^12.
    assert!((225..300).contains(&front), "{front} of 300");
}

#[tokio::test]
async fn one_connection_takes_many_questions() {
    let registry = with(&[("10.0.0.1", 1, State::Passing)]);
    let (_server, address) = serve(&registry, Settings::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let framed = |id: u16| {
        let question = question(id);
        [&u16::try_from(question.len()).unwrap().to_be_bytes()[..], &question].concat()
    };
    stream.write_all(&[framed(1), framed(2), framed(3)].concat()).await.unwrap();
    for id in 1..=3 {
        let length = stream.read_u16().await.unwrap();
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().metadata.id, id);
    }
}

#[tokio::test]
async fn whatever_is_sent_it_lives() {
    let registry = with(&[("10.0.0.1", 1, State::Passing)]);
    let (_server, address) = serve(&registry, Settings::default()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for n in 0..3000 {
        let mut bytes = question(n);
        for _ in 0..random.usize(1..12) {
            let at = random.usize(2..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(0..=bytes.len() * 2).min(bytes.len()));
        socket.send_to(&bytes, address).await.unwrap();
        if n % 100 == 0 {
            assert_eq!(ask(address).await.1, ["10.0.0.1"]);
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
    }
    assert_eq!(ask(address).await.1, ["10.0.0.1"]);
}

#[tokio::test]
async fn a_port_that_is_taken_says_so() {
    let registry = Registry::default();
    let (_server, address) = serve(&registry, Settings::default()).await;
    let error = Server::bind(&[address], registry, Settings::default()).await.err().unwrap().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("another process"), "{error}");
}

#[tokio::test]
async fn a_recursor_is_asked_once_for_many() {
    let recursor = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Settings::default();
    settings.recursors.servers.push(recursor.local_addr().unwrap());
    let (server, address) = serve(&Registry::default(), settings).await;
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        askers.spawn(ask_for(address, "www.example.test."));
    }
    // All of them wait for the one answer: nobody asks a second time once they are all there.
    let mut buffer = vec![0; 512];
    let (length, from) = tokio::time::timeout(PATIENCE, recursor.recv_from(&mut buffer)).await.unwrap().unwrap();
    let asked = Message::from_vec(&buffer[..length]).unwrap();
    let mut forged = reply(&asked, "192.0.2.66", 600);
    forged.metadata.id = forged.metadata.id.wrapping_add(1);
    recursor.send_to(&forged.to_vec().unwrap(), from).await.unwrap();
    recursor.send_to(&reply(&asked, "198.51.100.4", 600).to_vec().unwrap(), from).await.unwrap();
    while let Some(answer) = askers.join_next().await {
        assert_eq!(answer.unwrap().1, ["198.51.100.4"], "an answer to another question is none");
    }
    assert_eq!(ask_for(address, "WWW.example.test.").await.1, ["198.51.100.4"], "and it is kept");
    UdpSocket::bind("127.0.0.1:0").await.unwrap().send_to(b"end", recursor.local_addr().unwrap()).await.unwrap();
    let length = recursor.recv(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"end", "one question for all");
    assert_eq!(server.counts().collect::<Vec<_>>(), [("A", "noerror", 21)]);
}

fn reply(asked: &Message, address: &str, ttl: u32) -> Message {
    let mut reply = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    reply.add_queries(asked.queries.clone());
    let name = asked.queries[0].name.clone();
    reply.add_answer(hickory_proto::rr::Record::from_rdata(name, ttl, RData::A(address.parse().unwrap())));
    reply
}
