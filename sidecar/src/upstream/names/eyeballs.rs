//! Connecting to an instance that has addresses of both families: happy eyeballs, RFC 8305.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long one attempt has before the next one starts beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to the first of the addresses that takes us. The families take turns, the first address's family first;
/// each attempt starts when the one before failed or has had its time. The first to succeed wins.
pub async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    match addresses {
        [only] => TcpStream::connect(only).await,
        _ => race(interleaved(addresses), TcpStream::connect).await,
    }
}

/// The addresses with the families in turn.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let mut turns =
        [true, false].map(|of_first| addresses.iter().filter(move |a| (a.is_ipv6() == first_is_v6) == of_first));
    let mut mixed = Vec::with_capacity(addresses.len());
    while mixed.len() < addresses.len() {
        mixed.extend(turns.iter_mut().filter_map(Iterator::next));
    }
    mixed
}

async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut left = addresses.into_iter();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "there is no address");
    let timer = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(timer);
    std::future::poll_fn(|cx| {
        loop {
            let mut failed = false;
            let mut at = 0;
            while let Some(attempt) = running.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(won)) => return Poll::Ready(Ok(won)),
                    Poll::Ready(Err(e)) => {
                        last = e;
                        failed = true;
                        drop(running.remove(at));
                    }
                    Poll::Pending => at += 1,
                }
            }
            let due = failed || running.is_empty() || timer.as_mut().poll(cx).is_ready();
            match due.then(|| left.next()).flatten() {
                Some(address) => {
                    running.push(Box::pin(connect(address)));
                    timer.as_mut().reset(Instant::now() + STAGGER);
                }
                None if running.is_empty() => {
                    let none = io::Error::other("every attempt failed");
                    return Poll::Ready(Err(std::mem::replace(&mut last, none)));
                }
                None => return Poll::Pending,
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let mixed = |list: &[&str]| {
            interleaved(&list.iter().map(|a| address(a)).collect::<Vec<_>>())
                .iter()
                .map(SocketAddr::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            mixed(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]),
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]
        );
        assert_eq!(mixed(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"]), ["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]);
        assert!(mixed(&[]).is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_that_never_answers_or_refuses_is_passed_over() {
        let list = ["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "192.0.2.2:1"].map(address);
        let tried = RefCell::new(Vec::new());
        let connect = |a: SocketAddr| {
            tried.borrow_mut().push(a);
            async move {
                match a.to_string().as_str() {
                    "[2001:db8::1]:1" => std::future::pending().await,
                    "192.0.2.1:1" => Err(io::ErrorKind::ConnectionRefused.into()),
                    _ => Ok(a),
                }
            }
        };
        assert_eq!(race(list.to_vec(), connect).await.unwrap(), list[2]);
        assert_eq!(*tried.borrow(), list[..3]);
        // All of them refuse: no waiting, and an error that says so.
        let refused = race(list.to_vec(), |_| async { io::Result::<()>::Err(io::ErrorKind::ConnectionRefused.into()) });
        assert_eq!(refused.await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_any(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn v6_refused_is_v4() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let v4 = listener.local_addr().unwrap();
        let v6 = SocketAddr::new(address("[::1]:1").ip(), v4.port());
        assert_eq!(connect_any(&[v6, v4]).await.unwrap().peer_addr().unwrap(), v4);
        assert_eq!(connect_any(&[v4]).await.unwrap().peer_addr().unwrap(), v4);
    }
}
