//! Asking an instance now and then whether it is ready.

use super::{Standing, Target, connect};
use crate::codec::Socket;
use crate::codec::client::{Http1, Http2};
use crate::exchange::{Body, Counted, Early, Head};
use crate::tls::Connector;
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
    tls: Option<Connector>,
    counted: impl Fn() -> Counted,
    changed: impl Fn(bool),
) {
    let mut was = None;
    loop {
        let pause = match &check {
            Check::Connect => {
                if !standing.reached.load(Ordering::Relaxed) {
                    let up = tokio::time::timeout(PATIENCE, open(&target, tls.as_ref())).await.is_ok_and(|r| r.is_ok());
                    standing.reached.store(up, Ordering::Relaxed);
                }
                TRY_AGAIN
            }
            Check::Http { path, interval } => {
                let up = tokio::time::timeout(PATIENCE, get(&target, tls.as_ref(), path, counted()))
                    .await
                    .is_ok_and(|r| r.is_ok());
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

async fn open(target: &Target, tls: Option<&Connector>) -> io::Result<Socket> {
    let addresses = match &target.place {
        super::Place::Tcp(host, port) => connect::resolve(host, *port).await?,
        super::Place::Unix(_) => Vec::new(),
    };
    let socket = connect::connect(&target.place, &addresses).await?;
    match tls {
        None => Ok(socket),
        Some(connector) => Box::pin(connect::secure(socket, target, connector)).await,
    }
}

async fn get(target: &Target, tls: Option<&Connector>, path: &str, counted: Counted) -> io::Result<()> {
    let socket = open(target, tls).await?;
    let mut head = Head::default();
    head.authority = match &target.place {
        super::Place::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        super::Place::Tcp(host, port) => format!("{host}:{port}"),
        super::Place::Unix(_) => "localhost".to_owned(),
    };
    head.set_target(path, None);
    head.headers.set("user-agent", "fourmi-check");
    let answer = if target.scheme.is_two() {
        let mut conn = Http2::handshake(socket, counted).await?;
        conn.send(&head, &mut Body::Empty).await.map(|(answer, _)| answer)
    } else {
        Http1::new(socket, counted).send(&head, &mut Body::Empty, &Early::default()).await
    };
    let status = answer.map_err(|_| io::Error::other("no answer"))?.status;
    if (200..300).contains(&status) { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}
