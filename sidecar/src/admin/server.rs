//! The listener: connections, limits, deadlines.

use super::answer::{Answer, problem};
use super::api::{self, Desk};
use super::pulse::Pulse;

use super::{Control, guard, spool};
use http::request::Parts;
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

#[cfg(test)]
mod tests;

/// Connections at once.
const CONNECTIONS: usize = 128;
/// Requests worked on at once; more are answered 503 at once.
const REQUESTS: usize = 64;
/// Bytes of a request's head.
const HEAD: usize = 16 << 10;
/// Bytes of a request's body, which nothing looks at but an import.
const BODY: usize = 64 << 10;
/// For a head to come (idle time of a kept connection included), and for an answer to be made.
const PATIENCE: Duration = Duration::from_secs(10);

/// One request and who sent it.
struct Call {
    head: Parts,
    body: Incoming,
    peer: IpAddr,
}

/// Answers on a listener until it is dropped. Must run inside a [`tokio::task::LocalSet`], as it spawns a local
/// task for each connection.
pub async fn serve(listener: TcpListener, control: Rc<dyn Control>) {
    let desk = Rc::new(Desk { control, pulse: Pulse::default(), machine: guard::machine() });
    let answer = tower::service_fn(move |call: Call| {
        let desk = Rc::clone(&desk);
        async move { Ok::<_, BoxError>(take(call, &desk).await) }
    });
    let stack = ServiceBuilder::new().load_shed().concurrency_limit(REQUESTS).timeout(PATIENCE).service(answer);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely out of file descriptors: asking again at once would only burn the processor.
                tracing::warn!(%error, "admin: no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => drop(tokio::task::spawn_local(connection(stream, peer, permit, stack.clone()))),
            Err(_) => {
                let full = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.try_write(full);
            }
        }
    }
}

async fn connection<S>(stream: TcpStream, peer: SocketAddr, _permit: OwnedSemaphorePermit, stack: S)
where
    S: Service<Call, Response = Answer, Error = BoxError> + Clone,
{
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let (head, body) = request.into_parts();
        let asked = stack.clone().oneshot(Call { head, body, peer: peer.ip() });
        async move { Ok::<_, Infallible>(asked.await.unwrap_or_else(|error| failed(&error))) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, %peer, "admin: connection ended");
    }
}

/// Lets it in by its head alone; then reads its body, so that the connection can be kept, and answers.
async fn take(call: Call, desk: &Desk) -> Answer {
    let Call { head, body, peer } = call;
    let admitted = match api::admit(&head, peer, desk) {
        Ok(admitted) => admitted,
        Err(refused) => return api::whole(&head, left(*refused, &body)),
    };
    let most = if admitted.wants_body() { spool::IMPORT_MAX } else { BODY };
    let too_large = || problem(413, &format!("{most} bytes of a body are read here"));
    if body.size_hint().lower() > most as u64 {
        return left(too_large(), &body);
    }
    // Everybody may ask how it is, so nobody's body is waited for.
    if head.method.is_safe() {
        let closes = !body.is_end_stream();
        let answer = api::answer(&head, &[], (peer, admitted), desk).await;
        return if closes { closing(answer) } else { answer };
    }
    match Limited::new(body, most).collect().await {
        Ok(body) => api::answer(&head, &body.to_bytes(), (peer, admitted), desk).await,
        Err(_) => closing(too_large()),
    }
}

/// An answer to a request whose body, if it has one, is not read.
fn left(answer: Answer, body: &Incoming) -> Answer {
    if body.is_end_stream() { answer } else { closing(answer) }
}

fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    answer
}

/// What the stack around the answers says when it gives up.
fn failed(error: &BoxError) -> Answer {
    if error.is::<tower::load_shed::error::Overloaded>() {
        let mut answer = problem(503, "too many requests at once");
        answer.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
        return answer;
    }
    if error.is::<tower::timeout::error::Elapsed>() {
        return problem(504, "no answer in time; the change may still happen");
    }
    problem(500, &error.to_string())
}
