//! Certificates of services, new and renewed.

use super::authority::{self, Authority, ia5, new_key, serial};
use super::files::{self, Kind, Replacement};
use super::kept::{self, Kept};
use super::{BACKDATED, DAY, Failure, name, now};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use std::net::IpAddr;
use std::path::PathBuf;

/// Names and addresses that one certificate may have beside its own.
const NAMES_MAX: usize = 100;

/// How long a certificate holds when nobody says.
pub const DAYS: u32 = 30;

/// Which sides of a connection may show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Usage {
    /// A sidecar is both: it takes commands and sends them.
    #[default]
    Both,
    /// Only who opens connections.
    Client,
    /// Only who takes them.
    Server,
}

/// What `fourmi cert issue` is asked for.
#[derive(Debug, Clone)]
pub struct Issue {
    /// The service.
    pub name: String,
    /// The authority's folder.
    pub authority: PathBuf,
    /// Where the files go.
    pub out: PathBuf,
    /// More host names. None, here and below: as in the certificate that is renewed.
    pub dns: Option<Vec<String>>,
    /// Addresses.
    pub ips: Option<Vec<IpAddr>>,
    /// How long it holds, if the authority does.
    pub days: Option<u32>,
    /// Who may show it.
    pub usage: Option<Usage>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// PEM file of the certificate.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// Its SPIFFE ID.
    pub identity: String,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
    /// It ends when the authority does, earlier than asked for.
    pub shortened: bool,
    /// It took the place of another.
    pub renewed: bool,
    /// What it has of the other because nobody asked for anything else.
    pub kept: Kept,
    /// The folder of its files was not there before.
    pub made_folder: bool,
}

/// Signs a new certificate with a new key. What stood at its place is replaced.
pub fn issue(asked: &Issue) -> Result<Issued, Failure> {
    let own = name::name(&asked.name)?;
    for host in asked.dns.iter().flatten() {
        name::dns(host)?;
    }
    let authority = Authority::load(&asked.authority)?;
    let (certificate, key) = (asked.out.join(format!("{own}.pem")), asked.out.join(format!("{own}.key")));
    let old = kept::of_file(&certificate, own)?;
    let renewed = old.is_some();
    let kept = old.unwrap_or_default().without(asked);
    let dns = asked.dns.as_ref().unwrap_or(&kept.dns);
    let ips = asked.ips.as_ref().unwrap_or(&kept.ips);
    if dns.len() + ips.len() > NAMES_MAX {
        return Err(Failure::usage(format!("one certificate has {NAMES_MAX} --dns and --ip at most")));
    }
    let identity = format!("{}{}/{own}", name::SCHEME, authority.trust_domain);

    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, own);
    params.subject_alt_names = vec![SanType::URI(ia5(&identity)?)];
    let mut hosts = vec![own.to_owned(), format!("{own}.service.fourmi")];
    for host in dns {
        if !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    for host in &hosts {
        params.subject_alt_names.push(SanType::DnsName(ia5(host)?));
    }
    params.subject_alt_names.extend(ips.iter().map(|ip| SanType::IpAddress(*ip)));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match asked.usage.or(kept.usage).unwrap_or_default() {
        Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
    };
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    let now = now();
    let wanted = now + i64::from(asked.days.or(kept.days).unwrap_or(DAYS)) * DAY;
    let not_after = wanted.min(authority.not_after);
    authority::validity(&mut params, (now - BACKDATED).max(authority.not_before), not_after);
    let pair = new_key()?;
    let signed = params.signed_by(&pair, &authority.issuer);
    let pem = signed.map_err(|e| Failure::failed(format!("can't sign: {e}")))?.pem();

    let made_folder = files::folder(&asked.out)?;
    {
        let _one = files::locked(&asked.out);
        // Both lie ready before either is replaced, so that they belong together again a moment later. The key goes
        // first: who looks when the certificate has changed finds its key.
        let new_key = Replacement::prepare(&key, Kind::Key, &pair.serialize_pem())?;
        let new_certificate = Replacement::prepare(&certificate, Kind::Certificate, &pem)?;
        new_key.commit()?;
        new_certificate.commit()?;
    }
    let shortened = not_after < wanted;
    Ok(Issued { certificate, key, identity, not_after, shortened, renewed, kept, made_folder })
}
