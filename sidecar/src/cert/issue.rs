//! Certificates of services, new and renewed.

use super::authority::{self, Authority, ia5, new_key, serial};
use super::files::{self, Kind, Replacement};
use super::{BACKDATED, DAY, Failure, name, now};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use std::net::IpAddr;
use std::path::PathBuf;

/// Names and addresses that one certificate may have beside its own.
const NAMES_MAX: usize = 100;

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
    /// More host names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// How long it holds, if the authority does.
    pub days: u32,
    /// Who may show it.
    pub usage: Usage,
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
}

/// Signs a new certificate with a new key. What stood at its place is replaced.
pub fn issue(asked: &Issue) -> Result<Issued, Failure> {
    let own = name::name(&asked.name)?;
    if asked.dns.len() + asked.ips.len() > NAMES_MAX {
        return Err(Failure::usage(format!("one certificate has {NAMES_MAX} --dns and --ip at most")));
    }
    for host in &asked.dns {
        name::dns(host)?;
    }
    let authority = Authority::load(&asked.authority)?;
    let identity = format!("{}{}/{own}", name::SCHEME, authority.trust_domain);

    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, own);
    params.subject_alt_names = vec![SanType::URI(ia5(&identity)?)];
    let mut hosts = vec![own.to_owned(), format!("{own}.service.fourmi")];
    for host in &asked.dns {
        if !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    for host in &hosts {
        params.subject_alt_names.push(SanType::DnsName(ia5(host)?));
    }
    params.subject_alt_names.extend(asked.ips.iter().map(|ip| SanType::IpAddress(*ip)));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match asked.usage {
        Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
    };
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    let now = now();
    let wanted = now + i64::from(asked.days) * DAY;
    let not_after = wanted.min(authority.not_after);
    authority::validity(&mut params, (now - BACKDATED).max(authority.not_before), not_after);
    let pair = new_key()?;
    let signed = params.signed_by(&pair, &authority.issuer);
    let pem = signed.map_err(|e| Failure::failed(format!("can't sign: {e}")))?.pem();

    files::folder(&asked.out)?;
    let (certificate, key) = (asked.out.join(format!("{own}.pem")), asked.out.join(format!("{own}.key")));
    let renewed = certificate.exists();
    {
        let _one = files::locked(&asked.out);
        // Both lie ready before either is replaced, so that they belong together again a moment later. The key goes
        // first: who looks when the certificate has changed finds its key.
        let new_key = Replacement::prepare(&key, Kind::Key, &pair.serialize_pem())?;
        let new_certificate = Replacement::prepare(&certificate, Kind::Certificate, &pem)?;
        new_key.commit()?;
        new_certificate.commit()?;
    }
    Ok(Issued { certificate, key, identity, not_after, shortened: not_after < wanted, renewed })
}
