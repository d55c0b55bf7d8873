//! Certificates that are replaced while commands come all the time.

use super::pki::{Files, Pki};
use super::secured;
use fourmi_tests::peers::run;
use fourmi_tests::{Worker, until};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn config(pki: &Pki) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.path("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn connect(port: u16, config: &Arc<ClientConfig>) -> std::io::Result<Stream> {
    let tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(fourmi_tests::patience::patience()))?;
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(config.clone(), name).map_err(std::io::Error::other)?;
    Ok(StreamOwned::new(session, tcp))
}

/// One command; what is wrong with its answer is an error.
fn command(stream: &mut Stream) -> std::io::Result<()> {
    stream.write_all(b"GET /load HTTP/1.1\r\nHost: test\r\n\r\n")?;
    let (mut bytes, mut some) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut some)?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&some[..n]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0usize) {
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            return Ok(());
        }
    }
}

/// What a new connection is shown.
fn shown(port: u16, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let mut stream = connect(port, config).unwrap();
    command(&mut stream).unwrap();
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

fn replace(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    std::fs::copy(from, &new).unwrap();
    std::fs::rename(new, to).unwrap();
}

/// Ends the load, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn certificates_are_replaced_under_load_and_nothing_fails() {
    let (worker, pki) = (Worker::echo(), Pki::new());
    let live = pki.server("live", &["localhost"]);
    let fourmi = secured(&worker, &format!("{}, min_version: \"1.2\"", pki.yaml("live")));
    let (port, config) = (fourmi.port(), config(&pki));
    let (stop, kept, fresh) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let first = shown(port, &config);

    let load = |many: bool, count: &AtomicU64| {
        let mut stream = connect(port, &config).unwrap();
        while !stop.load(Ordering::Relaxed) {
            if many {
                stream = connect(port, &config).unwrap();
            }
            command(&mut stream).unwrap_or_else(|e| panic!("after {count:?} commands: {e}"));
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (load, kept, fresh) = (&load, &kept, &fresh);

    std::thread::scope(|scope| {
        let ending = Ending(&stop);
        for _ in 0..2 {
            scope.spawn(move || load(false, kept));
            scope.spawn(move || load(true, fresh));
        }
        let two = scope.spawn(move || {
            run(
                "h2load",
                &[
                    "-D",
                    "8",
                    "-c",
                    "4",
                    "-m",
                    "4",
                    "--connect-to",
                    &format!("127.0.0.1:{port}"),
                    "https://localhost/h2",
                ],
            )
        });
        // Load that dies says so when it is joined; until then the rest must not wait for it in vain.
        let go_on = || {
            let (old, old_fresh) = (kept.load(Ordering::Relaxed), fresh.load(Ordering::Relaxed));
            until("the load goes on", || {
                kept.load(Ordering::Relaxed) > old + 50 && fresh.load(Ordering::Relaxed) > old_fresh + 20
            });
        };
        let mut before = first;
        for (n, order) in
            ["certificate first", "broken", "key first", "certificate first", "key first"].iter().enumerate()
        {
            go_on();
            if *order == "broken" {
                std::fs::write(pki.path("broken"), "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
                replace(&pki.path("broken"), &live.certificate);
                fourmi.says("not usable, the old ones stay");
                assert_eq!(shown(port, &config), before, "the old one stays");
                // It is told once, however often the files are looked at.
                go_on();
                continue;
            }
            let Files { certificate, key } = pki.server(&format!("next-{n}"), &["localhost"]);
            match *order {
                "key first" => {
                    replace(&key, &live.key);
                    // As long as only one of them is new, both old ones hold.
                    assert_eq!(shown(port, &config), before, "the old pair stays");
                    replace(&certificate, &live.certificate);
                }
                _ => {
                    replace(&certificate, &live.certificate);
                    replace(&key, &live.key);
                }
            }
            let next = CertificateDer::from_pem_file(&certificate).unwrap();
            until("new connections see the new certificate", || shown(port, &config) == next);
            before = next;
        }
        go_on();
        let two = two.join().unwrap();
        let said = String::from_utf8_lossy(&two.stdout).into_owned();
        assert!(two.status.success() && said.contains(" 0 failed, 0 errored, 0 timeout"), "{said}");
        drop(ending);
    });
    let said = fourmi.stderr();
    let told: Vec<&str> = said.lines().filter(|l| l.contains("not usable, the old ones stay")).collect();
    assert!(told.len() == 1 && told[0].contains("live.pem is not PEM"), "{said}");
    println!(
        "== certificates replaced under load: {} commands on connections that stayed, {} on new ones, 0 failed",
        kept.load(Ordering::Relaxed),
        fresh.load(Ordering::Relaxed)
    );
}
