//! From PEM files to what rustls takes.

use super::kept::Trouble;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Certificates of one file; a system's whole list has some 150.
const CERTIFICATES_MAX: usize = 4096;
/// Bytes of one file.
const FILE_MAX: u64 = 16 << 20;

/// A file and the key of the section that names it.
type Named<'a> = (&'a Path, &'static str);

/// A certificate with its chain and key, which must belong together.
pub(super) fn pair(
    (certificate, name): Named<'_>,
    (key, key_name): Named<'_>,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Vec<CertificateDer<'static>>), Trouble> {
    let chain = certificates(certificate, name)?;
    let private = private(key, key_name)?;
    let signing = provider.key_provider.load_private_key(private).map_err(|e| {
        let words = format!("the key in {} is not usable ({e})", key.display());
        Trouble::new(key_name, words, "use an RSA, ECDSA or Ed25519 key")
    })?;
    let pair = CertifiedKey::new(chain.clone(), signing);
    match pair.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            let words =
                format!("the key in {} is not the key of the certificate in {}", key.display(), certificate.display());
            Err(Trouble::new(key_name, words, "give the pair that was made together"))
        }
        Err(rustls::Error::InvalidCertificate(e)) => {
            let words = format!("the certificate in {} is not usable ({e})", certificate.display());
            Err(Trouble::new(name, words, "give an X.509 certificate of version 3"))
        }
        _ => Ok((pair, chain)),
    }
}

fn private(path: &Path, key: &'static str) -> Result<PrivateKeyDer<'static>, Trouble> {
    PrivateKeyDer::from_pem_slice(&read(path, key)?).map_err(|e| {
        let words = format!("{} has no private key in PEM that is not encrypted ({})", path.display(), said(&e));
        Trouble::new(key, words, "give a key that begins with BEGIN PRIVATE KEY")
    })
}

/// Everything that is wrong with a pair: of each file, or of both together.
pub(super) fn troubles(certificate: &Path, key: &Path) -> Vec<Trouble> {
    let alone = [certificates(certificate, "certificate").err(), private(key, "key").err()];
    if alone.iter().any(Option::is_some) {
        return alone.into_iter().flatten().collect();
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    pair((certificate, "certificate"), (key, "key"), &provider).err().into_iter().collect()
}

/// What is wrong with a file of authorities.
pub(super) fn trouble_of_authorities(path: &Path, key: &'static str) -> Option<Trouble> {
    let mut store = RootCertStore::empty();
    certificates(path, key).and_then(|all| authorities(&mut store, all, path, key)).err()
}

/// Adds authorities to those that are trusted.
pub(super) fn authorities(
    store: &mut RootCertStore,
    all: Vec<CertificateDer<'static>>,
    path: &Path,
    key: &'static str,
) -> Result<(), Trouble> {
    for certificate in all {
        store.add(certificate).map_err(|e| {
            let words = format!("{} has a certificate that cannot be an authority ({e})", path.display());
            Trouble::new(key, words, "give the authority's own certificate")
        })?;
    }
    Ok(())
}

/// Every certificate of a file; at least one.
pub(super) fn certificates(path: &Path, key: &'static str) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    const FIX: &str = "it must be PEM (BEGIN CERTIFICATE)";
    let text = read(path, key)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .take(CERTIFICATES_MAX)
        .collect::<Result<_, _>>()
        .map_err(|e| Trouble::new(key, format!("{} is not PEM ({})", path.display(), said(&e)), FIX))?;
    if found.is_empty() {
        return Err(Trouble::new(key, format!("{} has no certificate", path.display()), FIX));
    }
    Ok(found)
}

fn read(path: &Path, key: &'static str) -> Result<Vec<u8>, Trouble> {
    let trouble = |e: std::io::Error| {
        let words = format!("{} cannot be read ({e})", path.display());
        Trouble::new(key, words, format!("correct `{key}` or the file"))
    };
    let bad = |what: String| Trouble::new(key, format!("{} {what}", path.display()), "name a PEM file");
    // A pipe would be waited for, and a device never ends.
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).map_err(trouble)?;
    let about = file.metadata().map_err(trouble)?;
    if !about.is_file() {
        let what = if about.is_dir() { "is a folder" } else { "is no file" };
        return Err(bad(what.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(trouble)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(bad(format!("is larger than {} MiB", FILE_MAX >> 20)));
    }
    Ok(bytes)
}

fn said(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "nothing in it begins with -----BEGIN".to_owned(),
        other => other.to_string(),
    }
}
