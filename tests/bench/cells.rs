//! What is measured: who speaks what on which side.

use crate::proxies::{BEFORE, Proxy};
use crate::worker::Kind;
use bytes::Bytes;
use fourmi_tests::h2::{H2Client, Pieces, run};

/// How callers speak to the proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// HTTP/2 with prior knowledge.
    Plain2,
    /// HTTP/1.1, kept alive.
    Plain1,
    /// HTTP/1.1 over TLS, kept alive.
    Tls1,
    /// HTTP/2 over TLS.
    Tls2,
    /// HTTP/1.1 over TLS, a new connection and a full handshake for each request.
    Handshakes,
}

impl Caller {
    pub(crate) fn is_secure(self) -> bool {
        matches!(self, Caller::Tls1 | Caller::Tls2 | Caller::Handshakes)
    }

    pub(crate) fn is_two(self) -> bool {
        matches!(self, Caller::Plain2 | Caller::Tls2)
    }

    /// How many ordinary requests one of these stands for, so that a sample of each takes about as long.
    pub(crate) fn costs(self) -> u64 {
        if self == Caller::Handshakes { 20 } else { 1 }
    }
}

/// One thing that is measured.
pub(crate) struct Cell {
    /// What it is called in the report.
    pub(crate) title: &'static str,
    /// What callers speak.
    pub(crate) caller: Caller,
    /// What the worker speaks.
    pub(crate) worker: Kind,
    /// How many instances of it there are.
    pub(crate) instances: usize,
    /// Bytes of an answer's body.
    pub(crate) answer: usize,
    /// Which share of the CPU time of the best of these is the goal.
    pub(crate) goal: Option<(f64, &'static [Proxy])>,
}

const OF_ENVOY: Option<(f64, &[Proxy])> = Some((0.7, &[Proxy::Envoy]));
const OF_THE_BEST: Option<(f64, &[Proxy])> = Some((0.9, &[Proxy::Nginx, Proxy::Haproxy, Proxy::Envoy]));

/// What most cells have in common.
const USUAL: Cell =
    Cell { title: "", caller: Caller::Plain2, worker: Kind::Http1, instances: 1, answer: 200, goal: OF_ENVOY };

/// All of them.
pub(crate) const CELLS: [Cell; 9] = [
    Cell { title: "HTTP/2 on both sides, 200 bytes", worker: Kind::Http2, ..USUAL },
    Cell { title: "HTTP/2 in front of HTTP/1.1, 200 bytes", ..USUAL },
    Cell { title: "gRPC, unary, 100 bytes", worker: Kind::Grpc, answer: GRPC, ..USUAL },
    Cell { title: "HTTP/2 in front of HTTP/1.1, 16 KiB", answer: 16 << 10, ..USUAL },
    Cell { title: "HTTP/1.1, one instance", caller: Caller::Plain1, goal: None, ..USUAL },
    Cell { title: "HTTP/1.1, three instances", caller: Caller::Plain1, instances: 3, goal: None, ..USUAL },
    Cell { title: "HTTP/1.1 over TLS", caller: Caller::Tls1, goal: OF_THE_BEST, ..USUAL },
    Cell { title: "HTTP/2 over TLS in front of HTTP/1.1", caller: Caller::Tls2, goal: None, ..USUAL },
    Cell { title: "a TLS handshake for each request", caller: Caller::Handshakes, goal: None, ..USUAL },
];

/// Bytes of a JSON request's body.
const JSON: usize = 300;
/// Bytes of a gRPC message with its frame.
const GRPC: usize = 5 + 100;

/// So many bytes of JSON.
pub(crate) fn json(length: usize) -> Bytes {
    let (head, tail) = (r#"{"command":"Buy","shop":7,"note":""#, r#""}"#);
    format!("{head}{}{tail}", "x".repeat(length - head.len() - tail.len())).into()
}

/// A gRPC message in its frame: not compressed, a length, the message.
pub(crate) fn grpc() -> Bytes {
    let mut frame = vec![0];
    frame.extend(((GRPC - 5) as u32).to_be_bytes());
    frame.resize(GRPC, b'x');
    frame.into()
}

impl Cell {
    /// nginx has no HTTP/2 towards workers but for gRPC; HAProxy is a peer of what came after HTTP/2.
    pub(crate) fn proxies(&self) -> Vec<Proxy> {
        let mut all = vec![Proxy::Fourmi];
        if self.caller == Caller::Plain1 && self.instances == 1 && std::env::var_os(BEFORE).is_some() {
            all.push(Proxy::Before);
        }
        all.push(Proxy::Envoy);
        if self.worker != Kind::Http2 {
            all.push(Proxy::Nginx);
        }
        if self.caller != Caller::Plain2 {
            all.push(Proxy::Haproxy);
        }
        all
    }

    /// The path that is asked for.
    pub(crate) fn path(&self) -> &'static str {
        if self.worker == Kind::Grpc { "/pay.Payment/Buy" } else { "/buy" }
    }

    /// Header lines of a request.
    pub(crate) fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self.worker {
            Kind::Grpc => &[("content-type", "application/grpc"), ("te", "trailers")],
            _ if self.caller == Caller::Handshakes => &[("content-type", "application/json"), ("connection", "close")],
            Kind::Http1 | Kind::Http2 => &[("content-type", "application/json")],
        }
    }

    /// The body of a request.
    pub(crate) fn request(&self) -> Bytes {
        if self.worker == Kind::Grpc { grpc() } else { json(JSON) }
    }

    /// The body of an answer.
    pub(crate) fn reply(&self) -> Bytes {
        if self.worker == Kind::Grpc { grpc() } else { json(self.answer) }
    }

    /// One request, looked at closely: what the load generator counts cannot show a missing trailer.
    pub(crate) fn probe(&self, port: u16) {
        if self.caller != Caller::Plain2 {
            return;
        }
        let answer = run(async {
            let mut client = H2Client::connect(port).await;
            client.send("POST", self.path(), self.headers(), Pieces::of(self.request())).await
        })
        .unwrap_or_else(|e| panic!("{}: no answer: {e}", self.title));
        assert_eq!(answer.status, 200, "{}: {:?}", self.title, String::from_utf8_lossy(&answer.body));
        assert!(answer.body == self.reply(), "{}: another body came than was sent: {answer:?}", self.title);
        if self.worker == Kind::Grpc {
            assert_eq!(answer.trailer("grpc-status"), Some("0"), "{}: {answer:?}", self.title);
        }
    }
}
