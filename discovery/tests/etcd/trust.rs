//! etcds that want to know who we are, and encrypted ones.

use crate::harness::{Cluster, HERE, Peer, Version, eventually};
use fourmi_discovery::etcd::Settings;
use fourmi_discovery::{Limits, Node, State, Store};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

#[tokio::test]
async fn a_user_with_a_password() {
    for version in [Version::Old, Version::New] {
        let mut cluster = Cluster::start(version, 1).await;
        cluster.ready().await;
        for line in [
            "user add root:secret",
            "user grant-role root root",
            "user add fourmi:word",
            "role add shares",
            "role grant-permission shares --prefix=true readwrite /fourmi/",
            "role grant-permission shares --prefix=true readwrite /skydns/",
            "user grant-role fourmi shares",
            "auth enable",
        ] {
            cluster.control(&line.split(' ').collect::<Vec<_>>()).unwrap();
        }
        cluster.control.push("--user=root:secret".into());
        let with = |user: Option<(&str, &str)>, node: &str| {
            let user = user.map(|(name, password)| (name.into(), password.into()));
            Settings { user, ..cluster.settings(node) }
        };
        for (user, says) in [(None, "user name is empty"), (Some(("fourmi", "wrong")), "invalid user ID or password")] {
            let refused = Store::etcd(with(user, "n1"), Limits::default()).await.unwrap_err().to_string();
            assert!(refused.contains("etcd refuses us") && refused.contains(says), "{refused}");
        }
        let (a, b) = (
            Peer::start(with(Some(("fourmi", "word")), "n1")).await,
            Peer::start(with(Some(("fourmi", "word")), "n2")).await,
        );
        a.add("stock", "a", 1);
        a.is("a", State::Passing);
        eventually("b knows", || b.usable("stock") == ["n1/a"]).await;
        // Every change of rights makes the tokens of before worthless.
        cluster.control(&["user", "add", "another:one"]).unwrap();
        cluster.members[0].kill();
        cluster.members[0].start();
        a.is("a", State::Critical);
        eventually("b knows again", || b.usable("stock").is_empty() && b.store.refuses().is_none()).await;
        a.is("a", State::Passing);
        eventually("and again", || b.usable("stock") == ["n1/a"]).await;
        // What is not allowed is said, and is no reason to stop.
        cluster.control(&["role", "revoke-permission", "shares", "--prefix=true", "/fourmi/"]).unwrap();
        a.registry().put_node(Node::new("outside", HERE)).unwrap();
        let why = a.store.settled().await.unwrap_err();
        assert!(why.contains("permission denied"), "{why}");
        cluster.control(&["role", "grant-permission", "shares", "--prefix=true", "readwrite", "/fourmi/"]).unwrap();
        eventually("it is written", || {
            a.store.refuses().is_none() && b.registry().snapshot().node("outside").is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn certificates_of_both_sides() {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let signed = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (server, server_key) = signed("127.0.0.1");
    let (client, client_key) = signed("fourmi");
    let mut cluster = Cluster::with(Version::New, 1, "https", |folder| {
        let file = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name).display().to_string()
        };
        // For etcdctl.
        file("client.pem", client.pem());
        file("client.key", client_key.serialize_pem());
        vec![
            format!("--cert-file={}", file("server.pem", server.pem())),
            format!("--key-file={}", file("server.key", server_key.serialize_pem())),
            format!("--trusted-ca-file={}", file("ca.pem", certificate.pem())),
            "--client-cert-auth=true".into(),
        ]
    })
    .await;
    let path = |name: &str| cluster.folder.path().join(name).display().to_string();
    let control = [("cacert", path("ca.pem")), ("cert", path("client.pem")), ("key", path("client.key"))]
        .map(|(n, p)| format!("--{n}={p}"));
    cluster.control.extend(control);
    cluster.ready().await;
    let config = |with_certificate: bool| {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(client_key.serialize_der()));
        Arc::new(match with_certificate {
            true => builder.with_client_auth_cert(vec![client.der().clone()], key).unwrap(),
            false => builder.with_no_client_auth(),
        })
    };
    let refused = Store::etcd(cluster.settings("n1"), Limits::default()).await.unwrap_err().to_string();
    assert!(refused.contains("needs TLS"), "{refused}");
    let wait = std::time::Duration::from_millis(500);
    let without = Settings { tls: Some(config(false)), wait, ..cluster.settings("n1") };
    let store = Store::etcd(without, Limits::default()).await.unwrap();
    assert!(store.refuses().is_some(), "without a certificate of our own nothing goes");
    drop(store);
    let peers = ["n1", "n2"].map(|node| Settings { tls: Some(config(true)), ..cluster.settings(node) });
    let [a, b] = peers;
    let (a, b) = (Peer::start(a).await, Peer::start(b).await);
    a.add("stock", "a", 1);
    a.is("a", State::Passing);
    eventually("b knows", || b.usable("stock") == ["n1/a"]).await;
}
