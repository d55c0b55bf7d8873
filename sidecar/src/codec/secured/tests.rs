//! What rests, what is cut, what is kept: an encrypted connection as its codec sees it.

use crate::codec::client::{Cause, Home, Http1, Http2, OwnBody};
use crate::codec::server::{self, Incoming, Life};
use crate::codec::stream::Socket;
use crate::exchange::{Answer, Body, BodyError, ConnectionSide, Counted, Early, Head, Headers, Limits, Silent};
use crate::tls::testing::Papers;
use crate::tls::{Acceptor, Connector, ServerTls, in_words};
use bytes::{Bytes, BytesMut};
use http::Method;
use http_body::Body as _;
use socket2::SockRef;
use std::cell::RefCell;
use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

/// Connections that came back.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "the boxes are what is kept")]
struct Kept(RefCell<Vec<Box<Http1>>>);

impl Home for Kept {
    fn give_back(&self, conn: Box<Http1>) {
        self.0.borrow_mut().push(conn);
    }
}

fn on_one_thread<F: Future<Output = ()> + 'static>(run: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), run).await.expect("it hangs") });
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

fn both(papers: &Papers) -> (Acceptor, Connector) {
    (papers.server().acceptor().unwrap(), papers.client().connector(&[b"http/1.1"]).unwrap())
}

/// Our side, and the other one in the hands of the test.
async fn session() -> (Socket, TlsStream<TcpStream>) {
    let papers = Papers::new();
    let (acceptor, connector) = both(&papers);
    let (near, far) = tcp().await;
    let (near, far) = tokio::join!(Socket::Tcp(near).connect("server.test", &connector), acceptor.accept(far));
    (near.unwrap(), far.unwrap())
}

/// Waits until the system has something for us, without telling the event loop.
async fn something_came(socket: &Socket) {
    let Socket::Tls(secured) = socket else { panic!() };
    let Socket::Tcp(tcp) = secured.socket() else { panic!() };
    while SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn head(method: Method) -> Head {
    let mut head = Head::default();
    head.method = method;
    head.authority.push_str("server.test");
    head.set_target("/", None);
    head
}

fn conn(socket: Socket) -> Box<Http1> {
    Http1::new(socket, Counted::new(Rc::new(Silent), ConnectionSide::Upstream))
}

async fn whole(mut body: impl http_body::Body<Data = Bytes, Error = BodyError> + Unpin) -> Result<Bytes, BodyError> {
    let mut all = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        all.extend_from_slice(frame?.data_ref().unwrap_or(&Bytes::new()));
    }
    Ok(all.freeze())
}

/// Answers one request, by bytes.
async fn answer(far: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        assert!(far.read_buf(&mut asked).await.unwrap() > 0);
    }
    far.write_all(bytes).await.unwrap();
    far.flush().await.unwrap();
}

#[test]
fn tickets_and_new_keys_are_no_reason_to_give_a_connection_up() {
    on_one_thread(async {
        // Tickets lie there as soon as the handshake is over.
        let (near, mut far) = session().await;
        something_came(&near).await;
        let mut conn = conn(near);
        assert!(conn.is_silent(), "a ticket is nothing that was said");
        assert!(conn.is_usable() && conn.is_silent());
        for _ in 0..3 {
            far.get_mut().1.refresh_traffic_keys().unwrap();
            far.flush().await.unwrap();
            assert!(conn.is_silent() && conn.is_usable(), "nor is a new key");
            let asking = head(Method::GET);
            let (mut body, early) = (Body::Empty, Early::default());
            let (sent, ()) = tokio::join!(
                conn.send(&asking, &mut body, &early),
                answer(&mut far, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            );
            assert_eq!(sent.map_err(|_| "no answer").unwrap().status, 200);
        }
        assert!(conn.is_usable() && conn.is_silent());
    });
}

#[test]
fn what_was_said_unasked_and_every_end_are() {
    on_one_thread(async {
        for end in 0..4 {
            for event_loop in [false, true] {
                let (near, mut far) = session().await;
                match end {
                    0 => {
                        far.write_all(b"x").await.unwrap();
                        far.flush().await.unwrap();
                    }
                    // close_notify, and the end of the connection behind it.
                    1 => far.shutdown().await.unwrap(),
                    // The end alone.
                    2 => drop(far.into_inner().0.into_std().unwrap()),
                    // What is not TLS.
                    _ => far.get_mut().0.write_all(b"nonsense, and more than a header of it").await.unwrap(),
                }
                something_came(&near).await;
                let mut conn = conn(near);
                if event_loop {
                    while conn.is_usable() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                } else {
                    while conn.is_silent() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        }
    });
}

#[test]
fn a_body_that_ends_with_the_connection_must_be_ended_by_the_other_side() {
    on_one_thread(async {
        for (says_goodbye, length) in
            [(true, ""), (false, ""), (false, "content-length: 9\r\n"), (true, "content-length: 9\r\n")]
        {
            let (near, mut far) = session().await;
            let peer = tokio::task::spawn_local(async move {
                let text = format!("HTTP/1.1 200 OK\r\n{length}\r\nhalf");
                answer(&mut far, text.as_bytes()).await;
                if says_goodbye {
                    far.shutdown().await.unwrap();
                }
            });
            let mut conn = conn(near);
            let sent = conn.send(&head(Method::GET), &mut Body::Empty, &Early::default()).await;
            assert!(sent.is_ok());
            let home = Rc::new(Kept::default());
            let body = whole(OwnBody::new(conn, home.clone())).await;
            match body {
                Ok(body) => assert!(body == "half" && says_goodbye && length.is_empty(), "cut, and taken for whole"),
                Err(_) => assert!(!says_goodbye || !length.is_empty()),
            }
            assert!(home.0.borrow().is_empty());
            peer.await.unwrap();
        }
    });
}

/// In TLS 1.3 an instance refuses our certificate, or asks for one, when the handshake is over for us.
#[test]
fn what_an_instance_says_of_our_certificate_is_told() {
    on_one_thread(async {
        let papers = Papers::new();
        let asking = ServerTls { client_ca: Some(papers.pem("ca.pem")), ..papers.server() };
        let acceptor = asking.acceptor().unwrap();
        for two in [false, true] {
            let connector = papers.client().connector(&[if two { b"h2" } else { b"http/1.1" }]).unwrap();
            let (near, far) = tcp().await;
            let (near, far) = tokio::join!(Socket::Tcp(near).connect("server.test", &connector), acceptor.accept(far));
            assert!(far.is_err());
            let (asking, mut body) = (head(Method::POST), Body::from(Bytes::from_static(b"x")));
            let near = near.unwrap();
            let error = if two {
                let counted = Counted::new(Rc::new(Silent), ConnectionSide::Upstream);
                let mut conn = Http2::handshake(near, counted).await.unwrap();
                conn.send(&asking, &mut body).await.err().unwrap()
            } else {
                conn(near).send(&asking, &mut body, &Early::default()).await.err().unwrap()
            };
            let Cause::Tls(error) = error.cause else { panic!("{two}") };
            assert!(in_words("x", error).to_string().contains("asks for a client certificate"));
        }
    });
}

#[test]
fn many_commands_over_one_session() {
    on_one_thread(async {
        let papers = Papers::new();
        let (acceptor, connector) = both(&papers);
        let (near, far) = tcp().await;
        let echo = |incoming: Incoming| async move {
            let body = whole(incoming.body).await.unwrap();
            Answer { status: 200, headers: Headers::default(), body: body.into() }
        };
        tokio::task::spawn_local(async move {
            let socket = Socket::Tcp(far).accept(Vec::new(), &acceptor).await.unwrap();
            assert!(socket.peer().is_none() && !socket.speaks_two());
            server::serve(socket, Vec::new(), &Limits::default(), Life::new(), echo).await;
        });
        let socket = Socket::Tcp(near).connect("server.test", &connector).await.unwrap();
        let home = Rc::new(Kept::default());
        home.give_back(conn(socket));
        for n in 0..40_usize {
            let mut conn = home.0.borrow_mut().pop().expect("the connection did not come back");
            assert!(conn.is_usable() && conn.is_silent(), "{n}");
            let bytes = Bytes::from(vec![b'a' + (n % 26) as u8; n * n * 400]);
            // Every other one with a length that nobody knows.
            let known = Body::from(bytes.clone());
            let mut body = if n % 2 == 0 { known } else { Body::staged(Box::new(Unmeasured(known))) };
            let sent = conn.send(&head(Method::POST), &mut body, &Early::default()).await;
            assert_eq!(sent.map_err(|_| n).unwrap().status, 200);
            assert_eq!(whole(OwnBody::new(conn, home.clone())).await.unwrap(), bytes);
        }
    });
}

/// A body that does not tell its length.
struct Unmeasured(Body);

impl crate::exchange::Stage for Unmeasured {}

impl http_body::Body for Unmeasured {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[test]
fn what_has_left_in_part_is_not_sent_again() {
    on_one_thread(async {
        let (near, far) = session().await;
        // Nobody reads: a part stands in the system's buffers when the connection breaks.
        let (tcp, _) = far.into_inner();
        tcp.set_zero_linger().unwrap();
        let mut conn = conn(near);
        let asking = head(Method::POST);
        let mut body = Body::from(Bytes::from(vec![b'x'; 64 << 20]));
        let early = Early::default();
        let sent = {
            let mut sending = std::pin::pin!(conn.send(&asking, &mut body, &early));
            let begun = tokio::time::timeout(Duration::from_millis(50), &mut sending).await;
            assert!(begun.is_err());
            drop(tcp);
            sending.await
        };
        let error = sent.err().unwrap();
        assert!(!error.unsent && matches!(error.cause, Cause::Ended | Cause::Tls(_)));

        // Here nothing can have left.
        let (near, far) = session().await;
        let mut conn = self::conn(near);
        let (tcp, _) = far.into_inner();
        tcp.set_zero_linger().unwrap();
        drop(tcp);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut body = Body::from(Bytes::from_static(b"small"));
        let error = conn.send(&asking, &mut body, &early).await.err().unwrap();
        assert!(error.unsent && body.size_hint().exact() == Some(5));
    });
}
