use super::testing::{Issuer, Papers, authority};
use super::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn leaf(by: &Issuer, name: &str, until: Option<(i32, u8, u8)>) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if let Some((y, m, d)) = until {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(y, m, d);
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

fn server(cert: &rcgen::Certificate, key: &KeyPair, clients: Option<&Issuer>) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(ca.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from(cert.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// Connects over TCP, sends a word and waits for it to come back.
async fn echo(config: Arc<ServerConfig>, connector: &Connector, host: &str) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let peer = tokio::spawn(async move {
        let (socket, _) = listener.accept().await?;
        let mut stream = tokio_rustls::TlsAcceptor::from(config).accept(socket).await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        stream.write_all(&word).await?;
        stream.shutdown().await
    });
    let result = async {
        let mut stream = connector.connect(host, TcpStream::connect(address).await?).await?;
        let said = |e| in_words(host, e);
        stream.write_all(b"ants").await.map_err(said)?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.map_err(said)?;
        assert_eq!(&word, b"ants");
        Ok(())
    }
    .await;
    let _ = peer.await;
    result
}

fn write(folder: &Path, name: &str, text: &str) -> Pem {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.into()
}

#[tokio::test]
async fn whom_a_connection_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority("ours");
    let ca = write(folder.path(), "ca.pem", &ours.pem());
    let trusting = ClientTls { ca: vec![ca.clone()], ..ClientTls::default() };
    let connector = trusting.connector(&[]).unwrap();

    let (good, good_key) = leaf(&ours, "receiver.test", None);
    let good = server(&good, &good_key, None);
    echo(good.clone(), &connector, "receiver.test").await.unwrap();

    let wrong_name = echo(good.clone(), &connector, "other.test").await.unwrap_err().to_string();
    assert!(wrong_name.contains("for another name than other.test"), "{wrong_name}");
    let named = ClientTls { server_name: Some("receiver.test".into()), ..trusting.clone() };
    echo(good.clone(), &named.connector(&[]).unwrap(), "127.0.0.1").await.unwrap();

    let (old, old_key) = leaf(&ours, "receiver.test", Some((2001, 1, 1)));
    let expired = echo(server(&old, &old_key, None), &connector, "receiver.test").await.unwrap_err().to_string();
    assert!(expired.contains("has expired"), "{expired}");

    let stranger = ClientTls { ca: vec![write(folder.path(), "x.pem", &authority("x").pem())], ..ClientTls::default() };
    let unknown = echo(good.clone(), &stranger.connector(&[]).unwrap(), "receiver.test").await.unwrap_err();
    assert!(unknown.to_string().contains("set `ca`"), "{unknown}");
    // The system's authorities do not know ours either.
    let system = echo(good.clone(), &ClientTls::default().connector(&[]).unwrap(), "receiver.test").await.unwrap_err();
    assert!(system.to_string().contains("set `ca`"), "{system}");

    let careless = ClientTls { verify: false, ..stranger };
    echo(good, &careless.connector(&[]).unwrap(), "other.test").await.unwrap();
}

#[tokio::test]
async fn the_certificate_of_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority("ours");
    let (cert, key) = leaf(&ours, "receiver.test", None);
    let asking = server(&cert, &key, Some(&ours));
    let ca = write(folder.path(), "ca.pem", &ours.pem());
    let bare = ClientTls { ca: vec![ca], ..ClientTls::default() };
    let refused = echo(asking.clone(), &bare.connector(&[]).unwrap(), "receiver.test").await.unwrap_err().to_string();
    assert!(refused.contains("asks for a client certificate"), "{refused}");

    let (mine, mine_key) = leaf(&ours, "client.test", None);
    let own = ClientTls {
        certificate: Some(write(folder.path(), "c.pem", &mine.pem())),
        key: Some(write(folder.path(), "k.pem", &mine_key.serialize_pem())),
        ..bare.clone()
    };
    echo(asking.clone(), &own.connector(&[]).unwrap(), "receiver.test").await.unwrap();

    let mismatched = ClientTls { key: Some(write(folder.path(), "o.pem", &key.serialize_pem())), ..own.clone() };
    let words = mismatched.connector(&[]).unwrap_err();
    assert!(words.contains("o.pem") && words.contains("c.pem"), "{words}");
    let halved = ClientTls { key: None, ..own.clone() };
    assert!(halved.connector(&[]).unwrap_err().contains("`certificate` needs `key`"));
    let absent = ClientTls { ca: vec![folder.path().join("none.pem").into()], ..own.clone() };
    assert!(absent.connector(&[]).unwrap_err().contains("none.pem cannot be read"));
    let empty = ClientTls { ca: vec![write(folder.path(), "e.pem", "nothing")], ..own };
    assert!(empty.connector(&[]).unwrap_err().contains("e.pem has no certificate"));
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (authority("first"), authority("second"));
    let ca = write(folder.path(), "ca.pem", &first.pem());
    let connector = ClientTls { ca: vec![ca], ..ClientTls::default() }.connector(&[]).unwrap();
    let (cert, key) = leaf(&second, "receiver.test", None);
    let rotated = server(&cert, &key, None);
    assert!(echo(rotated.clone(), &connector, "receiver.test").await.is_err());

    // Half written: the old file stays in use, and the error says so.
    write(folder.path(), "ca.pem", "-----BEGIN");
    let words = echo(rotated.clone(), &connector, "receiver.test").await.unwrap_err().to_string();
    assert!(words.contains("the files changed and are not usable"), "{words}");

    write(folder.path(), "ca.pem", &format!("{}\n{}", first.pem(), second.pem()));
    echo(rotated, &connector, "receiver.test").await.unwrap();
}

/// One handshake of a caller with a listener; what each side knows then.
async fn meet(acceptor: &Acceptor, connector: &Connector) -> (io::Result<Met>, io::Result<()>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let caller = async {
        let mut stream = connector.connect_now("server.test", far).await?;
        stream.write_all(b"ants").await?;
        stream.flush().await?;
        // Tickets come with the first bytes.
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        Ok(())
    };
    let listener = async {
        let mut stream = acceptor.accept(near).await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        stream.write_all(&word).await?;
        stream.flush().await?;
        let session = stream.get_ref().1;
        let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        Ok(Met { peer: peer(session), resumed, two: session.alpn_protocol() == Some(b"h2") })
    };
    tokio::join!(listener, caller)
}

#[derive(Debug, PartialEq)]
struct Met {
    peer: Option<Peer>,
    resumed: bool,
    two: bool,
}

fn named(name: Option<&str>, names: &[&str]) -> Option<Peer> {
    Some(Peer { identity: name.map(Into::into), names: names.iter().map(|n| (*n).into()).collect() })
}

#[tokio::test]
async fn who_a_caller_is() {
    let papers = Papers::new();
    let asking = ServerTls { client_ca: Some(papers.pem("ca.pem")), ..papers.server() };
    let acceptor = asking.acceptor().unwrap();
    const SUBJECT: &str = "its subject";
    for (names, identity) in [
        (&["a.test", "b.test", "https://x/y", "spiffe://ours/pay"][..], Some("spiffe://ours/pay")),
        (&["a.test", "spiffe://ours/pay", "spiffe://ours/other"], None),
        (&["a.test", "shop@a.test", "a.test", "https://x/y"], Some("a.test")),
        (&["10.0.0.1"], Some(SUBJECT)),
        (&[], Some(SUBJECT)),
    ] {
        let mut all: Vec<&str> = names.iter().copied().filter(|n| *n != "10.0.0.1").chain([SUBJECT]).collect();
        let mut seen = Vec::new();
        all.retain(|n| !seen.contains(n) && (seen.push(*n), true).1);
        let connector = papers.client_as(names).connector(&[b"http/1.1"]).unwrap();
        let (met, _) = meet(&acceptor, &connector).await;
        assert_eq!(met.unwrap(), Met { peer: named(identity, &all), resumed: false, two: false }, "{names:?}");
        // Who comes back is still the same.
        let (met, _) = meet(&acceptor, &connector).await;
        assert_eq!(met.unwrap(), Met { peer: named(identity, &all), resumed: true, two: false }, "{names:?}");
    }
    let nobody = papers.client().connector(&[b"h2", b"http/1.1"]).unwrap();
    let (met, _) = meet(&acceptor, &nobody).await;
    assert!(of_caller(&met.unwrap_err()).contains("shows no client certificate"));
    let optional = ServerTls { client_optional: true, ..asking.clone() };
    let (met, _) = meet(&optional.acceptor().unwrap(), &nobody).await;
    assert_eq!(met.unwrap(), Met { peer: None, resumed: false, two: true });

    // A stranger's certificate is no better for being optional; and who has nothing to show to others can't resume.
    let other = Papers::new();
    let stranger = ClientTls { ca: vec![papers.pem("ca.pem")], ..other.client_as(&["spiffe://ours/pay"]) };
    let (met, _) = meet(&optional.acceptor().unwrap(), &stranger.connector(&[]).unwrap()).await;
    // It bears the same name.
    assert!(of_caller(&met.unwrap_err()).contains("not signed by the authority of that name"));
    let old = ServerTls { min_version: Version::Tls13, ..papers.server() };
    let (met, _) = meet(&old.acceptor().unwrap(), &papers.client().connector(&[b"spdy/3"]).unwrap()).await;
    assert!(of_caller(&met.unwrap_err()).contains("ALPN"));
}

#[tokio::test]
async fn a_listener_s_files_are_read_again_and_bad_ones_are_not_taken() {
    let papers = Papers::new();
    let settings = ServerTls { client_ca: Some(papers.pem("ca.pem")), ..papers.server() };
    let acceptor = settings.acceptor().unwrap();
    let connector = papers.client_as(&["c.test"]).connector(&[]).unwrap();
    assert_eq!(acceptor.look(), Look::Same);
    let first = acceptor.expiries();
    assert_eq!(first.len(), 2);
    let met = meet(&acceptor, &connector).await;
    assert!(!met.0.unwrap().resumed && met.1.is_ok());

    // The key is another's: said when it stays so, once; and what was there before goes on.
    let key = std::fs::read_to_string(papers.path("server.key")).unwrap();
    papers.write("server.key", &KeyPair::generate().unwrap().serialize_pem());
    assert_eq!(acceptor.look(), Look::Same);
    let Look::Unusable(trouble) = acceptor.look() else { panic!() };
    assert!(trouble.to_string().contains("server.key is not the key of the certificate in"), "{trouble}");
    assert_eq!(acceptor.look(), Look::Same);
    assert!(meet(&acceptor, &connector).await.0.unwrap().resumed);
    papers.write("server.pem", "");
    assert_eq!(acceptor.look(), Look::Same);
    assert!(matches!(acceptor.look(), Look::Unusable(_)));

    // A pair that fits, written one after the other.
    papers.pair("server", &["server.test"]);
    assert_eq!(acceptor.look(), Look::Renewed);
    // Sessions of before are not resumed, so that authorities that are gone are gone.
    let (met, caller) = meet(&acceptor, &connector).await;
    assert!(!met.unwrap().resumed && caller.is_ok());
    std::fs::remove_file(papers.path("server.key")).unwrap();
    assert_eq!((acceptor.look(), acceptor.look() == Look::Same), (Look::Same, false));
    papers.write("server.key", &key);
    assert!(meet(&acceptor, &connector).await.0.is_ok());

    papers.write("ca.pem", &authority("another").pem());
    papers.pair("server", &["server.test"]);
    assert_eq!(acceptor.look(), Look::Renewed);
    let (met, _) = meet(&acceptor, &connector).await;
    assert!(of_caller(&met.unwrap_err()).contains("signed by none of `client_ca`"));
    // Other settings in the same place.
    let open = Papers::new();
    assert!(acceptor.is_of(&settings));
    acceptor.take_over(open.server().acceptor().unwrap());
    assert!(acceptor.is_of(&open.server()) && !acceptor.is_of(&settings));
    let (met, caller) = meet(&acceptor, &open.client().connector(&[]).unwrap()).await;
    assert!(met.unwrap().peer.is_none() && caller.is_ok());
}

#[tokio::test]
async fn a_certificate_is_chosen_by_its_name_and_its_kind() {
    let papers = Papers::new();
    let pairs = vec![papers.pair("first", &["first.test"]), papers.pair("wild", &["*.wild.test"])];
    let acceptor = ServerTls { pairs, ..ServerTls::default() }.acceptor().unwrap();
    for (asked, shown) in [("first.test", "first.pem"), ("other.wild.test", "wild.pem")] {
        let tls = ClientTls { server_name: Some(asked.into()), ..papers.client() };
        let (near, far) = tokio::io::duplex(64 << 10);
        let connector = tls.connector(&[]).unwrap();
        let (_, met) = tokio::join!(acceptor.accept(near), connector.connect_now("127.0.0.1", far));
        let stream = met.unwrap();
        let certificate = &stream.get_ref().1.peer_certificates().unwrap()[0];
        let file = files::certificates(&papers.pem(shown), "certificate").unwrap();
        assert_eq!(*certificate, file[0], "{asked}");
    }
}

/// What stands in the configuration itself, on both sides.
#[tokio::test]
async fn texts_do_as_files_do() {
    let papers = Papers::new();
    let text = |name: &str| std::fs::read_to_string(papers.path(name)).unwrap();
    let pair = |name: &str, names: &[&str]| {
        let written = papers.pair(name, names);
        let pem =
            |pem: &Pem| Pem::text(format!("gateway:{name}"), &std::fs::read_to_string(pem.path().unwrap()).unwrap());
        Pair { certificate: pem(&written.certificate), key: pem(&written.key) }
    };
    let titled = |name: &str, titles: &[&str]| Titled {
        names: titles.iter().map(|t| (*t).to_owned()).collect(),
        pair: pair(name, &["inside.test"]),
    };
    let ca = Pem::text("gateway:ca", &text("ca.pem"));
    let settings = ServerTls {
        titled: [titled("one", &["one.test"]), titled("server", &["server.test"])].into(),
        client_ca: Some(ca.clone()),
        ..ServerTls::default()
    };
    let acceptor = settings.acceptor().unwrap();
    let Pair { certificate, key } = pair("client", &["caller.test"]);
    let shows = ClientTls { certificate: Some(certificate), key: Some(key), ..ClientTls::default() };
    let client = ClientTls { ca: vec![ca.clone()], server_name: Some("inside.test".into()), ..shows };
    let connector = client.connector(&[]).unwrap();
    let (met, caller) = meet(&acceptor, &connector).await;
    assert!(met.unwrap().peer.unwrap().identity.as_deref() == Some("caller.test") && caller.is_ok());
    // They stay, and have an end all the same.
    assert_eq!((acceptor.look(), connector.look()), (Look::Same, Look::Same));
    let told: Vec<String> = acceptor.expiries().iter().map(|e| e.pem.to_string()).collect();
    assert_eq!(told, ["gateway:ca", "gateway:one", "gateway:server"]);
    for shown in [format!("{acceptor:?}{settings:?}"), format!("{connector:?}{client:?}")] {
        assert!(shown.contains("gateway:") && !shown.contains("BEGIN"), "{shown}");
    }

    // Others take their place for the connections that come.
    let next = ServerTls { titled: [titled("next", &["server.test"])].into(), ..settings.clone() };
    assert!(!acceptor.is_of(&next));
    acceptor.take_over(next.acceptor().unwrap());
    assert_eq!(acceptor.expiries()[1].pem.to_string(), "gateway:next");
    assert!(meet(&acceptor, &connector).await.1.is_ok());

    // Nobody is trusted but those who are named, and what does not fit is told by its name.
    let stranger = ClientTls { ca: vec![Pem::text("x", &authority("x").pem())], ..client.clone() };
    assert!(meet(&acceptor, &stranger.connector(&[]).unwrap()).await.1.is_err());
    let both = ClientTls { ca: vec![Pem::text("x", &authority("x").pem()), ca], ..client.clone() };
    assert!(meet(&acceptor, &both.connector(&[]).unwrap()).await.1.is_ok());
    let broken = ClientTls { key: Some(Pem::text("gateway:bad", "secret")), ..client };
    let words = broken.connector(&[]).unwrap_err();
    assert!(words.contains("gateway:bad") && !words.contains("secret"), "{words}");
    assert!(ServerTls::default().acceptor().unwrap_err().to_string().contains("needs a certificate"));
}

/// One name with two kinds of key: who knows no ECDSA is shown the RSA one.
#[tokio::test]
async fn a_certificate_fits_what_the_caller_can_check() {
    let papers = Papers::new();
    let kinds = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256];
    let pairs = kinds.map(|kind| {
        let key = KeyPair::generate_for(kind).unwrap();
        let signed = CertificateParams::new(vec!["server.test".into()]).unwrap().signed_by(&key, &papers.issuer);
        let name = if kind == &rcgen::PKCS_RSA_SHA256 { "rsa" } else { "ecdsa" };
        Pair {
            certificate: papers.write(&format!("{name}.pem"), &signed.unwrap().pem()).into(),
            key: papers.write(&format!("{name}.key"), &key.serialize_pem()).into(),
        }
    });
    let acceptor = ServerTls { pairs: pairs.to_vec(), ..ServerTls::default() }.acceptor().unwrap();
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|s| s.suite() == rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    for old in [false, true] {
        let provider = if old { provider.clone() } else { Arc::new(aws_lc_rs::default_provider()) };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(papers.issuer.der().clone()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder =
            builder.with_protocol_versions(if old { &rustls::ALL_VERSIONS[1..] } else { rustls::ALL_VERSIONS });
        let config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        let (near, far) = tokio::io::duplex(64 << 10);
        let caller = tokio_rustls::TlsConnector::from(Arc::new(config));
        let caller = caller.connect("server.test".try_into().unwrap(), far);
        let (_, met) = tokio::join!(acceptor.accept(near), caller);
        let stream = met.unwrap();
        let shown = &stream.get_ref().1.peer_certificates().unwrap()[0];
        let file = papers.pem(if old { "rsa.pem" } else { "ecdsa.pem" });
        assert_eq!(*shown, files::certificates(&file, "certificate").unwrap()[0]);
    }
}

#[test]
fn dates_of_files() {
    let papers = Papers::new();
    let ours = authority("x");
    let (old, _) = leaf(&ours, "a", Some((2001, 1, 1)));
    let (late, _) = leaf(&ours, "b", Some((2031, 1, 1)));
    let both: Pem = papers.write("both.pem", &format!("{}{}", late.pem(), old.pem())).into();
    let all = files::certificates(&both, "certificate").unwrap();
    let seconds = |year: i64| (year - 1970) * 365 * 86400 + (year - 1969) / 4 * 86400;
    assert_eq!(names::of_chain(&both, &all), Some(Expiry { pem: both.clone(), at: seconds(2001) }));
    assert_eq!(names::of_authorities(&both, &all), Some(Expiry { pem: both, at: seconds(2031) }));
}
