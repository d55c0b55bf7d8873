//! What is taken, what is refused, and that the way in which bytes arrive changes neither.

use super::chunked::{Chunked, Found};
use super::client::{Http1, OwnBody};
use super::parse::{self, First, Kind};
use super::{Framing, Refusal};
use crate::codec::client::Home;
use crate::codec::stream::Socket;
use crate::exchange::{Body, ConnectionSide, Counted, Early, Head, Headers, Silent};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use socket2::SockRef;
use std::future::poll_fn;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// Body, trailers, what is left.
type Unchunked = (Vec<u8>, Vec<String>, Vec<u8>);

/// Body and trailers of a chunked message that comes in pieces cut at these places; what is left behind it.
fn unchunked(bytes: &[u8], cuts: &[usize]) -> Result<Unchunked, Option<Refusal>> {
    let mut decoder = Chunked::new();
    let (mut buf, mut body, mut trailers) = (BytesMut::new(), Vec::new(), Vec::new());
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).chain([bytes.len()]).collect();
    cuts.sort_unstable();
    let mut at = 0;
    for cut in cuts {
        buf.extend_from_slice(&bytes[at..cut]);
        at = cut;
        loop {
            match decoder.decode(&mut buf).map_err(Some)? {
                Found::Data(data) => body.extend_from_slice(&data),
                Found::Trailers(map) => {
                    trailers =
                        map.iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v.as_bytes()))).collect();
                }
                Found::End => break,
                Found::More => break,
            }
        }
    }
    if decoder.is_done() { Ok((body, trailers, buf.to_vec())) } else { Err(None) }
}

#[test]
fn chunks_are_read_strictly() {
    let good = |text: &str| unchunked(text.as_bytes(), &[]).unwrap_or_else(|e| panic!("{text:?}: {e:?}"));
    assert_eq!(good("0\r\n\r\n"), (vec![], vec![], vec![]));
    assert_eq!(
        good("3\r\nabc\r\n0a\r\n0123456789\r\n000\r\n\r\nGET"),
        (b"abc0123456789".into(), vec![], b"GET".into())
    );
    assert_eq!(good("1;a=b;c=\"d\"\r\nx\r\n0;last\r\n\r\n").0, b"x");
    assert_eq!(good("0\r\nX-Sum: 7\r\ny:z\r\n\r\n").1, ["x-sum: 7", "y: z"]);
    for bad in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\nx\r\n",
        "0x1\r\nx\r\n",
        " 1\r\nx\r\n",
        "1 \r\nx\r\n",
        "1\nx\r\n",
        "1\rx",
        "1\r\nx\n",
        "1\r\nxy\r\n",
        "1\r\nx\r0",
        "1000000000000000\r\n",
        "1;a\nb\r\nx\r\n",
        "1;\0\r\nx\r\n",
        "0\r\n \r\n\r\n",
        "0\r\na b: 1\r\n\r\n",
        "0\r\nx: 1\n\n",
        "0\r\nx: 1\n\r\n",
        "0\r\nx: 1\r\n folded\r\n\r\n",
        "0\r\n: 1\r\n\r\n",
        "0\r\nx\r\n\r\n",
        "0\n\r\n",
        "0\r\n\n",
    ] {
        assert!(
            matches!(unchunked(bad.as_bytes(), &[]), Err(Some(_))),
            "{bad:?} gave {:?}",
            unchunked(bad.as_bytes(), &[])
        );
    }
    let long = |n: usize| format!("1;{}\r\nx\r\n", "e".repeat(n));
    assert!(unchunked((long(100) + "0\r\n\r\n").as_bytes(), &[]).is_ok());
    assert!(matches!(unchunked(long(300).as_bytes(), &[]), Err(Some(_))), "one long extension");
    assert!(matches!(unchunked((long(200).repeat(40) + "0\r\n\r\n").as_bytes(), &[]), Err(Some(_))), "many of them");
    assert!(matches!(unchunked(format!("0\r\nx: {}", "y".repeat(20_000)).as_bytes(), &[]), Err(Some(_))));
    for short in ["", "3", "3\r", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n0\r\n", "0\r\nx: 1\r\n"] {
        assert_eq!(unchunked(short.as_bytes(), &[]), Err(None), "{short:?}");
    }
}

/// First line, header lines, length, framing.
type Whole = (String, Vec<String>, usize, String);

/// First line, header lines and length of a head, and what its framing says.
fn head(kind: Kind, bytes: &[u8]) -> Result<Option<Whole>, Refusal> {
    let mut headers = Headers::default();
    let Some(parsed) = parse::head(kind, bytes, 8, &mut headers)? else { return Ok(None) };
    let first = match parsed.first {
        First::Request(method, target) => format!("{method} {target} {}", parsed.one_one),
        First::Answer(status) => format!("{status} {}", parsed.one_one),
    };
    let lines = headers.iter().map(|(n, v)| format!("{n}={}", String::from_utf8_lossy(v))).collect();
    let framing = Framing::of(&headers)?;
    Ok(Some((first, lines, parsed.len, format!("{:?} {} {}", framing.length, framing.chunked, framing.close))))
}

#[test]
fn heads_are_read_strictly() {
    let request = |text: &str| head(Kind::Request, text.as_bytes());
    let (first, lines, len, framing) = request(
        "\r\nPOST /a?b HTTP/1.1\r\nHost:a\r\nX-Empty:\r\nX:  y \t\r\nContent-Length: 3\r\nCONNECTION: close\r\n\r\nabc",
    )
    .unwrap()
    .unwrap();
    assert_eq!((first.as_str(), len), ("POST /a?b true", 89));
    assert_eq!(lines, ["host=a", "x-empty=", "x=y", "content-length=3", "connection=close"]);
    assert_eq!(framing, "Some(3) false true");
    for partial in ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r"] {
        assert_eq!(request(partial), Ok(None), "{partial:?}");
    }
    let lines = |lines: &str| request(&format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n"));
    for good in ["a: 1", "content-length: 1\r\nContent-Length: 1", "transfer-encoding: Chunked", "a: \u{fc}"] {
        assert!(matches!(lines(good), Ok(Some(_))), "{good:?}");
    }
    for bad in [
        "a : 1",
        " a: 1",
        "a: 1\r\n b",
        "a: 1\n",
        "a: 1\nb: 2",
        "\na: 1",
        "a: \x0b",
        "a: \0",
        "a: b\rc",
        ": 1",
        "a",
        "a b: 1",
        "\u{fc}: 1",
        "content-length: +1",
        "content-length: 1, 1",
        "content-length: 1 1",
        "content-length: ",
        "content-length: 0x1",
        "content-length: 99999999999999999999",
        "content-length: 1\r\ncontent-length: 2",
        "content-length: -1",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: identity",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked;q=1",
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding:\x0bchunked",
        "a: \x7f",
    ] {
        assert!(matches!(lines(bad), Err(Refusal::Malformed(_))), "{bad:?} gave {:?}", lines(bad));
    }
    for bad in [
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1\n\n",
        "GET\t/ HTTP/1.1\r\n\r\n",
        "G\0T / HTTP/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "\n\nGET / HTTP/1.1\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
    ] {
        assert!(matches!(request(bad), Err(Refusal::Malformed(_))), "{bad:?} gave {:?}", request(bad));
    }
    assert_eq!(lines("a: 1\r\n".repeat(9).trim_end()), Err(Refusal::TooLarge));
    assert!(
        matches!(head(Kind::Answer, b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"), Ok(Some((first, ..))) if first == "200 true")
    );
    assert!(matches!(head(Kind::Answer, b"HTTP/1.0 204\r\n\r\n"), Ok(Some((first, ..))) if first == "204 false"));
    for bad in [
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n \t\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: 1\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "ICY 200 OK\r\n\r\n",
    ] {
        assert!(matches!(head(Kind::Answer, bad.as_bytes()), Err(Refusal::Malformed(_))), "{bad:?}");
    }
}

struct Nowhere;

impl Home for Nowhere {
    fn give_back(&self, _: Box<Http1>) {}
}

/// An instance that lets the system gather its pieces (Nagle) sends the second when the first is acknowledged: that is
/// not left to the system, which waits 40 ms for something to send with it. An answer in one piece costs nothing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_first_piece_of_an_answer_is_acknowledged_when_the_next_is_waited_for() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";
    for (first, rest) in
        [(&*format!("{head}body"), ""), (head, "body"), (&head[..20], &*format!("{}body", &head[20..]))]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        let kept = ours.try_clone().unwrap();
        let hurries = || SockRef::from(&kept).tcp_quickack().unwrap();
        ours.set_nonblocking(true).unwrap();
        let socket = Socket::Tcp(tokio::net::TcpStream::from_std(ours).unwrap());
        let mut conn = Http1::new(socket, Counted::new(Rc::new(Silent), ConnectionSide::Upstream));
        // What is there before the request is acknowledged by it, so that no timer of the system's changes anything.
        theirs.write_all(first.as_bytes()).unwrap();
        SockRef::from(&kept).set_tcp_quickack(false).unwrap();
        let (early, mut none) = (Early::default(), Body::Empty);
        let asked = Head::default();
        let received = {
            let mut sending = pin!(conn.send(&asked, &mut none, &early));
            let mut looks = 0;
            poll_fn(|cx| match sending.as_mut().poll(cx) {
                Poll::Pending if hurries() || looks > 10_000 => Poll::Ready(None),
                Poll::Pending => {
                    looks += 1;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Ready(received) => Poll::Ready(Some(received)),
            })
            .await
        };
        if received.is_none() {
            assert!(hurries(), "half a head has come");
            continue;
        }
        let mut body = OwnBody::new(conn, Rc::new(Nowhere));
        if !rest.is_empty() {
            assert!(!hurries(), "nobody has waited for the body yet");
            poll_fn(|cx| Poll::Ready(pin!(body.frame()).poll(cx).is_pending())).await;
            assert!(hurries(), "the head has come");
            theirs.write_all(rest.as_bytes()).unwrap();
        }
        assert_eq!(body.collect().await.map_err(drop).unwrap().to_bytes(), "body");
        assert_eq!(hurries(), !rest.is_empty());
    }
}

proptest! {
    #[test]
    fn any_split_of_a_chunked_body_gives_the_same(
        chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..20), "(;[a-z]{1,5}(=[a-z]{1,5})?)?"), 0..6),
        trailers in "(X-[A-Za-z]{1,5}: [a-z]{1,5}\r\n){0,2}",
        noise in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        for (data, extension) in &chunks {
            bytes.extend(format!("{:x}{extension}\r\n", data.len()).bytes());
            bytes.extend(data);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n");
        bytes.extend(trailers.bytes());
        bytes.extend(b"\r\n");
        if let Some((at, byte)) = noise {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = unchunked(&bytes, &[]);
        let split = unchunked(&bytes, &cuts);
        let singly = unchunked(&bytes, &(0..bytes.len()).collect::<Vec<_>>());
        prop_assert_eq!(&whole, &singly);
        prop_assert_eq!(&whole, &split);
    }
}
