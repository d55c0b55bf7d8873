//! The caller's side of HTTP/2, against the client of the `h2` crate.

use super::STREAM_WINDOW;
use super::server::serve;
use crate::codec::life::Life;
use crate::codec::server::{Ended, Incoming};
use crate::codec::stream::Socket;
use crate::exchange::{Answer, Body, BodyError, Headers, Limits, Stage};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request};
use http_body::Frame;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

type Client = SendRequest<Bytes>;

/// Runs a caller against connections that are served so.
fn with<F, T>(
    handle: impl Fn(Incoming) -> F + 'static,
    caller: impl AsyncFnOnce(Client, Rc<Life>, JoinHandle<Ended>) -> T,
) -> T
where
    F: Future<Output = Answer> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (near, far) = UnixStream::pair().unwrap();
        let life = Life::new();
        let kept = life.clone();
        let served = tokio::task::spawn_local(async move {
            let limits = Limits::default();
            let served = serve(Socket::Unix(far), Vec::new(), &limits, &life, handle);
            life.rule(std::pin::pin!(served)).await.unwrap_or(Ended::Well)
        });
        let (client, driver) = h2::client::handshake(near).await.unwrap();
        tokio::task::spawn_local(driver);
        caller(client, kept, served).await
    })
}

async fn ask(client: &mut Client, method: Method, end: bool) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    std::future::poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
    let request = Request::builder().method(method).uri("http://a/x").body(()).unwrap();
    client.send_request(request, end).unwrap()
}

/// Reads a body to its end or failure.
async fn read(mut body: RecvStream) -> (usize, Option<Reason>) {
    let mut read = 0;
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => read += data.len(),
            Err(e) => return (read, e.reason()),
        }
        let used = body.flow_control().used_capacity();
        let _ = body.flow_control().release_capacity(used);
    }
    (read, None)
}

fn answer(body: Body) -> Answer {
    Answer { status: 200, headers: Headers::default(), body }
}

/// So many pieces of 16 KiB, then nothing, or a failure; counts what is taken from it, and that it is left.
struct Pieces {
    taken: Rc<Cell<usize>>,
    left: Rc<Cell<bool>>,
    most: usize,
    fails: bool,
}

impl Stage for Pieces {}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.taken.get() == self.most {
            return Poll::Ready(self.fails.then_some(Err(BodyError::Closed)));
        }
        self.taken.set(self.taken.get() + 1);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 << 10])))))
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.left.set(true);
    }
}

/// Pieces, how many were taken, and whether they were left.
fn pieces(most: usize, fails: bool) -> (impl Fn() -> Body, Rc<Cell<usize>>, Rc<Cell<bool>>) {
    let (taken, left) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let (t, l) = (taken.clone(), left.clone());
    let body = move || Body::staged(Box::new(Pieces { taken: t.clone(), left: l.clone(), most, fails }));
    (body, taken, left)
}

/// Lets everything run that can.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn informational_answers_come_first_and_say_only_what_they_may() {
    let handle = |incoming: Incoming| async move {
        let early = incoming.early.caller().unwrap();
        let mut hints = Headers::default();
        for (name, value) in [("link", "</a>"), ("content-length", "3"), ("fourmi-tags", "a=b"), ("upgrade", "x")] {
            hints.append(name, value);
        }
        early.inform(103, &hints);
        let mut large = Headers::default();
        large.append("x", vec![b'x'; 20 << 10]);
        for _ in 0..10 {
            early.inform(102, &large);
        }
        answer(Body::Empty)
    };
    with(handle, async |mut client, _, _| {
        let (mut response, _) = ask(&mut client, Method::GET, true).await;
        let mut seen = Vec::new();
        while let Some(news) = std::future::poll_fn(|cx| response.poll_informational(cx)).await {
            let news = news.unwrap();
            let names: Vec<&str> = news.headers().keys().map(http::HeaderName::as_str).collect();
            seen.push(format!("{} {names:?}", news.status().as_u16()));
        }
        let large = r#"102 ["x"]"#;
        assert_eq!(seen, [r#"103 ["link"]"#, large, large, large], "and no more than 64 KiB of them");
        assert_eq!(response.await.unwrap().status(), 200);
    });
}

#[test]
fn neither_side_holds_more_than_the_windows_allow() {
    let (body, taken, left) = pieces(1000, false);
    let handle = move |incoming: Incoming| {
        let body = body();
        async move {
            // Nobody reads what the caller sends; it stays whole until the answer has ended.
            let _unread = tokio::task::spawn_local(async move {
                std::future::pending::<()>().await;
                drop(incoming.body)
            });
            answer(body)
        }
    };
    with(handle, async |mut client, _, _| {
        let (response, mut upload) = ask(&mut client, Method::POST, false).await;
        upload.reserve_capacity(1 << 20);
        let body = response.await.unwrap().into_body();
        settle().await;
        assert_eq!(upload.capacity(), STREAM_WINDOW as usize, "no window for what nobody reads");
        let held = taken.get() * (16 << 10);
        assert!((1..=512 << 10).contains(&held), "{held} bytes were taken for a caller that reads nothing");
        assert!(!left.get());
        assert_eq!(read(body).await, (1000 * (16 << 10), None));
        settle().await;
        assert!(left.get());
    });
}

#[test]
fn streams_end_with_the_right_word() {
    let (broken, ..) = pieces(3, true);
    let handle = move |incoming: Incoming| {
        let broken = broken();
        async move {
            match incoming.head.unwrap().method {
                Method::PUT => answer(broken),
                _ => answer(Body::Full(Bytes::from_static(b"ok"))),
            }
        }
    };
    with(handle, async |mut client, life, served| {
        let (response, mut upload) = ask(&mut client, Method::POST, false).await;
        let response = response.await.unwrap();
        assert_eq!(response.headers()["content-length"], "2");
        assert_eq!(read(response.into_body()).await, (2, None), "whole, though the request is not");
        let reset = std::future::poll_fn(|cx| upload.poll_reset(cx)).await;
        assert_eq!(reset.unwrap(), Reason::NO_ERROR);

        let (response, _) = ask(&mut client, Method::PUT, true).await;
        // What has not left yet goes with the stream: at best pieces of it come.
        let (came, reason) = match response.await {
            Ok(response) => read(response.into_body()).await,
            Err(e) => (0, e.reason()),
        };
        assert!(came <= 3 * (16 << 10));
        assert_eq!(reason, Some(Reason::INTERNAL_ERROR), "half an answer does not look like a whole one");

        let (response, _) = ask(&mut client, Method::HEAD, true).await;
        assert_eq!(read(response.await.unwrap().into_body()).await, (0, None));

        life.drain();
        // Its caller may have hung up before we did.
        assert!(!matches!(served.await.unwrap(), Ended::Malformed(_)));
    });
}

#[test]
fn a_caller_that_leaves_ends_what_it_asked_for() {
    let handled = Rc::new(Cell::new(0));
    let count = handled.clone();
    let (body, _, left) = pieces(1000, false);
    let handle = move |incoming: Incoming| {
        struct Given(Rc<Cell<i32>>);
        impl Drop for Given {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        count.set(count.get() + 1);
        let (given, body) = (Given(count.clone()), body());
        async move {
            if incoming.head.unwrap().method == Method::GET {
                std::future::pending::<()>().await;
            }
            drop(given);
            answer(body)
        }
    };
    with(handle, async |mut client, life, served| {
        let (response, mut stream) = ask(&mut client, Method::GET, true).await;
        let (_other, _kept) = ask(&mut client, Method::GET, true).await;
        settle().await;
        assert_eq!(handled.get(), 2);
        stream.send_reset(Reason::CANCEL);
        drop(response);
        settle().await;
        assert_eq!(handled.get(), 1, "the other is still waited for");

        let (response, mut stream) = ask(&mut client, Method::PUT, true).await;
        let _unread = response.await.unwrap().into_body();
        left.set(false);
        stream.send_reset(Reason::CANCEL);
        settle().await;
        assert!(left.get(), "its window was shut");

        life.close();
        assert_eq!(served.await.unwrap(), Ended::Well);
        settle().await;
        assert_eq!(handled.get(), 0);
    });
}
