use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with the next of the texts; an empty one hangs up, "-" says nothing. Counts connections.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<std::sync::Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(answers: Vec<String>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let requests = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (c, r) = (connections.clone(), requests.clone());
    let task = tokio::spawn(async move {
        let mut answers = answers.into_iter();
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { continue };
            c.fetch_add(1, SeqCst);
            let mut held = Vec::new();
            'connection: loop {
                // One request: head, then as many bytes as it says.
                let whole = loop {
                    if let Some(at) = held.windows(4).position(|w| w == b"\r\n\r\n") {
                        let head = String::from_utf8_lossy(&held[..at]).to_lowercase();
                        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
                        let end = at + 4 + length.trim().parse::<usize>().unwrap();
                        if held.len() >= end {
                            break end;
                        }
                    }
                    let mut buffer = [0; 4096];
                    match socket.read(&mut buffer).await {
                        Ok(n) if n > 0 => held.extend_from_slice(&buffer[..n]),
                        _ => break 'connection,
                    }
                };
                r.lock().unwrap().push(String::from_utf8_lossy(&held[..whole]).into_owned());
                held.drain(..whole);
                match answers.next().as_deref() {
                    None | Some("") => break,
                    Some("-") => std::future::pending().await,
                    Some(text) => drop(socket.write_all(text.as_bytes()).await),
                }
            }
        }
    });
    Server { port, connections, requests, task }
}

fn client(server: &Server) -> HttpOut {
    let url = Url::parse(&format!("http://127.0.0.1:{}/in", server.port), None).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-token", HeaderValue::from_static("t"));
    HttpOut::new(url, &ClientTls::default(), headers)
        .unwrap()
        .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(20)))
}

async fn post(out: &mut HttpOut) -> io::Result<HttpAnswer> {
    out.post("/in?x=1", &[], Bytes::from_static(b"{}")).await
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn answers_and_what_they_ask_for() {
    let date = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(90))
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    let server = serve(vec![
        answer("202 Accepted", "ok"),
        answer("503 Busy\r\nretry-after: 2", ""),
        answer(&format!("503 Busy\r\nretry-after: {date}"), ""),
        answer("429 Slow\r\nretry-after: 99999999999999999999999", ""),
        answer("429 Slow\r\nretry-after: soon", ""),
        answer("200 OK", &"x".repeat(ANSWER_MAX + 5)),
        answer("413 Large", "no"),
    ])
    .await;
    let mut out = client(&server);
    let first = post(&mut out).await.unwrap();
    assert_eq!((first.status, first.retry_after, &first.body[..]), (202, None, &b"ok"[..]));
    assert_eq!(out.pause(), Duration::ZERO);
    assert_eq!(post(&mut out).await.unwrap().retry_after, Some(Duration::from_secs(2)));
    assert!(out.pause() > Duration::from_secs(1));
    let dated = post(&mut out).await.unwrap().retry_after.unwrap();
    assert!(dated > Duration::from_secs(60) && dated <= Duration::from_secs(90), "{dated:?}");
    assert_eq!(post(&mut out).await.unwrap().retry_after, Some(RETRY_AFTER_MAX));
    assert_eq!(post(&mut out).await.unwrap().retry_after, None);
    assert_eq!(server.connections.load(SeqCst), 1, "kept alive");
    let large = post(&mut out).await.unwrap();
    assert_eq!((large.status, large.body.len()), (200, ANSWER_MAX));
    assert_eq!(post(&mut out).await.unwrap().status, 413);
    assert_eq!(server.connections.load(SeqCst), 2, "what was not read to its end is not used again");
    let request = server.requests.lock().unwrap()[0].to_lowercase();
    let host = format!("host: 127.0.0.1:{}\r\n", server.port);
    assert!(request.starts_with("post /in?x=1 http/1.1\r\n"), "{request}");
    assert!(request.contains(&host) && request.contains("x-token: t\r\n") && request.ends_with("{}"), "{request}");
}

#[tokio::test]
async fn connections_that_end_or_lie() {
    // The second request finds the kept connection closed: again, on a new one.
    let server =
        serve(vec![answer("200 OK", "1"), String::new(), answer("200 OK", "2"), "garbage\r\n\r\n".into()]).await;
    let mut out = client(&server);
    assert_eq!(post(&mut out).await.unwrap().body, "1");
    assert_eq!(post(&mut out).await.unwrap().body, "2");
    assert_eq!(server.connections.load(SeqCst), 2);
    let garbage = post(&mut out).await.unwrap_err();
    assert!(garbage.to_string().contains("not HTTP/1.1"), "{garbage}");
    assert!(out.pause() > Duration::ZERO);
    // A new connection that ends without an answer is not tried again.
    let silent = post(&mut out).await.unwrap_err();
    assert!(silent.to_string().contains("without an answer"), "{silent}");
    assert_eq!(server.requests.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let server = serve(vec!["-".into(), answer("200 OK", "late")]).await;
    let mut out = client(&server).limit(Duration::from_millis(300));
    let late = post(&mut out).await.unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    assert!(late.to_string().contains("no answer in"), "{late}");
    let port = server.port;
    drop(server);
    let until = Instant::now() + Duration::from_secs(20);
    // The listener goes with its task, in a moment.
    let refused = loop {
        let e = post(&mut out).await.unwrap_err();
        if e.kind() == io::ErrorKind::ConnectionRefused || Instant::now() > until {
            break e.to_string();
        }
    };
    assert!(refused.contains(&format!("127.0.0.1:{port}")) && refused.contains("refused"), "{refused}");
    let wrong = out.post("no path", &[], Bytes::new()).await.unwrap_err();
    assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn https_by_a_certificate_of_ones_own() {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                let _ = stream.write_all(answer("200 OK", "safe").as_bytes()).await;
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, cert.pem()).unwrap();
    let url = Url::parse(&format!("https://localhost:{port}"), None).unwrap();
    let tls = ClientTls { ca: vec![ca.into()], ..ClientTls::default() };
    let mut out = HttpOut::new(url.clone(), &tls, HeaderMap::new()).unwrap();
    assert_eq!(out.post("/", &[], Bytes::from(gzip(b"{}"))).await.unwrap().body, "safe");
    // The server here has one connection at a time.
    drop(out);
    let mut strange = HttpOut::new(url, &ClientTls::default(), HeaderMap::new()).unwrap();
    let unknown = strange.post("/", &[], Bytes::new()).await.unwrap_err().to_string();
    assert!(unknown.contains("set `ca`"), "{unknown}");
    task.abort();
}

#[test]
fn gzip_is_rfc_1952() {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip(b"ants ants ants")[..]), &mut text).unwrap();
    assert_eq!(text, b"ants ants ants");
}
