//! Certificates and keys that stand in the file itself.

use aws_lc_rs::digest::{SHA256, digest};
use rustls::SignatureAlgorithm;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::CertifiedKey;
use std::time::{SystemTime, UNIX_EPOCH};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Which of the two is wrong.
pub(super) enum Side {
    Cert,
    Key,
}

/// More certificates than any chain has.
const CHAIN_MAX: usize = 32;

fn chain(cert: &str) -> Option<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(cert.as_bytes()).take(CHAIN_MAX).collect::<Result<_, _>>().ok()?;
    let fine = |c: &CertificateDer<'_>| X509Certificate::from_der(c).is_ok();
    (!all.is_empty() && all.iter().all(fine)).then_some(all)
}

/// The type of a certificate's key, when the two belong together.
pub(super) fn pair(cert: &str, key: &str) -> Result<SignatureAlgorithm, (Side, &'static str, &'static str)> {
    let chain =
        chain(cert).ok_or((Side::Cert, "invalid certificate", "give certificates in PEM (BEGIN CERTIFICATE)"))?;
    let no_key = || (Side::Key, "invalid key", "give a private key in PEM that is not encrypted");
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| no_key())?;
    let signing = default_provider().key_provider.load_private_key(private).map_err(|_| no_key())?;
    let kind = signing.algorithm();
    match CertifiedKey::new(chain, signing).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(kind),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err((Side::Key, "certificate does not match key", "give the pair that was made together"))
        }
        Err(_) => Err((Side::Cert, "invalid certificate", "give an X.509 certificate of version 3")),
    }
}

/// Whether a text is one certificate of an authority that holds today.
pub(super) fn authority(cert: &str) -> Result<(), (&'static str, &'static str)> {
    const FIX: &str = "give one certificate in PEM";
    let chain = chain(cert).ok_or(("invalid certificate", FIX))?;
    let [one] = chain.as_slice() else {
        return Err(("please submit only one certificate at a time", "make an entry for each"));
    };
    let (_, parsed) = X509Certificate::from_der(one).map_err(|_| ("invalid certificate", FIX))?;
    if !parsed.is_ca() {
        let words = "certificate does not appear to be a CA because it is missing the \"CA\" basic constraint";
        return Err((words, "give the authority's own certificate"));
    }
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
    if parsed.validity().not_after.timestamp() < now {
        return Err(("certificate expired, \"Not After\" time is in the past", "renew it"));
    }
    Ok(())
}

/// SHA-256 of the first certificate, in hex.
pub(super) fn fingerprint(cert: &str) -> String {
    let der = CertificateDer::from_pem_slice(cert.as_bytes());
    let hash = digest(&SHA256, der.as_deref().unwrap_or_default());
    hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether a text is a public key.
pub(super) fn public(key: &str) -> bool {
    SubjectPublicKeyInfoDer::from_pem_slice(key.as_bytes())
        .is_ok_and(|der| x509_parser::x509::SubjectPublicKeyInfo::from_der(&der).is_ok_and(|(_, k)| k.parsed().is_ok()))
}
