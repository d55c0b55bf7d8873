//! The client: sends a request over plain HTTP, TLS, HTTP/2 or gRPC and reads the answer.

use crate::table::{Ask, Over};
use fourmi_tests::h2::{H2Client, Pieces};
use fourmi_tests::net::Stream;
use fourmi_tests::wire::{Message, Wire};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Where the sidecar listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) https: u16,
}

/// A request with every placeholder filled in.
pub(crate) struct Filled {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) lines: Vec<String>,
    pub(crate) body: Option<Vec<u8>>,
}

/// Sends it and reads the whole answer; trailers of HTTP/2 are among its trailers.
pub(crate) fn ask(ports: Ports, ask: &Ask, request: &Filled) -> Message {
    match ask.over {
        Over::Http => http1(Stream::Tcp(connect(ports.http)), ask, request),
        Over::Https => {
            let name = ask.sni.as_deref().unwrap_or_else(|| request.host.split(':').next().unwrap_or(""));
            http1(Stream::Unix(secured(ports.https, name)), ask, request)
        }
        Over::H2 | Over::Grpc => http2(ports.http, ask, request),
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap_or_else(|e| panic!("port {port}: {e}"));
    stream.set_nodelay(true).unwrap();
    stream
}

fn http1(stream: Stream, ask: &Ask, request: &Filled) -> Message {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, request.host);
    for line in &request.lines {
        head += &format!("{line}\r\n");
    }
    let body = match &request.body {
        Some(body) if ask.chunked => {
            head += "Transfer-Encoding: chunked\r\n";
            let mut coded = Vec::new();
            for piece in body.chunks(16 << 10) {
                coded.extend(format!("{:x}\r\n", piece.len()).bytes().chain(piece.iter().copied()).chain(*b"\r\n"));
            }
            coded.extend(*b"0\r\n\r\n");
            coded
        }
        Some(body) => {
            head += &format!("Content-Length: {}\r\n", body.len());
            body.clone()
        }
        None => Vec::new(),
    };
    head += "\r\n";
    let mut writer = stream.twin();
    let mut wire = Wire::new(stream);
    wire.send(head).expect("sending the head");
    let kind = fourmi_tests::wire::Kind::AnswerTo(&request.method);
    let expects = request.lines.iter().any(|l| l.eq_ignore_ascii_case("expect: 100-continue"));
    if expects {
        let answer = wire.message(kind).unwrap_or_else(|e| panic!("no answer: {e}"));
        if answer.status() >= 200 {
            return answer;
        }
    }
    // An answer may come before the body is through, and the rest of the body is then nobody's.
    let sender = std::thread::spawn(move || {
        let _ = std::io::Write::write_all(&mut writer, &body);
    });
    let answer = loop {
        let answer = wire.message(kind).unwrap_or_else(|e| panic!("no answer: {e}"));
        if answer.status() >= 200 {
            break answer;
        }
    };
    wire.stream.shutdown(std::net::Shutdown::Both);
    let _ = sender.join();
    answer
}

fn http2(port: u16, ask: &Ask, request: &Filled) -> Message {
    let grpc = ask.over == Over::Grpc;
    let mut lines: Vec<(&str, &str)> = request.lines.iter().filter_map(|l| l.split_once(':')).collect();
    lines.iter_mut().for_each(|(_, value)| *value = value.trim());
    if grpc {
        lines.extend([("content-type", "application/grpc"), ("te", "trailers")]);
    }
    let names: Vec<String> = lines.iter().map(|(n, _)| n.to_ascii_lowercase()).collect();
    let lines: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(lines.iter().map(|(_, v)| *v)).collect();
    let body = match &request.body {
        Some(body) => Pieces::of(body.clone()),
        None if grpc => Pieces::of(vec![0, 0, 0, 0, 0]),
        None => Pieces::default(),
    };
    let whole = fourmi_tests::h2::run(async {
        let mut client = H2Client::connect(port).await;
        client.send_to(&request.host, &request.method, &request.target, &lines, body).await
    });
    let whole = whole.unwrap_or_else(|e| panic!("no answer: {e}"));
    let all = |map: &http::HeaderMap| {
        map.iter().map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect()
    };
    Message {
        first: format!("HTTP/2 {}", whole.status),
        headers: all(&whole.headers),
        body: whole.body.to_vec(),
        trailers: whole.trailers.as_ref().map(all).unwrap_or_default(),
    }
}

/// Whoever answers is believed: these tests are not about certificates.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A connection over TLS, seen from its plain end.
fn secured(port: u16, name: &str) -> UnixStream {
    let (near, far) = UnixStream::pair().unwrap();
    far.set_nonblocking(true).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let Ok(tcp) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return };
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            // One that fails drops the pair: its other end sees the connection closed.
            let Ok(mut tls) = connector.connect(name, tcp).await else { return };
            let mut plain = tokio::net::UnixStream::from_std(far).unwrap();
            let _ = tokio::io::copy_bidirectional(&mut plain, &mut tls).await;
        });
    });
    near
}
