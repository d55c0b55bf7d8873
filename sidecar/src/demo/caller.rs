//! Asks one address over kept connections, and knows for sure what it has sent.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Connections kept for the next call.
const IDLE: usize = 256;
/// Bytes of an answer's body.
const BODY: usize = 4 << 20;

/// What became of calls: what a caller can say by itself, whatever stands in between.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Written, in part at least.
    pub(super) sent: Cell<u64>,
    /// Of them, those whose whole answer came.
    pub(super) answered: Cell<u64>,
    /// Of those, the ones that the first Fourmi on their way answered itself, by a middleware: 401, 403 or 429.
    pub(super) refused: Cell<u64>,
    /// Calls that never left: no connection.
    pub(super) unsent: Cell<u64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Not a byte of it was sent.
    #[error("not sent: {0}")]
    Unsent(String),
    /// Sent, and no whole answer came.
    #[error("no answer: {0}")]
    Unanswered(String),
}

/// Asks one address.
pub(super) struct Caller {
    at: SocketAddr,
    patience: Duration,
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
}

impl Caller {
    /// `patience` is for one whole call.
    pub(super) fn new(at: SocketAddr, patience: Duration) -> Self {
        Caller { at, patience, idle: RefCell::default() }
    }

    /// One call, counted.
    pub(super) async fn call(
        &self,
        request: Request<Full<Bytes>>,
        tally: &Tally,
    ) -> Result<Response<Bytes>, CallError> {
        let asked = match tokio::time::timeout(self.patience, self.exchange(request)).await {
            Ok(asked) => asked,
            Err(_) => Err(CallError::Unanswered(format!("nothing within {:?}", self.patience))),
        };
        match &asked {
            Ok(answer) => {
                let by_fourmi = answer.headers().get("server").is_some_and(|s| s == "fourmi");
                if by_fourmi && matches!(answer.status().as_u16(), 401 | 403 | 429) {
                    tally.refused.set(tally.refused.get() + 1);
                }
                tally.sent.set(tally.sent.get() + 1);
                tally.answered.set(tally.answered.get() + 1);
            }
            Err(CallError::Unanswered(_)) => tally.sent.set(tally.sent.get() + 1),
            Err(CallError::Unsent(_)) => tally.unsent.set(tally.unsent.get() + 1),
        }
        asked
    }

    /// A GET that nobody counts.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Bytes>, CallError> {
        let request = Request::get(path).header("host", self.at.to_string()).body(Full::default());
        self.call(request.map_err(|e| CallError::Unsent(e.to_string()))?, &Tally::default()).await
    }

    /// Closes what is kept.
    pub(super) fn close(&self) {
        self.idle.borrow_mut().clear();
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, CallError> {
        let mut kept = self.kept().await;
        let (sender, answer) = loop {
            let fresh = kept.is_none();
            let mut sender = match kept.take() {
                Some(sender) => sender,
                None => self.connect().await.map_err(|e| CallError::Unsent(e.to_string()))?,
            };
            match sender.try_send_request(request).await {
                Ok(answer) => break (sender, answer),
                Err(mut failed) => match failed.take_message() {
                    // The other side closed the kept connection just now; it has not seen this call.
                    Some(again) if !fresh => request = again,
                    Some(_) => return Err(CallError::Unsent(failed.into_error().to_string())),
                    None => return Err(CallError::Unanswered(failed.into_error().to_string())),
                },
            }
        };
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, BODY).collect().await.map_err(|e| CallError::Unanswered(e.to_string()))?;
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE {
            idle.push(sender);
        }
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// The connection used last that is still open: others may grow old and close.
    async fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        loop {
            let mut sender = self.idle.borrow_mut().pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.at).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its end shows at the sender; there is nothing more to learn from it.
        tokio::task::spawn_local(connection);
        sender.ready().await?;
        Ok(sender)
    }
}
