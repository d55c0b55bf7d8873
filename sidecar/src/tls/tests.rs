use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(super) fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(by: &Issuer, name: &str, until: Option<(i32, u8, u8)>) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if let Some((y, m, d)) = until {
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(y, m, d);
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

/// A certificate for these names, with its key.
pub(super) fn certified(by: &Issuer, names: &[&str]) -> rustls::sign::CertifiedKey {
    let params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let signing = aws_lc_rs::default_provider().key_provider.load_private_key(private).unwrap();
    rustls::sign::CertifiedKey::new(vec![certificate.der().clone()], signing)
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

fn write(folder: &Path, name: &str, text: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    Some(path)
}

#[tokio::test]
async fn whom_a_connection_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority("ours");
    let ca = write(folder.path(), "ca.pem", &ours.pem());
    let trusting = ClientTls { ca: ca.clone(), ..ClientTls::default() };
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

    let stranger = ClientTls { ca: write(folder.path(), "x.pem", &authority("x").pem()), ..ClientTls::default() };
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
    let bare = ClientTls { ca, ..ClientTls::default() };
    let refused = echo(asking.clone(), &bare.connector(&[]).unwrap(), "receiver.test").await.unwrap_err().to_string();
    assert!(refused.contains("asks for a client certificate"), "{refused}");

    let (mine, mine_key) = leaf(&ours, "client.test", None);
    let own = ClientTls {
        certificate: write(folder.path(), "c.pem", &mine.pem()),
        key: write(folder.path(), "k.pem", &mine_key.serialize_pem()),
        ..bare.clone()
    };
    echo(asking.clone(), &own.connector(&[]).unwrap(), "receiver.test").await.unwrap();

    let mismatched = ClientTls { key: write(folder.path(), "o.pem", &key.serialize_pem()), ..own.clone() };
    let words = mismatched.connector(&[]).unwrap_err();
    assert!(words.contains("o.pem") && words.contains("c.pem"), "{words}");
    let halved = ClientTls { key: None, ..own.clone() };
    assert!(halved.connector(&[]).unwrap_err().contains("`certificate` needs `key`"));
    let absent = ClientTls { ca: Some(folder.path().join("none.pem")), ..own.clone() };
    assert!(absent.connector(&[]).unwrap_err().contains("none.pem cannot be read"));
    let empty = ClientTls { ca: write(folder.path(), "e.pem", "nothing"), ..own };
    assert!(empty.connector(&[]).unwrap_err().contains("e.pem has no certificate"));
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (authority("first"), authority("second"));
    let ca = write(folder.path(), "ca.pem", &first.pem());
    let connector = ClientTls { ca, ..ClientTls::default() }.connector(&[]).unwrap();
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
