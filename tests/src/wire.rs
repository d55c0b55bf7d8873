//! HTTP/1 by hand: what a test sends is exactly what it wrote, and what came is shown as it came.

use crate::net::Stream;
use crate::patience::patience;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A request or an answer as it stood on the wire.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The request line or the status line.
    pub first: String,
    /// Header lines in order, names as they were spelled.
    pub headers: Lines,
    /// The body, decoded from its chunks.
    pub body: Vec<u8>,
    /// Trailer lines after the last chunk.
    pub trailers: Lines,
}

impl Message {
    fn word(&self, n: usize) -> &str {
        self.first.split(' ').nth(n).unwrap_or("")
    }
    /// The status of an answer.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_else(|_| panic!("no status line: {:?}", self.first))
    }
    /// The method of a request.
    pub fn method(&self) -> &str {
        self.word(0)
    }
    /// The target of a request.
    pub fn target(&self) -> &str {
        self.word(1)
    }
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }
    /// Whether a header lists this word.
    pub fn says(&self, name: &str, word: &str) -> bool {
        self.all(name).iter().flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case(word))
    }
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.first, self.text()))
    }
    /// What an echo worker saw under this header name: the first value.
    #[track_caller]
    pub fn seen(&self, name: &str) -> Option<String> {
        let json = self.json();
        let headers = json["headers"].as_array().unwrap_or_else(|| panic!("not an echo: {}", self.text()));
        let found = headers.iter().find(|h| h[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)));
        found.and_then(|h| h[1].as_str()).map(str::to_owned)
    }
}

/// Header or trailer lines in order.
pub type Lines = Vec<(String, String)>;

/// What a message is, because that decides where it ends.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// A request.
    Request,
    /// The answer to a request with this method.
    AnswerTo(&'a str),
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the other side closes.
    Close,
}

/// A stream with what was read of it too early.
#[derive(Debug)]
pub struct Wire {
    /// The stream.
    pub stream: Stream,
    early: Vec<u8>,
}

impl Wire {
    /// Around a stream; reads fail when patience ends.
    pub fn new(stream: Stream) -> Self {
        stream.read_timeout(Some(patience()));
        Wire { stream, early: Vec::new() }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// The next bytes, as many as come at once; none at the end.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if !self.early.is_empty() {
            return Ok(std::mem::take(&mut self.early));
        }
        let mut buf = vec![0; 64 << 10];
        let n = self.stream.read(&mut buf)?;
        buf.truncate(n);
        Ok(buf)
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buf = [0; 16 << 10];
        let n = loop {
            match self.stream.read(&mut buf) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.early.extend_from_slice(&buf[..n]);
        Ok(())
    }

    /// One line without its end.
    pub fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.early.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.early.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            self.more()?;
        }
    }

    /// Exactly so many bytes.
    pub fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.early.len() < n {
            self.more()?;
        }
        Ok(self.early.drain(..n).collect())
    }

    /// Everything until the other side closes. A reset counts as an end: what came before it is what matters.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.early);
        let mut buf = [0; 64 << 10];
        loop {
            match self.stream.read(&mut buf) {
                Ok(0) => return all,
                Ok(n) => all.extend_from_slice(&buf[..n]),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return all,
                Err(e) => panic!("not closed by the other side: {e}; so far {:?}", String::from_utf8_lossy(&all)),
            }
        }
    }

    fn lines(&mut self) -> io::Result<Lines> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(lines);
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            lines.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// A message's head; its body is still on the wire.
    pub fn head(&mut self) -> io::Result<Message> {
        let first = self.line()?;
        Ok(Message { first, headers: self.lines()?, ..Message::default() })
    }

    /// Where the body of this message ends.
    pub fn framing(head: &Message, kind: Kind<'_>) -> Framing {
        if let Kind::AnswerTo(method) = kind {
            let status = head.status();
            if method == "HEAD" || status < 200 || status == 204 || status == 304 {
                return Framing::Length(0);
            }
            if method == "CONNECT" && status < 300 {
                return Framing::Length(0);
            }
        }
        if head.says("transfer-encoding", "chunked") {
            return Framing::Chunked;
        }
        match (head.header("content-length").and_then(|v| v.parse().ok()), kind) {
            (Some(n), _) => Framing::Length(n),
            (None, Kind::Request) => Framing::Length(0),
            (None, Kind::AnswerTo(_)) => Framing::Close,
        }
    }

    /// The next chunk; none after the last one, whose trailers are returned instead.
    pub fn chunk(&mut self) -> io::Result<Result<Vec<u8>, Lines>> {
        let line = self.line()?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)
            .map_err(|_| io::Error::other(format!("not a chunk's size: {line:?}")))?;
        if size == 0 {
            return Ok(Err(self.lines()?));
        }
        let data = self.exactly(size)?;
        self.exactly(2)?;
        Ok(Ok(data))
    }

    /// A message with its body.
    pub fn message(&mut self, kind: Kind<'_>) -> io::Result<Message> {
        let mut message = self.head()?;
        self.body_into(&mut message, kind)?;
        Ok(message)
    }

    /// Reads the body of a message whose head was read.
    pub fn body_into(&mut self, message: &mut Message, kind: Kind<'_>) -> io::Result<()> {
        match Self::framing(message, kind) {
            Framing::Length(n) => message.body = self.exactly(n as usize)?,
            Framing::Close => message.body = self.rest(),
            Framing::Chunked => loop {
                match self.chunk()? {
                    Ok(data) => message.body.extend_from_slice(&data),
                    Err(trailers) => {
                        message.trailers = trailers;
                        break;
                    }
                }
            },
        }
        Ok(())
    }
}

/// A caller on one connection.
#[derive(Debug)]
pub struct Client {
    /// Its connection.
    pub wire: Wire,
}

impl Client {
    /// Connects to a port of the loopback address.
    #[track_caller]
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap_or_else(|e| panic!("port {port}: {e}"));
        stream.set_nodelay(true).unwrap();
        Client { wire: Wire::new(Stream::Tcp(stream)) }
    }
    /// Breaks off: the other side gets a reset.
    #[track_caller]
    pub fn reset(self) {
        use nix::sys::socket::{setsockopt, sockopt};
        if let Stream::Tcp(stream) = &self.wire.stream {
            setsockopt(stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
        }
    }
    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.send(bytes).expect("sending");
        self
    }
    /// Sends bytes although the other side may have closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.wire.send(bytes);
        self
    }
    /// The final answer to a GET (or any method whose answers have bodies); informational ones are skipped.
    #[track_caller]
    pub fn answer(&mut self) -> Message {
        self.answer_to("GET")
    }
    /// The final answer to a request with this method.
    #[track_caller]
    pub fn answer_to(&mut self, method: &str) -> Message {
        loop {
            let answer = self.wire.message(Kind::AnswerTo(method)).unwrap_or_else(|e| panic!("no answer: {e}"));
            if answer.status() >= 200 || answer.status() == 101 {
                return answer;
            }
        }
    }
    /// The next answer's head, informational or final; its body stays on the wire.
    #[track_caller]
    pub fn answer_head(&mut self) -> Message {
        self.wire.head().unwrap_or_else(|e| panic!("no answer: {e}"))
    }
    /// Sends a GET and takes its answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Message {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).answer()
    }
    /// Sends a POST with a length and takes its answer.
    #[track_caller]
    pub fn post(&mut self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Message {
        let body = body.as_ref();
        let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        self.send(head).send(body).answer()
    }
    /// Says that nothing more will be sent; answers can still come.
    pub fn half_close(&mut self) {
        self.wire.stream.shutdown(Shutdown::Write);
    }
    /// Everything until the other side closes.
    pub fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.wire.rest()).into_owned()
    }
    /// Whether nothing comes for so long, and the connection stays open.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.wire.stream.read_timeout(Some(time));
        let silent = match self.wire.some() {
            Ok(_) => false,
            Err(e) => matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        };
        self.wire.stream.read_timeout(Some(patience()));
        silent
    }
}
