//! A DNS server that says what the test tells it to, over UDP and TCP.

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What is said to a question.
#[derive(Debug, Clone)]
pub(super) enum Say {
    /// These records, and these along with them; each as `name ttl type data`.
    Records(Vec<Record>, Vec<Record>),
    Code(ResponseCode),
    Silence,
    /// Bytes that are no message, an answer to somebody else, and then these records.
    AfterGarbage(Vec<Record>),
    /// Over UDP only that there is more; all over TCP.
    Cut(Vec<Record>),
    /// FORMERR with nothing but a head for a question with EDNS.
    Old(Vec<Record>),
    /// A pointer to other servers.
    Referral,
}

pub(super) fn records(lines: &[&str]) -> Vec<Record> {
    lines.iter().map(|line| record(line)).collect()
}

fn record(line: &str) -> Record {
    let (name, rest) = line.split_once(' ').unwrap();
    let (ttl, rest) = rest.split_once(' ').unwrap();
    let (kind, data) = rest.split_once(' ').unwrap();
    let kind = RecordType::from_str(kind).unwrap();
    let data = RData::try_from_str(kind, data).unwrap();
    Record::from_rdata(Name::from_ascii(name).unwrap(), ttl.parse().unwrap(), data)
}

#[derive(Default)]
struct Script {
    says: HashMap<(String, RecordType), VecDeque<Say>>,
    asked: Vec<String>,
}

/// It runs in the test's runtime and ends with it.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Server {
    pub(super) async fn start() -> Server {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let server = Server { address: udp.local_addr().unwrap(), script: Arc::default() };
        tokio::spawn(server.clone().answer_udp(udp));
        tokio::spawn(server.clone().answer_tcp(tcp));
        server
    }

    /// From now on all questions of that kind are answered so; of several the last one stays.
    pub(super) fn says(&self, name: &str, kind: RecordType, says: impl IntoIterator<Item = Say>) {
        let says = says.into_iter().collect();
        self.script.lock().unwrap().says.insert((name.to_owned(), kind), says);
    }

    /// The name has these addresses and no others; none of a kind is NODATA.
    pub(super) fn has(&self, name: &str, ttl: u32, addresses: &[&str]) {
        for (kind, v6) in [(RecordType::A, false), (RecordType::AAAA, true)] {
            let ours = addresses.iter().filter(|a| a.contains(':') == v6);
            let lines: Vec<String> = ours.map(|a| format!("{name} {ttl} {kind} {a}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            self.says(name, kind, [Say::Records(records(&lines), Vec::new())]);
        }
    }

    /// Both families fail so, or are unknown.
    pub(super) fn fails(&self, name: &str, code: ResponseCode) {
        self.says(name, RecordType::A, [Say::Code(code)]);
        self.says(name, RecordType::AAAA, [Say::Code(code)]);
    }

    /// The questions so far, as `name type`, with `tcp` when it was.
    pub(super) fn asked(&self) -> Vec<String> {
        self.script.lock().unwrap().asked.clone()
    }

    /// The answers to a question, in their order.
    fn answers(&self, bytes: &[u8], tcp: bool) -> Vec<Vec<u8>> {
        let asked = Message::from_vec(bytes).unwrap();
        let query: &Query = asked.queries.first().unwrap();
        let name = query.name().to_lowercase().to_ascii();
        let mut script = self.script.lock().unwrap();
        script.asked.push(format!("{name} {}{}", query.query_type(), if tcp { " tcp" } else { "" }));
        let say = match script.says.get_mut(&(name, query.query_type())) {
            Some(says) if says.len() > 1 => says.pop_front().unwrap(),
            Some(says) => says.front().unwrap().clone(),
            None => Say::Code(ResponseCode::NXDomain),
        };
        let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let mut all = Vec::new();
        match say {
            Say::Records(answers, additionals) => {
                answer.add_answers(answers);
                answer.add_additionals(additionals);
            }
            Say::Code(code) => answer.metadata.response_code = code,
            Say::Silence => return all,
            Say::AfterGarbage(answers) => {
                all.push(b"\xff\xff\x80".repeat(20));
                let mut other = answer.clone();
                other.metadata.id ^= 1;
                other.add_answers(records(&["stock.test. 1 A 6.6.6.6"]));
                all.push(other.to_vec().unwrap());
                answer.add_answers(answers);
            }
            Say::Cut(_) if !tcp => answer.metadata.truncation = true,
            Say::Old(_) if asked.edns.is_some() => {
                answer.queries.clear();
                answer.metadata.response_code = ResponseCode::FormErr;
            }
            Say::Cut(answers) | Say::Old(answers) => drop(answer.add_answers(answers)),
            Say::Referral => {
                answer.metadata.recursion_available = false;
                answer.add_authorities(records(&["test. 1 NS ns.test."]));
            }
        }
        all.push(answer.to_vec().unwrap());
        all
    }

    async fn answer_udp(self, socket: UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            for answer in self.answers(&buffer[..n], false) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    }

    async fn answer_tcp(self, listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut bytes).await.unwrap();
            for answer in self.answers(&bytes, true) {
                stream.write_u16(answer.len() as u16).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        }
    }
}
