//! The harness itself, against real peers: what it says of Fourmi can only be trusted if it is right without it.

use fourmi_tests::h2::{self, H2Client, H2Worker, Pieces};
use fourmi_tests::peers::{self, printed};
use fourmi_tests::{Client, Load, Scrape, StatsdServer, Worker, free_port, gelf, statsd};
use std::net::UdpSocket;

#[test]
fn conformance_of_the_raw_client_with_nginx() {
    let nginx = peers::nginx();
    let mut client = Client::connect(nginx.port);
    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(client.get("/missing").status(), 404);
    assert_eq!(client.get("/big").body.len(), 1 << 20);
    let head = client.send("HEAD /big HTTP/1.1\r\nHost: a\r\n\r\n").answer_to("HEAD");
    assert_eq!((head.header("content-length"), head.body.len()), (Some("1048576"), 0));
    let packed = client.send("GET /big HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n").answer();
    assert_eq!(gelf::unpack(&packed.body).len(), 1 << 20, "chunked and packed");
    let load = Load::on(nginx.port, 4, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    fourmi_tests::until("the load runs", || load.answered() > 200);
    let tally = load.stop();
    assert_eq!((tally.with(200), tally.lost), (tally.sent(), 0), "{tally:?}");
}

#[test]
fn conformance_of_the_scripted_workers_with_curl() {
    let echo = Worker::echo();
    let url = format!("http://127.0.0.1:{}/a?b=c", echo.port());
    let said = printed("curl", &["-sS", "--noproxy", "*", "-X", "PUT", "-H", "X-One: 1", "-d", "hello", &url]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&json["method"], &json["target"], &json["body"]), (&"PUT".into(), &"/a?b=c".into(), &"hello".into()));
    let mirror = Worker::mirror();
    let url = format!("http://127.0.0.1:{}/", mirror.port());
    for coding in ["Transfer-Encoding: chunked", "X-None: 1"] {
        let said = printed("curl", &["-sS", "--noproxy", "*", "-H", "Expect:", "-H", coding, "-d", "to and fro", &url]);
        assert_eq!(said, "to and fro");
    }
    let h2 = H2Worker::replying(|r| http::Response::new(Pieces::of(format!("{} {}", r.method, r.path))));
    let url = h2.address().replace("h2c", "http") + "/x";
    assert_eq!(printed("curl", &["-sS", "--noproxy", "*", "--http2-prior-knowledge", &url]), "GET /x");
    assert!(printed("nghttp", &["-v", &url]).contains(":status: 200"));
}

#[test]
fn the_h2_client_and_the_h2_worker_agree() {
    let worker =
        H2Worker::replying(|r| http::Response::new(Pieces::of(r.body.clone()).with_trailers(&[("grpc-status", "0")])));
    let port = worker.address().rsplit(':').next().unwrap().parse().unwrap();
    h2::run(async {
        let mut client = H2Client::connect(port).await;
        let answer = client.send("POST", "/x", &[("te", "trailers")], Pieces::of("body")).await.unwrap();
        assert_eq!((&answer.body[..], answer.trailer("grpc-status")), (&b"body"[..], Some("0")));
        worker.go_away();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(client.send("GET", "/", &[], Pieces::default()).await.is_err(), "GOAWAY ended the connection");
    });
}

#[test]
fn conformance_of_the_receivers_with_each_other() {
    // graygelf reads what our receiver reads: chunks in any order, packed or not.
    let (peer, ours) = (peers::graygelf(), fourmi_tests::GelfServer::start());
    let record = br#"{"version":"1.1","host":"h","short_message":"m","_n":1}"#;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for port in [peer.port, ours.port()] {
        let chunk = |nth: u8, data: &[u8]| [&[0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, nth, 2][..], data].concat();
        socket.send_to(&chunk(1, &record[20..]), ("127.0.0.1", port)).unwrap();
        socket.send_to(&chunk(0, &record[..20]), ("127.0.0.1", port)).unwrap();
    }
    assert_eq!(ours.wait_for(1)[0]["_n"], 1);
    fourmi_tests::until("graygelf prints it", || peers::printed_records(&peer).iter().any(|r| r["_n"] == 1));

    let ((daemon, management), mine) = (peers::statsd(), StatsdServer::start());
    for port in [daemon.port, mine.port()] {
        socket.send_to(b"a.b:3|c\na.b:2|c|@0.5\nt:1.5|ms", ("127.0.0.1", port)).unwrap();
    }
    mine.counts("a.b", &[], 7.0);
    fourmi_tests::until("statsd counts it", || peers::statsd_says(management, "counters").contains("'a.b': 7"));
    let lines: Vec<statsd::Line> = mine.lines();
    assert_eq!((lines.len(), lines[2].kind.as_str()), (3, "ms"));
}

#[test]
fn the_exposition_reader_reads_what_is_hard() {
    let scrape = Scrape::of(
        "# HELP a b\n# TYPE a counter\na{x=\"q\\\"u\\\\o\\nte,}\",y=\"\"} 3\na 4.5\nb_bucket{le=\"+Inf\"} 7 1700\n",
    );
    assert_eq!(scrape.sum("a", &[]), 7.5);
    assert_eq!(scrape.sum("a", &[("x", "q\"u\\o\nte,}"), ("y", "")]), 3.0);
    assert_eq!(scrape.sum("b_bucket", &[("le", "+Inf")]), 7.0);
    assert_ne!(free_port(), free_port());
}
