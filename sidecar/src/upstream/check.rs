//! Asking an instance now and then whether it is ready.

use super::{Standing, Target, connect};
use crate::codec::Stream;
use crate::codec::client::{Http1, Http2};
use crate::exchange::{Body, Counted};
use http::{Request, Version};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How readiness is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A connection is enough, and is only tried while none has succeeded.
    Connect,
    /// A GET that must answer 2xx.
    Http {
        /// The path.
        path: String,
        /// How often.
        interval: Duration,
    },
}

/// How often an instance that does not answer is tried.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Checks one instance for ever; `changed` hears of each change.
pub async fn keep_checking(
    target: Target,
    check: Check,
    standing: Arc<Standing>,
    counted: impl Fn() -> Counted,
    changed: impl Fn(bool),
) {
    let mut was = None;
    loop {
        let pause = match &check {
            Check::Connect => {
                if !standing.reached.load(Ordering::Relaxed) {
                    let up = tokio::time::timeout(PATIENCE, open(&target)).await.is_ok_and(|r| r.is_ok());
                    standing.reached.store(up, Ordering::Relaxed);
                }
                TRY_AGAIN
            }
            Check::Http { path, interval } => {
                let up = tokio::time::timeout(PATIENCE, get(&target, path, counted())).await.is_ok_and(|r| r.is_ok());
                standing.reached.store(up, Ordering::Relaxed);
                standing.ready.store(up, Ordering::Relaxed);
                if up { *interval } else { TRY_AGAIN.min(*interval) }
            }
        };
        let up = standing.up();
        if was.replace(up) != Some(up) {
            changed(up);
        }
        tokio::time::sleep(pause).await;
    }
}

async fn open(target: &Target) -> io::Result<Stream> {
    let addresses = match &target.place {
        super::Place::Tcp(host, port) => connect::resolve(host, *port).await?,
        super::Place::Unix(_) => Vec::new(),
    };
    Ok(Stream::new(connect::connect(&target.place, &addresses).await?, Vec::new(), None))
}

async fn get(target: &Target, path: &str, counted: Counted) -> io::Result<()> {
    let stream = open(target).await?;
    let host = match &target.place {
        super::Place::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        super::Place::Tcp(host, port) => format!("{host}:{port}"),
        super::Place::Unix(_) => "localhost".to_owned(),
    };
    let request = |uri: String, version| {
        Request::get(uri)
            .version(version)
            .header("user-agent", "fourmi-check")
            .body(Body::Empty)
            .map_err(io::Error::other)
    };
    let answer = match target.scheme {
        super::Scheme::Http => {
            let mut request = request(path.to_owned(), Version::HTTP_11)?;
            if let Ok(host) = host.parse() {
                request.headers_mut().insert(http::header::HOST, host);
            }
            let mut conn = Http1::handshake(stream, counted).await.map_err(io::Error::other)?;
            conn.send(request).await.map_err(|_| io::Error::other("no answer"))?
        }
        super::Scheme::H2c => {
            let mut conn = Http2::handshake(stream, counted).await.map_err(io::Error::other)?;
            conn.send(request(format!("http://{host}{path}"), Version::HTTP_2)?)
                .await
                .map_err(|_| io::Error::other("no answer"))?
        }
    };
    if answer.status().is_success() { Ok(()) } else { Err(io::Error::other(format!("{}", answer.status()))) }
}
