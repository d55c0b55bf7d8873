//! What is measured: who speaks what on which side.

use crate::proxies::Proxy;
use crate::worker::Kind;
use bytes::Bytes;
use fourmi_tests::h2::{H2Client, Pieces, run};

/// One thing that is measured.
pub(crate) struct Cell {
    /// What it is called in the report.
    pub(crate) title: &'static str,
    /// What the worker speaks.
    pub(crate) worker: Kind,
    /// Bytes of an answer's body.
    pub(crate) answer: usize,
}

/// All of them.
pub(crate) const CELLS: [Cell; 4] = [
    Cell { title: "HTTP/2 on both sides, 200 bytes", worker: Kind::Http2, answer: 200 },
    Cell { title: "HTTP/2 in front of HTTP/1.1, 200 bytes", worker: Kind::Http1, answer: 200 },
    Cell { title: "gRPC, unary, 100 bytes", worker: Kind::Grpc, answer: GRPC },
    Cell { title: "HTTP/2 in front of HTTP/1.1, 16 KiB", worker: Kind::Http1, answer: 16 << 10 },
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
    /// nginx has no HTTP/2 towards workers but for gRPC.
    pub(crate) fn proxies(&self) -> Vec<Proxy> {
        match self.worker {
            Kind::Http2 => vec![Proxy::Fourmi, Proxy::Envoy],
            Kind::Http1 | Kind::Grpc => vec![Proxy::Fourmi, Proxy::Envoy, Proxy::Nginx],
        }
    }

    /// The path that is asked for.
    pub(crate) fn path(&self) -> &'static str {
        if self.worker == Kind::Grpc { "/pay.Payment/Buy" } else { "/buy" }
    }

    /// Header lines of a request.
    pub(crate) fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self.worker {
            Kind::Grpc => &[("content-type", "application/grpc"), ("te", "trailers")],
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
