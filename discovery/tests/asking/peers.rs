//! Recursors to ask, of several moods.

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

/// A record that recursors know.
#[derive(Clone)]
pub(super) struct Foreign(Record);

impl Foreign {
    pub(super) fn parse(name: &str, ttl: &str, kind: &str, data: &str) -> Self {
        let data_of = match kind {
            "A" => RData::A(A(data.parse().unwrap())),
            "AAAA" => RData::AAAA(AAAA(data.parse().unwrap())),
            "CNAME" => RData::CNAME(CNAME(named(data))),
            "TXT" => RData::TXT(TXT::new(vec![data.into()])),
            other => panic!("what is {other}?"),
        };
        Foreign(Record::from_rdata(named(name), ttl.parse().unwrap(), data_of))
    }
}

fn named(text: &str) -> Name {
    Name::from_labels(text.split('.').map(str::as_bytes).collect::<Vec<_>>()).unwrap()
}

/// How a recursor is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mood {
    Answers,
    /// Says that the answers are its own.
    Owns,
    Fails,
    Refuses,
    Silent,
    Truncates,
}

impl Mood {
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "answers" => Mood::Answers,
            "owns" => Mood::Owns,
            "fails" => Mood::Fails,
            "refuses" => Mood::Refuses,
            "silent" => Mood::Silent,
            "truncates" => Mood::Truncates,
            other => panic!("what is {other}?"),
        }
    }
}

/// Starts one, by UDP and TCP.
pub(super) async fn recursor(mood: Mood, known: Vec<Foreign>, tasks: &mut JoinSet<()>) -> SocketAddr {
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let by_tcp = known.clone();
    tasks.spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((read, from)) = udp.recv_from(&mut buffer).await {
            if let Some(reply) = reply(mood, &known, &buffer[..read]) {
                udp.send_to(&reply, from).await.unwrap();
            }
        }
    });
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut asked = vec![0; usize::from(length)];
            stream.read_exact(&mut asked).await.unwrap();
            // By TCP nothing need be cut.
            let mood = if mood == Mood::Truncates { Mood::Answers } else { mood };
            if let Some(reply) = reply(mood, &by_tcp, &asked) {
                let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], &reply].concat()).await.unwrap();
            }
        }
    });
    address
}

fn reply(mood: Mood, known: &[Foreign], asked: &[u8]) -> Option<Vec<u8>> {
    let asked = Message::from_vec(asked).unwrap();
    let mut reply = Message::new(asked.metadata.id, MessageType::Response, asked.metadata.op_code);
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = mood == Mood::Owns;
    reply.add_queries(asked.queries.clone());
    match mood {
        Mood::Silent => return None,
        Mood::Fails => reply.metadata.response_code = ResponseCode::ServFail,
        Mood::Refuses => reply.metadata.response_code = ResponseCode::Refused,
        Mood::Truncates => reply.metadata.truncation = true,
        Mood::Answers | Mood::Owns => {
            let mut names = vec![asked.queries[0].name.clone()];
            while let Some(name) = names.pop() {
                for Foreign(record) in known.iter().filter(|known| known.0.name == name) {
                    if let RData::CNAME(next) = &record.data {
                        names.push(next.0.clone());
                    }
                    reply.add_answer(record.clone());
                }
            }
            if reply.answers.is_empty() {
                reply.metadata.response_code = ResponseCode::NXDomain;
            }
        }
    }
    Some(reply.to_vec().unwrap())
}
