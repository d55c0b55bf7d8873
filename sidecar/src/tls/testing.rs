//! Certificates for tests.

use super::{ClientTls, Pair, Pem, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use std::path::PathBuf;
use tempfile::TempDir;

pub(crate) type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Host names, addresses, those of mail, and URIs, in this order.
fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "its subject");
    let of = |name: &&str| match name {
        uri if uri.contains("://") => SanType::URI((*uri).try_into().unwrap()),
        mail if mail.contains('@') => SanType::Rfc822Name((*mail).try_into().unwrap()),
        host => match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*host).try_into().unwrap()),
        },
    };
    params.subject_alt_names = names.iter().map(of).collect();
    params
}

/// A certificate for these names, with its key.
pub(crate) fn certified(by: &Issuer, names: &[&str], algorithm: &'static rcgen::SignatureAlgorithm) -> CertifiedKey {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = params(names).signed_by(&key, by).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let signing = aws_lc_rs::default_provider().key_provider.load_private_key(private).unwrap();
    CertifiedKey::new(vec![certificate.der().clone()], signing)
}

/// A folder with an authority and what it has signed.
pub(crate) struct Papers {
    pub(crate) folder: TempDir,
    pub(crate) issuer: Issuer,
}

impl Papers {
    pub(crate) fn new() -> Papers {
        let papers = Papers { folder: tempfile::tempdir().unwrap(), issuer: authority("ours") };
        papers.write("ca.pem", &papers.issuer.pem());
        papers
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn pem(&self, name: &str) -> Pem {
        self.path(name).into()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// `NAME.pem` and `NAME.key`, for these names.
    pub(crate) fn pair(&self, name: &str, names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names).signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: self.write(&format!("{name}.pem"), &certificate.pem()).into(),
            key: self.write(&format!("{name}.key"), &key.serialize_pem()).into(),
        }
    }

    /// A listener for `server.test`.
    pub(crate) fn server(&self) -> ServerTls {
        ServerTls { pairs: vec![self.pair("server", &["server.test"])], ..ServerTls::default() }
    }

    /// Who trusts it.
    pub(crate) fn client(&self) -> ClientTls {
        ClientTls { ca: vec![self.pem("ca.pem")], ..ClientTls::default() }
    }

    /// The same with a certificate of these names.
    pub(crate) fn client_as(&self, names: &[&str]) -> ClientTls {
        let Pair { certificate, key } = self.pair("client", names);
        ClientTls { certificate: Some(certificate), key: Some(key), ..self.client() }
    }
}
