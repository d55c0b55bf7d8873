//! Certificates of a Kong file as our connections and listeners take them.

use crate::gateway::Wrong;
use crate::gateway::entity::{Entities, Service, Upstream};
use crate::section;
use crate::tls::{ClientTls, Pair, Pem, Titled};
use std::sync::Arc;

/// What listeners show for which names: the certificates that have SNIs, in the order of the file.
pub(super) fn titled(entities: &Entities) -> Arc<[Titled]> {
    let mut names: Vec<Vec<String>> = vec![Vec::new(); entities.certificates.len()];
    for sni in &entities.snis {
        if let Some(names) = names.get_mut(sni.certificate) {
            names.push(sni.name.trim_end_matches('.').to_ascii_lowercase());
        }
    }
    let mut all = Vec::new();
    for (place, names) in names.into_iter().enumerate().filter(|(_, names)| !names.is_empty()) {
        let Some((first, other)) = pairs(entities, place) else { continue };
        all.push(Titled { names: names.clone(), pair: first });
        all.extend(other.map(|pair| Titled { names, pair }));
    }
    all.into()
}

/// How a service is spoken to over TLS.
pub(super) fn of_service(
    entities: &Entities,
    service: &Service,
    upstream: Option<&Upstream>,
) -> Result<ClientTls, Wrong> {
    // The upstream's is for its checks first of all, and for commands when the service has none.
    let own = service.client_certificate.or(upstream.and_then(|u| u.client_certificate));
    let own = own.and_then(|place| pairs(entities, place));
    let (certificate, key, other) = match own {
        Some((Pair { certificate, key }, other)) => (Some(certificate), Some(key), other),
        None => (None, None, None),
    };
    let trusted = service.ca_certificates.iter().flatten();
    let tls = ClientTls {
        ca: trusted.filter_map(|place| authority(entities, *place)).collect(),
        certificate,
        key,
        other,
        server_name: upstream.and_then(|u| u.host_header.as_deref()).map(|host| bare(host).to_owned()),
        // Kong believes whoever answers unless it is told otherwise.
        verify: service.tls_verify.unwrap_or(true),
        ..ClientTls::default()
    };
    if tls != ClientTls::default() {
        tls.check().map_err(wrong)?;
    }
    Ok(tls)
}

/// A host without its port.
fn bare(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') || name.ends_with(']') => name,
        _ => host,
    }
}

fn wrong(trouble: crate::tls::Trouble) -> Wrong {
    let section::Wrong { key, message, fix, .. } = trouble.into();
    let field = match key {
        Some("ca") => "ca_certificates",
        Some("server_name") => "host",
        _ => "client_certificate",
    };
    Wrong::new(field, message, fix)
}

/// A certificate with its key, and the second pair that it may have.
fn pairs(entities: &Entities, place: usize) -> Option<(Pair, Option<Pair>)> {
    let certificate = entities.certificates.get(place)?;
    let sni = entities.snis.iter().find(|s| s.certificate == place).map(|s| s.name.clone());
    let name = format!("gateway:certificates/{}", sni.unwrap_or_else(|| certificate.id.to_string()));
    let pair = |name: &str, cert: &str, key: &str| {
        let name: Arc<str> = name.into();
        Pair { certificate: Pem::text(name.clone(), cert), key: Pem::text(name, key) }
    };
    let other = certificate.alt.as_ref().map(|(cert, key)| pair(&format!("{name}/alt"), cert, key));
    Some((pair(&name, &certificate.cert, &certificate.key), other))
}

fn authority(entities: &Entities, place: usize) -> Option<Pem> {
    let authority = entities.ca_certificates.get(place)?;
    Some(Pem::text(format!("gateway:ca_certificates/{}", authority.id), &authority.cert))
}
