//! From PEM to what rustls takes.

use super::Pem;
use super::kept::Trouble;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Certificates of one text; a system's whole list has some 150.
const CERTIFICATES_MAX: usize = 4096;

/// A text and the key of the section that names it.
type Named<'a> = (&'a Pem, &'static str);

/// A certificate with its chain and key, which must belong together.
pub(super) fn pair(
    (certificate, name): Named<'_>,
    (key, key_name): Named<'_>,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Vec<CertificateDer<'static>>), Trouble> {
    let chain = certificates(certificate, name)?;
    let private = private(key, key_name)?;
    let signing = provider.key_provider.load_private_key(private).map_err(|e| {
        let words = format!("the key in {key} is not usable ({e})");
        Trouble::new(key_name, words, "use an RSA, ECDSA or Ed25519 key")
    })?;
    let pair = CertifiedKey::new(chain.clone(), signing);
    match pair.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            let words = format!("the key in {key} is not the key of the certificate in {certificate}");
            Err(Trouble::new(key_name, words, "give the pair that was made together"))
        }
        Err(rustls::Error::InvalidCertificate(e)) => {
            let words = format!("the certificate in {certificate} is not usable ({e})");
            Err(Trouble::new(name, words, "give an X.509 certificate of version 3"))
        }
        _ => Ok((pair, chain)),
    }
}

fn private(pem: &Pem, key: &'static str) -> Result<PrivateKeyDer<'static>, Trouble> {
    PrivateKeyDer::from_pem_slice(&pem.read(key)?).map_err(|e| {
        let words = format!("{pem} has no private key in PEM that is not encrypted ({})", said(&e));
        Trouble::new(key, words, "give a key that begins with BEGIN PRIVATE KEY")
    })
}

/// Everything that is wrong with a pair: of each file, or of both together.
pub(super) fn troubles(certificate: &Pem, key: &Pem) -> Vec<Trouble> {
    let alone = [certificates(certificate, "certificate").err(), private(key, "key").err()];
    if alone.iter().any(Option::is_some) {
        return alone.into_iter().flatten().collect();
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    pair((certificate, "certificate"), (key, "key"), &provider).err().into_iter().collect()
}

/// What is wrong with a text of authorities.
pub(super) fn trouble_of_authorities(pem: &Pem, key: &'static str) -> Option<Trouble> {
    let mut store = RootCertStore::empty();
    certificates(pem, key).and_then(|all| authorities(&mut store, all, pem, key)).err()
}

/// Adds authorities to those that are trusted.
pub(super) fn authorities(
    store: &mut RootCertStore,
    all: Vec<CertificateDer<'static>>,
    pem: &Pem,
    key: &'static str,
) -> Result<(), Trouble> {
    for certificate in all {
        store.add(certificate).map_err(|e| {
            let words = format!("{pem} has a certificate that cannot be an authority ({e})");
            Trouble::new(key, words, "give the authority's own certificate")
        })?;
    }
    Ok(())
}

/// Every certificate of a text; at least one.
pub(super) fn certificates(pem: &Pem, key: &'static str) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    const FIX: &str = "it must be PEM (BEGIN CERTIFICATE)";
    let text = pem.read(key)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .take(CERTIFICATES_MAX)
        .collect::<Result<_, _>>()
        .map_err(|e| Trouble::new(key, format!("{pem} is not PEM ({})", said(&e)), FIX))?;
    if found.is_empty() {
        return Err(Trouble::new(key, format!("{pem} has no certificate"), FIX));
    }
    Ok(found)
}

fn said(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "nothing in it begins with -----BEGIN".to_owned(),
        other => other.to_string(),
    }
}
