//! The authority: made once, loaded again from its two files.

use super::files::{self, Kind};
use super::parsed::Parsed;
use super::{BACKDATED, DAY, Failure, date, name, now};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber, string::Ia5String,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Random bytes of a serial number; X.509 allows 20.
const SERIAL_BYTES: usize = 16;
/// The longest organization of X.509.
const ORGANIZATION_MAX: usize = 64;

/// What `fourmi cert init` is asked for.
#[derive(Debug, Clone)]
pub struct Init {
    /// The folder of its files.
    pub folder: PathBuf,
    /// Whose identities it will sign.
    pub trust_domain: String,
    /// How long it holds.
    pub days: u32,
}

/// Makes an authority. What is there is never written over.
pub fn init(asked: &Init) -> Result<Authority, Failure> {
    let domain = name::trust_domain(&asked.trust_domain)?;
    let (certificate, key) = paths(&asked.folder);
    for path in [&certificate, &key] {
        if path.symlink_metadata().is_ok() {
            return Err(there(path));
        }
    }
    let pair = new_key()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let serial = serial()?;
    // Some look up an authority by its name alone, so a new one for the same trust domain has another.
    let short: String = serial.as_ref().iter().take(4).map(|b| format!("{b:02x}")).collect();
    params.distinguished_name.push(DnType::CommonName, format!("Fourmi CA {short}"));
    if domain.len() <= ORGANIZATION_MAX {
        params.distinguished_name.push(DnType::OrganizationName, domain);
    }
    params.subject_alt_names = vec![SanType::URI(ia5(&format!("{}{domain}", name::SCHEME))?)];
    // It signs what services show, no other authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial);
    let now = now();
    validity(&mut params, now - BACKDATED, now + i64::from(asked.days) * DAY);
    let pem = params.self_signed(&pair).map_err(|e| Failure::failed(format!("can't sign: {e}")))?.pem();

    files::folder(&asked.folder)?;
    let create = |path: &Path, kind: Kind, text: &str| {
        files::create(path, kind, text).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => there(path),
            _ => files::cannot(path, &error),
        })
    };
    create(&key, Kind::Key, &pair.serialize_pem())?;
    if let Err(failure) = create(&certificate, Kind::Certificate, &pem) {
        // A key without its certificate would only be in the way.
        let _ = std::fs::remove_file(&key);
        return Err(failure);
    }
    Authority::load(&asked.folder)
}

/// An authority that can sign.
#[derive(Debug)]
pub struct Authority {
    /// PEM file of its certificate.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// Whose identities it signs.
    pub trust_domain: String,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
    pub(super) not_before: i64,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads the files of `fourmi cert init`. `ca.pem` may hold more authorities to trust; the one that `ca.key`
    /// belongs to signs.
    pub fn load(folder: &Path) -> Result<Authority, Failure> {
        let (certificate, key) = paths(folder);
        let (shown, shown_key) = (certificate.display(), key.display());
        let text = files::read(&certificate).map_err(|f| missing(f, folder))?;
        let pair = key_pair(&key, &files::read(&key).map_err(|f| missing(f, folder))?)?;
        for der in files::certificates(&certificate, &text)? {
            let parsed = Parsed::of(&der)
                .map_err(|why| Failure::failed(format!("the authority in {shown} is not usable: {why}")))?;
            if parsed.public_key != pair.public_key_raw() {
                continue;
            }
            if !parsed.may_sign {
                return Err(Failure::failed(format!(
                    "the certificate in {shown} is none of an authority: it may not sign others"
                )));
            }
            let domain = parsed.identity().and_then(name::parts).filter(|(_, path)| path.is_empty());
            let Some((domain, _)) = domain else {
                return Err(Failure::failed(format!(
                    "{shown} names no trust domain (spiffe://…)\nhint: was it made by `fourmi cert init`?"
                )));
            };
            let domain = domain.to_owned();
            if parsed.not_after <= now() {
                return Err(Failure::failed(format!(
                    "the authority in {shown} has expired, on {}\nhint: make a new one in another folder (`fourmi cert \
                     init --dir …`), and let everybody trust both while certificates are replaced",
                    date(parsed.not_after)
                )));
            }
            if parsed.not_before > now() {
                return Err(Failure::failed(format!(
                    "the authority in {shown} holds only from {}: is this machine's clock right?",
                    date(parsed.not_before)
                )));
            }
            let issuer = Issuer::from_ca_cert_der(&der, pair)
                .map_err(|e| Failure::failed(format!("the authority in {shown} is not usable: {e}")))?;
            let (not_before, not_after) = (parsed.not_before, parsed.not_after);
            return Ok(Authority { certificate, key, trust_domain: domain, not_before, not_after, issuer });
        }
        Err(Failure::failed(format!(
            "the key in {shown_key} is not the key of the certificate in {shown}: give the pair that was made together"
        )))
    }
}

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("ca.pem"), folder.join("ca.key"))
}

fn there(path: &Path) -> Failure {
    let message = format!(
        "{} is there already\nhint: an authority is never replaced, since nobody would believe what it has signed; --dir \
         names another folder",
        path.display()
    );
    Failure { code: 73, message }
}

fn missing(failure: Failure, folder: &Path) -> Failure {
    if failure.code != 66 {
        return failure;
    }
    let (certificate, key) = paths(folder);
    let hint = if certificate.exists() {
        "hint: the key signs and may be kept elsewhere, on another machine or in a vault: put it beside ca.pem, or let \
         --dir name the folder that has both; if it is lost, make a new authority in another folder"
            .to_owned()
    } else if key.exists() {
        "hint: every machine that trusts this authority has its ca.pem: put it beside ca.key".to_owned()
    } else {
        format!("hint: `fourmi cert init --dir {}` makes an authority; --dir names its folder", folder.display())
    };
    Failure { message: format!("{}\n{hint}", failure.message), ..failure }
}

/// A private key of a PEM file.
pub(super) fn key_pair(path: &Path, text: &[u8]) -> Result<KeyPair, Failure> {
    let shown = path.display();
    let der = PrivateKeyDer::from_pem_slice(text)
        .map_err(|_| Failure::failed(format!("{shown} has no private key in PEM that is not encrypted")))?;
    KeyPair::try_from(&der).map_err(|e| Failure::failed(format!("the key in {shown} is not usable: {e}")))
}

/// ECDSA on P-256: small, quick, and known everywhere.
pub(super) fn new_key() -> Result<KeyPair, Failure> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|e| Failure::failed(format!("can't make a private key: {e}")))
}

/// A serial number that nobody can guess.
pub(super) fn serial() -> Result<SerialNumber, Failure> {
    let mut bytes = [0; SERIAL_BYTES];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| Failure::failed("the system gives no random numbers"))?;
    // Positive, and not shorter for leading zeros.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

pub(super) fn ia5(text: &str) -> Result<Ia5String, Failure> {
    Ia5String::try_from(text).map_err(|e| Failure::failed(format!("`{text}` cannot stand in a certificate: {e}")))
}

/// From when to when it holds, in seconds since 1970.
pub(super) fn validity(params: &mut CertificateParams, from: i64, to: i64) {
    let at = |seconds: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.max(0).unsigned_abs());
    (params.not_before, params.not_after) = (at(from), at(to));
}
