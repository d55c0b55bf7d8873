//! Field pains A and C: framing and smuggling, paths and hosts. Each name begins with the row it proves.

use fourmi_tests::h2::{H2Worker, Pieces, RawH2};
use fourmi_tests::wire::Kind;
use fourmi_tests::{Fourmi, Message, Setup, Worker};
use std::time::Duration;

fn beside_echo() -> (Worker, Fourmi) {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    (worker, fourmi)
}

/// Sends bytes that must be refused: one answer with one of these statuses, then the end, and the worker saw nothing.
#[track_caller]
fn refused(fourmi: &Fourmi, worker: &Worker, bytes: &str, statuses: &[u16]) {
    let before = worker.requests().len();
    let mut client = fourmi.client();
    client.try_send(bytes);
    let answer = client.wire.message(Kind::AnswerTo("GET"));
    let answer = answer.unwrap_or_else(|e| panic!("no answer to {bytes:?}: {e}"));
    assert!(statuses.contains(&answer.status()), "{bytes:?} got {}", answer.first);
    client.wire.stream.read_timeout(Some(Duration::from_secs(3)));
    let rest = client.wire.some();
    assert!(
        rest.as_ref().is_ok_and(Vec::is_empty)
            || rest.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset),
        "{bytes:?} must be followed by the end, not by {rest:?}"
    );
    assert_eq!(worker.requests().len(), before, "{bytes:?} reached the worker");
}

#[test]
fn a1_length_and_chunked_together() {
    let (worker, fourmi) = beside_echo();
    let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    for framing in [
        "Content-Length: 13\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 13",
        "Transfer-Encoding : chunked\r\nContent-Length: 13",
        "Content-Length: 0\r\ntransfer-encoding: CHUNKED",
    ] {
        for version in ["1.1", "1.0"] {
            let request = format!("POST /first HTTP/{version}\r\nHost: a\r\n{framing}\r\n\r\n{smuggled}");
            refused(&fourmi, &worker, &request, &[400]);
        }
    }
}

#[test]
fn a2_two_lengths_that_disagree() {
    let (worker, fourmi) = beside_echo();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\nX: 0123456\r\n\r\n";
    for lengths in [
        "Content-Length: 46\r\nContent-Length: 0",
        "Content-Length: 46, 0",
        "Content-Length: +46",
        "Content-Length: 0x2e",
    ] {
        refused(&fourmi, &worker, &format!("GET / HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\n{hidden}"), &[400]);
    }
}

#[test]
fn a3_codings_other_than_chunked() {
    let (worker, fourmi) = beside_echo();
    let body = "5\r\nhello\r\n0\r\n\r\n";
    for coding in ["identity", "chunked, gzip", "xchunked", "chunked;q=1"] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n{body}");
        refused(&fourmi, &worker, &request, &[400, 501]);
    }
    let plain = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n{body}");
    assert_eq!(fourmi.client().send(plain).answer().json()["body"], "hello");
}

#[test]
fn a3_codings_beside_chunked() {
    let (worker, fourmi) = beside_echo();
    let body = "5\r\nhello\r\n0\r\n\r\n";
    for coding in ["Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"] {
        refused(&fourmi, &worker, &format!("POST / HTTP/1.1\r\nHost: a\r\n{coding}\r\n\r\n{body}"), &[400, 501]);
    }
}

#[test]
fn a4_folded_host_line() {
    let (worker, fourmi) = beside_echo();
    refused(&fourmi, &worker, "GET / HTTP/1.1\r\nHost: ex\r\n\tample.com\r\n\r\n", &[400]);
}

#[test]
fn a5_never_emit_what_we_would_not_accept() {
    let (worker, fourmi) = beside_echo();
    for odd in [
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{b}b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/3.7\r\nHost: a\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        refused(&fourmi, &worker, odd, &[400, 505]);
    }
    // A request whose end is sure is refused without ending the connection.
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let answer = fourmi.client().send(format!("GET / HTTP/1.1\r\n{hosts}\r\n")).answer();
        assert_eq!((answer.status(), worker.requests().len()), (400, 0), "{hosts:?}");
    }
    // Blanks around a value belong to the line, not to the value: one form leaves.
    let answer = fourmi.get_with("/", "X-Blank: \t padded \t\r\n");
    assert_eq!(answer.seen("x-blank").as_deref(), Some("padded"));
    // Trailers carry no framing.
    let mut client = fourmi.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTrailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nContent-Length: 99\r\nHost: evil\r\n\r\n");
    if client.answer().status() == 200 {
        let trailers = worker.last().trailers;
        assert!(
            !trailers.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-length") || n.eq_ignore_ascii_case("host"))
        );
    }
}

#[test]
fn a6_what_the_worker_must_not_send() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n \t\r\nX-After: v\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "SSH-2.0-OpenSSH\r\n\r\n",
    ] {
        let worker = Worker::answering(answer);
        let fourmi = Setup::beside(worker.address()).start();
        let got = fourmi.get("/");
        assert_eq!(got.status(), 502, "{answer:?}");
        assert!(got.json()["type"].as_str().is_some_and(|t| t.ends_with("bad-answer")), "{answer:?}: {}", got.text());
        fourmi.get("/");
        assert_eq!(worker.connections(), 2, "a connection that spoke nonsense is not used again");
    }
}

#[test]
fn a7_http_1_0_request_with_chunked() {
    let (_worker, fourmi) = beside_echo();
    let mut client = fourmi.client();
    client.send("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n");
    let answer = client.answer();
    assert!([200, 400].contains(&answer.status()), "{}", answer.first);
    assert_eq!(client.rest(), "", "served or refused, the connection ends");
}

#[test]
fn a8_h2_authority_holding_a_slash() {
    let (worker, fourmi) = beside_echo();
    for authority in ["a/admin", "user@a", "a:port", "a b", "a?x"] {
        let mut raw = RawH2::connect(fourmi.port());
        raw.headers(1, &[(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", "/x")], true);
        let verdict = raw.verdict(1);
        // An answer must be 400: the eighth to fourteenth static entries are the statuses, 12 is 400 (RFC 7541 A).
        let refused = match &verdict {
            None => true,
            Some(frame) if frame.kind == 1 => frame.payload.first() == Some(&0x8c),
            Some(_) => true,
        };
        assert!(refused, "{authority:?} got {verdict:?}");
    }
    assert_eq!(worker.requests().len(), 0);
}

fn target_seen(fourmi: &Fourmi, target: &str) -> (u16, Option<String>) {
    let answer: Message = fourmi.get(target);
    (answer.status(), (answer.status() == 200).then(|| answer.json()["target"].as_str().unwrap_or("").to_owned()))
}

#[test]
fn c1_dot_segments_are_resolved_before_anybody_decides() {
    let (_worker, fourmi) = beside_echo();
    for (sent, seen) in [
        ("/info/../private", "/private"),
        ("/info/%2e%2E/private", "/private"),
        ("/a/./b/%2e/c", "/a/b/c"),
        ("/../../etc", "/etc"),
        ("/a/..?q=/../x", "/?q=/../x"),
    ] {
        assert_eq!(target_seen(&fourmi, sent), (200, Some(seen.into())), "{sent}");
    }
}

#[test]
fn c2_path_parameters_that_hide_dots() {
    let (worker, fourmi) = beside_echo();
    for odd in ["/v1/..;/internal/x", "/v1/%2e%2e;a=b/internal", "/v1/.;/x", "/a\\..\\b", "/a%00b"] {
        assert_eq!(target_seen(&fourmi, odd).0, 400, "{odd}");
    }
    assert_eq!(worker.requests().len(), 0);
    assert_eq!(target_seen(&fourmi, "/cars;color=red").0, 200, "an honest parameter passes");
}

#[test]
fn c3_one_form_of_a_path_for_all() {
    let (_worker, fourmi) = beside_echo();
    for (sent, seen) in
        [("/%63onfigs", "/configs"), ("/a%7Eb", "/a~b"), ("/a%2fb", "/a%2Fb"), ("/%e2%82%ac", "/%E2%82%AC")]
    {
        assert_eq!(target_seen(&fourmi, sent), (200, Some(seen.into())), "{sent}");
    }
    assert_eq!(target_seen(&fourmi, "/%zz").0, 400);
}

#[test]
fn c4_absolute_form_and_host_differ() {
    let (worker, fourmi) = beside_echo();
    let answer = fourmi.client().send("GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n").answer();
    match answer.status() {
        400 => assert_eq!(worker.requests().len(), 0),
        status => {
            assert_eq!((status, worker.last().header("host"), worker.last().target()), (200, Some("a.example"), "/x"));
        }
    }
}

#[test]
fn c5_host_becomes_authority() {
    let worker = H2Worker::replying(|_| http::Response::new(Pieces::of("ok")));
    let fourmi = Setup::beside(&worker.address()).start();
    assert_eq!(fourmi.client().send("GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n").answer().text(), "ok");
    let seen = worker.requests().pop().unwrap();
    assert_eq!((seen.authority.as_str(), seen.path.as_str()), ("shop.example", "/x"));
    assert_eq!(seen.header("host"), None, "said once");
}

#[test]
fn header_lines_keep_their_case_and_their_order_both_ways() {
    let sent = [
        ("X-Alpha", "1"),
        ("x-lower", "2"),
        ("X-MiXeD-CaSe", "3"),
        ("X-Alpha", "4"),
        ("ACCEPT-Odd", "a/b"),
        ("x-alpha", "5"),
        ("Set-Cookie", "a=1"),
        ("x-lower", "6"),
        ("Set-Cookie", "b=2"),
    ];
    let lines: String = sent.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let worker = Worker::answering(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n"));
    let fourmi = Setup::beside(worker.address()).start();
    let answer = fourmi.get_with("/", &lines);
    let kept = |message: &Message| -> Vec<(String, String)> {
        let known = |name: &str| sent.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        message.headers.iter().filter(|(name, _)| known(name)).cloned().collect()
    };
    let expected: Vec<(String, String)> = sent.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    assert_eq!(kept(&worker.last()), expected, "to the worker");
    assert_eq!(kept(&answer), expected, "to the caller");
}
