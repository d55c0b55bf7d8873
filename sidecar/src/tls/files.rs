//! From the files of the settings to what rustls takes.

use super::verify::Anybody;
use super::{ClientTls, Version};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Certificates of one file; a system's whole list has some 150.
const CERTIFICATES_MAX: usize = 4096;
/// Bytes of one file.
const FILE_MAX: u64 = 16 << 20;

/// When each file was last written, and how long it is.
pub(super) type Stamp = [Option<(SystemTime, u64)>; 3];

fn paths(settings: &ClientTls) -> [Option<&PathBuf>; 3] {
    [settings.ca.as_ref(), settings.certificate.as_ref(), settings.key.as_ref()]
}

/// Whether no file is named, so none can change.
pub(super) fn none(settings: &ClientTls) -> bool {
    paths(settings).iter().all(Option::is_none)
}

/// The state of the files now.
pub(super) fn stamp(settings: &ClientTls) -> Stamp {
    paths(settings).map(|path| {
        let meta = std::fs::metadata(path?).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    })
}

/// Everything that a connection needs.
pub(super) fn load(settings: &ClientTls, alpn: &[Vec<u8>]) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[_] = match settings.min_version {
        Version::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        Version::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|e| format!("TLS cannot be set up: {e}"))?;
    let builder = if settings.verify {
        builder.with_root_certificates(roots(settings.ca.as_deref())?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider.clone())))
    };
    let mut config = match (&settings.certificate, &settings.key) {
        (Some(certificate), Some(key)) => {
            let (chain, key) = own(certificate, key, &provider)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| format!("the certificate in {} is not usable: {e}", certificate.display()))?
        }
        (None, None) => builder.with_no_client_auth(),
        (Some(_), None) => return Err("`certificate` needs `key`: the PEM file of its private key".to_owned()),
        (None, Some(_)) => return Err("`key` needs `certificate`: the PEM file that the key belongs to".to_owned()),
    };
    config.alpn_protocols = alpn.to_vec();
    Ok(config)
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if let Some(path) = ca {
        for certificate in certificates(path, "ca")? {
            store
                .add(certificate)
                .map_err(|e| format!("{} has a certificate that cannot be an authority: {e}", path.display()))?;
        }
        return Ok(store);
    }
    // Some of a system's certificates are always odd; only that none is left would matter.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(store)
}

fn own(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = certificates(certificate, "certificate")?;
    let private = PrivateKeyDer::from_pem_slice(&read(key, "key")?)
        .map_err(|e| format!("{} has no private key in PEM that is not encrypted: {}", key.display(), said(&e)))?;
    let signing = provider
        .key_provider
        .load_private_key(private.clone_key())
        .map_err(|e| format!("the key in {} is not usable: {e}", key.display()))?;
    let pair = rustls::sign::CertifiedKey::new(chain.clone(), signing);
    if matches!(pair.keys_match(), Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch))) {
        return Err(format!(
            "the key in {} is not the key of the certificate in {}: give the pair that was made together",
            key.display(),
            certificate.display()
        ));
    }
    Ok((chain, private))
}

fn certificates(path: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path, key)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .take(CERTIFICATES_MAX)
        .collect::<Result<_, _>>()
        .map_err(|e| format!("{} is not PEM: {}", path.display(), said(&e)))?;
    if found.is_empty() {
        return Err(format!("{} has no certificate: it must be PEM (BEGIN CERTIFICATE)", path.display()));
    }
    Ok(found)
}

fn read(path: &Path, key: &str) -> Result<Vec<u8>, String> {
    let trouble = |e: std::io::Error| format!("{} cannot be read ({e}): correct `{key}` or the file", path.display());
    let length = std::fs::metadata(path).map_err(trouble)?.len();
    if length > FILE_MAX {
        return Err(format!("{} is larger than {} MiB: `{key}` must be a PEM file", path.display(), FILE_MAX >> 20));
    }
    std::fs::read(path).map_err(trouble)
}

fn said(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "nothing in it begins with -----BEGIN".to_owned(),
        other => other.to_string(),
    }
}
