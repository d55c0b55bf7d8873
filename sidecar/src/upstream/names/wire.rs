//! One question to one server, over UDP, and over TCP when the answer was cut.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// The longest answer over UDP that we ask for: what no network splits. Servers that cut without saying so (Consul's
/// older ones) cut less of it than of the 512 bytes of old.
const PAYLOAD: u16 = 1232;
/// What is read at most, from a server that sends more all the same.
const READ_MAX: usize = 4096;

/// Why a server is of no use for a question.
#[derive(Debug)]
pub(super) enum Failure {
    /// It said so.
    Code(ResponseCode),
    /// It points to others instead of asking them itself.
    Referral,
    /// It did not answer in time.
    Silent(Duration),
    /// It cannot be reached.
    Away(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Code(code) => match *code {
                ResponseCode::FormErr => f.write_str("answers FORMERR"),
                ResponseCode::ServFail => f.write_str("answers SERVFAIL"),
                ResponseCode::NotImp => f.write_str("answers NOTIMP"),
                ResponseCode::Refused => f.write_str("answers REFUSED"),
                other => write!(f, "answers with code {}", u16::from(other)),
            },
            Failure::Referral => f.write_str("does not resolve names for us"),
            Failure::Silent(limit) => write!(f, "does not answer within {} ms", limit.as_millis()),
            Failure::Away(e) => write!(f, "cannot be asked: {e}"),
        }
    }
}

impl Failure {
    /// Whether the server may well answer the next time.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Failure::Silent(_) | Failure::Away(_))
    }
}

/// Asks; NOERROR and NXDOMAIN are answers, all else is a failure.
pub(super) async fn ask(server: SocketAddr, query: &Query, limit: Duration, tcp: bool) -> Result<Message, Failure> {
    let mut answer = exchange(server, query, limit, tcp, true).await?;
    // Servers older than EDNS do not understand a question that has it.
    if matches!(answer.metadata.response_code, ResponseCode::FormErr | ResponseCode::NotImp) {
        answer = exchange(server, query, limit, tcp, false).await?;
    }
    match answer.metadata.response_code {
        ResponseCode::NXDomain => Ok(answer),
        ResponseCode::NoError => {
            let flags = &answer.metadata;
            let referral = answer.answers.is_empty() && !flags.authoritative && !flags.recursion_available;
            if referral { Err(Failure::Referral) } else { Ok(answer) }
        }
        code => Err(Failure::Code(code)),
    }
}

async fn exchange(
    server: SocketAddr,
    query: &Query,
    limit: Duration,
    tcp: bool,
    edns: bool,
) -> Result<Message, Failure> {
    // Its id is random, and so is the port: every question has a socket of its own.
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
    }
    let bytes = message.to_vec().map_err(|e| Failure::Away(io::Error::other(e)))?;
    if !tcp {
        let answer = within(limit, over_udp(server, &message, &bytes)).await?;
        if !answer.metadata.truncation {
            return Ok(answer);
        }
    }
    within(limit, over_tcp(server, &message, &bytes)).await
}

async fn within(limit: Duration, work: impl Future<Output = io::Result<Message>>) -> Result<Message, Failure> {
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => answer.map_err(Failure::Away),
        Err(_) => Err(Failure::Silent(limit)),
    }
}

async fn over_udp(server: SocketAddr, message: &Message, bytes: &[u8]) -> io::Result<Message> {
    let from: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from).await?;
    // Connected, so that nobody else's packets come in, and a port without a server is an error at once.
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; READ_MAX];
    loop {
        let n = socket.recv(&mut buffer).await?;
        // What does not answer our question may be forged; the answer may still come.
        if let Some(answer) = buffer.get(..n).and_then(|bytes| answer_to(message, bytes)) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, message: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    answer_to(message, &answer).ok_or_else(|| io::Error::other("the answer is no answer"))
}

/// The message in these bytes, when it answers this one.
fn answer_to(asked: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let head = &answer.metadata;
    let ours = head.id == asked.metadata.id
        && head.message_type == MessageType::Response
        && head.op_code == OpCode::Query
        // Who did not understand the question does not repeat it.
        && (answer.queries == asked.queries
            || answer.queries.is_empty()
                && matches!(head.response_code, ResponseCode::FormErr | ResponseCode::NotImp));
    ours.then_some(answer)
}
