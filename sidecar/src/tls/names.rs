//! What a certificate says of itself: for whom it is and until when. Whether that is true, rustls has found out.

use super::Pem;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How identities begin that are more than a name.
const SPIFFE: &str = "spiffe://";
/// The longest identity that is shown.
const IDENTITY_MAX: usize = 255;
/// Names of one certificate that are looked at.
const NAMES_MAX: usize = 1024;
/// Names of one caller that are handed on.
const SHOWN_MAX: usize = 64;

/// When certificates expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Where they stand.
    pub pem: Pem,
    /// Seconds since 1970.
    pub at: i64,
}

/// Until when a certificate holds, in seconds since 1970.
fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// When the first certificate in these bytes ends; none when there is none in them.
pub(super) fn end_within(bytes: &[u8]) -> Option<i64> {
    // A sequence whose length takes two bytes, as that of every certificate.
    const BEGIN: [u8; 2] = [0x30, 0x82];
    let begins = bytes.windows(2).enumerate().filter(|(_, two)| *two == BEGIN).map(|(at, _)| at);
    begins
        .filter_map(|at| X509Certificate::from_der(bytes.get(at..)?).ok())
        .next()
        .map(|(_, found)| found.validity().not_after.timestamp())
}

/// A chain is of no use when its first certificate to expire has.
pub(super) fn of_chain(pem: &Pem, chain: &[CertificateDer<'_>]) -> Option<Expiry> {
    Some(Expiry { pem: pem.clone(), at: chain.iter().filter_map(not_after).min()? })
}

/// Authorities are of no use when the last of them has expired.
pub(super) fn of_authorities(pem: &Pem, all: &[CertificateDer<'_>]) -> Option<Expiry> {
    Some(Expiry { pem: pem.clone(), at: all.iter().filter_map(not_after).max()? })
}

/// The host names that a certificate is for, in lower case, wildcards as they are written.
pub(super) fn hosts(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let mut found: Vec<String> = Vec::new();
    if let Ok(Some(names)) = parsed.subject_alternative_name() {
        for name in names.value.general_names.iter().take(NAMES_MAX) {
            if let GeneralName::DNSName(host) = name {
                found.push(host.to_ascii_lowercase());
            }
        }
    } else if let Some(Ok(name)) = parsed.subject().iter_common_name().next().map(|n| n.as_str()) {
        found.push(name.to_ascii_lowercase());
    }
    found
}

/// Who a peer is, by its verified certificate: its first `spiffe://` name, else its first host name, else the common
/// name of its subject. None when it has no name that can stand in a record.
pub(super) fn identity(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    if let Ok(Some(names)) = parsed.subject_alternative_name() {
        let names = || names.value.general_names.iter().take(NAMES_MAX);
        let mut spiffe = names().filter_map(|n| match n {
            GeneralName::URI(uri) if is_spiffe(uri) => Some(*uri),
            _ => None,
        });
        // Who has two has none (X.509-SVID, 2), nor another name instead.
        match (spiffe.next(), spiffe.next()) {
            (Some(one), None) => return Some(one).filter(fits).map(Arc::from),
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
        let host = || {
            names().find_map(|n| match n {
                GeneralName::DNSName(host) => Some(*host).filter(fits).filter(|host| !is_spiffe(host)),
                _ => None,
            })
        };
        if let Some(name) = host() {
            return Some(name.into());
        }
    }
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    // What an authority lets people call themselves is no identity of that kind.
    Some(name).filter(fits).filter(|name| !is_spiffe(name)).map(Arc::from)
}

/// Every name of a verified certificate that can stand in a record: of its `subjectAltName` the host names, addresses of
/// mail and URIs, then the common names of its subject.
pub(super) fn all(certificate: &CertificateDer<'_>) -> Arc<[Arc<str>]> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Arc::default() };
    let mut found: Vec<Arc<str>> = Vec::new();
    let mut take = |name: &str, uri: bool| {
        // Who may call himself what he likes has no identity of that kind.
        if fits(&name) && (uri || !is_spiffe(name)) && !found.iter().any(|known| **known == *name) {
            found.push(name.into());
        }
    };
    if let Ok(Some(names)) = parsed.subject_alternative_name() {
        for name in names.value.general_names.iter().take(SHOWN_MAX) {
            match name {
                GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => take(name, false),
                GeneralName::URI(name) => take(name, true),
                _ => {}
            }
        }
    }
    for name in parsed.subject().iter_common_name().take(SHOWN_MAX) {
        if let Ok(name) = name.as_str() {
            take(name, false);
        }
    }
    found.into()
}

/// Whether a name can stand in a record.
fn fits(name: &&str) -> bool {
    !name.is_empty() && name.len() <= IDENTITY_MAX && name.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

fn is_spiffe(name: &str) -> bool {
    name.get(..SPIFFE.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SPIFFE))
}
