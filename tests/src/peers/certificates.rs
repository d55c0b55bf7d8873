//! Certificates for tests: an authority of its own, and all that can be wrong with what a server shows.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// An authority and what it signed.
pub struct Certificates {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    ca: String,
    good: Pair,
    expired: Pair,
    wrong_name: Pair,
    stranger: Pair,
    client: Pair,
}

const HERE: [&str; 2] = ["localhost", "127.0.0.1"];

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

fn leaf(names: &[&str], by: &Issuer<'static, KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap();
    params.distinguished_name.push(DnType::CommonName, names[0].clone());
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap().pem();
    Pair { certificate, key: key.serialize_pem() }
}

impl Certificates {
    /// A new authority.
    pub fn new() -> Self {
        let (ca, issuer) = authority("Tests");
        let (_, other) = authority("Somebody else");
        let folder = TempDir::with_prefix("certificates-").unwrap();
        let client = leaf(&["fourmi"], &issuer, |_| ());
        for (name, text) in [("ca.pem", &ca), ("client.pem", &client.certificate), ("client.key", &client.key)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Certificates {
            good: leaf(&HERE, &issuer, |_| ()),
            expired: leaf(&HERE, &issuer, |p| {
                (p.not_before, p.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
            }),
            wrong_name: leaf(&["elsewhere.example"], &issuer, |_| ()),
            stranger: leaf(&HERE, &other, |_| ()),
            folder,
            issuer,
            ca,
            client,
        }
    }
    /// The authority's certificate, PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }
    /// The same as a file.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
    /// Signed by the authority, for `localhost` and 127.0.0.1.
    pub fn good(&self) -> &Pair {
        &self.good
    }
    /// As the good one, but its time is over.
    pub fn expired(&self) -> &Pair {
        &self.expired
    }
    /// Signed by the authority for another host.
    pub fn wrong_name(&self) -> &Pair {
        &self.wrong_name
    }
    /// For this host, signed by an authority that nobody here trusts.
    pub fn stranger(&self) -> &Pair {
        &self.stranger
    }
    /// What a client shows to a server that wants to know; the files of its certificate and its key.
    pub fn client_files(&self) -> (PathBuf, PathBuf) {
        (self.folder.path().join("client.pem"), self.folder.path().join("client.key"))
    }
    /// One more that the authority signed, for these names; the first is its common name.
    pub fn issue(&self, names: &[&str]) -> Pair {
        leaf(names, &self.issuer, |_| ())
    }
    /// A server that shows this pair.
    pub fn server(&self, shows: &Pair) -> Arc<ServerConfig> {
        let builder = builder().with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![certificate(shows)], key(shows)).unwrap())
    }
    /// A server that shows the good pair, and refuses clients that the authority did not sign.
    pub fn server_for_known_clients(&self) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let builder = builder().with_client_cert_verifier(verifier);
        Arc::new(builder.with_single_cert(vec![certificate(&self.good)], key(&self.good)).unwrap())
    }
    /// What the client's certificate is, to compare.
    pub fn client(&self) -> &Pair {
        &self.client
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

fn certificate(of: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(of.certificate.as_bytes()).unwrap()
}

fn key(of: &Pair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(of.key.as_bytes()).unwrap()
}
