//! One question to one server.

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RecordType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// The longest answer we take by UDP: longer ones come in pieces that get lost.
const UDP_SIZE: u16 = 1232;
/// The option that marks what a stub zone's question is, as SkyDNS marks it: one that comes back is dropped.
pub(in crate::dns) const MARK: u16 = 65_011;

/// A question as it is asked elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::dns) struct Asking {
    pub(in crate::dns) name: Name,
    pub(in crate::dns) kind: RecordType,
    /// Asked by TCP, so that the answer is whole.
    pub(in crate::dns) tcp: bool,
    pub(in crate::dns) dnssec: bool,
    pub(in crate::dns) marked: bool,
}

/// Asks one server, which has that long.
pub(super) async fn ask(question: &Asking, server: SocketAddr, timeout: Duration) -> io::Result<Message> {
    let asked = async {
        match question.tcp {
            true => by_tcp(question, server).await,
            false => by_udp(question, server).await,
        }
    };
    tokio::time::timeout(timeout, asked).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn by_udp(question: &Asking, server: SocketAddr) -> io::Result<Message> {
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    // A socket, and so a port, of its own makes an answer hard to guess.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let (id, bytes) = encoded(question)?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; usize::from(UDP_SIZE)];
    loop {
        let read = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..read).map(Message::from_vec);
        if let Some(Ok(answer)) = answer
            && answers(&answer, id, question)
        {
            return Ok(answer);
        }
    }
}

async fn by_tcp(question: &Asking, server: SocketAddr) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let (id, bytes) = encoded(question)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(io::Error::other)?;
    if answers(&answer, id, question) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn encoded(question: &Asking) -> io::Result<(u16, Vec<u8>)> {
    let mut message = Message::query();
    message.metadata.id = fastrand::u16(..);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(question.name.clone(), question.kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_SIZE).set_dnssec_ok(question.dnssec);
    if question.marked {
        edns.options_mut().insert(EdnsOption::Unknown(MARK, vec![1]));
    }
    message.set_edns(edns);
    Ok((message.metadata.id, message.to_vec().map_err(io::Error::other)?))
}

fn answers(answer: &Message, id: u16, question: &Asking) -> bool {
    let same = |query: &Query| query.name == question.name && query.query_type == question.kind;
    let head = &answer.metadata;
    // Some leave the question out of an error; nothing else may go without it.
    let asked = match answer.queries.first() {
        Some(query) => same(query),
        None => head.response_code != ResponseCode::NoError,
    };
    head.id == id && head.message_type == MessageType::Response && asked
}
